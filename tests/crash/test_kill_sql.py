"""kill -9 under writers that mix SQL, documents and keys: each batch is there whole and once."""

import shutil
import sqlite3
import threading
from contextlib import closing

import httpx
import msgspec
import pytest

from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS
from tests.sql.dumping import dump

SETTINGS = (
    *("--set", "search.compile=false", "--set", "state.shards=2"),
    # Checkpoints all the time, so that some are cut off.
    *("--set", "storage.snapshot_interval_secs=1", "--set", "state.checkpoint_pages=50"),
)
SCHEMA = (
    "CREATE TABLE steps(id INTEGER PRIMARY KEY AUTOINCREMENT, writer INT, n INT)",
    "CREATE TABLE writers(writer INT PRIMARY KEY, n INT UNIQUE, steps INT DEFAULT 0) WITHOUT ROWID",
    "CREATE TRIGGER counted AFTER INSERT ON steps BEGIN INSERT INTO writers VALUES"
    " (new.writer, new.n * 1000 + new.writer, 1) ON CONFLICT(writer) DO UPDATE"
    " SET n = excluded.n, steps = steps + 1; END",
)


def insert(number, n, **more):
    sql = "INSERT INTO steps(writer, n) VALUES (?, ?)"
    return {"op": "sql", "sql": sql, "params": [number, n], **more}


def batch(number, n):
    """A row, what its trigger does, a key and a document; the batch has a key of its own."""
    return {
        "op_id": f"{number}-{n}",
        "operations": [
            {"op": "put", "key": f"w{number}", "value": n},
            insert(number, n),
            {"op": "doc_put", "collection": "docs", "id": f"w{number}", "doc": {"n": n}},
        ],
    }


class Writer(threading.Thread):
    """Writes until the server is gone: batches, or, every other one, rows alone, which share
    transactions. ``sure``: the last that was acknowledged."""

    def __init__(self, url, number, sure):
        super().__init__()
        self.number = number
        self.sure = self.sent = sure
        self.mixed = number % 2 == 0
        self._url = url

    def run(self):
        with httpx.Client(base_url=self._url, timeout=PATIENCE_SECS) as client:
            try:
                while True:
                    self.sent += 1
                    answer = self.send(client, self.sent)
                    assert answer.get("status", "ok") == "ok", answer
                    self.sure = self.sent
            except httpx.TransportError:
                return

    def send(self, client, n):
        if self.mixed:
            answer = client.post("/v1/batch", json=batch(self.number, n))
        else:
            line = msgspec.json.encode(insert(self.number, n, op_id=f"{self.number}-{n}"))
            headers = {"content-type": "application/x-ndjson"}
            answer = client.post("/v1/bulk", content=line, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


def check(client, path, writer):
    """Returns how far this writer is: as far by each of the ways to look."""
    number = writer.number
    with closing(sqlite3.connect(f"file:{path / 'sql.db'}?mode=ro", uri=True)) as db:
        steps = db.execute("SELECT n FROM steps WHERE writer = ? ORDER BY id", (number,)).fetchall()
        counted = db.execute("SELECT steps FROM writers WHERE writer = ?", (number,)).fetchone()
    found = len(steps)
    # None is missing, and none is there twice.
    assert [n for (n,) in steps] == list(range(1, found + 1))
    assert (counted or (0,))[0] == found
    assert writer.sure <= found <= writer.sent
    if writer.mixed and found:
        assert client.get(f"/v1/state/w{number}").json()["value"] == found
        assert client.get(f"/v1/doc/docs/w{number}").json()["doc"]["n"] == found
    for n in {writer.sure, found} - {0}:
        assert writer.send(client, n)["repeated"] is True
    return found


def kill_under_writers(tmp_path, writers_count, rounds, seconds):
    path = tmp_path / "data"
    server = ServerProcess(path, *SETTINGS)
    server.start()
    for sql in SCHEMA:
        made = httpx.post(
            f"{server.url}/v1/batch", json={"operations": [{"op": "sql", "sql": sql}]}
        )
        assert made.status_code == 200, made.text
    sure = [0] * writers_count
    try:
        for _ in range(rounds):
            writers = [Writer(server.url, place, sure[place]) for place in range(writers_count)]
            before = list(sure)
            for writer in writers:
                writer.start()
            writers[0].join(seconds)
            # However slow the machine is, something must have been acknowledged.
            while [each.sure for each in writers] == before and writers[0].is_alive():
                writers[0].join(0.02)
            server.kill()
            for writer in writers:
                writer.join()
            assert [each.sure for each in writers] != before
            server.start()
            with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
                sure = [check(client, path, writer) for writer in writers]
        assert server.stop() == 0
        content = dump(path / "sql.db")
        assert len(content["steps"]) == sum(sure)
        # All of it is in the log, and the log ends at the same.
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        (copy / "sql.db").unlink()
        again = ServerProcess(copy, *SETTINGS)
        again.start()
        assert again.stop() == 0
        assert dump(copy / "sql.db") == content
    finally:
        server.kill()


def test_no_row_is_lost_or_doubled(tmp_path):
    kill_under_writers(tmp_path, writers_count=4, rounds=1, seconds=0.4)


@pytest.mark.slow
def test_no_row_of_many_writers_is_lost_or_doubled_in_many_rounds(tmp_path):
    kill_under_writers(tmp_path, writers_count=32, rounds=20, seconds=1.5)
