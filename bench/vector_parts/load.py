"""How long does it take to load all vectors with their metadata, and to find them?

Requests are made beforehand, except where a way is called "from numpy" or "client": there what a
Python program has, arrays and dicts, is encoded within the time. A load is over when its last
request is answered; then one search asks for the last row.
"""

import argparse
import base64
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec

from bench.load import protocols, report, servers
from bench.load.closed_loop import cpu_seconds
from bench.load.process import NotInstalled, Server
from bench.load.report import Cell, Place
from bench.vector_parts import chroma, milvus, ours
from bench.vector_parts import servers as peers
from bench.vector_parts.data import Data
from bench.vector_parts.goals import Goal, ratio
from bench.vector_parts.outcome import Outcome
from bench.vector_parts.wire import Connection

GROUP = "load"
BODY_BYTES_MAX = 1 << 20
CHROMA_BATCHES = (500, 1000, 5000)
MILVUS_BATCH = 1000
OURS = (
    "lane bulk JSON",
    "lane bulk base64",
    "lane bulk msgpack",
    "lane batch JSON",
    "lane batch base64",
    "lane batch msgpack",
    "lane batch raw",
    "lane batch raw from numpy",
)


@attrs.frozen
class Way:
    """A way to load one server.

    ``ready`` makes a collection and what is to be sent; ``load`` sends it all; ``find`` answers
    the ids near a vector; ``index`` waits until everything is indexed, and answers the seconds
    that it took; ``drop`` deletes it.
    """

    name: str
    server: Server
    ready: Callable[[str], Any]
    load: Callable[[Any], None]
    find: Callable[[str, Any, Any], list[str]]
    index: Callable[[str, Any], float]
    drop: Callable[[str], None]


def run(data: Data, arguments: argparse.Namespace) -> Outcome:
    """Load every server in every way, in turn."""
    cells: list[Cell] = []
    with ExitStack() as stack:
        ways = list(start(stack, data, arguments))
        for number in range(arguments.loads):
            turn = number % max(1, len(ways))
            for way in [*ways[turn:], *ways[:turn]]:
                print(f"round {number + 1}: {way.name}", file=sys.stderr, flush=True)
                metrics = measure(way, data, f"load{number}")
                cells.append(Cell(Place(GROUP, way.name, 1), number, metrics))
    found = report.ratios(cells, OURS, "rows_per_s") + report.ratios(cells, OURS, "found_per_s")
    used = list({way.server.name: way.server for way in ways}.values())
    return Outcome(cells, _goals(cells), found, used)


def measure(way: Way, data: Data, name: str) -> dict[str, float]:
    """Load once. Rates are rows a second until answered, found, and indexed."""
    rows = len(data.ids)
    sent = way.ready(name)
    pids = way.server.pids()
    cpu_before, began = cpu_seconds(pids), time.perf_counter()
    way.load(sent)
    loaded = time.perf_counter()
    ids = way.find(name, sent, data.base[-1])
    found = time.perf_counter()
    if data.ids[-1] not in ids:
        raise SystemExit(f"{way.name}: the last row was answered but is not found")
    index_s = way.index(name, sent)
    cpu_s = cpu_seconds(pids) - cpu_before
    way.drop(name)
    return {
        "rows_per_s": rows / (loaded - began),
        "found_per_s": rows / (found - began),
        "indexed_per_s": rows / (found + index_s - began),
        "cpu_us": cpu_s * 1e6 / rows,
    }


def start(stack: ExitStack, data: Data, arguments: argparse.Namespace) -> Iterator[Way]:
    """Start the servers that are installed; every way to load each."""
    starters: dict[str, tuple[Any, Any]] = {
        "lane": (lambda where: servers.kissvdb(where, name="lane"), _ours),
        "chroma": (peers.chroma, _chroma),
        "milvus-lite": (peers.milvus, _milvus),
    }
    for name, (starter, ways) in starters.items():
        if arguments.skip and arguments.skip in name:
            continue
        where = Path(arguments.directory) / f"load-{name}"
        where.mkdir()
        try:
            server = stack.enter_context(starter(where))
        except NotInstalled as missing:
            print(f"skipped: {missing}", flush=True)
            continue
        yield from ways(server, data)


def _ours(server: Server, data: Data) -> Iterator[Way]:
    def created(requests: Callable[[str], Iterator[bytes]], name: str) -> Iterator[bytes]:
        with Connection(server) as connection:
            ours.create(connection, name, data.base.shape[1])
        return requests(name)

    def send(requests: Iterator[bytes]) -> None:
        with Connection(server) as connection:
            for request in requests:
                answer = connection.ask(request)
                if b'"error"' in answer:
                    raise SystemExit(f"the server refused vectors: {answer[:500]!r}")

    def find(name: str, sent: Any, vector: Any) -> list[str]:
        with Connection(server) as connection:
            return ours.hits(connection.ask(ours.raw_search(name, vector)))

    def drop(name: str) -> None:
        with Connection(server) as connection:
            ours.drop(connection, name)

    def way(label: str, requests: Callable[[str], Iterator[bytes]], beforehand: bool = True) -> Way:
        def ready(name: str) -> Any:
            made = created(requests, name)
            return list(made) if beforehand else made

        return Way(f"lane {label}", server, ready, send, find, index, drop)

    def index(name: str, sent: Any) -> float:
        return ours.settle(server, name)

    def raw(name: str) -> Iterator[bytes]:
        return ours.raw_batches(name, data.ids, data.base, data.metas)

    for form in ("JSON", "base64", "msgpack"):
        yield way(f"bulk {form}", partial(_bulk, data, form))
    for form in ("JSON", "base64", "msgpack"):
        yield way(f"batch {form}", partial(_batches, data, form))
    yield way("batch raw", raw)
    yield way("batch raw from numpy", raw, beforehand=False)


def _items(data: Data, form: str, name: str | None = None) -> Iterator[bytes]:
    """The rows one by one, as members of a batch, or as lines of a bulk load of ``name``."""
    encode = msgspec.msgpack.encode if form == "msgpack" else msgspec.json.encode
    start = {} if name is None else {"op": "upsert", "collection": name}
    for id_, vector, meta in zip(data.ids, data.base, data.metas, strict=True):
        if form == "JSON":
            sent: Any = ours.numbers(vector)
        else:
            sent = vector.astype("<f4").tobytes()
            if form == "base64":
                sent = base64.b64encode(sent).decode()
        yield encode({**start, "id": id_, "vector": sent, "meta": meta})


def _batches(data: Data, form: str, name: str) -> Iterator[bytes]:
    """upsert_batch requests, of as many items as are allowed and fit into a body."""
    media = ours.MSGPACK if form == "msgpack" else protocols.JSON

    def request(items: list[bytes]) -> bytes:
        if form == "msgpack":
            # {"items": [...]}: a map of one, its key, an array of up to 65,535.
            body = b"\x81\xa5items\xdc" + len(items).to_bytes(2, "big") + b"".join(items)
        else:
            body = b'{"items":[%b]}' % b",".join(items)
        return protocols.http("POST", f"/v1/vector/{name}/upsert_batch", body, media)

    batch: list[bytes] = []
    size = 0
    for item in _items(data, form):
        if len(batch) == ours.BATCH or size + len(item) + 100 > BODY_BYTES_MAX:
            yield request(batch)
            batch, size = [], 0
        batch.append(item)
        size += len(item) + 1
    yield request(batch)


def _bulk(data: Data, form: str, name: str) -> Iterator[bytes]:
    """All rows in one request to /v1/bulk; only errors are answered, and the end."""
    end, media = (b"", ours.MSGPACK) if form == "msgpack" else (b"\n", protocols.BULK)
    body = b"".join(item + end for item in _items(data, form, name))
    yield protocols.http("POST", "/v1/bulk?answers=errors", body, media)


def _chroma(server: Server, data: Data) -> Iterator[Way]:
    metas = chroma.documents(data)

    def find(name: str, sent: Any, vector: Any) -> list[str]:
        with Connection(server) as connection:
            return chroma.hits(connection.ask(chroma.search(sent[0], vector)))

    def by_client(batch: int, name: str) -> Any:
        return (chroma.create(server, name), batch)

    def by_requests(batch: int, name: str) -> Any:
        made = chroma.create(server, name)
        return (made, list(chroma.add_requests(made, data, metas, batch)))

    def add(sent: Any) -> None:
        chroma.add(sent[0], data, metas, sent[1])

    def send(sent: Any) -> None:
        with Connection(server) as connection:
            for request in sent[1]:
                connection.ask(request)

    def index(name: str, sent: Any) -> float:
        return 0.0  # it indexes while it adds

    rest = (find, index, partial(chroma.drop, server))
    for batch in CHROMA_BATCHES:
        yield Way(f"chroma client, {batch}", server, partial(by_client, batch), add, *rest)
    batch = CHROMA_BATCHES[1]
    yield Way(f"chroma JSON, {batch}", server, partial(by_requests, batch), send, *rest)


def _milvus(server: Server, data: Data) -> Iterator[Way]:
    def ready(name: str) -> Any:
        return (milvus.create(server, name, data.base.shape[1]), name)

    def insert(sent: Any) -> None:
        client, name = sent
        milvus.insert(client, name, data, MILVUS_BATCH)

    def find(name: str, sent: Any, vector: Any) -> list[str]:
        return milvus.find(server, [milvus.search(name, vector, 64)])[0]

    def drop(name: str) -> None:
        from pymilvus import MilvusClient

        MilvusClient(uri=f"http://127.0.0.1:{server.port}").drop_collection(name)

    def index(name: str, sent: Any) -> float:
        began = time.perf_counter()
        milvus.index(sent[0], name)
        return time.perf_counter() - began

    yield Way(f"milvus-lite client, {MILVUS_BATCH}", server, ready, insert, find, index, drop)


def _goals(cells: list[Cell]) -> list[Goal]:
    found = report.ratios(cells, OURS, "found_per_s")
    clients = dict.fromkeys(each.peer for each in found if each.peer.startswith("chroma client"))
    best, same = "lane batch raw from numpy", f"chroma JSON, {CHROMA_BATCHES[1]}"
    to_clients = [ratio(found, GROUP, best, peer) for peer in clients]
    known = [each for each in to_clients if each is not None]
    return [
        Goal(f"{best} / chroma client, its best batch", min(known, default=None), 5.0),
        *(
            Goal(f"{ours_} / {same}", ratio(found, GROUP, ours_, same), 5.0)
            for ours_ in ("lane batch JSON", "lane bulk JSON")
        ),
    ]
