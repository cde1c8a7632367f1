"""kill -9 under writers of vectors: what was acknowledged is there, what was not may be."""

import random
import threading

import httpx
import pytest

from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

WRITERS = 4
IDS_A_WRITER = 6
SETTINGS = (
    *("--set", "search.compile=false"),
    # Checkpoints all the time, so that some are cut off.
    *("--set", "storage.snapshot_interval_secs=1"),
)


class Writer(threading.Thread):
    """Writes to ids of its own until the server is gone. ``sure`` is what was acknowledged of
    each, ``open`` what was sent last and not answered: (id, value), value None for deleted."""

    def __init__(self, url, number, seed, sure):
        super().__init__()
        self.sure = sure
        self.open = None
        self.acknowledged = 0
        self._url = url
        self._ids = [f"w{number}-{n}" for n in range(IDS_A_WRITER)]
        self._random = random.Random(seed)

    def run(self):
        with httpx.Client(base_url=self._url, timeout=PATIENCE_SECS) as client:
            value = max([0, *(each for each in self.sure.values() if each is not None)])
            try:
                while True:
                    value += 1
                    self._write(client, value)
            except httpx.TransportError:
                return

    def _write(self, client, value):
        id_ = self._random.choice(self._ids)
        if self._random.random() < 0.2:
            self.open = (id_, None)
            answer = client.post("/v1/vector/c/delete", json={"id": id_})
            assert answer.status_code in (200, 404), answer.text
            self.sure[id_] = None
        else:
            self.open = (id_, value)
            body = {"id": id_, "vector": [value, 1], "meta": {"value": value}}
            assert client.post("/v1/vector/c/upsert", json=body).status_code == 200
            self.sure[id_] = value
        self.open = None
        self.acknowledged += 1


def check(client, writers):
    """Every id is as its last acknowledged write left it, or as the one sent after that."""
    total = 0
    for writer in writers:
        for id_, sure in writer.sure.items():
            answer = client.get("/v1/vector/c/get", params={"id": id_})
            found = answer.json()["meta"]["value"] if answer.status_code == 200 else None
            allowed = {sure}
            if writer.open is not None and writer.open[0] == id_:
                allowed.add(writer.open[1])
            assert found in allowed, f"{id_} is {found}, should be one of {allowed}"
            writer.sure[id_] = found
            total += found is not None
            if found is not None:
                assert answer.json()["vector"] == [found, 1]
    counted = client.post("/v1/vector/c/count", json={}).json()["count"]
    # An id whose first write was not answered may be there, too.
    assert total <= counted <= total + WRITERS


def kill_under_writers(tmp_path, rounds, seconds):
    server = ServerProcess(tmp_path / "data", *SETTINGS)
    server.start()
    made = httpx.post(f"{server.url}/v1/vector/c", json={"dim": 2, "metric": "l2"})
    assert made.status_code == 200
    known = [{} for _ in range(WRITERS)]
    try:
        for number in range(rounds):
            writers = [
                Writer(server.url, place, 100 * number + place, known[place])
                for place in range(WRITERS)
            ]
            for writer in writers:
                writer.start()
            # However slow the machine is, something must have been acknowledged.
            writers[0].join(seconds)
            while not any(writer.acknowledged for writer in writers) and writers[0].is_alive():
                writers[0].join(0.02)
            server.kill()
            for writer in writers:
                writer.join()
            server.start()
            with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
                check(client, writers)
                if number % 2:
                    client.post("/v1/vector/c/vacuum")
                    check(client, writers)
            assert sum(writer.acknowledged for writer in writers)
    finally:
        server.kill()


def test_no_acknowledged_vector_is_lost(tmp_path):
    kill_under_writers(tmp_path, rounds=2, seconds=0.5)


@pytest.mark.slow
def test_no_acknowledged_vector_is_lost_in_many_rounds(tmp_path):
    kill_under_writers(tmp_path, rounds=30, seconds=1.5)
