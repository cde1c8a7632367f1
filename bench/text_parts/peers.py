"""Other full text engines, each as it comes from PyPI, in this process.

All stem English, and answer the ids of the best ten of a query's words, any of which may match.
Every document has a ``bucket``, a number below 100: ``below`` keeps a share of them.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import attrs

from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.settings import K1, B, FieldSettings

K = 10
WORD = re.compile("[a-z0-9]+")
BATCH = 1000

Search = Callable[[str, int | None], list[int]]
"""The ids of the best ten; with a number, of those whose bucket is below it."""


@attrs.frozen
class Peer:
    """``add``: put in one more document (id, text, bucket) and do what makes it findable; None
    where all would be indexed again. ``megabytes``: of the index, where it says."""

    search: Search
    add: Callable[[int, str, int], None] | None
    megabytes: float | None = None


def words_of(text: str) -> list[str]:
    """The words of a query, without what a query language may take for operators."""
    return WORD.findall(text.lower())


def tantivy(texts: Sequence[str], buckets: Sequence[int], tokenizer: str) -> Peer:
    import tantivy

    schema = tantivy.SchemaBuilder()
    schema.add_text_field("text", stored=False, tokenizer_name=tokenizer)
    schema.add_integer_field("id", stored=True)
    schema.add_integer_field("bucket", indexed=True, fast=True)
    made = schema.build()
    index = tantivy.Index(made)
    writer = index.writer(heap_size=200_000_000, num_threads=1)
    for number, text in enumerate(texts):
        writer.add_document(tantivy.Document(text=text, id=number, bucket=buckets[number]))
    writer.commit()
    index.reload()
    state = {"searcher": index.searcher()}

    def search(text: str, below: int | None) -> list[int]:
        query = index.parse_query(" ".join(words_of(text)), ["text"])
        if below is not None:
            within = tantivy.Query.range_query(
                made, "bucket", tantivy.FieldType.Integer, 0, below, include_upper=False
            )
            must = tantivy.Occur.Must
            within = tantivy.Query.const_score_query(within, 0.0)
            query = tantivy.Query.boolean_query([(must, query), (must, within)])
        hits = state["searcher"].search(query, K, count=False).hits
        return [hit[1].doc for hit in hits]

    def add(number: int, text: str, bucket: int) -> None:
        writer.add_document(tantivy.Document(text=text, id=number, bucket=bucket))
        writer.commit()
        index.reload()
        state["searcher"] = index.searcher()

    return Peer(search, add)


def fts5(texts: Sequence[str], buckets: Sequence[int]) -> Peer:
    connection = apsw.Connection(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE t USING fts5(text, content='', tokenize='porter unicode61')"
    )
    connection.execute("CREATE TABLE d (id INTEGER PRIMARY KEY, bucket INTEGER)")
    connection.execute("CREATE INDEX b ON d (bucket)")
    with connection:
        connection.executemany(
            "INSERT INTO t (rowid, text) VALUES (?, ?)", list(enumerate(texts, 1))
        )
        connection.executemany("INSERT INTO d VALUES (?, ?)", list(enumerate(buckets, 1)))
    size = connection.execute("SELECT sum(length(block)) FROM t_data").fetchone()
    asked = "SELECT rowid FROM t WHERE t MATCH ? ORDER BY rank LIMIT 10"
    # Without the plus, FTS5 asks its index for every row of the filter: many times slower.
    narrowed = (
        "SELECT rowid FROM t WHERE t MATCH ? AND +rowid IN (SELECT id FROM d WHERE bucket < ?) "
        "ORDER BY bm25(t) LIMIT 10"
    )

    def search(text: str, below: int | None) -> list[int]:
        query = " OR ".join(f'"{word}"' for word in words_of(text))
        found = (
            connection.execute(asked, (query,))
            if below is None
            else connection.execute(narrowed, (query, below))
        )
        return [row - 1 for (row,) in found]

    def add(number: int, text: str, bucket: int) -> None:
        with connection:
            connection.execute("INSERT INTO t (rowid, text) VALUES (?, ?)", (number + 1, text))
            connection.execute("INSERT INTO d VALUES (?, ?)", (number + 1, bucket))

    return Peer(search, add, size[0] / 1e6)


def bm25s(texts: Sequence[str], buckets: Sequence[int]) -> Peer:
    import bm25s
    import numpy as np

    analyzer = Analyzer(FieldSettings())
    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index([analyzer.tokens(text) for text in texts], show_progress=False)
    known = index.vocab_dict
    numbers = np.array(buckets)
    masks = {below: (numbers < below).astype(np.float32) for below in (1, 10)}

    def search(text: str, below: int | None) -> list[int]:
        tokens = [word for word in analyzer.tokens(text) if word in known]
        if not tokens:
            return []
        mask = None if below is None else masks[below]
        found = index.retrieve(
            [tokens], k=K, show_progress=False, n_threads=0, weight_mask=mask, return_as="documents"
        )
        return [int(row) for row in found[0]]

    return Peer(search, None)


def zvec(texts: Sequence[str], buckets: Sequence[int]) -> Peer:
    import zvec
    from zvec.model.param import FtsIndexParam
    from zvec.model.param.query import Fts, Query

    folder = Path(tempfile.mkdtemp(prefix="bench-text-"))
    schema = zvec.CollectionSchema(
        name="t",
        fields=[
            zvec.FieldSchema(
                "text",
                zvec.DataType.STRING,
                index_param=FtsIndexParam(filters=["lowercase", "ascii_folding", "stemmer"]),
            ),
            zvec.FieldSchema("bucket", zvec.DataType.INT64, index_param=zvec.InvertIndexParam()),
        ],
        # A collection without vectors there is not.
        vectors=[zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, 1)],
    )
    collection = zvec.create_and_open(path=str(folder / "c"), schema=schema)

    def document(number: int, text: str, bucket: int) -> Any:
        fields = {"text": text, "bucket": bucket}
        return zvec.Doc(id=str(number), fields=fields, vectors={"v": [1.0]})

    for start in range(0, len(texts), BATCH):
        part = range(start, min(start + BATCH, len(texts)))
        collection.insert([document(number, texts[number], buckets[number]) for number in part])
    collection.optimize()

    def search(text: str, below: int | None) -> list[int]:
        asked = Query(field_name="text", fts=Fts(match_string=" ".join(words_of(text))))
        within = None if below is None else f"bucket < {below}"
        found = collection.query(asked, topk=K, filter=within, output_fields=[])
        return [int(hit.id) for hit in found]

    def add(number: int, text: str, bucket: int) -> None:
        collection.insert(document(number, text, bucket))

    return Peer(search, add)


def qdrant(texts: Sequence[str], buckets: Sequence[int]) -> Peer:
    import qdrant_edge as q

    folder = Path(tempfile.mkdtemp(prefix="bench-text-"))
    vectors = q.EdgeVectorParams(1, q.Distance.Dot)
    shard = q.EdgeShard.create(str(folder / "s"), q.EdgeConfig(vectors=vectors))
    index = q.TextIndexParams(
        tokenizer=q.TokenizerType.Word,
        lowercase=True,
        ascii_folding=True,
        stemmer=q.SnowballParams(q.SnowballLanguage.English),
        scoring=True,
    )
    shard.update(q.UpdateOperation.create_field_index("text", index))
    shard.update(q.UpdateOperation.create_field_index("bucket", q.PayloadSchemaType.Integer))

    def point(number: int, text: str, bucket: int) -> Any:
        return q.Point(number, [1.0], {"text": text, "bucket": bucket})

    for start in range(0, len(texts), BATCH):
        part = range(start, min(start + BATCH, len(texts)))
        points = [point(number, texts[number], buckets[number]) for number in part]
        shard.update(q.UpdateOperation.upsert_points(points))
    shard.optimize()

    def search(text: str, below: int | None) -> list[int]:
        within = None
        if below is not None:
            within = q.Filter(must=[q.FieldCondition("bucket", range=q.RangeFloat(lt=below))])
        query = q.TextQuery("text", " ".join(words_of(text)))
        return [hit.id for hit in shard.query(q.QueryRequest(K, query=query, filter=within))]

    def add(number: int, text: str, bucket: int) -> None:
        shard.update(q.UpdateOperation.upsert_points([point(number, text, bucket)]))

    return Peer(search, add)


BUILDERS: dict[str, Callable[[Sequence[str], Sequence[int]], Peer]] = {
    "tantivy en_stem": lambda texts, buckets: tantivy(texts, buckets, "en_stem"),
    "tantivy default": lambda texts, buckets: tantivy(texts, buckets, "default"),
    "SQLite FTS5": fts5,
    "bm25s": bm25s,
    "zvec": zvec,
    "qdrant-edge": qdrant,
}
