"""The database at one offset, for one statement: what the virtual tables read."""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import apsw
import attrs

from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.tables.keys import Keys
from kissvdb.engine.tables.sight import Bounds, check_documents, check_vectors
from kissvdb.engine.vectors.collection import no_such_collection
from kissvdb.errors import InvalidArgument

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.rows.view import RowsView

ANSWERS_KEPT = 16
"""Searches with the same arguments, in one statement, are done once: a join may ask for one again
and again."""


@attrs.define(eq=False)
class Snapshot:
    """Everything a statement may read, as of ``offset``. For one thread; `close` it.

    ``documents`` and ``vectors``: views of the collections that the statement names. ``keys``: None
    if it reads none. ``embed``: the vector of a text for a collection, float32, from the thread.
    """

    offset: int
    keys: Keys | None
    documents: Mapping[str, "RowsView"]
    vectors: Mapping[str, "RowsView"]
    log: EventLog
    bounds: Bounds
    embed: Callable[[CollectionSpec, str], bytes]
    names: Set[str] = frozenset()
    """What the statement names: no other collection is among the views."""
    held: Sequence[Callable[[], None]] = ()
    """To be called at the end."""
    _answers: dict[Any, Any] = attrs.field(factory=dict, init=False)

    def check(self) -> None:
        """Raises apsw.InterruptError where the statement has to end."""
        if self.bounds.is_over():
            raise apsw.InterruptError("interrupted")

    def of_documents(self, collection: str) -> "RowsView | None":
        """The documents of a collection; None where there are none. Raises Forbidden."""
        check_documents(self.bounds.sight, collection)
        self._check_named(collection)
        return self.documents.get(collection)

    def of_vectors(self, collection: str) -> "RowsView":
        """A collection of vectors. Raises Forbidden and NotFound."""
        check_vectors(self.bounds.sight, collection)
        self._check_named(collection)
        found = self.vectors.get(collection)
        if found is None:
            raise no_such_collection(collection)
        return found

    def _check_named(self, collection: str) -> None:
        if collection not in self.names:
            raise InvalidArgument(
                f"collection {collection[:100]!r} is not named in the statement: write its name as "
                "a literal or bind it as a parameter; one that comes from a table, or is put "
                "together, is not known before the statement begins"
            )

    def answer(self, asked: Any, find: Callable[[], Any]) -> Any:
        """What ``find`` finds, or has found in this statement when the same was asked."""
        answers = self._answers
        if asked not in answers:
            self.check()
            if len(answers) >= ANSWERS_KEPT:
                del answers[next(iter(answers))]
            answers[asked] = find()
        return answers[asked]

    def close(self) -> None:
        """Let go of everything. From any thread, also again."""
        held, self.held = self.held, ()
        self._answers.clear()
        for each in held:
            each()
