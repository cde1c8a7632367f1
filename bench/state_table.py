"""What storing keys in the table of a state shard costs, by how many are stored at once.

Random keys of a table that has all of them, each once, values of 150 bytes. For each row that is
stored: CPU of the upsert and of the checkpoint after it, and bytes written to the WAL and from
there to the file.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.load import options
from kissvdb.records import Item
from kissvdb.storage.state.table import StateTable

VALUE = b"%150d" % 0
PIECE = 4096
ROUNDS = 3


def store(table, numbers, offset):
    """Upsert keys, given by their numbers in order, as at ``offset``."""
    items = [Item(f"key:{number:09}", VALUE, offset, offset) for number in numbers]
    pairs = [(item.key, item) for item in items]
    pieces = [pairs[first : first + PIECE] for first in range(0, len(pairs), PIECE)]
    began = time.process_time()
    for _ in table.writer.store_steps(pieces, {}, offset):
        pass
    return time.process_time() - began


def measure(table, keys, at_once, offset, random):
    """Print one row: medians of some rounds."""
    found = []
    for number in range(ROUNDS):
        drawn = np.sort(random.choice(keys, at_once, replace=False)).tolist()
        before = table.writer.written_bytes
        stored = store(table, drawn, offset + number)
        began = time.process_time()
        table.writer.checkpoint()
        moved = time.process_time() - began
        found.append((stored, moved, table.writer.written_bytes - before))
    stored, moved, written = np.median(found, axis=0) / at_once
    print(
        f"{keys:>10,} {at_once:>12,} {stored * 1e6:>10.1f} {moved * 1e6:>14.1f} {written:>12,.0f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=options.numbers, default=[200_000, 1_000_000])
    parser.add_argument("--at-once", type=options.numbers, default=[16_384, 65_536, 200_000])
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"))
    asked = parser.parse_args()
    random = np.random.default_rng(15)
    print("      keys      at once  store, us  checkpoint, us  bytes a row")
    for keys in asked.keys:
        with tempfile.TemporaryDirectory(prefix="kissvdb-bench-", dir=asked.dir) as directory:
            table = StateTable(Path(directory) / "state.db")
            store(table, range(keys), 1)
            table.writer.checkpoint()
            for place, at_once in enumerate(asked.at_once):
                measure(table, keys, min(at_once, keys), 2 + place * ROUNDS, random)
            table.close()


if __name__ == "__main__":
    main()
