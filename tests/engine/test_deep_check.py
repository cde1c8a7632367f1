"""``kissvdb check --deep`` of a database that ran: with documents, clean and after a crash."""

import sqlite3
from pathlib import Path

from kissvdb.cli import main
from kissvdb.engine.opening import open_database
from tests.engine.test_documents import config

__all__ = ["config"]


def change_a_key(data_dir):
    for table in Path(data_dir).glob("state-*.db"):
        connection = sqlite3.connect(table)
        with connection:
            connection.execute("UPDATE kv SET value = '{}' WHERE key = 'doc:c:d7'")
        connection.close()


async def test_documents_are_compared_with_the_tables_of_keys(config, capsys):
    async with open_database(config) as db:
        for n in range(40):
            await db.put(f"doc:c:d{n}", {"n": n, "title": f"the red house {n}"})
        await db.put("doc:c:d3", {"n": "new"})
        await db.delete("doc:c:d4")
        await db.put("doc:cc:other", 1)
        await db.put("doc:c:dotted", {"a.b": {"c": 1}, "d": {"e.f": {"$g": [1]}}, "": {"": 2}})
        await db.documents.view("c")
    data_dir = config.storage.data_dir
    assert main(["check", "--deep", data_dir]) == 0, capsys.readouterr().out
    change_a_key(data_dir)
    assert main(["check", data_dir]) == 0
    capsys.readouterr()
    assert main(["check", "--deep", data_dir]) == 1
    assert "document 'd7' is not what its key holds" in capsys.readouterr().out
