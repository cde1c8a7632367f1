"""Records of sqllogictest files: read, written and compared.

The format is that of SQLite (https://www.sqlite.org/sqllogictest/doc/trunk/about.wiki): ``statement
ok`` or ``statement error``; ``query <types> <sort>`` with a letter for each column (I, R, T), then
``----`` and the values, one a line, or how many there are and their MD5.
"""

from collections.abc import Iterator, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import attrs

HASH_THRESHOLD = 8
"""Results of more values are kept as their MD5."""


@attrs.frozen
class Record:
    """``kind``: "ok", "error" or "query". ``types`` and ``sort`` ("nosort", "rowsort") are of a
    query; ``expected``: its lines."""

    kind: str
    sql: str
    types: str = ""
    sort: str = "nosort"
    expected: tuple[str, ...] = ()
    line: int = 0


def read(path: Path) -> Iterator[Record]:
    """The records of a file."""
    line = 1
    for block in path.read_text().split("\n\n"):
        lines = [each for each in block.strip("\n").split("\n") if not each.startswith("#")]
        head, *rest = lines or [""]
        words = head.split()
        if words[:1] == ["statement"]:
            yield Record(words[1], "\n".join(rest).strip(), line=line)
        elif words[:1] == ["query"]:
            bar = rest.index("----")
            expected = tuple(each for each in rest[bar + 1 :] if each)
            yield Record("query", "\n".join(rest[:bar]), words[1], words[2], expected, line)
        line += block.count("\n") + 2


def written(record: Record) -> str:
    """A record as text."""
    if record.kind != "query":
        return f"statement {record.kind}\n{record.sql}\n"
    head = f"query {record.types} {record.sort}\n{record.sql}\n----\n"
    return head + "".join(f"{each}\n" for each in record.expected)


def types_of(rows: Sequence[Sequence[Any]], columns: int) -> str:
    """A letter for each column: T where values are of several types, or none is there."""
    found = ""
    for place in range(columns):
        kinds = {type(row[place]) for row in rows} - {type(None)}
        found += {frozenset({int}): "I", frozenset({float}): "R"}.get(frozenset(kinds), "T")
    return found


def lines_of(rows: Sequence[Sequence[Any]], sort: str) -> tuple[str, ...]:
    """The values of a result as the file has them."""
    shown = [[_shown(value) for value in row] for row in rows]
    if sort == "rowsort":
        shown.sort()
    values = [value for row in shown for value in row]
    if len(values) <= HASH_THRESHOLD:
        return tuple(values)
    digest = md5("".join(f"{value}\n" for value in values).encode()).hexdigest()
    return (f"{len(values)} values hashing to {digest}",)


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return "".join(each if " " <= each <= "~" else "@" for each in text) or "(empty)"
