"""Plain sockets. The other client has the same with anyio."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

from kissvdb.client.config import Origin
from kissvdb.client.readable import readable

monotonic = time.monotonic
sleep = time.sleep


class Stream:
    """A connected socket, or TLS over one."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes, timeout_secs: float) -> None:
        """Raises OSError and TimeoutError."""
        self._sock.settimeout(max(timeout_secs, 0.001))
        self._sock.sendall(data)

    def receive(self, timeout_secs: float) -> bytes:
        """What has arrived; empty at the end. Raises OSError and TimeoutError."""
        self._sock.settimeout(max(timeout_secs, 0.001))
        return self._sock.recv(65536)

    def is_readable(self) -> bool:
        """Something has arrived, or it has ended."""
        return readable(self._sock.fileno())

    def close(self) -> None:
        """Never waits for the other side."""
        self._sock.close()


Connected = Stream


def connect(origin: Origin, timeout_secs: float) -> Stream:
    """Raises OSError and TimeoutError."""
    sock = socket.create_connection((origin.address, origin.port), max(timeout_secs, 0.001))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.tls:
            # Not above: it takes as long as the sockets, and most servers are near.
            import ssl

            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=origin.address)
    except BaseException:
        sock.close()
        raise
    return Stream(sock)


def shielded(timeout_secs: float) -> nullcontext[None]:
    """Nobody cancels a thread; the other client has something here."""
    return nullcontext()


class Ticking:
    """Something that is done again and again while a block runs, in a thread."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, beat: Callable[[], None], every_secs: float) -> None:
        """A thread that is none of those the process waits for."""
        self._thread = threading.Thread(target=self._run, args=(beat, every_secs), daemon=True)
        self._thread.start()

    def _run(self, beat: Callable[[], None], every_secs: float) -> None:
        while not self._over.wait(every_secs):
            beat()

    def close(self) -> None:
        """No beat is under way when it is closed."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
