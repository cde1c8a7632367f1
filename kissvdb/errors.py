"""The errors everybody shares, grouped by what a caller can do about them.

Refused      the request is wrong or lost a race: 4xx, nothing was logged.
Unavailable  the request may be right, the server cannot take it now: 503 with Retry-After.
Damaged      what is on disk is not what was written: the server does not start.

Each class is one wire code: ``{"error": code, "message": text}``. What is none of these is a
bug and ends the process.
"""

import errno
from typing import ClassVar

OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The process or the machine has no descriptor, or no memory for one, now: what was to be opened
was not, and nothing else has changed. Never an end, always a refusal."""


class KissError(Exception):
    """A failure with a wire form: ``code``, HTTP ``status`` and a message that says what to do."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    operation: int | None = None
    """Which operation of a batch failed, counted from 0."""
    precondition: int | None = None
    """Which precondition of a batch does not hold, counted from 0."""
    place: int = -1
    """Which of several commands was refused, for whoever sent them; -1: none of them alone."""

    principal: object = None
    """Who was refused, where the request does not say it."""

    def __init__(self, message: str, *, logged: str | None = None) -> None:
        """``logged``: the message without what the client stores, which is no business of a log."""
        super().__init__(message)
        self.message = message
        self.logged = message if logged is None else logged

    def reword(self, message: str) -> None:
        """Say it so, to the client."""
        self.args, self.message = (message,), message


class Refused(KissError):
    """The caller must change the request; it was not logged and changed nothing."""

    code = "invalid_argument"
    status = 400


class InvalidArgument(Refused):
    """A field, parameter or body is malformed, mistyped or out of range."""


class MistypedField(InvalidArgument):
    """A field or parameter is unknown, missing, mistyped or out of range in well-formed JSON."""

    status = 422


class Unauthorized(Refused):
    """The API key is missing or wrong."""

    code = "unauthorized"
    status = 401


class Forbidden(Refused):
    """A web page of another origin asks, or one that came by a name that is not the server's; or
    the API key has neither the role nor the scopes, whether or not there is what it asks for."""

    code = "forbidden"
    status = 403


class ReservedKey(Refused):
    """The key is the database's own: it can be read and not written."""

    code = "reserved_key"
    status = 403


class NotFound(Refused):
    """No such key, id, collection or route."""

    code = "not_found"
    status = 404


class MethodNotAllowed(Refused):
    """The path exists, the method does not. ``allowed`` goes into the Allow header."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTimeout(Refused):
    """The request took longer than request_timeout_secs; a write may or may not have happened."""

    code = "timeout"
    status = 408


class RevisionMismatch(Refused):
    """A precondition on a key's revision or offset does not hold."""

    code = "revision_mismatch"
    status = 409


class AlreadyExists(Refused):
    """What should be created is there already."""

    code = "already_exists"
    status = 409


class OpIdReused(Refused):
    """The ``op_id`` is that of another operation, which is done."""

    code = "op_id_reused"
    status = 409


class EmbedderMismatch(Refused):
    """The collection's vectors are of another model than its embedder has now."""

    code = "embedder_mismatch"
    status = 409


class TextMissing(Refused):
    """Vectors are to be made of texts, and some have none."""

    code = "text_missing"
    status = 409


class NotTuned(Refused):
    """A search asks for a recall, and how hard it has to try was not measured."""

    code = "not_tuned"
    status = 409


class QuotaExceeded(Refused):
    """The scope of the key would hold more than its quota. Nothing was logged."""

    code = "quota_exceeded"
    status = 409

    def __init__(self, message: str, *, what: str, used: int, asked: int, limit: int) -> None:
        """``what``: "rows" or "bytes"; ``asked``: how much more it would be."""
        super().__init__(message)
        self.quota = {"what": what, "used": used, "asked": asked, "limit": limit}


class MemoryExceeded(Refused):
    """Vector collections would take more memory than they may. Nothing was logged."""

    code = "memory_exceeded"
    status = 409


class ServerKeyMissing(Refused):
    """Keys cannot be issued, or the last one not revoked, because the server has none of its own:
    everybody would be locked out, or let in."""

    code = "server_key_missing"
    status = 409


class PreconditionFailed(Refused):
    """RFC 9110 If-Match / If-None-Match does not hold (the header form of RevisionMismatch)."""

    code = "revision_mismatch"
    status = 412


class PayloadTooLarge(Refused):
    """A body or a value is over its limit."""

    code = "payload_too_large"
    status = 413


class UnsupportedMediaType(Refused):
    """The body is in a content type that this route does not read."""

    code = "unsupported_media_type"
    status = 415


class UnsupportedCoding(UnsupportedMediaType):
    """The body is compressed in a way that is not read; the answer names the one that is."""


class StillCounting(Refused):
    """What a scope holds is being counted: whether a write is within its quota is not known yet."""

    code = "unavailable"
    status = 503
    retry_after_secs: ClassVar[int] = 1


class RateLimited(Refused):
    """The caller asks too often, too much at once, or with too many wrong keys."""

    code = "rate_limited"
    status = 429

    def __init__(
        self, message: str, *, retry_after_secs: int, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """``headers``: what the answer says of the limit."""
        super().__init__(message)
        self.retry_after_secs = retry_after_secs
        self.headers = headers


class DimMismatch(Refused):
    """A vector's length is not the collection's ``dim``."""

    code = "dim_mismatch"


class SqliteError(Refused):
    """SQLite does not take the statement or its parameters, or stopped it at a limit."""

    code = "sqlite_error"


class NotEnabled(Refused):
    """What is asked is switched off in this configuration."""

    code = "not_enabled"
    status = 404


class NotSupported(Refused):
    """The operation does not exist in this configuration."""

    code = "not_supported"
    status = 501


class Unavailable(KissError):
    """Try again after ``retry_after_secs``; nothing was logged unless the message says so."""

    code = "unavailable"
    status = 503
    retry_after_secs: ClassVar[int] = 1


class Overloaded(Unavailable):
    """A mailbox, the stream, the connection or the process's file table is full."""

    code = "overloaded"


class Stopping(Unavailable):
    """The server is shutting down."""

    code = "stopping"


class Starting(Unavailable):
    """The server still recovers its data; it was waited for as long as a request may take."""

    code = "starting"


class EmbedderUnavailable(Unavailable):
    """What makes vectors of texts is not installed, down, or answered nonsense. Only what needs it
    is refused."""

    code = "embedder_unavailable"
    retry_after_secs = 5


class OffsetNotReached(Unavailable):
    """What a read was to see (``min_offset``) is not there yet; ``offset`` is."""

    code = "offset_not_reached"

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class PersistenceFailed(Unavailable):
    """The disk refused the write (full, quota, read-only); nothing was acknowledged."""

    code = "persistence_error"
    retry_after_secs = 5


class Conflict(KissError):
    """The log does not end where its writer left it: somebody else appends to it, too."""

    code = "conflict"


class OutcomeUnknown(KissError):
    """It is not known whether a write happened: the process must stop, recovery decides."""

    code = "outcome_unknown"


class OffsetTruncated(KissError):
    """Records asked for are no longer in the log; it begins at ``first_offset``."""

    code = "offset_truncated"
    status = 410

    def __init__(self, first_offset: int) -> None:
        super().__init__(f"the log begins at offset {first_offset}; earlier records are gone")
        self.first_offset = first_offset


class PastTruncated(OffsetTruncated):
    """The log no longer tells what was asked about the past; ``oldest`` can still be answered."""

    def __init__(self, message: str, first_offset: int, oldest: int) -> None:
        super().__init__(first_offset)
        self.reword(message)
        self.logged = message
        self.oldest = oldest


class Damaged(KissError):
    """A file holds something else than what was written. Names the file and the place."""

    code = "damaged"


class NewerFormat(Damaged):
    """A later kissvdb wrote this; nothing is broken, and nothing may be repaired."""


class DirectoryInUse(KissError):
    """Another process holds the data directory's lock."""

    code = "directory_in_use"


class ConfigError(KissError):
    """An unknown or invalid setting; the message names it and suggests the nearest."""

    code = "invalid_config"
