"""What a row means: a key, a document or a vector; and the two commands."""

import itertools
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import attrs
import msgspec

from kissvdb.client import Client
from kissvdb.commands.files import reading, writing
from kissvdb.commands.files.bar import Bar
from kissvdb.commands.files.formats import STDIO, format_of
from kissvdb.commands.files.reading import Row, Rows
from kissvdb.errors import NotFound, Refused

# So many may be on their way when a load breaks off: `client.bulk` sends no more at once.
ON_THEIR_WAY_MAX = 2000

Operation = dict[str, Any]
Make = Callable[[str, Row, Namespace], Operation]


def load(client: Client, arguments: Namespace) -> Iterator[Any]:
    """`kissvdb import`."""
    _one_target(arguments)
    with ExitStack() as files:
        rows = _rows(arguments, files)
        load_id = arguments.load_id or os.urandom(8).hex()
        if arguments.vectors is not None:
            rows = _with_collection(client, rows, arguments)
        load = _Load(rows, arguments, load_id)
        try:
            loaded = client.bulk(load.operations(), load_id=load_id, progress=False)
        except BaseException:
            load.end(whole=False)
            raise
        load.end(whole=True)
    for refusal in loaded.refusals:
        number = load.number_of(refusal.number)
        print(f"{number}: {refusal.code}: {refusal.message}", file=sys.stderr)
    yield {"done": loaded.done, "refused": loaded.refused, "offset": loaded.offset}
    if loaded.refused:
        raise Refused(f"refused rows: {loaded.refused}; the others are written")


class _Load:
    """The operations of a load, each with an id of its place in it: done again, the load does
    nothing twice."""

    def __init__(self, rows: Rows, arguments: Namespace, load_id: str) -> None:
        self._rows = rows
        self._arguments = arguments
        self._load_id = load_id
        self._given = arguments.skip
        # Where in the file rows are whose number is not that of their place, as runs: a line that
        # is empty, or a cell of several lines, moves all behind it.
        self._runs: list[tuple[int, int]] = []
        self._bar = Bar("import", rows.part, sys.stderr.isatty())

    def operations(self) -> Iterator[Operation]:
        """Those after ``--skip``."""
        arguments = self._arguments
        make: Make = _key
        if arguments.collection is not None:
            make = _document
        elif arguments.vectors is not None:
            make = _vector
        for number, row in itertools.islice(self._rows.rows, arguments.skip, None):
            if not self._runs or number - self._given != self._runs[-1][1]:
                self._runs.append((self._given, number - self._given))
            operation = make(f"{self._rows.place} {number}", row, arguments)
            operation["op_id"] = f"{self._load_id}-{self._given}"
            self._given += 1
            self._bar.advance()
            yield operation

    def number_of(self, place: int) -> int:
        """The number in the file of the operation at this place of what was sent, from 0 on."""
        place += self._arguments.skip
        return place + next(by for first, by in reversed(self._runs) if first <= place)

    def end(self, whole: bool) -> None:
        """Say how to go on where it broke off."""
        self._bar.end(whole)
        done = max(self._arguments.skip, self._given - ON_THEIR_WAY_MAX)
        if whole or self._given == self._arguments.skip:
            return
        said = f"--load-id {shlex.quote(self._load_id)}" + (f" --skip {done}" if done else "")
        print(
            f"broke off after {self._given} rows were read; to go on, say the same with {said}",
            file=sys.stderr,
        )


def _one_target(arguments: Namespace) -> None:
    if arguments.collection is not None and arguments.vectors is not None:
        raise Refused("--collection is of documents, --vectors of vectors: give one of them")


def _rows(arguments: Namespace, files: ExitStack) -> Rows:
    kind = format_of(arguments.file, arguments.format)
    if kind == "npy":
        if arguments.vectors is None:
            raise Refused("an array holds vectors: give --vectors COLLECTION")
        from kissvdb.commands.files import arrays

        return arrays.read(arguments.file, arguments.ids)
    if arguments.ids is not None:
        raise Refused("--ids goes with an array (.npy): other files have the ids in their rows")
    file = files.enter_context(reading.opened(arguments.file))
    if kind == "csv":
        return reading.table(file, arguments.texts)
    if kind == "parquet":
        from kissvdb.commands.files import parquet

        return parquet.read(file)
    return reading.json_lines(file)


def _with_collection(client: Client, rows: Rows, arguments: Namespace) -> Rows:
    """Make the collection of the first vector's size, if there is none."""
    name = arguments.vectors
    try:
        client.vector.info(name)
        return rows
    except NotFound:
        first = next(rows.rows, None)
        vector = None if first is None else first[1].get("vector")
        if first is None or vector is None:
            raise
        client.vector.create(name, dim=len(vector), metric=arguments.metric)
        return attrs.evolve(rows, rows=itertools.chain([first], rows.rows))


def _key(where: str, row: Mapping[str, Any], arguments: Namespace) -> Operation:
    if "key" not in row or "value" not in row:
        what = "for documents give --collection, for vectors --vectors"
        raise Refused(f"{where}: has no key and value; {what}")
    return {"op": "put", "key": _name(row["key"]), "value": row["value"]}


def _document(where: str, row: Mapping[str, Any], arguments: Namespace) -> Operation:
    # As `export` wrote it, or a document with its id among its fields.
    exported = set(row) == {"id", "doc"}
    id_ = _id(where, row, "id" if exported else arguments.id)
    doc = row["doc"] if exported else dict(row)
    return {"op": "doc_put", "collection": arguments.collection, "id": id_, "doc": doc}


def _vector(where: str, row: Mapping[str, Any], arguments: Namespace) -> Operation:
    made = {"op": "upsert", "collection": arguments.vectors, "id": _id(where, row, arguments.id)}
    for name in ("vector", "meta", "text", "namespace"):
        if row.get(name) is not None:
            made[name] = row[name]
    if "vector" not in made and "text" not in made:
        raise Refused(f"{where}: has neither a vector nor a text")
    taken = {"vector", "meta", "text", "namespace", arguments.id}
    more = {name: value for name, value in row.items() if name not in taken}
    if more:
        # What stands beside them describes the vector.
        meta = made.get("meta", {})
        if not isinstance(meta, dict):
            raise Refused(f"{where}: has fields beside a meta that is no object: put them into it")
        made["meta"] = {**more, **meta}
    return made


def _id(where: str, row: Mapping[str, Any], field: str) -> str:
    if field not in row:
        raise Refused(f"{where}: has no field {field!r}; say which it is with --id")
    name: str = _name(row[field])
    return name


def _name(value: Any) -> Any:
    """A number that stands where a name belongs; what else is none is refused by the server."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return msgspec.json.encode(value).decode() if number else value


def dump(client: Client, arguments: Namespace) -> Iterator[Any]:
    """`kissvdb export`. Yields nothing when the rows go to standard output, as they are it."""
    _one_target(arguments)
    kind = format_of(arguments.output, arguments.format)
    if kind == "npy" and arguments.vectors is None:
        raise Refused("an array holds vectors: give --vectors COLLECTION")
    if arguments.ids is not None and kind != "npy":
        raise Refused("--ids goes with an array (.npy): other files have the ids in their rows")
    to_terminal = arguments.output == STDIO and sys.stdout.isatty()
    if to_terminal and kind in ("npy", "parquet"):
        raise Refused(f"{kind} is nothing for a terminal: give --output FILE")
    bar = Bar("export", lambda: None, sys.stderr.isatty() and not to_terminal)
    rows = _counted(_stored(client, arguments, kind), bar)
    with ExitStack() as files:
        ids = arguments.ids and files.enter_context(writing.created(arguments.ids))
        file = files.enter_context(writing.created(arguments.output))
        first = _COLUMNS["keys"]
        if arguments.collection is not None or arguments.vectors is not None:
            first = _COLUMNS["docs" if arguments.vectors is None else "vectors"]
        if kind == "npy":
            from kissvdb.commands.files import arrays

            arrays.write(rows, file, ids or None)
        elif kind == "parquet":
            from kissvdb.commands.files import parquet

            vectors = None if arguments.vectors is None else "vector"
            parquet.write(rows, file, first, vectors)
        elif kind == "csv":
            writing.table(rows, file, first)
        else:
            writing.json_lines(rows, file)
    bar.end(whole=True)
    return iter(())


_COLUMNS = {"keys": ("key", "value"), "docs": ("id",), "vectors": ("id", "vector")}


def _counted(rows: Iterable[Row], bar: Bar) -> Iterator[Row]:
    for row in rows:
        bar.advance()
        yield row


def _stored(client: Client, arguments: Namespace, kind: str) -> Iterator[Row]:
    if arguments.vectors is not None:
        for each in client.vector.all(
            arguments.vectors, include_meta=True, include_vector=True, include_text=True
        ):
            yield {
                "id": each.id,
                "vector": each.vector,
                **({} if each.meta is None else {"meta": each.meta}),
                **({} if each.text is None else {"text": each.text}),
            }
    elif arguments.collection is None:
        for item in client.state.items(arguments.prefix):
            yield {"key": item.key, "value": item.value}
    else:
        for document in client.doc.all(arguments.collection):
            yield _document_row(document.id, document.doc, kind)


def _document_row(id_: str, doc: Any, kind: str) -> Row:
    """In a table every field is a column, if the document says its id or has no field of that
    name; else, and in lines, the document stands whole beside its id."""
    if kind == "jsonl" or not isinstance(doc, dict) or str(doc.get("id", id_)) != id_:
        return {"id": id_, "doc": doc}
    return {"id": id_, **doc}
