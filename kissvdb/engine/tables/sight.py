"""Whose statement it is: what of the database it may see, and for how long it may look."""

from collections.abc import Callable
from typing import Protocol

import attrs

from kissvdb.core.events.stream import Event
from kissvdb.errors import Forbidden


class Sight(Protocol):
    """What one may see: the grants of a key."""

    @property
    def beginnings(self) -> tuple[str, ...] | None:
        """How the keys of the state begin that one may see; None: in any way."""
        ...

    def may_key(self, key: str) -> bool: ...

    def may_documents(self, collection: str) -> bool: ...

    def may_vectors(self, collection: str) -> bool: ...

    def may_see(self, event: Event) -> bool: ...


@attrs.frozen
class Bounds:
    """``is_over``: whether the statement has to end now; any thread may ask, often.
    ``seconds_left``: until it has to at the latest. ``k_max``: hits of one search. ``sight``: None
    sees everything; ``private``: the events of keys and audits, too."""

    is_over: Callable[[], bool]
    seconds_left: Callable[[], float]
    k_max: int
    sight: Sight | None = None
    private: bool = True


def check_documents(sight: Sight | None, collection: str) -> None:
    """Raises Forbidden, whether there is such a collection or not."""
    if sight is not None and not sight.may_documents(collection):
        raise _forbidden("documents", collection)


def check_vectors(sight: Sight | None, collection: str) -> None:
    """Raises Forbidden, whether there is such a collection or not."""
    if sight is not None and not sight.may_vectors(collection):
        raise _forbidden("vectors", collection)


def _forbidden(kind: str, collection: str) -> Forbidden:
    return Forbidden(
        f"the scopes of this API key do not have the {kind} {collection[:200]!r}: use another "
        "key, or one whose scopes name them"
    )
