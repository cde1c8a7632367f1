"""Whole threads: deleted, copied, pruned."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kissvdb.adapters.blobs import prefix_of, put
from kissvdb.adapters.loads import load
from kissvdb.client import Document, Item
from kissvdb.errors import RevisionMismatch
from kissvdb.langgraph.history import needed
from kissvdb.langgraph.keys import Keys, Place, ThreadConflict, Tip, short
from kissvdb.langgraph.writing import ATTEMPTS, Writer


def delete_thread(threads: Writer, thread: str) -> None:
    """The tips at once, so that nothing is there any more, then what they led to. What a new thread
    of this name writes meanwhile is newer, and stays."""
    threads.refuse_past()
    client, keys = threads.client, threads.keys
    until = int(client.ready()["offset"])
    tips = [{"op": "delete", "key": keys.tip(tip.place)} for tip in threads.tips(thread)]
    if tips:
        until = client.batch(tips).last_offset or until
    old = (item for item in client.state.items(keys.thread(thread)) if item.offset <= until)
    _delete(threads, old)
    heads = client.doc.all(keys.name, {"thread": {"$eq": thread}}, fields=["id"])
    _delete_heads(threads, (head for head in heads if head.offset <= until))


def delete_for_runs(threads: Writer, runs: Sequence[str]) -> None:
    """Remove what runs have written; the tip goes back to the newest checkpoint that is left."""
    threads.refuse_past()
    if not runs:
        return
    asked = {"meta.run_id": {"$in": [str(run) for run in runs]}}
    by_place: dict[Place, set[str]] = {}
    for head in threads.client.doc.all(threads.keys.name, asked):
        place = Place(head.doc["thread"], head.doc["ns"])
        by_place.setdefault(place, set()).add(head.doc["id"])
    for place, gone in by_place.items():
        _retreat(threads, place, gone)
        _remove(threads, place, gone)


def _retreat(threads: Writer, place: Place, gone: set[str]) -> None:
    for _ in range(ATTEMPTS):
        tip = threads.tip(place)
        if tip is None or tip.id not in gone:
            return
        key = threads.keys.tip(place)
        left = next((each for each in _ids(threads, tip, "-id") if each not in gone), None)
        try:
            if left is None:
                threads.client.state.delete(key, if_offset=tip.offset)
            else:
                # A patch keeps the time to live.
                patch = {"op": "patch", "key": key, "patch": {"id": left}}
                threads.client.batch([{**patch, "if_offset": tip.offset}])
            return
        except RevisionMismatch:
            continue
    raise ThreadConflict(f"thread {place.thread!r} is written all the time: try again")


def copy_thread(threads: Writer, source: str, target: str) -> None:
    """Parts first, and at last the tips, in one batch: until then the copy is not there."""
    threads.refuse_past()
    tips = list(threads.tips(source))
    if not tips:
        return
    if next(threads.tips(target), None) is not None:
        raise ThreadConflict(f"thread {target!r} exists already: delete it first")
    keys, ttl_ms = threads.keys, threads.part_ms
    before, after = keys.thread(source), keys.thread(target)
    items = threads.client.state.items(before)
    load(
        threads.client,
        (put(after + item.key[len(before) :], item.value, ttl_ms) for item in items),
    )
    operations: list[dict[str, Any]] = []
    for tip in tips:
        place = Place(target, tip.place.ns)
        load(threads.client, _copied_heads(threads, tip, place))
        touched_ms = int(time.time() * 1000)
        value = {"id": tip.id, "life": tip.life, "touched_ms": touched_ms}
        value |= {"thread": target, "ns": place.ns}
        operations.append(put(keys.tip(place), value, threads.tip_ms(place), if_revision=0))
    try:
        threads.client.batch(operations)
    except RevisionMismatch:
        raise ThreadConflict(f"thread {target!r} was begun by somebody else meanwhile") from None


def _copied_heads(threads: Writer, tip: Tip, place: Place) -> Iterator[dict[str, Any]]:
    for head in _heads(threads, tip):
        # What came after the tip was read is not of this copy.
        if head.offset <= tip.offset:
            id = threads.keys.document(place, head.doc["id"])
            operation: dict[str, Any] = {"op": "doc_put", "collection": threads.keys.name, "id": id}
            if threads.part_ms is not None:
                operation["ttl_ms"] = threads.part_ms
            yield {**operation, "doc": {**head.doc, "thread": place.thread}}


def prune(threads: Writer, names: Sequence[str], strategy: str) -> None:
    """See `KissSaver.prune`."""
    threads.refuse_past()
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f"strategy: keep_latest or delete, not {strategy!r}")
    for name in map(str, names):
        if strategy == "delete":
            delete_thread(threads, name)
            continue
        for tip in list(threads.tips(name)):
            _keep_latest(threads, tip)


def _keep_latest(threads: Writer, tip: Tip) -> None:
    place = tip.place
    kept = needed(threads, tip)
    if not kept:
        return
    patch = {"op": "patch", "key": threads.keys.tip(place), "if_offset": tip.offset}
    try:
        # Whoever had read an older checkpoint to go on from there must read again.
        threads.client.batch([{**patch, "patch": {"pruned_ms": int(time.time() * 1000)}}])
    except RevisionMismatch:
        return  # it is in use, and worth pruning again later
    ids = {record.id for record in kept}
    _remove(
        threads, place, {each for each in _ids(threads, tip) if each not in ids and each < tip.id}
    )
    latest = kept[0].checkpoint["channel_versions"]
    used = {
        threads.keys.blob(place, channel, record.checkpoint["channel_versions"][channel])
        for record in kept
        for channel in record.blobs
    }
    prefix = threads.keys.parts(place) + "b:"
    newest = {short(channel): _number(version) for channel, version in latest.items()}
    old = (
        item
        for item in threads.client.state.items(prefix)
        # A version that is newer is of a checkpoint that is being written.
        if item.key not in used and _is_older(item.key[len(prefix) :], newest)
    )
    _delete(threads, old)


def _is_older(name: str, newest: Mapping[str, float]) -> bool:
    channel, version = name.split(":")
    return channel in newest and _number(version) < newest[channel]


def _number(version: Any) -> float:
    try:
        return float(str(version).split(".")[0])
    except ValueError:
        return float("inf")


def _remove(threads: Writer, place: Place, ids: set[str]) -> None:
    """Checkpoints with the writes on top of them."""
    keys, client = threads.keys, threads.client
    heads = (
        {"op": "doc_delete", "collection": keys.name, "id": keys.document(place, id)} for id in ids
    )
    load(client, heads)
    for id in ids:
        record = client.state.get(keys.checkpoint(place, id))
        parts = [] if record is None else [record]
        _delete(threads, [*parts, *client.state.items(keys.writes(place, id))])


def _delete(threads: Writer, items: Iterator[Item] | Sequence[Item]) -> None:
    """Keys, and the pieces of those that have some."""
    load(threads.client, _deletions(threads, items), forgive="revision_mismatch")


def _deletions(threads: Writer, items: Any) -> Iterator[dict[str, Any]]:
    for item in items:
        yield {"op": "delete", "key": item.key, "if_revision": item.revision}
        if isinstance(item.value, dict) and "x" in item.value:
            pieces = prefix_of(item.value, _pieces_beside(threads.keys, item.key))
            for piece in threads.client.state.items(pieces):
                yield {"op": "delete", "key": piece.key}


def _pieces_beside(keys: Keys, key: str) -> str:
    """The prefix of the pieces of a key's place."""
    thread, ns = key.removeprefix(f"{keys.name}:p:").split(":")[:2]
    return f"{keys.name}:p:{thread}:{ns}:x:"


def _delete_heads(threads: Writer, heads: Iterator[Document]) -> None:
    collection = threads.keys.name
    load(
        threads.client,
        ({"op": "doc_delete", "collection": collection, "id": head.id} for head in heads),
    )


def _heads(threads: Writer, tip: Tip, sort: str = "id") -> Iterator[Document]:
    wanted = {"thread": tip.place.thread, "ns": tip.place.ns, "life": tip.life}
    where = {name: {"$eq": value} for name, value in wanted.items()}
    return threads.client.doc.all(threads.keys.name, where, sort=sort)


def _ids(threads: Writer, tip: Tip, sort: str = "id") -> Iterator[str]:
    return (head.doc["id"] for head in _heads(threads, tip, sort))
