"""The client through a proxy that cuts, delays and duplicates, to a server that is killed."""

import contextlib
import random
import socket
import threading
import time
from functools import partial

import pytest

from kissvdb.client import Client, Config, Event
from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

WRITES = 50
WRITERS = 3


class Proxy:
    """Between client and server: some connections end before, in the middle of, or after a
    request, some answers are lost, and some requests reach the server twice."""

    def __init__(self, port, seed):
        self._target = ("127.0.0.1", port)
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.tricks = dict.fromkeys(("cut", "lose", "twice", "delay"), 0)
        self.calm = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        connect = partial(socket.create_connection, self._target, timeout=PATIENCE_SECS)
        with contextlib.suppress(OSError), client:  # noqa: SIM117
            with connect() as server:
                server.settimeout(PATIENCE_SECS)
                back = threading.Thread(target=self._back, args=(server, client), daemon=True)
                back.start()
                while data := client.recv(65536):
                    trick = self._trick()
                    if trick == "cut":
                        client.shutdown(socket.SHUT_RDWR)
                        server.sendall(data[: len(data) // 2])
                        break
                    if trick == "twice":
                        self._twice(data)
                    if trick == "delay":
                        time.sleep(0.05)
                    if trick == "lose":
                        # The server gets it, and nobody hears the answer.
                        client.shutdown(socket.SHUT_RDWR)
                    server.sendall(data)
                # Let the answer to what was sent be made.
                server.shutdown(socket.SHUT_WR)
                back.join(PATIENCE_SECS)

    def _trick(self):
        if self.calm.is_set():
            return None
        trick = self._random.choices((None, *self.tricks), (12, 1, 1, 1, 1))[0]
        if trick is not None:
            self.tricks[trick] += 1
        return trick

    def _twice(self, data):
        connect = partial(socket.create_connection, self._target, timeout=PATIENCE_SECS)
        with contextlib.suppress(OSError):  # noqa: SIM117
            with connect() as other:
                other.sendall(data)
                other.settimeout(PATIENCE_SECS)
                other.recv(65536)

    def _back(self, server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))]
)
def test_no_write_is_lost_or_done_twice_and_the_stream_is_whole(tmp_path, seed):
    server = ServerProcess(tmp_path / "data")
    server.start()
    proxy = Proxy(server.port, seed)
    config = Config(url=proxy.url, retries=100, timeout_secs=PATIENCE_SECS)
    offsets, failures, seen = {}, [], []
    done = threading.Event()

    def write(writer):
        try:
            with Client(config=config) as client:
                for n in range(WRITES):
                    offsets[f"{writer}-{n}"] = client.events.publish("mine", f"{writer}-{n}")
        except BaseException as error:
            failures.append(error)

    def follow():
        with Client(config=config) as client, client.stream.events(types=["mine"]) as stream:
            for event in stream:
                seen.append(event)
                if len(seen) == WRITES * WRITERS or done.is_set():
                    return

    reader = threading.Thread(target=follow, daemon=True)
    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    try:
        reader.start()
        for each in writers:
            each.start()
        while len(offsets) < WRITES * WRITERS // 2 and not failures:
            time.sleep(0.01)
        server.kill()
        server.start()
        for each in writers:
            each.join(PATIENCE_SECS)
        assert not failures, failures
        proxy.calm.set()
        reader.join(PATIENCE_SECS)
    finally:
        done.set()
        proxy.close()
        server.kill()
    assert all(isinstance(event, Event) for event in seen)
    assert [event.offset for event in seen] == sorted(offsets.values())
    assert {event.data: event.offset for event in seen} == offsets
    assert min(proxy.tricks.values()) > 0
