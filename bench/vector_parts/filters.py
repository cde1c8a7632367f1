"""What does a filter cost a search, and does it still find the nearest?

Searches of our server with filters on real metadata, beside the same searches without; and the
kernels alone, with random subsets of the rows.
"""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import numpy as np

from bench.load import loop, protocols, report, servers
from bench.load.process import Server
from bench.load.report import Cell, Place
from bench.vector_parts import kernel_filters, ours
from bench.vector_parts.choices import FREE, Choice, choices
from bench.vector_parts.data import Data, nearest, recall
from bench.vector_parts.goals import Goal
from bench.vector_parts.outcome import Outcome
from bench.vector_parts.wire import Connection

NAME = "bench"
GROUP = "filtered"
RECALL_QUERIES = 500
CONNECTIONS = (1, 8)
RECALL_WANTED = 0.97
SPEED_WANTED = 0.2


def run(data: Data, arguments: argparse.Namespace) -> Outcome:
    """Check the answers of every filter, then load the server with each in turn."""
    chosen = list(choices(data))
    where = Path(arguments.directory) / "filters"
    where.mkdir()
    with servers.kissvdb(where, name="lane") as server:
        ours.fill(server, NAME, data)
        recalls = {each.name: _recall(server, each, data) for each in chosen}
        asked = {each.name: _requests(each, data) for each in chosen}
        cells = _load(server, asked, arguments)
    selectivity = {each.name: len(each.rows) / len(data.base) for each in chosen}
    cells = [
        attrs.evolve(
            cell,
            metrics={
                "selectivity": selectivity[cell.place.target],
                "recall": recalls[cell.place.target],
                **cell.metrics,
            },
        )
        for cell in cells
    ]
    names = [each.name for each in chosen if each.name != FREE]
    found = report.ratios(cells, names, "operations_per_s")
    inside, ratios = kernel_filters.measure(data, arguments.rounds)
    goals = _goals(recalls, found)
    texts = {each.name: each.at(0) for each in chosen}
    return Outcome([*cells, *inside], goals, [*found, *ratios], [server], {"filters": texts})


def _goals(recalls: dict[str, float], found: list[report.Ratio]) -> list[Goal]:
    least = min(found, key=lambda each: each.median)
    worst = min(recalls.keys() - {FREE}, key=lambda name: recalls[name])
    slow = f"searches a second of unfiltered, the least: {least.ours}, {least.clients} connections"
    return [
        Goal(f"recall@10 with a filter, the least: {worst}", recalls[worst], RECALL_WANTED),
        Goal(slow, least.median, SPEED_WANTED),
    ]


def _requests(choice: Choice, data: Data) -> list[bytes]:
    made = []
    for i, query in enumerate(data.queries):
        tree = choice.at(i)
        wishes = {} if tree is None else {"filters": quote(protocols.compact(tree).decode())}
        made.append(ours.raw_search(NAME, query, **wishes))
    return made


def _recall(server: Server, choice: Choice, data: Data) -> float:
    """Against exact search among the rows that pass, both by real metadata."""
    rows = {id_: row for row, id_ in enumerate(data.ids)}
    queries = data.queries[:RECALL_QUERIES]
    truth = nearest(data.base, queries, choice.rows)
    with Connection(server) as connection:
        answers = [
            ours.hits(connection.ask(each)) for each in _requests(choice, data)[: len(queries)]
        ]
    found = [[rows[id_] for id_ in ids] for ids in answers]
    wrong = set(np.concatenate([np.array(each, np.int64) for each in found])) - set(choice.rows)
    if wrong:
        raise SystemExit(f"{choice.name}: rows {sorted(wrong)[:5]} were found and do not pass")
    return recall(found, truth)


def _load(
    server: Server, asked: dict[str, list[bytes]], arguments: argparse.Namespace
) -> list[Cell]:
    cells = []
    names = list(asked)
    common: dict[str, Any] = {"seconds": arguments.seconds / 2}
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for connections in CONNECTIONS:
            turn = number % len(names)
            for name in [*names[turn:], *names[:turn]]:
                figures = loop.measure(
                    arguments.loader,
                    server,
                    loop.Workload("http", asked[name], bad=b'"error"'),
                    arguments.directory,
                    connections=connections,
                    **common,
                )
                cells.append(Cell(Place(GROUP, name, connections), number, attrs.asdict(figures)))
    return cells
