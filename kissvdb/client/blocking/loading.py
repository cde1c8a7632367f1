"""Many operations: all or none of them by /v1/batch, each for itself by /v1/bulk."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kissvdb.client import errors
from kissvdb.client.blocking.http import Http
from kissvdb.client.progress import Progress
from kissvdb.client.results import BatchAnswer, Loaded, Refusal, decode, float32
from kissvdb.client.wire import MSGPACK, NDJSON, Call, given, sql_params, to_json
from kissvdb.errors import KissError

REQUEST_BYTES_MAX = 512 * 1024
REQUEST_OPERATIONS_MAX = 2000
REFUSALS_MAX = 1000

_pack = msgspec.msgpack.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def batch(
    http: Http,
    operations: Sequence[Mapping[str, Any]],
    preconditions: Sequence[Mapping[str, Any]] = (),
    op_id: str | None = None,
) -> BatchAnswer:
    """See ``client.batch``."""
    for operation in operations:
        sql_params(operation.get("params") or ())
    op_id = http.op_id(op_id)
    body = given(operations=operations, preconditions=list(preconditions) or None, op_id=op_id)
    call = Call("POST", "/v1/batch", to_json(body), safe=op_id is not None)
    answer: BatchAnswer = decode(BatchAnswer, (http.answer(call)).body)
    http.note_offset(answer.last_offset)
    return answer


class Loading:
    """Of one call of ``client.bulk``: repeated without harm until each has been answered."""

    def __init__(self, http: Http, load_id: str | None, progress: Progress) -> None:
        self._http = http
        self._id = load_id or os.urandom(8).hex()
        self._progress = progress
        self._done = 0
        self._refused = 0
        self._offset: int | None = None
        self._refusals: list[Refusal] = []
        self._sent = 0

    def run(self, operations: Iterable[Mapping[str, Any]]) -> Loaded:
        """Send all of them, a request at a time."""
        waiting: list[bytes] = []
        size = 0
        for number, operation in enumerate(operations):
            try:
                packed = self._packed(number, operation)
            except OverflowError:
                # msgpack has no integers of more than 64 bits, and JSON has.
                self._send(waiting)
                self._send([self._line(number, operation)], NDJSON)
                waiting, size = [], 0
                continue
            waiting.append(packed)
            size += len(packed)
            if size >= REQUEST_BYTES_MAX or len(waiting) >= REQUEST_OPERATIONS_MAX:
                self._send(waiting)
                waiting, size = [], 0
        self._send(waiting)
        self._progress.end()
        return Loaded(self._done, self._refused, self._offset, self._refusals)

    def _packed(self, number: int, operation: Mapping[str, Any]) -> bytes:
        packed = dict(operation)
        if packed.get("vector") is not None:
            packed["vector"] = float32(packed["vector"])
        if packed.get("op_id") is None:
            # Without, what is sent again would be done again.
            packed["op_id"] = f"{self._id}-{number}"
        return _pack(packed)

    def _line(self, number: int, operation: Mapping[str, Any]) -> bytes:
        """The operation as JSON, its vector as base64."""
        line = {"op_id": f"{self._id}-{number}"} | given(**operation)
        if "vector" in line:
            line["vector_b64"] = float32(line.pop("vector"))
        return to_json(line) + b"\n"

    def _send(self, packed: list[bytes], media: str = MSGPACK) -> None:
        if not packed:
            return
        first, self._sent = self._sent, self._sent + len(packed)
        call = Call(
            "POST",
            "/v1/bulk",
            b"".join(packed),
            media,
            {"answers": "errors"},
            safe=True,
        )
        answer = self._http.answer(call)
        found: dict[str, Any] = {}
        for line in answer.body.splitlines():
            found = _decode(line)
            if found["status"] == "error":
                self._note(first, found)
            elif found["status"] == "done":
                self._done += found["operations"] - found["errors"]
                self._http.note_offset(found.get("offset"))
                self._offset = found.get("offset") or self._offset
        if found.get("status") != "done":
            # It ends with how it went, unless it broke off, as when the key works no more.
            raise _broken_off(call.name, found)
        self._progress.advance(len(packed))

    def _note(self, first: int, found: Mapping[str, Any]) -> None:
        self._refused += 1
        if len(self._refusals) < REFUSALS_MAX:
            error = found["error"]
            number = first + found["line"] - 1
            self._refusals.append(Refusal(number, error["error"], error["message"]))


def _broken_off(call: str, last: Mapping[str, Any]) -> KissError:
    if not last:
        return errors.lost(call, timed_out=False)
    error = last["error"]
    return errors.of_body(0, error["error"], error["message"])
