"""The answers of searches: what was found, as JSON text."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import msgspec
from msgspec import UNSET

from kissvdb.api.documents.find import facets_text
from kissvdb.api.frame.http import Response
from kissvdb.api.vectors import json_text as vector_json
from kissvdb.api.vectors.search_bodies import Explanation, HitParts, Mode, Part
from kissvdb.api.vectors.search_requests import Asked
from kissvdb.core.filters import notes as filter_notes
from kissvdb.core.filters.parse import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kissvdb.core.rows.search import Found, Parts
    from kissvdb.core.rows.view import Group, RowsView
    from kissvdb.core.text.query import TextQuery

_json = msgspec.json.encode


class Answer(msgspec.Struct, frozen=True):
    """The body of an answer, the ids in it, and the offset it is true at."""

    text: bytes
    offset: int
    ids: tuple[str, ...] = ()

    def response(self) -> Response:
        """As it is sent."""
        return Response(self.text, headers=(("kissvdb-offset", str(self.offset)),))


def hits_of(view: "RowsView", asked: Asked) -> vector_json.Hits:
    """What makes arrays of hits, for one answer."""
    return vector_json.Hits(view, meta=asked.meta, vector=asked.vector, text=asked.text)


def of_found(
    view: "RowsView",
    found: "Found",
    asked: Asked,
    queue_us: int,
    *,
    mode: Mode = "vector",
    more: vector_json.More | None = None,
    corrected: "Mapping[str, Sequence[str]] | None" = None,
    matching: "TextQuery | None" = None,
) -> Answer:
    """The answer to one query. ``more``: further members of a hit; ``corrected``: words that were
    taken for others; ``matching``: the words that all that count for facets have to match."""
    hits = found.hits[0]
    text = b'{"hits":' + hits_of(view, asked).array(hits, more) + exhausted(asked, len(hits))
    text += _facets(view, asked, matching)
    if found.explanation is not None:
        search = asked.search
        count = partial(view.count, namespace=search.namespace)
        steps = attrs.asdict(found.explanation)
        explanation = Explanation(
            mode=mode,
            queue_us=queue_us,
            notes=filter_notes.about(search.tree, count),
            corrected={each: list(corrected[each]) for each in corrected} if corrected else UNSET,
            **steps,
        )
        text += b',"explain":' + _json(explanation)
    return Answer(text + b"}", view.offset, hits.ids)


def of_groups(
    view: "RowsView",
    groups: "Sequence[Group]",
    asked: Asked,
    more: vector_json.More | None = None,
    matching: "TextQuery | None" = None,
) -> Answer:
    """The answer to a search by groups; else as `of_found`."""
    texts, arrays = [], hits_of(view, asked)
    for group in groups:
        hits = arrays.array(group.hits, more)
        value = b"" if group.value is MISSING else b',"value":' + arrays.fitting(_json(group.value))
        texts.append(b'{"hits":%b%b}' % (hits, value))
    ids = tuple(id_ for group in groups for id_ in group.hits.ids)
    few = exhausted(asked, len(groups)) + _facets(view, asked, matching)
    return Answer(b'{"groups":[%b]%b}' % (b",".join(texts), few), view.offset, ids)


def _facets(view: "RowsView", asked: Asked, matching: "TextQuery | None") -> bytes:
    if not asked.facets:
        return b""
    # numpy comes with it.
    from kissvdb.core.rows.find import facets_of

    tree, namespace = asked.search.tree, asked.search.namespace
    if matching is None:
        rows = view.bitmap(tree, namespace)
    else:
        rows = view.matching(matching, tree, namespace)
    return facets_text(facets_of(view, rows, asked.facets, view.data.document))


def exhausted(asked: Asked, found: int) -> bytes:
    """A member that says why there are fewer hits than were asked for: no more pass, or match."""
    few = (asked.search.narrowed or asked.words is not None) and found < asked.search.k
    return b',"exhausted":true' if few else b""


def parts_of(parts: "Parts", place: int) -> HitParts:
    """What each part of a hybrid search says of the hit at a place."""
    rank = int(parts.text_ranks[place])
    return HitParts(
        Part(rank or None, float(parts.text_scores[place])),
        Part(int(parts.vector_ranks[place]), float(parts.vector_scores[place])),
    )
