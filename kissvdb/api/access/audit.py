"""The audit: what admins did, and who was refused, as events of type ``audit`` in the log.

Who did something is known here and nowhere else, so the event follows what it tells of, in an
append of its own. No secret is in it: neither keys, nor bodies, nor queries.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import msgspec

from kissvdb.api.access.buckets import Bucket
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.principal import Principal
from kissvdb.config import Audit as AuditSettings
from kissvdb.errors import KissError
from kissvdb.records import EventPublished

if TYPE_CHECKING:
    from kissvdb.engine.database import Database

TYPE = "audit"
_SCHEMA = re.compile(r"(?:CREATE|DROP|ALTER)\b", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_NAME_LENGTH_MAX = 200
_HEAD_LENGTH_MAX = 4096


@attrs.define
class _Refusals:
    """Of one reason. ``left_out`` had no event of their own, since the last one that had."""

    bucket: Bucket
    left_out: int = 0


def schema_changes(statements: Sequence[str]) -> list[str]:
    """Those of some SQL statements that change the schema, from their first word on, cut."""
    found = []
    for text in statements:
        start = _first_word(text[:_HEAD_LENGTH_MAX])
        # What is behind a longer comment than that is taken for one, rather than passed over.
        if _SCHEMA.match(text, start) or start == _HEAD_LENGTH_MAX:
            found.append(text[start : start + _NAME_LENGTH_MAX])
    return found


def _first_word(text: str) -> int:
    """Where a statement begins, behind space and comments. Each character is looked at once."""
    at = 0
    while True:
        space = _SPACE.match(text, at)
        at = at if space is None else space.end()
        if text.startswith("--", at):
            end, skipped = text.find("\n", at), 1
        elif text.startswith("/*", at):
            end, skipped = text.find("*/", at + 2), 2
        else:
            return at
        if end < 0:
            return len(text)
        at = end + skipped


class Audit:
    """Made once per server, if ``audit.enabled``. What cannot be logged is counted in ``lost``: a
    server that is too busy to audit still serves."""

    def __init__(self, settings: AuditSettings, now: Callable[[], float] = time.monotonic) -> None:
        self.lost = 0
        self._database: Database | None = None
        self._settings = settings
        self._now = now
        # By error code: there are as many as there are errors.
        self._refusals: dict[str, _Refusals] = {}

    def open(self, database: "Database") -> None:
        """From now on there is a log to write to."""
        self._database = database

    def done(
        self,
        action: str,
        outcome: str,
        request: Request,
        who: Principal,
        address: str,
        request_id: str,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Note what was done: ``outcome`` is "done" or the error code, ``action`` the route, and
        ``detail`` what its path does not say."""
        event = self._event(action, outcome, request, who, address, request_id)
        self._append({**event, **(detail or {})})

    def refused(
        self,
        error: KissError,
        action: str,
        request: Request,
        who: Principal | None,
        address: str,
        request_id: str,
    ) -> None:
        """Note a refusal, unless there are too many of its reason: the next event says how many
        were left out."""
        now = self._now()
        refusals = self._refusals.get(error.code)
        if refusals is None:
            rate = self._settings.refusals_per_sec
            refusals = self._refusals[error.code] = _Refusals(Bucket(rate, rate, now))
        if refusals.bucket.wait_secs(now) > 0:
            refusals.left_out += 1
            return
        refusals.bucket.take(now)
        event = self._event(action, error.code, request, who, address, request_id)
        event["left_out"], refusals.left_out = refusals.left_out, 0
        self._append(event)

    def _event(
        self,
        action: str,
        outcome: str,
        request: Request,
        who: Principal | None,
        address: str,
        request_id: str,
    ) -> dict[str, object]:
        return {
            "action": action,
            "outcome": outcome,
            "about": {name: said[:_NAME_LENGTH_MAX] for name, said in request.params.items()},
            "key_id": None if who is None else who.key_id,
            "name": None if who is None else who.name,
            "role": "none" if who is None else who.scope.name.lower(),
            "address": address,
            "request_id": request_id,
        }

    def _append(self, event: dict[str, object]) -> None:
        if self._database is None:
            self.lost += 1
            return
        record = EventPublished(TYPE, msgspec.json.encode(event))
        try:
            reply = self._database.append_events([record])
        except KissError:
            self.lost += 1
            return

        def settled() -> None:
            try:
                reply.take()
            except Exception:
                # Whatever stopped the log stops the server; here it is one event less.
                self.lost += 1

        reply.call(settled)
