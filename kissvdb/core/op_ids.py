"""``op_id``s of keys with grants: whoever has the same grants shares them, and nobody else.

An ``op_id`` is remembered beside the keys of everybody, and one that is taken by another operation
is refused. So without names of their own one tenant could find out which ones another has used.
"""

from functools import lru_cache
from hashlib import blake2b

from kissvdb.core.grants import Grants

_MARK = "\x1e"
"""Record separator: it stands before and behind whose the ``op_id`` is."""


def owned(op_id: str | None, grants: Grants | None) -> str | None:
    """The ``op_id`` as it is remembered."""
    if op_id is None or grants is None:
        return op_id
    return f"{_MARK}{_owner(grants)}{_MARK}{op_id}"


def shown(op_id: str | None) -> str | None:
    """The ``op_id`` as its client sent it."""
    if op_id is None or not op_id.startswith(_MARK):
        return op_id
    return op_id[1:].partition(_MARK)[2]


@lru_cache(1024)
def _owner(grants: Grants) -> str:
    said = repr(sorted((kind, sorted(names)) for kind, names in grants.to_json().items()))
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
