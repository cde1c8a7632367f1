"""kill -9 under writers of batches: each is there whole or not at all, and known by its key."""

import threading

import httpx
import pytest

from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

WRITERS = 3
SETTINGS = (
    *("--set", "search.compile=false", "--set", "state.shards=2"),
    # Checkpoints all the time, so that some are cut off.
    *("--set", "storage.snapshot_interval_secs=1"),
)


def batch(number, n):
    """Two keys, a document and a vector become ``n``; a batch has a key of its own."""
    return {
        "op_id": f"{number}-{n}",
        "operations": [
            {"op": "put", "key": f"w{number}:a", "value": n},
            {
                "op": "upsert",
                "collection": "c",
                "id": f"w{number}",
                "vector": [n],
                "meta": {"n": n},
            },
            {"op": "doc_put", "collection": "docs", "id": f"w{number}", "doc": {"n": n}},
            {"op": "event", "type": "step", "data": n},
            {"op": "put", "key": f"w{number}:b", "value": n},
        ],
    }


class Writer(threading.Thread):
    """Writes batches until the server is gone. ``sure``: the last that was acknowledged."""

    def __init__(self, url, number, sure):
        super().__init__()
        self.number = number
        self.sure = self.sent = sure
        self.answers = {}
        self._url = url

    def run(self):
        with httpx.Client(base_url=self._url, timeout=PATIENCE_SECS) as client:
            try:
                while True:
                    self.sent += 1
                    answer = client.post("/v1/batch", json=batch(self.number, self.sent))
                    assert answer.status_code == 200, answer.text
                    self.answers[self.sent] = answer.json()
                    self.sure = self.sent
            except httpx.TransportError:
                return


def check(client, writer):
    """Returns how far this writer's batches are."""
    number = writer.number
    rows = client.get("/v1/vector/c/get", params={"id": f"w{number}"})
    paths = (f"state/w{number}:a", f"state/w{number}:b", f"doc/docs/w{number}")
    answers = [client.get(f"/v1/{path}") for path in paths]
    statuses = {each.status_code for each in (rows, *answers)}
    if statuses == {404}:
        assert writer.sure == 0
        return 0
    assert statuses == {200}, statuses
    values = {answers[0].json()["value"], answers[1].json()["value"]}
    values |= {answers[2].json()["doc"]["n"], rows.json()["meta"]["n"]}
    assert len(values) == 1, values
    (found,) = values
    assert writer.sure <= found <= writer.sent
    # Sent again they are answered as they were; what was lost would be done now.
    for n in {writer.sure, found} - {0}:
        again = client.post("/v1/batch", json=batch(number, n)).json()
        assert again["repeated"] is True
        if n in writer.answers:
            assert again == writer.answers[n] | {"repeated": True}
    return found


def kill_under_writers(tmp_path, rounds, seconds):
    server = ServerProcess(tmp_path / "data", *SETTINGS)
    server.start()
    made = httpx.post(f"{server.url}/v1/vector/c", json={"dim": 1, "metric": "l2"})
    assert made.status_code == 200
    sure = [0] * WRITERS
    try:
        for _ in range(rounds):
            writers = [Writer(server.url, place, sure[place]) for place in range(WRITERS)]
            for writer in writers:
                writer.start()
            writers[0].join(seconds)
            # However slow the machine is, something must have been acknowledged.
            while not any(each.answers for each in writers) and writers[0].is_alive():
                writers[0].join(0.02)
            server.kill()
            for writer in writers:
                writer.join()
            assert any(each.answers for each in writers)
            server.start()
            with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
                sure = [check(client, writer) for writer in writers]
    finally:
        server.kill()


def test_no_batch_is_found_in_part(tmp_path):
    kill_under_writers(tmp_path, rounds=2, seconds=0.4)


@pytest.mark.slow
def test_no_batch_is_found_in_part_in_many_rounds(tmp_path):
    kill_under_writers(tmp_path, rounds=30, seconds=1.5)
