"""POST /v1/bulk: operations one after another, answered one by one, in order.

The body is newline-delimited JSON or a sequence of msgpack maps, one operation each. What has
arrived is done together (one append for up to 1,024), so a loader gets group commit for free. The
request may be cut anywhere: what was answered is durable. Send the rest again; an operation
with an ``op_id`` that was done already is answered again, marked, and not applied again.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import trio

from actors import Reply
from kissvdb.api.access.commands import check_each
from kissvdb.api.bulk.cutting import Lines, Maps
from kissvdb.api.bulk.operations import Outcome
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX
from kissvdb.api.reading.query import parse_query
from kissvdb.api.state import plain_puts
from kissvdb.core.events.publishing import Published
from kissvdb.core.rows import rules as collection
from kissvdb.core.sql.commands import SqlExecutedAnswer
from kissvdb.core.state.put_many import PutMany, WrittenMany
from kissvdb.core.state.rules import Answer as StateAnswer
from kissvdb.core.state.rules import Deleted, Put, Written
from kissvdb.engine.asking import answered
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import (
    Damaged,
    InvalidArgument,
    KissError,
    Overloaded,
    Refused,
    Unauthorized,
    Unavailable,
)
from kissvdb.records import EventPublished

NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
OVERLOADED_PAUSE_SECONDS = 0.02

EMBEDDED_MAX = 128
"""Operations done together where texts are embedded."""

Answer = StateAnswer | collection.Answer | SqlExecutedAnswer
T = TypeVar("T")
_SETTLED = (KissError, collection.WrittenVector)

_json = msgspec.json.encode
_REPEATED = b',"repeated":true}\n'
_UNCHANGED = b',"unchanged":true}\n'


async def bulk(context: Context, request: Request) -> Response | StreamResponse:
    media = request.headers.get("content-type", NDJSON).partition(";")[0].strip().lower()
    grants = request.principal.grants
    cutter = Maps(context, grants) if media == MSGPACK else Lines(context, grants)
    answers = Answers(quiet=_is_quiet(request))
    if request.stream is not None:
        body = request.stream
        if request.principal.key_id is not None:
            body = _WhileAllowed(context, request, body)
        return StreamResponse(_stream(context, body, cutter, answers), NDJSON)
    cutter.feed(request.body)
    cutter.end()
    blobs = []
    loading = _Loading(context, cutter, answers)
    while (blob := await _do_next(context, cutter, answers, loading)) is not None:
        blobs.append(blob)
    return Response(b"".join([*blobs, answers.summary()]), content_type=NDJSON)


class _WhileAllowed:
    """What arrives, until the key that sends it works no more. Raises Unauthorized then: a load may
    take hours."""

    def __init__(self, context: Context, request: Request, arriving: AsyncIterator[bytes]) -> None:
        self._keys = context.database.keys
        self._who = request.principal
        self._arriving = arriving
        self._at_hand = getattr(arriving, "at_hand", None)

    def __aiter__(self) -> "_WhileAllowed":
        return self

    async def __anext__(self) -> bytes:
        try:
            return self._checked(await anext(self._arriving))
        except Unauthorized:
            # Before the answer ends: what is left of a generator's would be its own to end later.
            close = getattr(self._arriving, "aclose", None)
            if close is not None:
                await close()
            raise

    def at_hand(self) -> bytes:
        """As that of the body, if it has any."""
        data = b"" if self._at_hand is None else self._at_hand()
        return self._checked(data) if data else data

    def _checked(self, data: bytes) -> bytes:
        assert self._who.key_id is not None
        self._keys.check(self._who.key_id, self._who.secret)
        return data


async def _stream(
    context: Context, arriving: AsyncIterator[bytes], cutter: Lines | Maps, answers: "Answers"
) -> AsyncIterator[bytes]:
    loading = _Loading(context, cutter, answers, getattr(arriving, "at_hand", None))
    try:
        async for data in arriving:
            cutter.feed(data)
            while (blob := await _do_next(context, cutter, answers, loading)) is not None:
                if blob:
                    yield blob
    except Refused as refusal:
        # The body broke off, or is not what its head said. What came before is done.
        yield await loading.finish() + answers.of([refusal])
        return
    cutter.end()
    while (blob := await _do_next(context, cutter, answers, loading)) is not None:
        if blob:
            yield blob
    yield answers.summary()


async def _do_next(
    context: Context, cutter: Lines | Maps, answers: "Answers", loading: "_Loading"
) -> bytes | None:
    """Do the next operations that are there whole; what there is to say of them, None at the end
    of what has arrived."""
    blob = await loading.next()
    if blob is not None:
        return blob
    events = None if cutter.put_back else cutter.take_events()
    if events is not None:
        return await _publish(context, events, answers)
    puts = None if cutter.put_back else cutter.take_puts()
    if puts is not None:
        return await _put(context, PutMany(*puts), answers)
    operations = cutter.put_back or check_each(cutter.grants, await _taken(cutter, cutter.take))
    cutter.put_back = []
    texts = context.database.vectors.texts
    if any(map(texts.concerns, operations)):
        # Vectors are made of texts in small parts: an answer follows each.
        operations, cutter.put_back = operations[:EMBEDDED_MAX], operations[EMBEDDED_MAX:]
        operations = await texts.prepared(operations)
    return answers.of(await _write(context, operations)) if operations else None


async def _publish(context: Context, events: Sequence[EventPublished], answers: "Answers") -> bytes:
    """Append events that nobody has to decide; what there is to say of them."""
    while True:
        try:
            first = await answered(context.database.append_events(events))
        except Overloaded:
            await trio.sleep(OVERLOADED_PAUSE_SECONDS)
        except Unavailable as refusal:
            return answers.of([refusal] * len(events))
        else:
            return answers.published(first, len(events))


async def _put(context: Context, puts: PutMany, answers: "Answers") -> bytes:
    """The same of puts that are columns."""
    while True:
        try:
            reply = context.database.put_many(puts.keys, puts.values, puts.documents)
            if reply is not None:
                return answers.put(await answered(reply))
        except Overloaded:
            await trio.sleep(OVERLOADED_PAUSE_SECONDS)
            continue
        except Damaged:
            # One key cannot be looked up: the others still can be written.
            pass
        except (Unavailable, Refused) as refusal:
            return answers.of([refusal] * len(puts.keys))
        return answers.of(await _write(context, list(map(Put, puts.keys, puts.values))))


async def _taken(cutter: Lines | Maps, take: Callable[[], T]) -> T:
    return (
        await trio.to_thread.run_sync(take) if cutter.pending_bytes > INLINE_BYTES_MAX else take()
    )


class _Loading:
    """Documents that are put as columns: while some are written, the next ones are read."""

    def __init__(
        self,
        context: Context,
        cutter: Lines | Maps,
        answers: "Answers",
        at_hand: Callable[[], bytes] | None = None,
    ) -> None:
        """``at_hand``: what more has arrived by now, perhaps nothing."""
        self._context = context
        self._cutter = cutter
        self._answers = answers
        self._at_hand = at_hand
        self._begun: tuple[PutMany, Reply] | None = None

    async def next(self) -> bytes | None:
        """Begin to write what is there next, and say what came of what was begun before. None
        where nothing is begun, and what is there next is something else."""
        cutter = self._cutter
        if self._begun is not None and self._at_hand is not None and not cutter.has_more:
            cutter.feed(self._at_hand())
        if cutter.put_back or not cutter.documents_are_next:
            return None if self._begun is None else await self.finish()
        puts = await _taken(cutter, cutter.take_documents)
        if puts is None:
            return None if self._begun is None else await self.finish()
        reply = self._begin(puts)
        said = await self.finish(is_last=reply is None)
        if reply is None:
            return said + await _put(self._context, puts, self._answers)
        self._begun = puts, reply
        return said

    async def finish(self, *, is_last: bool = True) -> bytes:
        """What came of what was begun, if anything was. ``is_last``: nothing was behind it."""
        if self._begun is None:
            return b""
        (puts, reply), self._begun = self._begun, None
        try:
            return self._answers.put(await answered(reply))
        except (Unavailable, Refused, Damaged) as refusal:
            if is_last and isinstance(refusal, Damaged):
                return await _put(self._context, puts, self._answers)
            return self._answers.of([refusal] * len(puts.keys))

    def _begin(self, puts: PutMany) -> Reply | None:
        """None: it could not be begun, and is to be done by itself."""
        try:
            return self._context.database.put_many(puts.keys, puts.values, puts.documents)
        except Unavailable:
            return None


async def _write(context: Context, operations: Sequence[Outcome]) -> list[Answer | KissError]:
    """Write what is sound; an owner whose mailbox is full is waited for, in order."""
    answers: list[Any] = list(operations)
    waiting = [n for n, each in enumerate(operations) if not isinstance(each, _SETTLED)]
    while waiting:
        commands: list[Any] = [operations[n] for n in waiting]
        names = {each.collection for each in commands if type(each) is VectorCommand}
        try:
            await context.database.vectors.keep_pace(names)
        except Overloaded:
            continue
        done = await context.database.write_many(commands)
        for place, answer in zip(waiting, done, strict=True):
            answers[place] = answer
        waiting = [n for n in waiting if isinstance(answers[n], Overloaded)]
        if waiting:
            await trio.sleep(OVERLOADED_PAUSE_SECONDS)
    return answers


class Answers:
    """The lines that answer the operations, counted from 1. ``quiet`` says errors only, and how
    it all went at the end: for clients that send everything before they read."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._count = 0
        self._errors = 0
        self._last_offset: int | None = None

    def of(self, outcomes: Sequence[Answer | KissError]) -> bytes:
        """The lines for these outcomes."""
        lines = []
        for outcome in outcomes:
            self._count += 1
            if isinstance(outcome, KissError):
                self._errors += 1
                lines.append(_error_line(self._count, outcome))
                continue
            if outcome.offset is not None:
                self._last_offset = outcome.offset
            if not self._quiet:
                line = _line(outcome)
                if outcome.repeated:
                    line = line[:-2] + _REPEATED
                elif isinstance(outcome, collection.WrittenVector) and outcome.unchanged:
                    line = line[:-2] + _UNCHANGED
                lines.append(line)
        return b"".join(lines)

    def published(self, first: int, count: int) -> bytes:
        """The lines for events that were logged together, from the offset ``first`` on."""
        self._count += count
        self._last_offset = first + count - 1
        if self._quiet:
            return b""
        return b"".join(b'{"status":"ok","offset":%d}\n' % (first + n) for n in range(count))

    def put(self, written: WrittenMany) -> bytes:
        """The lines for puts that were columns."""
        self._count += len(written.offsets)
        self._last_offset = written.offsets[-1]
        return b"" if self._quiet else plain_puts.line_results(written)

    def summary(self) -> bytes:
        """The last line of a quiet answer."""
        if not self._quiet:
            return b""
        return b'{"status":"done","operations":%d,"errors":%d,"offset":%b}\n' % (
            self._count,
            self._errors,
            _json(self._last_offset),
        )


def _line(answer: Answer) -> bytes:
    if isinstance(answer, Published):
        assert answer.offset is not None
        return b'{"status":"ok","offset":%d}\n' % answer.offset
    if isinstance(answer, Written):
        return b'{"status":"ok","offset":%d,"revision":%d}\n' % (answer.offset, answer.revision)
    if isinstance(answer, collection.WrittenVector):
        return b'{"status":"ok","offset":%d}\n' % answer.offset
    if isinstance(answer, collection.DeletedVector):
        return b'{"status":"ok","offset":%d,"deleted":true}\n' % answer.offset
    if isinstance(answer, SqlExecutedAnswer):
        return b'{"status":"ok","offset":%b,"rows_affected":%d}\n' % (
            _json(answer.offset),
            sum(answer.rows_affected),
        )
    assert isinstance(answer, Deleted)
    return b'{"status":"ok","offset":%b,"deleted":%b}\n' % (
        _json(answer.offset),
        _json(answer.deleted),
    )


def _error_line(line: int, refusal: KissError) -> bytes:
    return b'{"status":"error","line":%d,"error":{"error":%b,"message":%b}}\n' % (
        line,
        _json(refusal.code),
        _json(refusal.message),
    )


def _is_quiet(request: Request) -> bool:
    wanted = parse_query(request.query).get("answers") or "all"
    if wanted not in ("all", "errors"):
        raise InvalidArgument(f"query.answers: must be all or errors, not {wanted!r}")
    return wanted == "errors"
