"""A cache that answers a question with what was answered to nearly the same one.

What it promises: an entry lives for a time that is set when it is written and that no hit makes
longer (an answer that is asked for every hour must still grow old). Questions of different scopes
(a model, a prompt, a user) never answer each other. Every lookup leaves an event, so that the
threshold can be tuned by what was asked instead of by feeling: see `tune`.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kissvdb.client import Client
from kissvdb.errors import AlreadyExists, NotFound

AUDIT = "cache_lookup"
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Lookup:
    """What a lookup found: the nearest question, how near, and the answer if that was enough."""

    outcome: str  # hit, near (within `near` below the threshold), miss
    score: float
    question: str | None = None
    answer: Any = None


class SemanticCache:
    """Needs an embedder on the server. The default threshold is for `minilm`; every model has
    another scale, so look at `tune` before you trust it."""

    def __init__(
        self,
        client: Client,
        collection: str = "answers",
        *,
        scope: str = "default",
        threshold: float = 0.9,
        near: float = 0.15,
        ttl_ms: int = DAY_MS,
    ) -> None:
        self.client = client
        self.collection = collection
        self.scope = scope
        self.threshold = threshold
        self.near = near
        self.ttl_ms = ttl_ms

    def get(self, question: str) -> Lookup:
        """The answer to the nearest question, if it is near enough. Leaves an event."""
        found = self._look(question)
        data = {
            "cache": self.collection,
            "asked": question,
            "outcome": found.outcome,
            "score": round(found.score, 4),
            "threshold": self.threshold,
            "nearest": found.question,
        }
        self.client.events.publish(AUDIT, data, tags=[found.outcome])
        return found

    def put(self, question: str, answer: Any, *, ttl_ms: int | None = None) -> None:
        """Remember an answer for its time, over the one there was to the very same question."""
        entry = {"id": self._id(question), "text": question, "meta": {"answer": answer}}
        write = {**entry, "namespace": self.scope, "ttl_ms": ttl_ms or self.ttl_ms}
        try:
            self.client.vector.upsert(self.collection, **write)
        except NotFound:
            with contextlib.suppress(AlreadyExists):
                self.client.vector.create(self.collection, embedder="default")
            self.client.vector.upsert(self.collection, **write)

    def ask(self, question: str, make: Callable[[str], Any]) -> Any:
        """The answer that is remembered, or what ``make`` answers, which is remembered."""
        found = self.get(question)
        if found.outcome == "hit":
            return found.answer
        answer = make(question)
        self.put(question, answer)
        return answer

    def forget(self, question: str) -> bool:
        """Remove the entry of this very question; whether there was one."""
        return self.client.vector.delete(self.collection, self._id(question))

    def tune(self) -> list[dict[str, Any]]:
        """The latest lookups by score: read down to where the nearest question is another one, and
        set the threshold above that."""
        sql = (
            "SELECT data FROM events WHERE type = ? AND data ->> 'cache' = ? "
            'ORDER BY "offset" DESC LIMIT 1000'
        )
        rows = self.client.sql.query(sql, [AUDIT, self.collection])
        lookups = [json.loads(row["data"]) for row in rows]
        return sorted(lookups, key=lambda each: -each["score"])

    def _look(self, question: str) -> Lookup:
        try:
            hits = self.client.vector.search(
                self.collection,
                text=question,
                mode="vector",
                k=1,
                namespace=self.scope,
                include_text=True,
            ).hits
        except NotFound:
            hits = []
        if not hits:
            return Lookup("miss", 0.0)
        (hit,) = hits
        if hit.score >= self.threshold:
            return Lookup("hit", hit.score, hit.text, hit.meta["answer"])
        outcome = "near" if hit.score >= self.threshold - self.near else "miss"
        return Lookup(outcome, hit.score, hit.text)

    def _id(self, question: str) -> str:
        return hashlib.blake2b(f"{self.scope}\0{question}".encode(), digest_size=16).hexdigest()
