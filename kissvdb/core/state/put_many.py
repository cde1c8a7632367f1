"""Many keys set at once, each for itself, with nothing but keys and values: as columns.

Whoever loads keys does only this. Decided one by one they cost a command, a decision and an answer
each; here a record each is what is left.
"""

from collections.abc import Sequence

import msgspec


class PutMany(msgspec.Struct, frozen=True):
    """Set ``keys`` to ``values`` (compact JSON), in order. None of the keys means something to the
    database itself, and there is no precondition: only a quota refuses one, and then nothing of it
    is done."""

    keys: Sequence[str]
    values: Sequence[bytes]
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
