"""One request of each route that works as it stands, in the order of the table, on an empty server.

The description shows them, so /docs has them filled in.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from kissvdb.api.frame.route import Route

_NOTES = {"collection": "notes"}
_JOB = {"key": "job:1"}
_BOOKS = {"collection": "books"}
_API_KEY = {"id": "0123456789abcdef"}
_BOOK = {"collection": "books", "id": "solaris"}

TOUR = """\
Keep a value, read it, and see it change:

```sh
curl -X PUT localhost:9917/v1/state/job:1 -H 'content-type: application/json' \\
     -d '{"value": {"progress": 10}}'
curl localhost:9917/v1/state/job:1
```

Keep vectors with metadata, and find the nearest:

```sh
curl localhost:9917/v1/vector/tour -H 'content-type: application/json' -d '{"dim": 3}'
curl localhost:9917/v1/vector/tour/upsert -H 'content-type: application/json' \\
     -d '{"id": "a", "vector": [1, 0, 0], "meta": {"lang": "en", "year": 2024}}'
curl localhost:9917/v1/vector/tour/search -H 'content-type: application/json' \\
     -d '{"vector": [1, 0, 0], "k": 2, "filters": {"year": {"$gte": 2021}}, "include_meta": true}'
```

Everything that happened, then everything that happens (Ctrl-C to leave):

```sh
curl -N 'localhost:9917/v1/stream?since=0'
```
"""
"""Commands for the first page."""

_ENDLESS = """\
This answer never ends, so a page cannot show it: use curl, or `EventSource` in a program.

```sh
curl -N 'localhost:9917{path}'
```
"""

WORDS: Mapping[str, str] = {
    "GET /v1/stream": _ENDLESS.format(path="/v1/stream?since=0&types=state_updated"),
    "GET /v1/events": _ENDLESS.format(path="/v1/events?since=0&prefix=job:"),
    "POST /v1/bulk": """\
One operation a line (`PutLine`, `PatchLine`, `DeleteLine`, `EventLine`, `UpsertLine`, `AddLine`,
`UpdateLine`, `VectorDeleteLine`, `DocPutLine`, `DocPatchLine` or `DocDeleteLine`), one answer a
line, streamed both ways:

```sh
printf '%s\\n' '{"op":"put","key":"c","value":3}' '{"op":"event","type":"log","data":"loaded"}' |
  curl localhost:9917/v1/bulk -H 'content-type: application/x-ndjson' --data-binary @-
```
""",
}
"""What there is to say of a route, by its name, beyond its summary."""


@attrs.frozen
class Example:
    """Values for a route's parameters, and its body as JSON (or as text, where it is lines)."""

    path: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, Any] = attrs.field(factory=dict)
    body: Any = None


_EXAMPLES: Mapping[str, Example] = {
    "GET /v1/state": Example(query={"prefix": "job:", "limit": 100}),
    "POST /v1/state/batch_put": Example(
        body={
            "operations": [
                {"key": "job:1", "value": {"progress": 0}},
                {"key": "job:2", "value": {"progress": 5}, "ttl_ms": 3_600_000},
            ]
        }
    ),
    "GET /v1/state/{key}": Example(_JOB),
    "PUT /v1/state/{key}": Example(_JOB, body={"value": {"progress": 10, "of": 20}}),
    "PATCH /v1/state/{key}": Example(_JOB, body={"progress": 11}),
    "DELETE /v1/state/{key}": Example(_JOB),
    "POST /v1/doc/{collection}/put_batch": Example(
        _BOOKS,
        body={
            "documents": [
                {"id": "solaris", "doc": {"title": "Solaris", "year": 1961, "tags": ["novel"]}},
                {"id": "dune", "doc": {"title": "Dune", "year": 1965}, "ttl_ms": 3_600_000},
            ]
        },
    ),
    "POST /v1/doc/{collection}/delete_batch": Example(_BOOKS, body={"ids": ["dune"]}),
    "POST /v1/doc/{collection}/find": Example(
        _BOOKS,
        body={
            "filter": {"year": {"$gte": 1960}},
            "sort": ["-year", "title"],
            "limit": 10,
            "facets": ["tags"],
        },
    ),
    "POST /v1/doc/{collection}/search": Example(
        _BOOKS, body={"text": "solaris", "k": 5, "highlight": True, "facets": ["tags"]}
    ),
    "POST /v1/doc/{collection}/delete_by_filter": Example(
        _BOOKS, body={"filter": {"year": {"$lt": 1900}}}
    ),
    "GET /v1/doc/{collection}": Example(_BOOKS),
    "PUT /v1/doc/{collection}": Example(
        _BOOKS, body={"text": {"fields": {"title": {"weight": 3}}}}
    ),
    "POST /v1/doc/{collection}/vacuum": Example(_BOOKS),
    "DELETE /v1/doc/{collection}": Example(_BOOKS),
    "GET /v1/doc/{collection}/{id}": Example(_BOOK),
    "PUT /v1/doc/{collection}/{id}": Example(
        _BOOK, body={"title": "Solaris", "author": {"name": "Lem"}, "year": 1961}
    ),
    "PATCH /v1/doc/{collection}/{id}": Example(_BOOK, body={"author": {"born": 1921}}),
    "DELETE /v1/doc/{collection}/{id}": Example(_BOOK),
    "POST /v1/events": Example(
        body={"type": "progress", "data": {"done": 3}, "key": "job:1", "tags": ["import"]}
    ),
    "GET /v1/stream": Example(query={"since": 0, "types": "state_updated"}),
    "GET /v1/events": Example(query={"since": 0, "prefix": "job:"}),
    "POST /v1/vector/{collection}": Example(_NOTES, body={"dim": 3, "metric": "cosine"}),
    "GET /v1/vector/{collection}": Example(_NOTES),
    "POST /v1/vector/{collection}/vacuum": Example(_NOTES),
    "POST /v1/vector/{collection}/upsert": Example(
        _NOTES,
        body={
            "id": "a",
            "vector": [1, 0, 0],
            "text": "A short note",
            "meta": {"lang": "en", "year": 2024},
        },
    ),
    "POST /v1/vector/{collection}/add": Example(_NOTES, body={"id": "b", "vector": [0, 0, 1]}),
    "POST /v1/vector/{collection}/update": Example(
        _NOTES, body={"id": "b", "meta": {"lang": "fr"}}
    ),
    "POST /v1/vector/{collection}/delete": Example(_NOTES, body={"id": "b"}),
    "POST /v1/vector/{collection}/upsert_batch": Example(
        _NOTES,
        body={
            "items": [
                {
                    "id": "c",
                    "vector": [3, 1, 0],
                    "text": "Eine kurze Notiz",
                    "meta": {"lang": "de", "year": 2020},
                },
                {"id": "d", "vector": [0, 1, 0], "meta": {"lang": "en", "year": 2021}},
            ]
        },
    ),
    "POST /v1/vector/{collection}/delete_batch": Example(_NOTES, body={"ids": ["d"]}),
    "POST /v1/vector/{collection}/delete_by_filter": Example(
        _NOTES, body={"filters": {"year": {"$lt": 2000}}}
    ),
    "POST /v1/vector/{collection}/search": Example(
        _NOTES,
        body={
            "vector": [1, 0, 0],
            "k": 2,
            "filters": {"year": {"$gte": 2020}},
            "include_meta": True,
        },
    ),
    "POST /v1/vector/{collection}/search_batch": Example(
        _NOTES, body={"vectors": [[1, 0, 0], [0, 1, 0]], "k": 1}
    ),
    "GET /v1/vector/{collection}/get": Example(_NOTES, query={"id": "a"}),
    "POST /v1/vector/{collection}/count": Example(_NOTES, body={"filters": {"lang": "en"}}),
    "POST /v1/vector/{collection}/scroll": Example(_NOTES, body={"limit": 2}),
    "POST /v1/vector/{collection}/map": Example(_NOTES, body={"sample": 1000, "field": "lang"}),
    "POST /v1/vector/{collection}/reindex": Example(
        _NOTES, body={"index": {"kind": "hnsw", "m": 24}, "quantization": "q8"}
    ),
    "POST /v1/vector/{collection}/tune": Example(_NOTES, body={"recall": 0.95}),
    "DELETE /v1/vector/{collection}/reindex": Example(_NOTES),
    "POST /v1/vector/{collection}/diskann/build": Example(
        _NOTES, body={"max_degree": 48, "search_list_size": 64}
    ),
    "POST /v1/vector/{collection}/diskann/tune": Example(_NOTES, body={"search_list_size": 128}),
    "GET /v1/vector/{collection}/diskann/status": Example(_NOTES),
    "DELETE /v1/vector/{collection}": Example(_NOTES),
    "POST /search": Example(
        body={"query": "opening hours", "top_k": 3, "mode": "text", "filters": {"language": "en"}}
    ),
    "POST /search/ingest": Example(
        body={
            "document": {
                "id": 7,
                "content": "The library opens at nine.",
                "vector": [1, 0],
                "metadata": {"category": "faq", "language": "en", "group_id": 1},
            }
        }
    ),
    "POST /v1/sql/query": Example(
        body={"sql": "SELECT ? AS n, key FROM state ORDER BY key LIMIT 3", "params": [1]}
    ),
    "POST /v1/sql/exec": Example(
        body={"sql": "CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, title TEXT)"}
    ),
    "POST /v1/sql/batch": Example(
        body={
            "statements": [
                {"sql": "INSERT INTO books (title) VALUES (?)", "params": ["Solaris"]},
                {
                    "sql": "UPDATE books SET title = upper(title) WHERE id = :id",
                    "params": {"id": 1},
                },
            ]
        }
    ),
    "POST /v1/bulk": Example(body={"op": "put", "key": "c", "value": 3}),
    "POST /v1/batch": Example(
        body={
            "operations": [
                {"op": "put", "key": "order:1", "value": {"items": 2}},
                {"op": "event", "type": "ordered", "data": {"order": 1}, "key": "order:1"},
            ],
            "preconditions": [{"key": "order:2", "if_absent": True}],
        }
    ),
    "POST /mcp": Example(body={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
    "POST /v1/auth/keys": Example(
        body={
            "name": "reader of jobs",
            "role": "read",
            "scopes": {"keys": ["job:*"], "events": ["progress"]},
            "ttl_ms": 86_400_000,
        }
    ),
    "POST /v1/auth/keys/{id}/rotate": Example(_API_KEY, body={"grace_ms": 60_000}),
    "DELETE /v1/auth/keys/{id}": Example(_API_KEY),
    "GET /docs/{asset}": Example({"asset": "docs.js"}),
    "GET /page/{asset}": Example({"asset": "app.js"}),
    "GET /views/{asset}": Example({"asset": "views.css"}),
    "GET /vendor/{asset}": Example({"asset": "preact.js"}),
}

_NONE = Example()


def example(route: Route) -> Example:
    """The example of a route; one without values when it needs none."""
    return _EXAMPLES.get(route.name, _NONE)
