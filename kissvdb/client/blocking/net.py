"""Plain sockets. The other client has the same with anyio."""

import socket
import time

from kissvdb.client.config import Origin

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

    def close(self) -> None:
        """Never waits for the other side."""
        self._sock.close()


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
