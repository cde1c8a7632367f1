"""What one does at a terminal with a running server: keys, events, documents, SQL, whole files.

Answers are lines of JSON, one a thing, for people and pipes.
"""

import csv
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import msgspec

from kissvdb.client import Client, Config, Event, Gap
from kissvdb.client.blocking.events import Subscription
from kissvdb.errors import NotFound, Refused


def run(name: str, arguments: Namespace) -> int:
    """Do the command of this name."""
    try:
        with Client(arguments.url, arguments.key, config=Config.from_env()) as client:
            for line in _COMMANDS[name](client, arguments):
                text = line if isinstance(line, str) else msgspec.json.encode(line).decode()
                # Followed through a pipe, each is wanted now.
                print(text, flush=True)
    except ValueError as error:
        raise Refused(str(error)) from error
    return 0


def _get(client: Client, arguments: Namespace) -> Iterator[Any]:
    item = client.state.get(arguments.name, at=arguments.at)
    if item is None:
        raise NotFound(f"no such key: {arguments.name}")
    yield item.value


def _put(client: Client, arguments: Namespace) -> Iterator[Any]:
    ttl_ms = None if arguments.ttl is None else int(arguments.ttl * 1000)
    value = _value(arguments.value)
    yield client.state.put(arguments.name, value, ttl_ms=ttl_ms, if_revision=arguments.if_revision)


def _delete(client: Client, arguments: Namespace) -> Iterator[Any]:
    for name in arguments.names:
        yield client.state.delete(name)


def _list(client: Client, arguments: Namespace) -> Iterator[Any]:
    for item in client.state.items(arguments.prefix):
        yield item.key if arguments.names else item


def _publish(client: Client, arguments: Namespace) -> Iterator[Any]:
    data = _value(arguments.data)
    offset = client.events.publish(arguments.type, data, key=arguments.about, tags=arguments.tag)
    yield {"offset": offset}


def _watch(client: Client, arguments: Namespace) -> Iterator[Any]:
    return _told(client.stream.events(since="now", key_prefix=arguments.prefix or None), None)


def _tail(client: Client, arguments: Namespace) -> Iterator[Any]:
    types = arguments.types.split(",") if arguments.types else ()
    return _told(client.stream.events(since=arguments.since, types=types), arguments.count)


def _told(stream: Subscription, count: int | None) -> Iterator[Any]:
    with stream:
        for event in stream:
            if isinstance(event, Gap):
                yield {"type": "gap", **msgspec.structs.asdict(event)}
                continue
            assert isinstance(event, Event)
            yield event
            if count is not None:
                count -= 1
                if count <= 0:
                    return


def _find(client: Client, arguments: Namespace) -> Iterator[Any]:
    left = arguments.limit
    for document in client.doc.all(arguments.collection, arguments.filter):
        if left is not None:
            if left <= 0:
                return
            left -= 1
        yield document


def _search(client: Client, arguments: Namespace) -> Iterator[Any]:
    more = {} if arguments.filters is None else {"filters": arguments.filters}
    if arguments.vectors:
        found = client.vector.search(
            arguments.collection, text=arguments.text, k=arguments.k, include_text=True, **more
        )
    else:
        found = client.doc.search(arguments.collection, arguments.text, arguments.k, **more)
    for hit in found:
        said = msgspec.structs.asdict(hit)
        yield {name: value for name, value in said.items() if value is not None}


def _sql(client: Client, arguments: Namespace) -> Iterator[Any]:
    params = [_value(each) for each in arguments.params]
    first = arguments.statement.lstrip().split(None, 1)[:1]
    if first and first[0].lower() in ("select", "with", "values"):
        yield from client.sql.query(arguments.statement, params)
    else:
        yield {"rows_affected": client.sql.exec(arguments.statement, params)}


def _import(client: Client, arguments: Namespace) -> Iterator[Any]:
    with _opened(arguments.file) as file:
        rows = csv.DictReader(file) if arguments.file.endswith(".csv") else _json_lines(file)
        make = _document if arguments.collection else _key
        operations = (make(number, row, arguments) for number, row in enumerate(rows, 1))
        loaded = client.bulk(operations, load_id=arguments.load_id)
    for refusal in loaded.refusals:
        print(f"{refusal.number + 1}: {refusal.code}: {refusal.message}", file=sys.stderr)
    yield {"done": loaded.done, "refused": loaded.refused, "offset": loaded.offset}


def _export(client: Client, arguments: Namespace) -> Iterator[Any]:
    if arguments.collection is None:
        for item in client.state.items(arguments.prefix):
            yield {"key": item.key, "value": item.value}
        return
    for document in client.doc.all(arguments.collection):
        yield {"id": document.id, "doc": document.doc}


def _opened(name: str) -> TextIO:
    return sys.stdin if name == "-" else Path(name).open(encoding="utf-8", newline="")


def _json_lines(file: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise Refused(f"line {number}: not a JSON object: {error}") from error


def _key(number: int, row: Mapping[str, Any], arguments: Namespace) -> dict[str, Any]:
    if "key" not in row or "value" not in row:
        raise Refused(f"line {number}: has no key and value; for documents give --collection")
    return {"op": "put", "key": row["key"], "value": row["value"]}


def _document(number: int, row: Mapping[str, Any], arguments: Namespace) -> dict[str, Any]:
    # As `export` wrote it, or a document with its id among its fields.
    exported = set(row) == {"id", "doc"}
    if not exported and arguments.id not in row:
        raise Refused(f"line {number}: has no field {arguments.id!r}; say which it is with --id")
    id_, doc = (row["id"], row["doc"]) if exported else (row[arguments.id], dict(row))
    return {"op": "doc_put", "collection": arguments.collection, "id": str(id_), "doc": doc}


def _value(text: str) -> Any:
    if text == "-":
        text = sys.stdin.read()
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


_COMMANDS: dict[str, Callable[[Client, Namespace], Iterable[Any]]] = {
    "get": _get,
    "put": _put,
    "del": _delete,
    "ls": _list,
    "publish": _publish,
    "watch": _watch,
    "tail": _tail,
    "find": _find,
    "search": _search,
    "sql": _sql,
    "import": _import,
    "export": _export,
}
