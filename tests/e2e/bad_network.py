"""A TCP proxy that is slow, cuts, resets, goes deaf or swallows everything; a seed draws what it does."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close sends RST


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What the proxy does to a connection.

    Parameters
    ----------
    latency_s : float
        Delay of every piece.
    bytes_per_s : float
        Bandwidth of each direction; 0: no limit.
    cut_after : tuple of int
        Least and most bytes after which a connection may end.
    cuts, resets, half_closes, blackholes : float
        Shares of connections that end so.
    """

    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    cut_after: tuple[int, int] = (1, 200_000)
    cuts: float = 0.0
    resets: float = 0.0
    half_closes: float = 0.0
    blackholes: float = 0.0


CALM = Weather()


class BadNetwork:
    """Relays connections to one loopback port, as the weather is.

    Parameters
    ----------
    target_port : int
        Where to.
    seed : int
        Draws which connections end, how, and after how many bytes.
    """

    def __init__(self, target_port: int, seed: int = 0) -> None:
        self.weather = CALM
        self.ended: dict[str, int] = {}
        self._target = target_port
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that stand."""
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """End every connection that stands, with a reset."""
        with self._lock:
            for end in list(self._open):
                _reset(end)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                near.close()
                continue
            weather = self.weather
            fate, after = self._fate(weather)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, weather, fate, after), daemon=True).start()

    def _fate(self, weather: Weather) -> tuple[str, int]:
        shares = [weather.cuts, weather.resets, weather.half_closes, weather.blackholes]
        names = ["cut", "reset", "half-closed", "swallowed", "calm"]
        with self._lock:
            fate = self._random.choices(names, [*shares, max(0.0, 1 - sum(shares))])[0]
            return fate, self._random.randint(*weather.cut_after)

    def _pump(self, source: socket.socket, sink: socket.socket, weather: Weather, fate: str, after: int) -> None:
        seen = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 14):
                if fate != "calm" and seen + len(piece) > after:
                    sink.sendall(piece[: max(0, after - seen)])
                    self._end(fate, source, sink)
                    return
                seen += len(piece)
                pause_s = weather.latency_s + (len(piece) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
                if pause_s:
                    time.sleep(pause_s)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
            return
        for end in (source, sink):
            _reset(end)

    def _end(self, fate: str, source: socket.socket, sink: socket.socket) -> None:
        with self._lock:
            self.ended[fate] = self.ended.get(fate, 0) + 1
        match fate:
            case "half-closed":
                sink.shutdown(socket.SHUT_WR)  # the other direction stays open
            case "swallowed":
                while source.recv(1 << 14):
                    pass
            case "reset":
                for end in (source, sink):
                    _reset(end)
            case _:
                for end in (source, sink):
                    end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # wakes who reads from it; closing alone does not
        end.close()
