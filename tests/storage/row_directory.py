"""A collection with a directory: stored, opened again, and damaged."""

from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.storage.rows import files as row_files
from kissvdb.storage.rows.arrays import RowArrays
from tests.core.row_world import SALT, World, clusters

DIM = 12


def stored_world(directory, kernels=None, **fields):
    kernels = Kernels() if kernels is None else kernels
    spec = CollectionSpec("c", DIM, fields.pop("metric", "cosine"), **fields)
    return World(spec, kernels, Rows(spec, SALT, kernels, RowArrays(directory, 1)))


def save(here, directory):
    """One checkpoint, as the engine does it."""
    work = here.rows.checkpoint()
    work.run()
    row_files.save(directory, here.rows.space, work.manifest, work.indexes)
    here.rows.install(work)
    return work.offset


def reopen(here, directory):
    """The same world on rows that come from the directory and the rest of the log."""
    found = row_files.open_directory(directory)
    rows, warnings = Rows.opened(
        found.manifest, found.indexes, found.damaged, found.arrays, SALT, here.kernels
    )
    rest = [(offset, record) for offset, record in here.log if offset > rows.applied_offset]
    rows.apply_all(rest)
    again = World(here.spec, here.kernels, rows, list(here.log), dict(here.model), here.now_ms)
    return again, warnings


def fill(here, count=200, seed=1):
    vectors = clusters(seed, count, DIM)
    meta = {f"v{n}": b'{"n":%d,"even":%d}' % (n, n % 2 == 0) for n in range(count)}
    here.upsert({f"v{n}": each for n, each in enumerate(vectors)}, meta)
    return vectors


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


def file_of(directory, name):
    (path,) = directory.glob(f"{name}.*")
    return path
