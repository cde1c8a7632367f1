"""Parquet, by pyarrow. A column of one kind of values has the type for it; what differs from row
to row, or has parts, stands as JSON, and the column says so in its metadata."""

import datetime
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from kissvdb.commands.files.formats import missing
from kissvdb.commands.files.reading import Row, Rows
from kissvdb.commands.files.writing import Spool
from kissvdb.errors import Refused

ROWS_AT_ONCE = 4096
# What the metadata of a column says under this name.
MARK = b"kissvdb"
JSON, OPTIONAL = b"json", b"optional"
_INT64 = 2**63
_encode = msgspec.json.encode


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing("pyarrow", "parquet") from None
    return pyarrow


def write(
    rows: Iterable[Row], file: BinaryIO, first: Sequence[str], vectors: str | None = None
) -> None:
    """All rows, in groups of ROWS_AT_ONCE. ``vectors``: the column of float32. Raises Refused
    without pyarrow."""
    pa = _pyarrow()
    spool = Spool(rows, first)
    try:
        schema = _schema(pa, spool, vectors)
        with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _groups(spool):
                columns = [_column(pa, field, group) for field in schema]
                writer.write_batch(pa.record_batch(columns, schema=schema))
    finally:
        spool.close()


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == ROWS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _schema(pa: Any, spool: Spool, vectors: str | None) -> Any:
    kinds: dict[str, set[str]] = {name: set() for name in spool.columns}
    present = dict.fromkeys(spool.columns, 0)
    count = 0
    for row in spool:
        count += 1
        for name, value in row.items():
            kinds[name].add(_kind(value))
            present[name] += 1
    types = {
        frozenset({"bool"}): pa.bool_(),
        frozenset({"int"}): pa.int64(),
        frozenset({"float"}): pa.float64(),
        frozenset({"str"}): pa.string(),
        frozenset({"floats"}): pa.list_(pa.float64()),
    }
    fields = []
    for name, found in kinds.items():
        absent = present[name] < count
        usual = types.get(frozenset(found - {"null"}))
        if name == vectors:
            usual = pa.list_(pa.float32())
        if usual is None or ("null" in found and absent):
            fields.append(pa.field(name, pa.string(), metadata={MARK: JSON}))
        else:
            fields.append(pa.field(name, usual, metadata={MARK: OPTIONAL} if absent else None))
    return pa.schema(fields)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if -_INT64 <= value < _INT64 else "big"
    if isinstance(value, list) and value and all(type(each) is float for each in value):
        return "floats"
    return type(value).__name__


def _column(pa: Any, field: Any, rows: Sequence[Row]) -> Any:
    if (field.metadata or {}).get(MARK) == JSON:
        texts = [_encode(row[field.name]).decode() if field.name in row else None for row in rows]
        return pa.array(texts, field.type)
    return pa.array([row.get(field.name) for row in rows], field.type)


def read(file: BinaryIO) -> Rows:
    """The rows of a Parquet file, ours or another's. Raises Refused without pyarrow."""
    pa = _pyarrow()
    try:
        opened = pa.parquet.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused(f"not Parquet, which is read from a file, no pipe: {error}") from None
    total = opened.metadata.num_rows
    done = [0]
    return Rows(_read(opened, done), "row", lambda: done[0] / total if total else None)


def _read(opened: Any, done: list[int]) -> Iterator[tuple[int, Row]]:
    marks = {field.name: (field.metadata or {}).get(MARK) for field in opened.schema_arrow}
    if len(marks) != len(opened.schema_arrow):
        raise Refused("two columns of the same name")
    for batch in opened.iter_batches(ROWS_AT_ONCE):
        for row in batch.to_pylist():
            done[0] += 1
            yield done[0], _values(done[0], row, marks)


def _values(number: int, row: dict[str, Any], marks: dict[str, bytes | None]) -> Row:
    found = {}
    for name, value in row.items():
        mark = marks[name]
        if value is None and mark is not None:
            continue
        if mark == JSON:
            found[name] = msgspec.json.decode(value)
        else:
            found[name] = _plain(number, name, value)
    return found


def _plain(number: int, name: str, value: Any) -> Any:
    """As JSON has it: times as ISO texts."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused(f"row {number}: {name} is {value}, which JSON cannot hold")
        return value
    if isinstance(value, list):
        return [_plain(number, name, each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(number, name, each) for key, each in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    kind = type(value).__name__
    raise Refused(f"row {number}: {name} holds {kind}: JSON has numbers, texts and lists of them")
