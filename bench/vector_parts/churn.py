"""Does a collection still find the nearest after many updates, deletes and a restart?

Half of the rows are given each other's vectors, then 30 percent of all are deleted, all over HTTP.
"""

import argparse
import sys
from pathlib import Path

import attrs
import numpy as np

from bench.load import servers
from bench.load.process import Server
from bench.load.report import Cell, Place
from bench.vector_parts import ours
from bench.vector_parts.data import Data, nearest, recall
from bench.vector_parts.goals import Goal
from bench.vector_parts.outcome import Outcome
from bench.vector_parts.wire import Connection

NAME = "bench"
UPDATED, DELETED = 0.5, 0.3
# Without an ef_search the server chooses.
EFS = {"default ef_search": (None, 0.95), "ef_search 256": (256, 0.99)}


@attrs.define(eq=False)
class Written:
    """What the collection must hold: the vector of each row, and which rows are alive."""

    data: Data
    alive: np.ndarray

    def cells(self, when: str, server: Server) -> list[Cell]:
        """Recall of the server's answers, by every ef."""
        rows = {id_: row for row, id_ in enumerate(self.data.ids)}
        truth = nearest(self.data.base, self.data.queries, np.flatnonzero(self.alive))
        cells = []
        for name, (ef, _) in EFS.items():
            answers = ours.search_all(server, NAME, self.data.queries, ef)
            found = [[rows[id_] for id_ in ids] for ids in answers]
            if not self.alive[np.concatenate(found)].all():
                raise SystemExit(f"{when}: a deleted vector was found")
            cells.append(Cell(Place(when, name, 1), 0, {"recall": recall(found, truth)}))
        return cells


def run(data: Data, arguments: argparse.Namespace) -> Outcome:
    """Fill, update, delete, restart; measure recall after each."""
    where = Path(arguments.directory) / "churn"
    where.mkdir()
    written = Written(data, np.ones(len(data.base), bool))
    cells = []
    with servers.kissvdb(where, name="lane") as server:
        ours.fill(server, NAME, data)
        cells += written.cells("fresh", server)
        print("updating and deleting", file=sys.stderr, flush=True)
        churn(server, written)
        cells += written.cells("updated and deleted, at once", server)
        ours.settle(server, NAME)
        cells += written.cells("updated and deleted, tidied up", server)
        said = ours.look(server, NAME)
    with servers.kissvdb(where, name="lane") as server:
        ours.settle(server, NAME)
        cells += written.cells("after a restart", server)
    if said["count"] != written.alive.sum():
        raise SystemExit(f"{said['count']} vectors are there, not {written.alive.sum()}")
    goals = [
        Goal(
            f"recall@10, {cell.place.target}, {cell.place.group}",
            cell.metrics["recall"],
            EFS[cell.place.target][1],
        )
        for cell in cells
    ]
    return Outcome(cells, goals, servers=[server])


def churn(server: Server, written: Written) -> None:
    """Update and delete, on the server and in what must be there."""
    data = written.data
    random = np.random.default_rng(7)
    some = random.permutation(len(data.base))[: int(UPDATED * len(data.base))]
    vectors = data.base.copy()
    vectors[some] = data.base[np.roll(some, 1)]
    gone = random.permutation(len(data.base))[: int(DELETED * len(data.base))]
    written.data, written.alive[gone] = attrs.evolve(data, base=vectors), False
    with Connection(server) as connection:
        ids, metas = [data.ids[row] for row in some], [data.metas[row] for row in some]
        ours.upsert(connection, NAME, ids, vectors[some], metas)
        ours.delete(connection, NAME, [data.ids[row] for row in gone])
