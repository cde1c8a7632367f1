"""Tools over documents, vectors, keys, events and tables: each answers what its route does."""

from typing import Any

import msgspec

from kissvdb.api.mcp import answers
from kissvdb.api.mcp.arguments import (
    Collections,
    Find,
    Publish,
    Search,
    SqlQuery,
    StateGet,
    StatePut,
)
from kissvdb.api.mcp.asking import Asker, Failed, segment


class _Column(msgspec.Struct):
    name: str


class _Table(msgspec.Struct):
    name: str
    columns: list[_Column]


class _Schema(msgspec.Struct):
    tables: list[_Table]


class _Collections(msgspec.Struct):
    collections: list[answers.CollectionOf]


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


async def search(asker: Asker, wanted: Search) -> bytes:
    path = segment(wanted.collection)
    if wanted.kind == "documents":
        body = _given(text=wanted.text, k=wanted.k, filter=wanted.filter, fields=wanted.fields)
        return await asker.ask("POST", f"/v1/doc/{path}/search", body)
    if wanted.fields is not None:
        raise Failed(
            422, "invalid_argument", "arguments.fields: of documents only: leave it out for vectors"
        )
    body = _given(text=wanted.text, k=wanted.k, filters=wanted.filter)
    body |= {"include_meta": True, "include_text": True}
    return await asker.ask("POST", f"/v1/vector/{path}/search", body)


async def find(asker: Asker, wanted: Find) -> bytes:
    body = _given(
        filter=wanted.filter,
        sort=wanted.sort,
        fields=wanted.fields,
        limit=wanted.limit,
        cursor=wanted.cursor,
        count=wanted.count or None,
        facets=wanted.facets,
    )
    return await asker.ask("POST", f"/v1/doc/{segment(wanted.collection)}/find", body)


async def sql_query(asker: Asker, wanted: SqlQuery) -> bytes:
    body = _given(sql=wanted.sql, params=wanted.params, rows_max=wanted.rows_max)
    return await asker.ask("POST", "/v1/sql/query", body)


async def publish(asker: Asker, wanted: Publish) -> bytes:
    body = _given(type=wanted.type, key=wanted.key, tags=wanted.tags, op_id=wanted.op_id)
    return await asker.ask("POST", "/v1/events", {**body, "data": wanted.data})


async def state_get(asker: Asker, wanted: StateGet) -> bytes:
    return await asker.ask("GET", f"/v1/state/{segment(wanted.key)}", at=wanted.at)


async def state_put(asker: Asker, wanted: StatePut) -> bytes:
    body = _given(ttl_ms=wanted.ttl_ms, if_revision=wanted.if_revision, op_id=wanted.op_id)
    body["value"] = wanted.value
    return await asker.ask("PUT", f"/v1/state/{segment(wanted.key)}", body)


async def collections(asker: Asker, wanted: Collections) -> answers.Everything:
    documents = await _listed(asker, "/v1/doc")
    vectors = await _listed(asker, "/v1/vector")
    try:
        schema = await asker.read(_Schema, "GET", "/v1/sql/schema")
    except Failed as failed:
        if failed.status not in _NOT_HERE:
            raise
        schema = _Schema([])
    tables = [
        answers.Table(each.name, [column.name for column in each.columns]) for each in schema.tables
    ]
    return answers.Everything(documents, vectors, tables)


_NOT_HERE = (403, 404)
"""A route that the key does not have, and SQL that is switched off."""


async def _listed(asker: Asker, path: str) -> list[answers.CollectionOf]:
    try:
        return (await asker.read(_Collections, "GET", path)).collections
    except Failed as failed:
        if failed.status not in _NOT_HERE:
            raise
        return []
