"""A batch of puts that say nothing but keys and values, as columns: most of what is loaded."""

from collections.abc import Sequence

from kissvdb.api.bodies import PutOperation
from kissvdb.api.reading.json_body import DEPTH_MAX, compact_all, may_be_deep
from kissvdb.config import Limits
from kissvdb.core.state import reserved_keys
from kissvdb.core.state.put_many import WrittenMany

Columns = tuple[list[str], list[bytes]]
"""Keys, and their values as compact JSON."""


def read(operations: Sequence[PutOperation], limits: Limits) -> Columns | None:
    """The columns of the puts; None where one of them wants to be looked at for itself: it says
    more, it is wrong, or its key is not plain ASCII or means something."""
    for each in operations:
        if (
            each.ttl_ms is not None
            or each.op_id is not None
            or each.if_revision is not None
            or each.if_offset is not None
        ):
            return None
    keys = [each.key for each in operations]
    most = limits.key_bytes_max
    if not "".join(keys).isascii() or not all(0 < len(key) <= most for key in keys):
        return None
    if any(key.startswith(reserved_keys.WATCHED) for key in keys):
        return None
    texts = [bytes(each.value) for each in operations]
    if any(len(text) > 2 * DEPTH_MAX and may_be_deep(text) for text in texts):
        return None
    values = compact_all(texts)
    if values is None or max(map(len, values)) > limits.json_bytes_max:
        return None
    return keys, values


def results(keys: Sequence[str], written: WrittenMany) -> bytes | None:
    """The JSON of their answers, without the brackets; None where a key has to be escaped."""
    joined = "".join(keys)
    if '"' in joined or "\\" in joined or not joined.isprintable():
        return None
    return ",".join(
        [
            f'{{"status":"ok","key":"{key}","revision":{revision},"expires_at_ms":null,'
            f'"offset":{offset}}}'
            for key, revision, offset in zip(keys, written.revisions, written.offsets, strict=True)
        ]
    ).encode()
