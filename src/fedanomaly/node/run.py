"""One process that is a node: the loop and the loopback API, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import stamina
import uvicorn

from fedanomaly.errors import ConfigError
from fedanomaly.node.api import create_app
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.service import NodeService

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(home: Home, keystore: Keystore, *, ready: Callable[[str], None], stop: threading.Event | None = None) -> None:
    """Run the node of a home; returns after SIGTERM, SIGINT or `stop`.

    Parameters
    ----------
    home : Home
        Its folder, enrolled; held until this returns.
    keystore : Keystore
        Opened.
    ready : callable
        Called once with the address of the loopback API.
    stop : threading.Event, optional
        Ends the run as well; for tests.

    Raises
    ------
    ConfigError
        If the node is not enrolled, a setting is wrong, or the port is taken.
    InUseError
        If another process runs on this home.
    """
    stop = stop or threading.Event()
    with home.locked(), _listening(home.config.api_port) as listener:
        service = NodeService(home, keystore)
        # Counted: that the coordinator is away, the node says once.
        stamina.instrumentation.set_on_retry_hooks([service.metrics.retried])
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with _signalled(stop), _served(service, home.token, listener), home.announced(address):
            service.start()
            try:
                ready(address)
                stop.wait()
            finally:
                service.stop()


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; else the body of every answer
    # waits for the acknowledgement of its head, which Linux delays by 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of the loopback API cannot be used: {error.strerror}",
                hint="set api_port in node.toml; 0 picks a free one",
            ) from None
        listener.listen()
        yield listener
    finally:
        listener.close()


@contextmanager
def _served(service: NodeService, token: str, listener: socket.socket) -> Iterator[None]:
    # Its tracebacks end in the text of an error, which may quote a row; the API tells the kind of it instead.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        create_app(service, token),
        http="h11",  # httptools, which would be taken otherwise, knows no end of header lines
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    # Outside the main thread uvicorn leaves the signals to us.
    thread = threading.Thread(target=server.run, args=([listener],), name="fedanomaly-api", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _signalled(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
