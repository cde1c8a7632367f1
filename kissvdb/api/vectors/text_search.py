"""Searching vectors by their texts, and by text and vector at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.vectors import json_text as vector_json
from kissvdb.api.vectors import quick
from kissvdb.api.vectors.search_answers import (
    Answer,
    hits_of,
    of_found,
    of_groups,
    parts_of,
)
from kissvdb.api.vectors.search_bodies import Mode
from kissvdb.api.vectors.search_requests import Asked, AskedBatch, Words, check_dim
from kissvdb.core.search import Search
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.fields import TEXT_FIELD
from kissvdb.core.text.highlight import Highlighter, to_json
from kissvdb.core.text.query import TextQuery
from kissvdb.core.text.typos import corrected
from kissvdb.engine.vectors.registry import OpenCollection
from kissvdb.engine.vectors.texts import Texts
from kissvdb.errors import EmbedderMismatch
from kissvdb.telemetry.parts import SEARCH, timed

if TYPE_CHECKING:
    from kissvdb.core.fusion import Fusion
    from kissvdb.core.rows.search import Found
    from kissvdb.core.rows.view import RowsView

Find = Callable[[Search], "Found"]
"""A search in one view, by text, by vector, or both."""

_json = msgspec.json.encode
_NOTHING: Mapping[str, Sequence[str]] = {}


class Query(msgspec.Struct, frozen=True):
    """A search by words with its mode and, unless it is by text alone, its vector. ``model``: what
    made that, if it was made here."""

    mode: Mode
    words: TextQuery | None
    vector: bytes | None
    fusion: "Fusion"
    model: str | None = None


async def query_of_words(
    texts: Texts, spec: CollectionSpec, words: Words, vector: bytes | None
) -> Query:
    """A search as it will be done: its vector is made here where it is needed and there is none.

    Raises InvalidArgument where it cannot be, EmbedderUnavailable and EmbedderMismatch.
    """
    mode = words.mode or default_mode(spec, vector)
    model = None
    if mode != "text" and vector is None:
        vector, model = await texts.query_vector(spec, words.text), spec.embedder_model
    return Query(mode, words.query, None if mode == "text" else vector, words.fusion, model)


def default_mode(spec: CollectionSpec, vector: bytes | None) -> Mode:
    """By both wherever there can be both."""
    return "hybrid" if vector is not None or spec.embedder is not None else "text"


async def search(
    context: Context, found: OpenCollection, vector: bytes | None, asked: Asked
) -> Answer:
    """Search one collection as is ``asked``, for words at least."""
    assert asked.words is not None
    spec = found.actor.rows.spec
    query = await query_of_words(context.database.vectors.texts, spec, asked.words, vector)
    if query.vector is not None:
        check_dim(len(query.vector), spec)
    started_ns = time.perf_counter_ns()
    return await context.database.vectors.look(
        found.name, lambda view: _search(view, query, asked, started_ns)
    )


def search_now(view: "RowsView", vector: bytes | None, asked: Asked) -> Answer | None:
    """The answer of ``search``, if it is by words alone and quick; else None."""
    words = asked.words
    assert words is not None
    mode = words.mode or default_mode(view.spec, vector)
    if mode != "text" or words.query is None or words.highlighting is not None:
        return None
    if asked.group_by or asked.facets or asked.vector:
        return None
    answers = asked.meta or asked.text
    query = quick.known_words(view, words.query, asked.search, with_answers=answers)
    if query is None:
        return None
    asked_for = Query(mode, query, None, words.fusion)
    return timed(SEARCH, _search, view, asked_for, asked, time.perf_counter_ns())


async def search_batch(context: Context, found: OpenCollection, batch: AskedBatch) -> Answer:
    """The same for several queries, embedded together."""
    spec, vectors = found.actor.rows.spec, context.database.vectors
    given: list[bytes | None] = [None] * len(batch.words)
    model = None
    if batch.vectors is not None:
        size = spec.vector_bytes
        given = [batch.vectors[n * size : (n + 1) * size] for n in range(len(batch.words))]
    mode = batch.words[0].mode or default_mode(spec, given[0])
    if mode != "text" and batch.vectors is None:
        made = await vectors.texts.query_vectors(spec, [each.text for each in batch.words])
        given, model = list(made), spec.embedder_model
    queries = [
        Query(mode, words.query, None if mode == "text" else vector, words.fusion, model)
        for words, vector in zip(batch.words, given, strict=True)
    ]

    def job(view: "RowsView") -> Answer:
        asked, arrays = batch.asked, hits_of(view, batch.asked)
        texts = []
        for each in queries:
            find, _, _ = finder(view, each)
            hits = find(asked.search).hits[0]
            few = b',"exhausted":true' if len(hits) < asked.search.k else b""
            texts.append(b'{"hits":%b%b}' % (arrays.array(hits), few))
        return Answer(b'{"results":[%b]}' % b",".join(texts), view.offset)

    return await vectors.look(found.name, job)


def finder(
    view: "RowsView", query: Query
) -> tuple[Find, TextQuery | None, Mapping[str, Sequence[str]]]:
    """The search of a query in a view, its words as they are looked for, and those of them that
    stand for others."""
    import numpy as np

    words, fixed = query.words, _NOTHING
    check_same_model(query, view.spec)
    vector = None if query.vector is None else np.frombuffer(query.vector, "<f4")
    if words is not None:
        words, fixed = corrected(words, view.texts)
    if words is None or query.mode == "vector":
        assert vector is not None, "a search by vector has one"
        numbers = vector[None]
        return (lambda asked: view.search(numbers, asked)), words, fixed
    text = words
    if query.mode == "text":
        return (lambda asked: view.search_text(text, asked)), words, fixed
    assert vector is not None, "a hybrid search has one"
    both, fusion = vector, query.fusion
    return (lambda asked: view.search_hybrid(both, text, asked, fusion)), words, fixed


def check_same_model(query: Query, spec: CollectionSpec) -> None:
    """A collection may have got another embedder while a query was embedded. Raises DimMismatch and
    EmbedderMismatch."""
    if query.model not in (None, spec.embedder_model):
        raise EmbedderMismatch(
            f"collection {spec.name!r} got another embedder while the query was embedded, and its "
            f"vectors are of {spec.embedder_model} now: search again"
        )
    if query.vector is not None:
        check_dim(len(query.vector), spec)


def passages(view: "RowsView", row: int, highlighter: Highlighter) -> "Sequence[object]":
    """Where a row's text matches, as answers have it."""
    text = view.data.text(row)
    return [] if text is None else to_json(highlighter.passages([(TEXT_FIELD, text)]))


def _search(view: "RowsView", query: Query, asked: Asked, started_ns: int) -> Answer:
    queue_us = (time.perf_counter_ns() - started_ns) // 1000
    find, words, fixed = finder(view, query)
    matching = words if query.mode == "text" else None
    if asked.group_by is not None:
        groups = view.grouped(
            lambda search: find(search).hits[0], asked.search, asked.group_by, asked.group_limit
        )
        return of_groups(view, groups, asked, _more(view, words, asked, None), matching)
    found = find(asked.search)
    more = _more(view, words, asked, found)
    return of_found(
        view,
        found,
        asked,
        queue_us,
        mode=query.mode,
        more=more,
        corrected=fixed,
        matching=matching,
    )


def _more(
    view: "RowsView", words: TextQuery | None, asked: Asked, found: "Found | None"
) -> vector_json.More | None:
    """What a hit has besides: passages of its text, and its parts."""
    highlighting = None if asked.words is None else asked.words.highlighting
    parts = None if found is None else found.parts
    highlighter = None
    if highlighting is not None and words is not None:
        highlighter = Highlighter(words, view.spec.text_settings, highlighting)
    if parts is None and highlighter is None:
        return None

    def more(place: int, row: int) -> bytes:
        text = b""
        if highlighter is not None:
            text += b',"highlight":' + _json(passages(view, row, highlighter))
        if parts is not None:
            text += b',"parts":' + _json(parts_of(parts, place))
        return text

    return more
