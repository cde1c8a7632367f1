"""POST /v1/bulk: operations one after another, answered one by one, in order.

The body is newline-delimited JSON or a sequence of msgpack maps, one operation each. What has
arrived is done together (one append for up to 1,024), so a loader gets group commit for free. The
request may be cut anywhere: what was answered is durable. Send the rest again; an operation
with an ``op_id`` that was done already is answered again, marked, and not applied again.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgpack
import msgspec
import trio

from kissvdb.api.access.commands import check_each
from kissvdb.api.bulk.operations import Outcome, read_events, read_line, read_lines, read_map
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX
from kissvdb.api.reading.query import parse_query
from kissvdb.core.events.publishing import Published
from kissvdb.core.grants import Grants
from kissvdb.core.rows import rules as collection
from kissvdb.core.sql.commands import SqlExecutedAnswer
from kissvdb.core.state.rules import Answer as StateAnswer
from kissvdb.core.state.rules import Deleted, Written
from kissvdb.errors import InvalidArgument, KissError, Overloaded, PayloadTooLarge, Refused

NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
OPERATIONS_PER_WRITE_MAX = 1024
OVERLOADED_PAUSE_SECONDS = 0.02

EMBEDDED_MAX = 128
"""Operations done together where texts are embedded."""

Answer = StateAnswer | collection.Answer | SqlExecutedAnswer
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
            body = _while_allowed(context, request, body)
        return StreamResponse(_stream(context, body, cutter, answers), NDJSON)
    cutter.feed(request.body)
    cutter.end()
    blobs = []
    while (blob := await _do_next(context, cutter, answers)) is not None:
        blobs.append(blob)
    return Response(b"".join([*blobs, answers.summary()]), content_type=NDJSON)


async def _while_allowed(
    context: Context, request: Request, arriving: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """What arrives, until the key that sends it works no more. Raises Unauthorized then: a load may
    take hours."""
    who, key_id = request.principal, request.principal.key_id
    assert key_id is not None
    try:
        async for data in arriving:
            context.database.keys.check(key_id, who.secret)
            yield data
    finally:
        close = getattr(arriving, "aclose", None)
        if close is not None:
            await close()


async def _stream(
    context: Context, arriving: AsyncIterator[bytes], cutter: "Lines | Maps", answers: "Answers"
) -> AsyncIterator[bytes]:
    try:
        async for data in arriving:
            cutter.feed(data)
            while (blob := await _do_next(context, cutter, answers)) is not None:
                if blob:
                    yield blob
    except Refused as refusal:
        # The body broke off, or is not what its head said. What came before is done.
        yield answers.of([refusal])
        return
    cutter.end()
    while (blob := await _do_next(context, cutter, answers)) is not None:
        if blob:
            yield blob
    yield answers.summary()


async def _do_next(context: Context, cutter: "Lines | Maps", answers: "Answers") -> bytes | None:
    """Do the next operations that are there whole; what there is to say of them, None at the end
    of what has arrived."""
    operations = cutter.put_back or await _take(cutter)
    cutter.put_back = []
    texts = context.database.vectors.texts
    if any(map(texts.concerns, operations)):
        # Vectors are made of texts in small parts: an answer follows each.
        operations, cutter.put_back = operations[:EMBEDDED_MAX], operations[EMBEDDED_MAX:]
        operations = await texts.prepared(operations)
    return answers.of(await _write(context, operations)) if operations else None


async def _take(cutter: "Lines | Maps") -> list[Outcome]:
    if cutter.pending_bytes > INLINE_BYTES_MAX:
        taken = await trio.to_thread.run_sync(cutter.take)
    else:
        taken = cutter.take()
    return check_each(cutter.grants, taken)


async def _write(context: Context, operations: Sequence[Outcome]) -> list[Answer | KissError]:
    """Write what is sound; an owner whose mailbox is full is waited for, in order."""
    answers: list[Any] = list(operations)
    waiting = [n for n, each in enumerate(operations) if not isinstance(each, _SETTLED)]
    while waiting:
        commands: list[Any] = [operations[n] for n in waiting]
        done = await context.database.write_many(commands)
        for place, answer in zip(waiting, done, strict=True):
            answers[place] = answer
        waiting = [n for n in waiting if isinstance(answers[n], Overloaded)]
        if waiting:
            await trio.sleep(OVERLOADED_PAUSE_SECONDS)
    return answers


class Lines:
    """Cuts newline-delimited JSON into operations. Empty lines are passed over."""

    def __init__(self, context: Context, grants: Grants | None) -> None:
        self.grants = grants
        self._context = context
        self._limits = context.config.limits
        self._waiting: deque[bytes | KissError] = deque()
        self._rest = b""
        self._skipping = False
        self.pending_bytes = 0
        self.put_back: list[Outcome] = []
        """Taken already, and to be done next."""

    def feed(self, data: bytes) -> None:
        """Take bytes, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._limits.body_bytes_max:
                self._waiting.append(_too_long(self._limits.body_bytes_max))
            elif line and not line.isspace():
                self._waiting.append(line)
                self.pending_bytes += len(line)
        if len(self._rest) > self._limits.body_bytes_max:
            # Not kept, however long it gets; the next line is read again.
            self._rest = b""
            if not self._skipping:
                self._waiting.append(_too_long(self._limits.body_bytes_max))
            self._skipping = True

    def end(self) -> None:
        """The last byte came: what is left is a line, too."""
        self.feed(b"\n")

    def take(self) -> list[Outcome]:
        """The next operations, at most OPERATIONS_PER_WRITE_MAX."""
        count = min(len(self._waiting), OPERATIONS_PER_WRITE_MAX)
        taken: list[Any] = [self._waiting.popleft() for _ in range(count)]
        places = [n for n, line in enumerate(taken) if not isinstance(line, KissError)]
        lines: list[bytes] = [taken[n] for n in places]
        size = sum(map(len, lines))
        self.pending_bytes -= size
        events = read_events(self._context, lines) if lines else None
        if events is not None:
            outcomes: list[Outcome] = list(events)
        elif size > INLINE_BYTES_MAX:
            # In a thread: numpy comes with it.
            outcomes = read_lines(self._context, lines)
        else:
            outcomes = [read_line(self._context, line) for line in lines]
        for n, outcome in zip(places, outcomes, strict=True):
            taken[n] = outcome
        return taken


class Maps:
    """Cuts a sequence of msgpack maps into operations. Behind bytes that are no msgpack, or a map
    that is too large, the next map cannot be found: that is said once, and the rest is dropped."""

    def __init__(self, context: Context, grants: Grants | None) -> None:
        self.grants = grants
        self._context = context
        self._limits = context.config.limits
        # What waits in its buffer is bounded by ``take``, what one array may ask for by these.
        most = self._limits.body_bytes_max
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=0,
            max_str_len=most,
            max_bin_len=most,
            max_ext_len=most,
            max_array_len=most,
            max_map_len=most,
        )
        self._fed_bytes = 0
        # Where the next map begins. The unpacker's own place moves on within a part of one.
        self._begin = 0
        self._dropping = False
        self.pending_bytes = 0
        self.put_back: list[Outcome] = []
        """As that of Lines."""

    def feed(self, data: bytes) -> None:
        """Take bytes, cut anywhere. What can be taken must be, before there are more."""
        if self._dropping:
            return
        self.pending_bytes += len(data)
        self._fed_bytes += len(data)
        self._unpacker.feed(data)

    def end(self) -> None:
        """The last byte came. A map that is not whole was cut off: it is nothing."""

    def take(self) -> list[Outcome]:
        """The next operations, at most OPERATIONS_PER_WRITE_MAX."""
        self.pending_bytes = 0
        taken: list[Outcome] = []
        unpacker, bytes_max = self._unpacker, self._limits.body_bytes_max
        while not self._dropping and len(taken) < OPERATIONS_PER_WRITE_MAX:
            try:
                operation = unpacker.unpack()
            except msgpack.OutOfData:
                if self._fed_bytes - self._begin <= bytes_max:
                    break
                taken.append(_too_long(bytes_max))
                self._dropping = True
            except (msgpack.UnpackException, ValueError) as problem:
                taken.append(InvalidArgument(f"operation: not msgpack ({problem})"))
                self._dropping = True
            else:
                begin, self._begin = self._begin, unpacker.tell()
                fits = self._begin - begin <= bytes_max
                taken.append(read_map(self._context, operation) if fits else _too_long(bytes_max))
        return taken


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


def _too_long(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the operation is over {bytes_max} bytes: split it, or raise limits.body_bytes_max "
        "(MAX_BODY_BYTES)"
    )


def _is_quiet(request: Request) -> bool:
    wanted = parse_query(request.query).get("answers") or "all"
    if wanted not in ("all", "errors"):
        raise InvalidArgument(f"query.answers: must be all or errors, not {wanted!r}")
    return wanted == "errors"
