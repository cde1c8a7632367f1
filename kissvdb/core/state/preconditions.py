"""What must hold for a write to a key."""

import attrs

from kissvdb.errors import NotFound, PreconditionFailed, RevisionMismatch
from kissvdb.records import Item


@attrs.frozen
class Precondition:
    """What must hold for a write: any that is not None is checked.

    ``revision`` 0 means "the key must be absent". ``offset`` compares with the offset of the
    key's last write and so also notices a delete and re-create (no ABA). ``absent`` False means
    "the key must exist" (If-Match: *, or create=false, which is NotFound). ``from_header`` chooses
    412 instead of 409.
    """

    revision: int | None = None
    offset: int | None = None
    absent: bool | None = None
    from_header: bool = False


ALWAYS = Precondition()


def check(precondition: Precondition, key: str, live: Item | None) -> None:
    if precondition is ALWAYS:
        return
    if live is None and precondition.absent is False and not precondition.from_header:
        raise NotFound(
            f"key {key!r} does not exist: it was deleted or has expired, and create=false keeps "
            "this write from bringing it back"
        )
    problem = unmet(precondition, key, live)
    if problem is None:
        return
    kind = PreconditionFailed if precondition.from_header else RevisionMismatch
    raise kind(problem + ": read the key again and retry")


def unmet(precondition: Precondition, key: str, live: Item | None) -> str | None:
    revision = 0 if live is None else live.revision
    if precondition.revision is not None and precondition.revision != revision:
        found = "does not exist" if live is None else f"is at revision {revision}"
        return f"key {key!r} {found}, not at revision {precondition.revision}"
    if precondition.offset is not None and (live is None or live.offset != precondition.offset):
        found = "does not exist" if live is None else "was written at another offset"
        return f"key {key!r} {found}, not at offset {precondition.offset}"
    if precondition.absent is True and live is not None:
        return f"key {key!r} exists already, at revision {revision}"
    if precondition.absent is False and live is None:
        return f"key {key!r} does not exist"
    return None
