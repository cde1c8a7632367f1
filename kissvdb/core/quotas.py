"""What a key may use: rates of its own, and how much its scope may hold.

A quota counts what the scope of a key holds, whoever wrote it: keys with their documents, and
vectors. A write with that key which would make it more than the quota is refused before it is
logged.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Self
from weakref import WeakSet

import attrs
import msgspec

from kissvdb.core.grants import Grants
from kissvdb.core.state.reserved_keys import (
    DOCUMENT_PREFIX,
    SETTINGS_PREFIX,
    document_prefix,
    settings_key,
)
from kissvdb.errors import MistypedField, QuotaExceeded, StillCounting

NUMBER_MAX = 2**53
"""What JavaScript can still say exactly."""


class KeyLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of one key. None: as the configuration says (rates), or none (quotas). 0: of rates no
    limit, of quotas nothing at all."""

    requests_per_sec: int | None = None
    requests_burst: int | None = None
    body_bytes_per_sec: int | None = None
    body_bytes_burst: int | None = None
    searches_max: int | None = None
    streams_max: int | None = None
    rows_max: int | None = None
    bytes_max: int | None = None

    @classmethod
    def from_json(cls, value: Any, name: str = "limits") -> Self:
        """Of ``{"requests_per_sec": 10, ...}``. Raises MistypedField."""
        if not isinstance(value, Mapping):
            raise MistypedField(f"{name}: expected an object of numbers")
        for field, number in value.items():
            if field not in cls.__struct_fields__:
                raise MistypedField(f"{name}.{str(field)[:64]}: unknown; {_meant(cls, str(field))}")
            if number is not None and (type(number) is not int or not 0 <= number <= NUMBER_MAX):
                raise MistypedField(f"{name}.{field}: must be an integer from 0 to {NUMBER_MAX}")
        return cls(**value)

    def to_json(self) -> dict[str, int]:
        """What `from_json` reads, without what is not limited."""
        said = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: number for name, number in said.items() if number is not None}

    @property
    def counts(self) -> bool:
        """Whether it has to be known how much the scope holds."""
        return self.rows_max is not None or self.bytes_max is not None


def _meant(of: type[KeyLimits], field: str) -> str:
    near = get_close_matches(field, of.__struct_fields__, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(of.__struct_fields__)}"


class Amount(msgspec.Struct, frozen=True):
    """So many rows, and their bytes."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.rows + other.rows, self.bytes + other.bytes)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.rows - other.rows, self.bytes - other.bytes)


NOTHING = Amount()


def check(limits: KeyLimits, used: Amount, asked: Amount) -> None:
    """Raises QuotaExceeded when ``asked`` on top of ``used`` is more than the limits.

    What makes nothing more is always let in, also when there is too much already.
    """
    for what, most in (("rows", limits.rows_max), ("bytes", limits.bytes_max)):
        now, more = getattr(used, what), getattr(asked, what)
        if most is not None and more > 0 and now + more > most:
            raise QuotaExceeded(
                f"an API key's scope may hold {most} {what}; it holds {now} and this asks for "
                f"{more} more: delete something first, or have the key's {what}_max raised",
                what=what,
                used=now,
                asked=more,
                limit=most,
            )


@attrs.frozen
class Scope:
    """Which keys of the state count, as names and beginnings of names that do not overlap."""

    names: frozenset[str]
    starts: tuple[str, ...]

    @classmethod
    def of(cls, grants: Grants | None) -> Self:
        """All keys that ``grants`` allow: state, documents, settings of documents."""
        if grants is None:
            return cls(frozenset(), ("",))
        names, starts = _split(grants.keys)
        documents, begun = _split(grants.documents)
        starts |= {document_prefix(each) for each in documents}
        names |= {settings_key(each) for each in documents}
        # No document, but granted with them: see `Grants.may_key`.
        names |= {DOCUMENT_PREFIX + each for each in documents}
        starts |= {DOCUMENT_PREFIX + each for each in begun}
        starts |= {SETTINGS_PREFIX + each for each in begun}
        kept: list[str] = []
        for start in sorted(starts):
            if not (kept and start.startswith(kept[-1])):
                kept.append(start)
        covered = tuple(kept)
        return cls(frozenset(name for name in names if not name.startswith(covered)), covered)

    def has(self, key: str) -> bool:
        """Whether the key counts."""
        return key.startswith(self.starts) or key in self.names


def _split(patterns: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Patterns as names and beginnings."""
    names = {each for each in patterns if not each.endswith("*")}
    return names, {each[:-1] for each in patterns if each.endswith("*")}


def key_bytes(key: str, value: bytes) -> int:
    """What a key of the state counts: its name in UTF-8 and its value as JSON."""
    return (len(key) if key.isascii() else len(key.encode("utf-8", "surrogatepass"))) + len(value)


class Ledger:
    """What the scope of one key holds, and may hold. Lives on the event loop.

    ``used`` counts keys; what vectors there are, ``vectors`` tells, of the collections that the
    grants allow. Until ``ready`` it is not known what there is.
    """

    def __init__(
        self, limits: KeyLimits, grants: Grants | None, vectors: Callable[[Grants | None], Amount]
    ) -> None:
        self.limits = limits
        self.grants = grants
        self.scope = Scope.of(grants)
        self.used = NOTHING
        self.ready = False
        self._vectors = vectors
        # Of batches that are decided and not yet settled; one that is given up by a crash goes by
        # itself.
        self._growths: WeakSet[Growth] = WeakSet()

    def total(self) -> Amount:
        """All that the scope holds, and what is about to be written into it."""
        found = self.used + self._vectors(self.grants)
        for growth in self._growths:
            found += growth.of(self)
        return found

    def admit(self, asked: Amount, growth: "Growth") -> None:
        """Raises QuotaExceeded, and StillCounting while it is not known what there is."""
        if asked.rows > 0 or asked.bytes > 0:
            if not self.ready:
                raise StillCounting(
                    "what the scope of an API key holds is still being counted for its quota: "
                    "retry in a moment"
                )
            check(self.limits, self.total(), asked)
        self._growths.add(growth)

    def may_vectors(self, collection: str) -> bool:
        """Whether vectors of this collection count."""
        return self.grants is None or self.grants.may_vectors(collection)


class Growth:
    """By how much one batch of decided commands makes each scope larger, until it is installed."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers
        self._amounts: dict[Ledger, Amount] = {}

    def of(self, ledger: Ledger) -> Amount:
        """What the batch adds so far."""
        return self._amounts.get(ledger, NOTHING)

    def of_key(self, key: str, old: bytes | None, new: bytes | None) -> None:
        """A key gets another value; None: there is none. Raises QuotaExceeded."""
        change = _amount_of(key, new) - _amount_of(key, old)
        self._add([each for each in self._ledgers if each.scope.has(key)], change)

    def of_vector(self, collection: str, rows: int, bytes_: int) -> None:
        """Rows of a collection come or go. Raises QuotaExceeded."""
        ledgers = [each for each in self._ledgers if each.may_vectors(collection)]
        self._add(ledgers, Amount(rows, bytes_))

    def _add(self, ledgers: Sequence[Ledger], change: Amount) -> None:
        for ledger in ledgers:
            ledger.admit(change, self)
        for ledger in ledgers:
            self._amounts[ledger] = self.of(ledger) + change

    def mark(self) -> dict[Ledger, Amount]:
        """Where to go `back` to."""
        return self._amounts.copy()

    def back(self, mark: dict[Ledger, Amount]) -> None:
        """What came since the mark was refused."""
        self._amounts = mark

    def settle(self) -> None:
        """It is installed, and counted where it is now; or it never will be."""
        self._amounts = {}


def _amount_of(key: str, value: bytes | None) -> Amount:
    return NOTHING if value is None else Amount(1, key_bytes(key, value))


def vector_bytes(vector: bytes, meta: bytes | None, text: str | None) -> int:
    """What a row of a collection counts when it is written. The row before it counts, too, until a
    vacuum."""
    return len(vector) + len(meta or b"") + len((text or "").encode("utf-8", "surrogatepass"))
