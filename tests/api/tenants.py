"""What a tenant of a shared database may ask for: every kind of request, about its own things or
those of another whose names can be guessed.

Two tenants, ``a`` and ``b``, whose containers are named alike but for the first letter: keys
``a:...``, collections ``a_...``, events ``a....``. What each keeps in them is marked with a word
that the other never sends: `secret`.
"""

import json

from kissvdb.core.grants import Grants

TENANTS = ("a", "b")


def other(tenant):
    return "b" if tenant == "a" else "a"


def secret(tenant):
    """Stands in all that a tenant writes, and is no part of a name that others guess."""
    return f"hidden{tenant * 3}"


def grants(tenant):
    return Grants(
        keys=(f"{tenant}:*",),
        vectors=(f"{tenant}_*",),
        documents=(f"{tenant}_*",),
        tables=(f"{tenant}_*",),
        events=(f"{tenant}.*",),
    )


class Asks:
    """The requests of ``tenant`` about the things of ``whose``, each made of two small numbers.

    A request is a method, a target, and a body: a value for JSON, or lines of it.
    """

    def __init__(self, tenant, whose, seen):
        """``seen``: the offset of the last write that was answered."""
        self.word, self.whose, self.seen = secret(tenant), whose, seen

    def key(self, n):
        """Some hold the secret themselves: these nobody else can name."""
        return f"{self.whose}:{n}" if n % 2 else f"{self.whose}:{self.word}{n}"

    def notes(self, n):
        return f"{self.whose}_notes" if n % 2 else f"{self.whose}_{self.word}"

    def books(self, n):
        return f"{self.whose}_books" if n % 2 else f"{self.whose}_{self.word}"

    def id(self, n):
        return f"{n}" if n % 2 else f"{self.word}{n}"

    def doc(self, n, m):
        return {"title": f"{self.word} story {n}", "n": m, "tags": [self.word, "common"]}

    # State

    def put(self, n, m):
        return "PUT", f"/v1/state/{self.key(n)}", {"value": {"v": m, "w": self.word}}

    def put_over(self, n, m):
        return "PUT", f"/v1/state/{self.key(n)}", {"value": self.word, "if_revision": m % 3}

    def patch(self, n, m):
        return "PATCH", f"/v1/state/{self.key(n)}", {"p": m, "w": self.word}

    def delete(self, n, m):
        return "DELETE", f"/v1/state/{self.key(n)}", None

    def get(self, n, m):
        return "GET", f"/v1/state/{self.key(n)}", None

    def get_at(self, n, m):
        return "GET", f"/v1/state/{self.key(n)}?at={self.seen}", None

    def list_keys(self, n, m):
        return "GET", f"/v1/state?prefix={self.whose}:&limit={1 + m}", None

    def list_at(self, n, m):
        return "GET", f"/v1/state?prefix={self.whose}:&at={self.seen}", None

    def list_wider(self, n, m):
        prefix = ["", self.whose, "doc:", f"doc:{self.whose}_", "vector:", "docs:", "d"][m % 7]
        return "GET", f"/v1/state?prefix={prefix}", None

    def get_manifest(self, n, m):
        return "GET", f"/v1/state/vector:{self.notes(n)}:manifest", None

    def get_document_key(self, n, m):
        return "GET", f"/v1/state/doc:{self.books(n)}:{self.id(m)}", None

    def put_document_key(self, n, m):
        return "PUT", f"/v1/state/doc:{self.books(n)}:{self.id(m)}", {"value": self.doc(n, m)}

    def batch_put(self, n, m):
        operations = [{"key": self.key(n + i), "value": [self.word, i]} for i in range(1 + m % 3)]
        return "POST", "/v1/state/batch_put", {"operations": operations}

    # Documents

    def put_doc(self, n, m):
        op_id = f"?op_id=same-{m % 2}" if m > 3 else ""
        return "PUT", f"/v1/doc/{self.books(n)}/{self.id(m)}{op_id}", self.doc(n, m)

    def patch_doc(self, n, m):
        return "PATCH", f"/v1/doc/{self.books(n)}/{self.id(m)}", {"n": n, "w": self.word}

    def delete_doc(self, n, m):
        return "DELETE", f"/v1/doc/{self.books(n)}/{self.id(m)}?op_id=gone-{m % 2}", None

    def get_doc(self, n, m):
        return "GET", f"/v1/doc/{self.books(n)}/{self.id(m)}", None

    def put_docs(self, n, m):
        documents = [{"id": self.id(i), "doc": self.doc(n, i)} for i in range(1 + m)]
        return "POST", f"/v1/doc/{self.books(n)}/put_batch", {"documents": documents}

    def delete_docs(self, n, m):
        return "POST", f"/v1/doc/{self.books(n)}/delete_batch", {"ids": [self.id(m)]}

    def find_docs(self, n, m):
        body = {"filter": {"n": {"$gte": m - 3}}, "sort": ["-n"], "limit": 2, "count": True}
        body |= {"facets": ["tags", "w"], "explain": m % 2 == 0}
        return "POST", f"/v1/doc/{self.books(n)}/find", body

    def search_docs(self, n, m):
        text = ["common", "story", "hiden", "comon story"][m % 4]
        body = {"text": text, "k": 5, "highlight": n % 2 == 0, "count": True, "facets": ["tags"]}
        return "POST", f"/v1/doc/{self.books(n)}/search", body | {"explain": m % 2 == 0}

    def group_docs(self, n, m):
        body = {"text": "story", "group_by": "n", "group_limit": 2}
        return "POST", f"/v1/doc/{self.books(n)}/search", body

    def delete_found_docs(self, n, m):
        return "POST", f"/v1/doc/{self.books(n)}/delete_by_filter", {"filter": {"n": m}}

    def list_books(self, n, m):
        return "GET", "/v1/doc", None

    def look_at_books(self, n, m):
        return "GET", f"/v1/doc/{self.books(n)}", None

    def configure_books(self, n, m):
        return "PUT", f"/v1/doc/{self.books(n)}", {"text": {"fields": {"title": {"weight": 1 + m}}}}

    def drop_books(self, n, m):
        return "DELETE", f"/v1/doc/{self.books(n)}", None

    # Vectors

    def create(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}", {"dim": 2}

    def drop(self, n, m):
        return "DELETE", f"/v1/vector/{self.notes(n)}", None

    def upsert(self, n, m):
        body = {"id": self.id(m), "vector": [1, m], "text": f"{self.word} common"}
        body["meta"] = {"w": self.word, "n": m}
        return "POST", f"/v1/vector/{self.notes(n)}/upsert", body

    def add(self, n, m):
        body = {"id": self.id(m), "vector": [m, 1], "op_id": f"same-{m % 2}"}
        return "POST", f"/v1/vector/{self.notes(n)}/add", body

    def update(self, n, m):
        body = {"id": self.id(m), "meta": {"w": [self.word]}}
        return "POST", f"/v1/vector/{self.notes(n)}/update", body

    def delete_vector(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/delete", {"id": self.id(m)}

    def upsert_many(self, n, m):
        items = [{"id": self.id(i), "vector": [i, 1], "text": "common"} for i in range(1 + m)]
        return "POST", f"/v1/vector/{self.notes(n)}/upsert_batch", {"items": items}

    def delete_found(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/delete_by_filter", {"filters": {"n": m}}

    def search(self, n, m):
        body = {"vector": [1, m], "k": 3, "include_meta": True, "emit": m % 2 == 0}
        return "POST", f"/v1/vector/{self.notes(n)}/search", body

    def search_text(self, n, m):
        body = {"text": "common", "mode": "text", "k": 3, "include_meta": True, "facets": ["w"]}
        return "POST", f"/v1/vector/{self.notes(n)}/search", body

    def search_many(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/search_batch", {"vectors": [[1, 0]], "k": 2}

    def get_vector(self, n, m):
        return "GET", f"/v1/vector/{self.notes(n)}/get?id={self.id(m)}", None

    def count_vectors(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/count", {}

    def scroll(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/scroll", {"limit": 1 + m, "include_meta": True}

    def map_vectors(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/map", {"sample": 2 + m, "field": "w"}

    def list_notes(self, n, m):
        return "GET", "/v1/vector", None

    def look_at_notes(self, n, m):
        return "GET", f"/v1/vector/{self.notes(n)}", None

    def reindex(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/reindex", {"embedder": "default"}

    def status_of_a_graph(self, n, m):
        return "GET", f"/v1/vector/{self.notes(n)}/diskann/status", None

    def search_all(self, n, m):
        return "POST", "/search", {"query": "common", "mode": "text"}

    def ingest(self, n, m):
        return "POST", "/search/ingest", {"document": {"id": n, "content": self.word}}

    # Events

    def publish(self, n, m):
        event = {"type": f"{self.whose}.t{m % 2}", "data": {"w": self.word}, "tags": [self.word]}
        return "POST", "/v1/events", event | ({"key": self.key(n)} if m > 2 else {})

    def publish_many(self, n, m):
        event = {"type": f"{self.whose}.t", "data": self.word}
        return "POST", "/v1/events", [event] * (1 + m)

    def publish_transient(self, n, m):
        event = {"type": f"{self.whose}.t", "data": self.word, "transient": True}
        return "POST", "/v1/events", event

    # SQL: what is not made yet is refused alike

    def table(self, n):
        return f"{self.whose}_items" if n % 2 else f"{self.whose}_{self.word}"

    def sql(self, n, m):
        statement = [
            f"CREATE TABLE {self.table(n)} (id INTEGER PRIMARY KEY, w TEXT)",
            f"INSERT INTO {self.table(n)} (w) VALUES ('{self.word}')",
            f"INSERT INTO {self.table(n)} VALUES ({n}, '{self.word}')",
            f"UPDATE {self.table(n)} SET w = w || 'x'",
            f"DELETE FROM {self.table(n)} WHERE id = {n}",
            f"CREATE INDEX {self.whose}_by_w ON {self.table(n)} (w)",
            f"DROP TABLE IF EXISTS {self.table(n)}",
        ][m]
        body = {"sql": statement}
        return "POST", "/v1/sql/exec", body | ({"op_id": f"same-{n % 2}"} if m % 2 else {})

    def sql_batch(self, n, m):
        insert = {"sql": f"INSERT INTO {self.table(n)} (w) VALUES (?)", "params": [self.word]}
        return "POST", "/v1/sql/batch", {"statements": [insert] * (1 + m % 3)}

    def sql_query(self, n, m):
        statement = [
            f"SELECT * FROM {self.table(n)} ORDER BY id",
            f"SELECT count(*) AS n FROM {self.table(n)}, {self.table(n + 1)}",
            "SELECT key, value, revision FROM state ORDER BY key",
            "SELECT type, key, collection FROM events ORDER BY offset",
            f"SELECT id, doc FROM documents('{self.books(n)}') ORDER BY id",
            f"SELECT id, meta FROM vectors('{self.notes(n)}') ORDER BY id",
            "SELECT count(*) AS n FROM state",
        ][m]
        return "POST", "/v1/sql/query", {"sql": statement}

    def sql_schema(self, n, m):
        return "GET", "/v1/sql/schema", None

    # Several operations

    def operations(self, n, m):
        return [
            {"op": "put", "key": self.key(n), "value": [self.word, m]},
            {"op": "doc_put", "collection": self.books(n), "id": self.id(m), "doc": self.doc(n, m)},
            {"op": "upsert", "collection": self.notes(n), "id": self.id(m), "vector": [m, n]},
            {"op": "event", "type": f"{self.whose}.t", "data": self.word},
            {"op": "delete", "key": self.key(m)},
        ][m % 3 :]

    def bulk(self, n, m):
        # Those of one owner: how the records of several mingle in the log is chance.
        keys, vectors = ("put", "doc_put", "delete"), ("upsert",)
        wanted = vectors if n == 3 else keys
        operations = [each for each in self.operations(n, 0) if each["op"] in wanted]
        lines = [json.dumps(each | {"op_id": f"same-{m % 2}"}) for each in operations]
        return "POST", "/v1/bulk", "\n".join(lines).encode()

    def batch(self, n, m):
        body = {"operations": self.operations(n, m)}
        return "POST", "/v1/batch", body | ({"op_id": f"same-{n % 2}"} if m % 2 else {})

    def batch_if(self, n, m):
        conditions = [
            {"key": self.key(n), "if_absent": m % 2 == 0},
            {"documents": self.books(n), "if_filter_count": {"at_most": m}},
            {"vectors": self.notes(n), "if_filter_count": {"at_least": m % 2}},
        ][n % 3 :]
        put = {"op": "put", "key": self.key(m), "value": self.word}
        return "POST", "/v1/batch", {"operations": [put], "preconditions": conditions}

    # The rest

    def embedders(self, n, m):
        return "GET", "/v1/embedders", None

    def whole(self, n, m):
        target = ("GET /v1/metrics", "GET /v1/backup", "POST /v1/snapshot")[m % 3]
        return *target.split(), None

    def vacuum(self, n, m):
        return "POST", f"/v1/vector/{self.notes(n)}/vacuum", None

    def vacuum_books(self, n, m):
        return "POST", f"/v1/doc/{self.books(n)}/vacuum", None

    def mistake(self, n, m):
        method, target, body = getattr(self, ("put", "find_docs", "search")[m % 3])(n, m)
        return method, target, body | {"valu": 1}


NO_REQUESTS = {"table", "key", "notes", "books", "id", "doc", "operations"}
KINDS = sorted(name for name in vars(Asks) if name[0] != "_" and name not in NO_REQUESTS)
