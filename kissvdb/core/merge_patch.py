"""JSON Merge Patch (RFC 7396) on decoded JSON."""

from typing import Any


def apply(target: Any, patch: Any) -> Any:
    """The target with the patch merged in. Neither argument is changed.

    An object patch merges member by member and null removes a member; anything else replaces
    the target whole (RFC 7396, section 2).
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply(merged.get(name), value)
    return merged
