"""The JSON of an atomic batch."""

from typing import Any

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.bulk.operations import Line


class CountBody(RequestBody, frozen=True):
    """How many must pass ``filters`` (without any: how many there must be)."""

    filters: Any = None
    namespace: str | None = None
    equals: U64 | None = None
    at_least: U64 | None = None
    at_most: U64 | None = None


class PreconditionBody(RequestBody, frozen=True):
    """What must hold before the first operation, of a ``key``, of the document or the vector
    ``id`` in a collection of ``documents`` or ``vectors``, or of how many there are."""

    key: str | None = None
    documents: str | None = None
    vectors: str | None = None
    id: str | None = None
    if_revision: U64 | None = None
    if_offset: U64 | None = None
    if_absent: bool | None = None
    if_filter_count: CountBody | None = None


class BatchBody(RequestBody, frozen=True):
    """Done in order, all or none. ``op_id`` is as the header Idempotency-Key."""

    operations: list[Line]
    preconditions: list[PreconditionBody] | None = None
    op_id: str | None = None


class BatchText(RequestBody, frozen=True):
    """A `BatchBody` whose operations are read one by one, as those of /v1/bulk."""

    operations: list[msgspec.Raw]
    preconditions: list[PreconditionBody] | None = None
    op_id: str | None = None


@attrs.frozen
class OperationResult:
    """What an operation did. ``offset`` is null, and ``deleted`` false, where there was nothing to
    delete."""

    offset: U64 | None
    revision: U64 | UnsetType = UNSET
    expires_at_ms: U64 | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET
    rows_affected: U64 | UnsetType = UNSET


@attrs.frozen
class BatchResults:
    """One result for each operation, in order. The batch's records have the offsets from
    ``first_offset`` to ``last_offset``, null when there was nothing to write. ``repeated``: it was
    done before, and this is how it was answered."""

    first_offset: U64 | None
    last_offset: U64 | None
    repeated: bool
    results: list[OperationResult]
