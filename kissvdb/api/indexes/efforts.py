"""How hard a search is to try: one number, whatever the kind of index calls it."""

from typing import TYPE_CHECKING, Final

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.core.store.options import EFFORTS
from kissvdb.errors import InvalidArgument, MistypedField, NotTuned

if TYPE_CHECKING:
    from kissvdb.api.vectors.search_bodies import SearchBatchBody, SearchBody
    from kissvdb.engine.vectors.registry import OpenCollection

_MOST: Final = {"ef_search": 4096, "nprobe": 65_536, "search_list_size": 65_535}
"""As much as the options of an index of these names may be."""
_NAMES: Final = ("ef_search", "nprobe", "search_list_size")
_ALSO: Final = {"ef_search": ("flat", "vamana")}
"""What kinds take besides those that call it so: where all is looked at it means nothing, and the
number of rows in view is the same in memory and on disk."""


def effort_of(
    context: Context, request: Request, body: "SearchBody | SearchBatchBody", want: int
) -> int | None:
    """What a search for the ``want`` best says of its effort, or has to say to find the ``recall``
    it asks for; None: the collection's. Any thread.

    Raises MistypedField for a name that does not suit the kind, InvalidArgument for a number that
    is out of range, and NotTuned.
    """
    if (
        body.ef_search is None
        and body.nprobe is None
        and body.search_list_size is None
        and body.recall is None
    ):
        return None
    given = [name for name in _NAMES if getattr(body, name) is not None]
    if len(given) + (body.recall is not None) > 1 or (body.recall and body.exact):
        raise MistypedField("body: give one of recall, ef_search, nprobe, search_list_size, exact")
    found = context.database.vectors.find(request.params["collection"])
    if body.recall is not None:
        return _effort_for(found, body.recall, want)
    (name,) = given
    return _checked(found.spec.index, name, getattr(body, name))


def _checked(kind: str, name: str, effort: int) -> int | None:
    most = _MOST[name]
    if not 1 <= effort <= most:
        raise InvalidArgument(f"body.{name}: must be 1 to {most}, not {effort}")
    own = EFFORTS.get(kind)
    if own != name and kind not in _ALSO.get(name, ()):
        instead = "takes none, it looks at every vector" if own is None else f"takes {own}"
        raise MistypedField(f"body.{name}: the index of this collection is {kind}, which {instead}")
    return effort


def _effort_for(found: "OpenCollection", recall: float, want: int) -> int | None:
    if not 0 < recall < 1:
        raise MistypedField("body.recall: more than 0 and less than 1; for all of it ask exact")
    rows, tuning = found.actor.rows, found.spec.tuning
    if rows.is_exact:
        return None
    tune = f"POST /v1/vector/{found.name}/tune"
    if tuning is None:
        raise NotTuned(
            f"body.recall: how hard searches of {found.name!r} have to try was not measured: "
            f"{tune} does that once, or give {EFFORTS[found.spec.index]}"
        )
    if want > tuning.k:
        raise NotTuned(
            f"body.recall: it was measured for the {tuning.k} best, and this asks for {want} "
            f'(k and offset): {tune} with {{"k": {want}}}'
        )
    rung = tuning.effort_for(recall)
    if rung is None:
        best = max(tuning.ladder, key=lambda each: each.recall)
        raise NotTuned(
            f"body.recall: the most that was measured is {best.recall:g}, with "
            f"{EFFORTS[found.spec.index]} {best.effort}: ask for less, for exact, or reindex with "
            "a finer quantization"
        )
    return rung.effort
