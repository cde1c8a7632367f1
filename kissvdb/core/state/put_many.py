"""Many keys set at once, each for itself, with nothing but keys and values: as columns.

Whoever loads keys does only this. Decided one by one they cost a command, a decision and an answer
each; here every step goes once over all of them, and most of these without the interpreter.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import msgspec

from kissvdb.records import Item, KeyWritten


class DocumentNames(msgspec.Struct, frozen=True):
    """What keys mean that are all of documents of one collection."""

    collection: str
    ids: Sequence[str]


class PutMany(msgspec.Struct, frozen=True):
    """Set ``keys`` to ``values`` (compact JSON), in order. Either all of the keys are those of
    ``documents``, or none means something to the database itself. There is no precondition: only
    a quota refuses one, or a collection too many all, and then nothing of it is done."""

    keys: Sequence[str]
    values: Sequence[bytes]
    documents: DocumentNames | None = None
    op_id: None = None

    @property
    def commands(self) -> Sequence[str]:
        """One for each key."""
        return self.keys


class WrittenMany(msgspec.Struct, frozen=True):
    """The answer: the revision and the offset of each."""

    revisions: Sequence[int]
    offsets: Sequence[int]


class ManyDecision(msgspec.Struct, frozen=True):
    """What was decided: each record's place in the batch, and its revision."""

    positions: Sequence[int]
    revisions: Sequence[int]

    def again(self) -> "ManyDecision":
        """See `batch.Repeatable`. It has no op_id, so nobody repeats it."""
        return self

    def at(self, first_offset: int) -> WrittenMany:
        """The answer once the batch's first record has got ``first_offset``."""
        places = self.positions
        if type(places) is range:
            return WrittenMany(
                self.revisions, range(first_offset + places.start, first_offset + places.stop)
            )
        return WrittenMany(self.revisions, [first_offset + each for each in places])


class Run(msgspec.Struct, frozen=True):
    """What was decided of many puts, as columns: for the view, which has to take it over."""

    start: int
    """The place of the first record among those of the batch; the others follow it."""
    keys: Sequence[str]
    values: Sequence[bytes]
    revisions: Sequence[int]
    replaced: Sequence[Item | KeyWritten | None]
    """What each key was before all of these."""
    repeats: bool
    """Whether a key is there more than once."""
    bytes: int
    """Of keys and values."""
    documents: DocumentNames | None = None
    """What the keys mean, if something."""

    @property
    def records(self) -> list[KeyWritten]:
        """What is to be logged, made anew."""
        return list(map(KeyWritten, self.keys, self.values, self.revisions))


def decide(
    command: PutMany,
    start: int,
    pending: Mapping[str, KeyWritten | None],
    known: Mapping[str, Item | None],
    lookup: Callable[[str], Item | None],
    find_absent: Callable[[Sequence[str]], Set[str]],
) -> Run | None:
    """All of them, where nothing of it has an end: else an old life may have to end first, and
    each is to be decided for itself (None). The parameters are as those of a `StateBatch`;
    ``pending``: what the batch has made of keys so far."""
    keys, values = command.keys, command.values
    replaced: list[Any] = list(map(known.get, keys))
    # A key that is gone is known as None.
    if not all(replaced):
        absent = find_absent(keys)
        replaced = [
            None if key in absent else known[key] if key in known else lookup(key) for key in keys
        ]
    different = set(keys)
    if pending and not pending.keys().isdisjoint(different):
        pairs = zip(keys, replaced, strict=True)
        replaced = [pending.get(key, item) for key, item in pairs]
    ends = [item.expires_at_ms for item in replaced if item is not None]
    if ends.count(None) < len(ends):
        return None
    revisions = [1 if item is None else item.revision + 1 for item in replaced]
    repeats = len(different) < len(keys)
    if repeats:
        newest: dict[str, int] = {}
        for place, key in enumerate(keys):
            newest[key] = revisions[place] = newest.get(key, revisions[place] - 1) + 1
    size = sum(map(len, keys)) + sum(map(len, values))
    return Run(start, keys, values, revisions, replaced, repeats, size, command.documents)
