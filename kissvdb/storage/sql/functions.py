"""SQLite's own functions whose time grows with a product of lengths, bounded.

One call of a function cannot be stopped: no handler runs inside it. At a megabyte each, ``instr``
and ``replace`` take 13 s, ``json_patch`` and ``unhex`` minutes (measured, SQLite 3.54). While the
product is small SQLite's own function answers, so that nothing else changes.
"""

from typing import Any

import apsw

from kissvdb.errors import SqliteError

VALUE_BYTES_MAX = 1024 * 1024
"""The longest text, blob or row."""
COMPARED_MAX = 100_000_000
"""Bytes of one argument times bytes of the other: about 5 ms of SQLite's own comparing."""
SET_CHARACTERS_MAX = 64
"""Characters to trim, or to pass over: each is compared at each place."""

_BOUNDED = {
    "instr": (2,),
    "replace": (3,),
    "trim": (2,),
    "ltrim": (2,),
    "rtrim": (2,),
    "unhex": (2,),
    "json_patch": (2,),
    "jsonb_patch": (2,),
}


def bound(db: apsw.Connection) -> None:
    """Put the bounded functions in place of SQLite's own on this connection.

    They may be used in indexes and constraints, as those may.
    """
    plain = apsw.Connection(":memory:")
    plain.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
    for name, arities in _BOUNDED.items():
        for arity in arities:
            db.create_scalar_function(
                name,
                _Bounded(name, arity, plain),
                arity,
                deterministic=True,
                flags=apsw.SQLITE_INNOCUOUS,
            )


class _Bounded:
    """One function. ``plain``: a connection that has SQLite's own."""

    def __init__(self, name: str, arity: int, plain: apsw.Connection) -> None:
        self._name = name
        self._plain = plain
        self._sql = f"SELECT {name}({','.join('?' * arity)})"
        self._compares = name in ("instr", "replace", "json_patch", "jsonb_patch")

    def __call__(self, *args: Any) -> Any:
        if None in args:
            return None
        if not self._compares:
            if _size(args[1]) > SET_CHARACTERS_MAX and len(_text(args[1])) > SET_CHARACTERS_MAX:
                raise SqliteError(
                    f"{self._name}: its second argument has over {SET_CHARACTERS_MAX} characters, "
                    "each of which is compared at each place: use fewer"
                )
        elif _size(args[0]) * _size(args[1]) > COMPARED_MAX:
            return self._long(args)
        return self._plain.execute(self._sql, args).get

    def _long(self, args: tuple[Any, ...]) -> Any:
        """In time that grows with the sum of lengths."""
        if self._name == "instr":
            where, what = args
            if isinstance(where, bytes) and isinstance(what, bytes):
                return where.find(what) + 1
            return _text(where).find(_text(what)) + 1
        if self._name == "replace":
            where, what, new = map(_text, args)
            grows = _size(new) - _size(what)
            if _size(where) + where.count(what) * grows > VALUE_BYTES_MAX:
                raise apsw.TooBigError("string or blob too big")
            return where.replace(what, new)
        raise SqliteError(
            f"{self._name}: {_size(args[0])} bytes times {_size(args[1])} bytes are too many to "
            f"compare, the product may be {COMPARED_MAX}: use smaller values"
        )


def _size(value: Any) -> int:
    """Bytes, about: of a number, as a text."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    return 24


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
