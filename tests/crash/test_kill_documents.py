"""kill -9 under writers of documents: what was acknowledged is there and found, and rows are what
the keys are."""

import random
import threading

import httpx
import pytest
import trio

from kissvdb.config import Config, Search, Storage
from kissvdb.engine.opening import open_database
from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

WRITERS = 3
IDS_A_WRITER = 8
SETTINGS = (
    *("--set", "search.compile=false"),
    # Checkpoints all the time, so that some are cut off.
    *("--set", "storage.snapshot_interval_secs=1"),
)


class Writer(threading.Thread):
    """Writes documents of its own, one by one or several at once, until the server is gone.

    ``sure`` is what was acknowledged of each, ``open`` what was sent last and not answered.
    """

    def __init__(self, url, number, seed, sure):
        super().__init__()
        self.sure = sure
        self.open = {}
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
        ids = self._random.sample(self._ids, self._random.choice((1, 1, 5)))
        if self._random.random() < 0.2:
            self.open = dict.fromkeys(ids[:1])
            answer = client.delete(f"/v1/state/doc:c:{ids[0]}")
        elif len(ids) == 1:
            self.open = {ids[0]: value}
            answer = client.put(f"/v1/state/doc:c:{ids[0]}", json={"value": {"n": value}})
        else:
            self.open = dict.fromkeys(ids, value)
            operations = [{"key": f"doc:c:{id_}", "value": {"n": value}} for id_ in ids]
            answer = client.post("/v1/state/batch_put", json={"operations": operations})
        assert answer.status_code == 200, answer.text
        self.sure.update(self.open)
        self.open = {}
        self.acknowledged += 1


async def look(directory):
    """The documents as rows have them and as keys have them, in the directory of a dead server."""
    config = Config(storage=Storage(data_dir=str(directory)), search=Search(compile=False))
    async with open_database(config) as db:
        keys, after = {}, None
        while True:
            page = await db.list("doc:c:", limit=1000, after=after)
            keys.update({item.key.removeprefix("doc:c:"): item for item in page.items})
            after = page.cursor
            if after is None:
                break
        view = await db.documents.view("c")
        return {row.id: row for row in view.scroll(limit=10**6)}, keys


def check(directory, writers):
    rows, keys = trio.run(look, directory)
    assert set(rows) == set(keys)
    for id_, row in rows.items():
        item = keys[id_]
        assert (row.meta, row.revision, row.offset) == (item.value, item.revision, item.offset)
    for writer in writers:
        for id_ in {*writer.sure, *writer.open}:
            found = int(rows[id_].meta[5:-1]) if id_ in rows else None
            allowed = {writer.sure.get(id_)}
            if id_ in writer.open:
                allowed.add(writer.open[id_])
            assert found in allowed, f"{id_} is {found}, should be one of {allowed}"
            writer.sure[id_] = found


def kill_under_writers(tmp_path, rounds, seconds):
    server = ServerProcess(tmp_path / "data", *SETTINGS)
    known = [{} for _ in range(WRITERS)]
    try:
        for number in range(rounds):
            server.start()
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
            check(server.directory, writers)
            assert sum(writer.acknowledged for writer in writers)
    finally:
        server.kill()


def test_no_acknowledged_document_is_lost(tmp_path):
    kill_under_writers(tmp_path, rounds=1, seconds=1.3)


@pytest.mark.slow
def test_no_acknowledged_document_is_lost_in_many_rounds(tmp_path):
    kill_under_writers(tmp_path, rounds=30, seconds=1.5)
