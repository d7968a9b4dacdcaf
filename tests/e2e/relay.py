"""A TCP relay that keeps every byte: what a coordinator, or anybody on its network, sees."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Relays connections to one loopback port and records both directions."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.pieces: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def traffic(self) -> bytes:
        return b"".join(self.pieces)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        own: list[bytes] = []
        try:
            while piece := source.recv(1 << 16):
                own.append(piece)
                sink.sendall(piece)
        except OSError:
            pass
        finally:
            # One piece a direction of a connection, so that nothing is cut in two.
            self.pieces.append(b"".join(own))
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
