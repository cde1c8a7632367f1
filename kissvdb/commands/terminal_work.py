"""What one does at a terminal with a running server: keys, events, documents, SQL, whole files.

Answers are lines of JSON, one a thing, for people and pipes.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from kissvdb.client import Client, Config, Event, Gap
from kissvdb.client.blocking.events import Subscription
from kissvdb.commands.files import reading, transfer
from kissvdb.errors import KissError, NotFound, Refused

_PATIENT = {"watch", "tail", "import", "export"}
"""They outlive a restart of the server; of the others somebody waits for the answer."""
_RETRIES = 3


def run(name: str, arguments: Namespace) -> int:
    """Do the command of this name."""
    try:
        config = Config.from_env()
        if name not in _PATIENT:
            config = msgspec.structs.replace(config, retries=_RETRIES)
        with Client(arguments.url, arguments.key, config=config) as client:
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
    if not found and not arguments.vectors:
        _tell_other_kind(client, arguments.collection)
    for hit in found:
        said = msgspec.structs.asdict(hit)
        yield {name: value for name, value in said.items() if value is not None}


def _tell_other_kind(client: Client, name: str) -> None:
    """Nothing was found among documents: say so if the collection holds vectors, or is not."""
    try:
        client.doc.info(name)
    except NotFound as error:
        try:
            client.vector.info(name)
        except KissError:
            raise error from None
        raise NotFound(f"{name} is a collection of vectors: search it with --vectors") from None
    except KissError:
        # A key may search and not be told what there is.
        return


def _sql(client: Client, arguments: Namespace) -> Iterator[Any]:
    params = [_value(each) for each in arguments.params]
    first = arguments.statement.lstrip().split(None, 1)[:1]
    if first and first[0].lower() in ("select", "with", "values"):
        yield from client.sql.query(arguments.statement, params)
    else:
        yield {"rows_affected": client.sql.exec(arguments.statement, params)}


def _value(text: str) -> Any:
    if text == "-":
        text = reading.standard_input().read()
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
    "import": transfer.load,
    "export": transfer.dump,
}
