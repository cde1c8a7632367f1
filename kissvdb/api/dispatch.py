"""From a request to an answer, the same for every door.

The order is: route, admission, content type, size, operation. Whatever goes wrong becomes
``{"error", "message"}`` here, so that a client sees one shape from every place.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, cast

import attrs
import msgspec
import trio

from actors import ActorCrashed, MailboxClosed
from kissvdb.api.access.cors import Cors
from kissvdb.api.access.entrance import Entrance, answer_within, put_off
from kissvdb.api.access.hosts import Hosts
from kissvdb.api.access.origins import Origins
from kissvdb.api.bound import Begun, Bound
from kissvdb.api.frame.content_coding import inflated, inflated_stream, is_gzip
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.failures import FailureLog, failure
from kissvdb.api.frame.http import Answer, Headers, Pending, Request, Response, StreamResponse
from kissvdb.api.frame.request_ids import is_sane
from kissvdb.api.frame.route import JSON, Route
from kissvdb.api.frame.router import Router
from kissvdb.api.frame.starting import Recovering, still_starting
from kissvdb.api.frame.watch import Watch
from kissvdb.api.outcomes import completed, crashed, drop, refused
from kissvdb.api.reading import min_offset
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config
from kissvdb.errors import (
    KissError,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    UnsupportedMediaType,
)
from kissvdb.metrics import Metrics
from kissvdb.telemetry.tracer import Tracer

if TYPE_CHECKING:
    from kissvdb.engine.database import Database

_UNMATCHED = "unmatched"
# Stands for what could not be read.
_UNREAD = Request("", "")


class Api:
    """Every route, bound to one database. Made once per server; holds no request's state."""

    def __init__(
        self,
        db: "Database | Recovering",
        config: Config,
        metrics: Metrics,
        tracer: Tracer | None = None,
    ) -> None:
        self.config = config
        # Until it is set and gone, requests that need the database wait for it.
        self._opening = trio.Event() if isinstance(db, Recovering) else None
        origins = Origins(config.server.cors_allowed_origins)
        self._hosts = Hosts(config.server)
        self._entrance = Entrance(config, origins, self._hosts, metrics)
        executed = self._entrance.executed
        self._context = Context(cast("Database", db), config, metrics, executed, self.dispatch)
        strict = self._context.strict
        self._router = Router(
            (route.method, route.path, Bound.of(route, metrics, strict=strict)) for route in ROUTES
        )
        self.beginning = self._router.beginning
        self._unmatched = metrics.route(_UNMATCHED)
        self._cors = Cors(origins)
        self._failures = FailureLog()
        self._watch = Watch.of(config, tracer)
        # Ids of two runs must not be taken for each other in a log.
        self._id_prefix = os.urandom(4).hex()
        self._ids = count(1)
        self._begin_epoch(db.epoch)
        if not isinstance(db, Recovering):
            self._entrance.open(db)

    def open(self, db: "Database") -> None:
        """From now on answer from ``db``: recovery is done."""
        self._context = attrs.evolve(self._context, database=db)
        self._begin_epoch(db.epoch)
        self._entrance.open(db)
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.set()

    def _begin_epoch(self, epoch: str) -> None:
        """The headers of every answer, put together once: which history its offsets are places in
        (nothing while it is not known), and what caches must know."""
        self._epoch: Headers = (("kissvdb-epoch", epoch),) if epoch else ()
        self.shared_headers = (*self._epoch, *self._cors.headers({}))
        """What the answers to most requests end with: those that no page sends."""

    def route(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route of a raw path and its decoded parameters, before any body is read.

        Raises NotFound, MethodNotAllowed and InvalidArgument.
        """
        bound, params = self._router.find(method, path)
        return bound.route, params

    def find(self, method: str, path: str) -> tuple[Bound, Mapping[str, str]]:
        """Like ``route``, for a door that hands what it found to ``dispatch``."""
        return self._router.find(method, path)

    def begin(self, request: Request, bound: Bound) -> Response | Begun | None:
        """Answer a request, or begin to, without a turn of the loop and without a task.

        Begun: when its reply is settled, `finish` makes the answer; until then the caller may
        abandon the reply, but what it asked for happens. None: this request needs a task;
        nothing came of it so far, `dispatch` it. ``bound`` is prompt, ``request`` has its
        parameters. Never raises.
        """
        if self._opening is not None and bound.route.recovered:
            return None
        if request.body and "content-encoding" in request.headers:
            return None
        started = perf_counter()
        if self._watch is not None:
            request = self._watch.begin(request)
        try:
            request = self._entrance.let_in(request, bound)
            self._check_request(bound, request)
            if request.query and not min_offset.is_reached(self._context, bound.route, request):
                put_off(request)
                return None
            if request.parts is None:
                outcome = bound.route.operation(self._context, request)
            else:
                operation = bound.route.operation
                outcome = request.parts.during(operation, self._context, request)
            if isinstance(outcome, Pending):
                return Begun(request, bound, outcome, started)
            if not isinstance(outcome, Response):
                drop(outcome)
                put_off(request)
                return None
            answer = outcome
        except KissError as error:
            return self._failed(error, request, bound, started)
        except Exception:
            return self._failed(crashed(request), request, bound, started)
        return self._finished(answer, request, bound, started)

    def finish(self, begun: Begun) -> Response:
        """The answer to what was begun, once its reply is settled. Never raises."""
        pending, request = begun.pending, begun.request
        try:
            try:
                answer = pending.finish(pending.reply.take())
            except (KissError, MailboxClosed, ActorCrashed) as error:
                answer = refused(pending, error)
        except KissError as error:
            return self._failed(error, request, begun.bound, begun.started)
        except Exception:
            return self._failed(crashed(request), request, begun.bound, begun.started)
        return self._finished(answer, request, begun.bound, begun.started)

    def _finished(
        self,
        answer: Response,
        request: Request,
        bound: Bound | None,
        started: float,
        outcome: str = "done",
    ) -> Response:
        common = self._common(request)
        status, type_, body = answer.status, answer.content_type, answer.body
        if bound is not None and bound.route.audited:
            self._entrance.done(outcome, status, request, bound.route, common[0][1])
        numbers = self._unmatched if bound is None else bound.metrics
        took = perf_counter() - started
        numbers.observe(status, took)
        if request.parts is not None:
            self._watched(request, bound, common[0][1], status, took)
        if body and type_ == JSON:
            # So that a shell's prompt stands on a line of its own.
            body += b"\n"
        headers = answer.headers
        return Response(body, status, type_, (*headers, *common) if headers else common)

    def _watched(
        self, request: Request, bound: Bound | None, request_id: str, status: int, took: float
    ) -> None:
        assert self._watch is not None
        route = None if bound is None else bound.route
        self._watch.end(request, route, request_id, status, took)

    def _failed(
        self, error: KissError, request: Request, bound: Bound | None, started: float
    ) -> Response:
        if error.status == RateLimited.status and request.caller is not None:
            # The refusal has these headers of its own.
            request = msgspec.structs.replace(request, caller=None)
        answer = self._finished(failure(error), request, bound, started, error.code)
        if bound is None:
            route, request = self._named(request)
        else:
            route = bound.route.name
        self._note(error, request, answer, route)
        return answer

    def _named(self, request: Request) -> tuple[str, Request]:
        """The name of the request's route, and the request with its parameters, as far as there is
        one."""
        with suppress(KissError):
            bound, params = self._router.find(request.method, request.path)
            return bound.route.name, msgspec.structs.replace(request, params=params)
        return _UNMATCHED, request

    def _note(self, error: KissError, request: Request, answer: Response, route: str) -> None:
        request_id = dict(answer.headers)["x-request-id"]
        self._entrance.refused(error, request, route, request_id)
        self._failures.note(error, request, route, request_id)

    async def dispatch(
        self, request: Request, *, bound: Bound | None = None, timed: bool = True
    ) -> Answer:
        """The answer to a request. Raises nothing but Cancelled.

        The answer to HEAD has the body of GET: the door drops it. A StreamResponse must be
        iterated or closed. ``timed`` False leaves request_timeout_secs to the caller (a cancel
        scope costs 8 us): it then cancels this call and answers ``timeout()``. ``bound`` is what
        ``find`` found, if the door has asked: then ``request`` has its parameters already.
        """
        started = perf_counter()
        if self._watch is not None:
            request = self._watch.begin(request)
        try:
            if bound is None:
                bound, request = self._find(request)
            else:
                request = self._entrance.let_in(request, bound)
            if bound is None:
                answer: Answer = self._cors.preflight(self._router.allowed(request.path))
            else:
                self._check_request(bound, request)
                if bound.media and "content-encoding" in request.headers:
                    request = await self._decoded(request)
                answering = self._answer_within(bound, request, timed)
                if request.parts is None:
                    answer = await answering
                else:
                    answer = await request.parts.while_waiting(answering)
        except KissError as error:
            return self._failed(error, request, bound, started)
        except Exception:
            return self._failed(crashed(request), request, bound, started)
        if isinstance(answer, Response):
            return self._finished(answer, request, bound, started)
        assert bound is not None
        took = perf_counter() - started
        bound.metrics.observe(answer.status, took)
        common = self._common(request)
        if request.parts is not None:
            self._watched(request, bound, common[0][1], answer.status, took)
        if bound.route.audited:
            self._entrance.done("begun", answer.status, request, bound.route, common[0][1])
        headers = (*answer.headers, *common)
        return StreamResponse(answer.body, answer.content_type, headers, answer.status)

    def knows(self, authority: str) -> bool:
        """Whether ``host[:port]`` in a request's target is this server."""
        return self._hosts.know(authority)

    def refusal(self, error: KissError, request: Request | None = None) -> Response:
        """The answer for what a door refuses itself; without a request, one that had none."""
        route = _UNMATCHED
        if request is None:
            request = _UNREAD
        else:
            route, request = self._named(request)
        answer = self._finished(failure(error), request, None, perf_counter())
        self._note(error, request, answer, route)
        return answer

    def timeout(self) -> KissError:
        """What to refuse with when a request took too long."""
        if self._opening is not None:
            return still_starting()
        return RequestTimeout(
            f"no answer within {self.config.server.request_timeout_secs} s "
            "(REQUEST_TIMEOUT_SECS): a write may or may not have happened, check with GET"
        )

    def _find(self, request: Request) -> tuple[Bound | None, Request]:
        """The route, if the request may use it, and the request with its parameters; None for a
        preflight, which needs no key."""
        if request.method == "OPTIONS":
            if not self._router.allowed(request.path):
                self._entrance.let_in(request, None)
                raise NotFound(f"no route {request.path[:200]}: see /docs for all there are")
            self._entrance.admission.admit_preflight(request)
            return None, request
        try:
            bound, params = self._router.find(request.method, request.path)
        except KissError:
            self._entrance.let_in(request, None)
            raise
        request = msgspec.structs.replace(request, params=params)
        return bound, self._entrance.let_in(request, bound)

    def _check_request(self, bound: Bound, request: Request) -> None:
        if request.query and bound.parameters is not None:
            bound.parameters.check(request)
        if len(request.body) > self.config.limits.body_bytes_max:
            raise self.too_large()
        if not bound.media:
            if request.body and bound.parameters is not None:
                bound.parameters.check_body(request)
            return
        content_type = request.headers.get("content-type")
        if content_type is None or content_type in bound.media:
            return
        if content_type.partition(";")[0].strip().lower() not in bound.media:
            expected = " or ".join(bound.route.body_media)
            raise UnsupportedMediaType(
                f"content-type {content_type!r} is not read here: send {expected}"
            )

    async def _decoded(self, request: Request) -> Request:
        """The request with its body as it was before it was compressed."""
        # An empty body is empty in every coding.
        if not (request.body or request.stream) or not is_gzip(request.headers):
            return request
        if request.stream is not None:
            return msgspec.structs.replace(request, stream=inflated_stream(request.stream))
        bytes_max = self.config.limits.body_bytes_max
        body = await inflated(request.body, bytes_max, self.too_large)
        return msgspec.structs.replace(request, body=body)

    def too_large(self) -> PayloadTooLarge:
        """What to refuse a body with that is over the limit."""
        return PayloadTooLarge(
            f"the body is over {self.config.limits.body_bytes_max} bytes: send smaller batches "
            "(vectors also as application/octet-stream, half the size), or raise "
            "limits.body_bytes_max (MAX_BODY_BYTES)"
        )

    async def _answer_within(self, bound: Bound, request: Request, timed: bool) -> Answer:
        if request.caller is None:
            return await self._answer(bound, request, timed)
        answer = partial(self._answer, bound, request, timed)
        return await answer_within(request, bound.route, answer)

    async def _answer(self, bound: Bound, request: Request, timed: bool) -> Answer:
        route = bound.route
        if self._opening is not None and route.recovered:
            return await self._answer_when_open(self._opening, bound, request)
        if request.query and await min_offset.wait(self._context, route, request):
            self._entrance.admission.check_again(request.principal)
        outcome = route.operation(self._context, request)
        if isinstance(outcome, Response):
            return outcome
        if not (timed and route.bounded):
            return await completed(outcome)
        with trio.move_on_after(self.config.server.request_timeout_secs):
            return await completed(outcome)
        raise self.timeout()

    async def _answer_when_open(
        self, opening: trio.Event, bound: Bound, request: Request
    ) -> Answer:
        """As `_answer`, once recovery is done; the wait is part of the time a request may take.
        Who asks is asked again: which keys were issued is known only now."""
        bounded = bound.route.bounded
        with trio.move_on_after(self.config.server.request_timeout_secs):
            await opening.wait()
            request = self._entrance.let_in_again(request, bound)
            if bounded:
                return await self._answer(bound, request, timed=False)
        if bounded or self._opening is not None:
            raise self.timeout()
        return await self._answer(bound, request, timed=False)

    def _common(self, request: Request) -> Headers:
        request_headers = request.headers
        given = request_headers.get("x-request-id")
        if given is None or not is_sane(given):
            given = f"{self._id_prefix}-{next(self._ids)}"
        own: Headers = (("x-request-id", given),)
        if request.caller is not None:
            own += request.caller.headers()
        if "origin" not in request_headers:
            return own + self.shared_headers
        return own + self._epoch + self._cors.headers(request_headers)
