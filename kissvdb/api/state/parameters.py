"""What the routes that write one key take besides its value, and how they may be refused."""

from kissvdb.api.frame.route import Parameter
from kissvdb.core.state.rules import U64_MAX
from kissvdb.errors import (
    Overloaded,
    PastTruncated,
    PersistenceFailed,
    PreconditionFailed,
    ReservedKey,
    RevisionMismatch,
    Stopping,
)

U64 = {"type": "integer", "format": "uint64", "minimum": 0, "maximum": U64_MAX}
_TEXT = {"type": "string"}
TTL = {"type": "integer", "format": "uint64", "minimum": 1}

WRITE_ERRORS = (Overloaded, Stopping, PersistenceFailed)
CONDITION_ERRORS = (RevisionMismatch, PreconditionFailed, ReservedKey)
CONDITION_HEADERS = (
    Parameter(
        "If-Match",
        'Only over this revision, such as "3", or * for any.',
        {"type": "string"},
        "header",
    ),
    Parameter("If-None-Match", "Only when absent: *.", _TEXT, "header"),
)
CONDITION_QUERY = (
    Parameter("if_revision", "Only over this revision; 0: only when absent.", U64),
    Parameter("if_offset", "Only when the key's last write has this offset.", U64),
)
AT = Parameter(
    "at",
    "As it was at this offset, while the log tells: then 410 with the oldest offset that it does.",
    U64,
)
CREATE = Parameter(
    "create",
    "false: 404 when the key is absent or has expired, and nothing is written.",
    {"type": "boolean"},
)
OP_ID = Parameter("op_id", "An id under which a repeat is answered and not done again.", _TEXT)
AT_ERRORS = (PastTruncated, Overloaded, Stopping)
