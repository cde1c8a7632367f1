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
    keys = [
        each.key
        for each in operations
        if each.ttl_ms is None
        and each.op_id is None
        and each.if_revision is None
        and each.if_offset is None
    ]
    sizes = set(map(len, keys))
    if len(keys) < len(operations) or min(sizes) < 1 or max(sizes) > limits.key_bytes_max:
        return None
    if not "".join(keys).isascii():
        return None
    if any(key.startswith(reserved_keys.WATCHED) for key in keys):
        return None
    texts = [bytes(each.value) for each in operations]
    if max(map(len, texts)) > 2 * DEPTH_MAX and any(map(may_be_deep, texts)):
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
