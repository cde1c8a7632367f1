"""Letting a request in: who asks (`admission`), and whether it asks too often (`limiting`)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from kissvdb.api.access.admission import Admission
from kissvdb.api.access.audit import Audit, schema_changes
from kissvdb.api.access.hosts import Hosts
from kissvdb.api.access.limiting import Caller, Limiter, carries_key
from kissvdb.api.access.origins import Origins
from kissvdb.api.access.peers import Peers, caller_of
from kissvdb.api.access.reach import check_reach
from kissvdb.api.frame.http import Answer, Request, StreamResponse
from kissvdb.api.frame.principal import ANYBODY, Principal
from kissvdb.api.frame.route import EVENT_STREAM, Route, Scope
from kissvdb.config import Config
from kissvdb.engine.stream.subscription import Subscription
from kissvdb.errors import KissError, QuotaExceeded, Unauthorized
from kissvdb.metrics import AUDIT_LOST, Metrics

if TYPE_CHECKING:
    from kissvdb.api.bound import Bound
    from kissvdb.engine.database import Database


class Entrance:
    """Made once per server. An open server without limits pays two looks a request for it."""

    def __init__(self, config: Config, origins: Origins, hosts: Hosts, metrics: Metrics) -> None:
        self.admission = Admission(config.server, origins, hosts)
        self._limiter = Limiter(config.rate)
        self._peers = Peers(config.server.trusted_proxies)
        self._metrics = metrics
        self.audit = audit = Audit(config.audit) if config.audit.enabled else None
        if audit is not None:
            metrics.watch(AUDIT_LOST, lambda: audit.lost)

    def open(self, database: "Database") -> None:
        """From now on there is a database, and it is known which keys were issued."""
        self.admission.open(database.keys)
        if self.audit is not None:
            self.audit.open(database)

    def let_in(self, request: Request, bound: "Bound | None") -> Request:
        """The request with who asks. ``bound`` None: of a route that does not exist.

        Raises Unauthorized, Forbidden and RateLimited, before anything is looked for: a refusal
        says nothing of what there is. What is public is never limited: who looks whether the server
        is there must not learn that it is busy.
        """
        limiter = self._limiter
        if limiter.failures and not _is_public(bound) and carries_key(request):
            limiter.check_failures(self._source(request))
        try:
            principal = self.admission.admit(request, bound)
        except Unauthorized:
            if carries_key(request):
                limiter.note_failure(self._source(request))
            raise
        if principal is not ANYBODY:
            request = msgspec.structs.replace(request, principal=principal)
        elif not limiter.limits_all:
            # An open server: most requests there are.
            return request
        try:
            if (limiter.limits_all or principal.limits) and not _is_public(bound):
                request = self._limited(request, principal)
            if principal.grants is not None and bound is not None:
                check_reach(principal.grants, bound.route, request)
        except KissError as error:
            error.principal = principal
            raise
        return request

    def let_in_again(self, request: Request, bound: "Bound") -> Request:
        """As `let_in`, of a request that waited for the recovery: only now it is known which keys
        were issued. It was counted already, as one of its address if its key was not known."""
        try:
            principal = self.admission.admit(request, bound)
        except Unauthorized:
            if carries_key(request):
                self._limiter.note_failure(self._source(request))
            raise
        if principal.grants is not None:
            check_reach(principal.grants, bound.route, request)
        return msgspec.structs.replace(request, principal=principal)

    def refused(self, error: KissError, request: Request, route: str, request_id: str) -> None:
        """Count a refusal, and audit it, if it is one of who may ask for what and how much."""
        if error.status not in _REFUSED and error.code != QuotaExceeded.code:
            return
        who = _who(error, request)
        role = "none" if who is None else who.scope.name.lower()
        self._metrics.refusal(error.code, role).inc()
        if self.audit is not None:
            address = self._peers.address_of(request)
            self.audit.refused(error, route, request, who, address, request_id)

    def done(self, outcome: str, status: int, request: Request, route: Route, id_: str) -> None:
        """Audit what was asked of an audited route, unless it was refused: that is noted already.
        ``id_``: of the request."""
        if self.audit is not None and status not in _REFUSED:
            address = self._peers.address_of(request)
            self.audit.done(route.name, outcome, request, request.principal, address, id_)

    @property
    def executed(self) -> Callable[[Request, Sequence[str]], None] | None:
        """What is to hear of SQL statements that were done (`Context.executed`)."""
        return None if self.audit is None else self._executed

    def _executed(self, request: Request, statements: Sequence[str]) -> None:
        """Audit the statements that changed the schema. The request has no id of ours yet."""
        changes = schema_changes(statements)
        if self.audit is not None and changes:
            address, id_ = self._peers.address_of(request), request.headers.get("x-request-id", "")
            who, detail = request.principal, {"statements": changes}
            action = f"{request.method} {request.path}"
            self.audit.done(action, "done", request, who, address, id_, detail)

    def _limited(self, request: Request, principal: Principal) -> Request:
        # The configuration's key is nobody's in particular: who has it is told by address, so
        # that one of them cannot keep the others out.
        name = principal.key_id or self._source(request)
        caller = self._limiter.caller(name, principal.limits)
        caller.let_in(len(request.body))
        stream = None if request.stream is None else caller.paced(request.stream)
        return msgspec.structs.replace(request, caller=caller, stream=stream)

    def _source(self, request: Request) -> str:
        return caller_of(self._peers.address_of(request))


_REFUSED = (401, 403, 429)


def _who(error: KissError, request: Request) -> Principal | None:
    """Who was refused; None: who is not known."""
    if isinstance(error, Unauthorized):
        return None
    return error.principal if isinstance(error.principal, Principal) else request.principal


def _is_public(bound: "Bound | None") -> bool:
    return bound is not None and bound.route.scope is Scope.PUBLIC


def put_off(request: Request) -> None:
    """It was let in, and will be again: nothing came of it so far."""
    if request.caller is not None:
        cast(Caller, request.caller).give_back(len(request.body))


async def answer_within(
    request: Request, route: Route, answer: Callable[[], Awaitable[Answer]]
) -> Answer:
    """``answer()`` while there is room for one more search or stream of the request's caller.

    Raises RateLimited. A stream counts until it is closed.
    """
    caller = cast(Caller, request.caller)
    if route.searches:
        caller.begin_search()
        try:
            return await answer()
        finally:
            caller.end_search()
    if route.answer.media != EVENT_STREAM:
        return await answer()
    caller.open_stream()
    found: Answer | None = None
    try:
        found = await answer()
    finally:
        if isinstance(found, StreamResponse) and isinstance(found.body, Subscription):
            found.body.when_closed(caller.close_stream)
        else:
            caller.close_stream()
    return found
