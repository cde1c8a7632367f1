"""JSON Merge Patch (RFC 7396) on compact JSON text.

What a patch does not touch keeps its bytes and its place: 0.10 stays 0.10, -0 stays -0, and an
integer of any length stays that integer. So no number is ever decoded.
"""

from collections.abc import Iterator
from json import JSONDecoder

import msgspec

_raw_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Asked only for names, and where a value ends.
_decode = JSONDecoder(parse_int=str, parse_float=str).raw_decode


class _Member(msgspec.Struct, frozen=True):
    """One member of an object: its name, and name and value as they are written."""

    name: str
    name_text: bytes
    value: bytes


def apply(target: bytes | None, patch: bytes) -> bytes:
    """The target (None: there is none) with the patch merged in; all compact JSON text.

    An object patch merges member by member and null removes a member; anything else replaces
    the target whole (RFC 7396, section 2).
    """
    if patch[:1] != b"{":
        return patch
    changes = {member.name: member for member in _members(patch)}
    present = _members(target) if target is not None and target[:1] == b"{" else []
    # Of a name that is there twice the last counts; those nobody touches stay as they are.
    last = {member.name: place for place, member in enumerate(present)}
    merged: list[bytes] = []
    for place, member in enumerate(present):
        change = changes.get(member.name)
        if change is None:
            merged.append(b"%b:%b" % (member.name_text, member.value))
        elif place == last[member.name] and change.value != b"null":
            value = apply(member.value, change.value)
            merged.append(b"%b:%b" % (member.name_text, value))
    merged += [
        b"%b:%b" % (change.name_text, apply(None, change.value))
        for change in changes.values()
        if change.name not in last and change.value != b"null"
    ]
    return b"{%b}" % b",".join(merged)


def _members(text: bytes) -> list[_Member]:
    """The members of an object, in order."""
    members = [
        _Member(name, b'"%b"' % name.encode(), bytes(value))
        for name, value in _raw_values(text).items()
    ]
    # Two braces, and of each member a colon and a comma, but the last comma.
    size = 2 + sum(len(each.name_text) + len(each.value) + 2 for each in members)
    if size - bool(members) == len(text):
        return members
    # A name is written with an escape, or there twice.
    return list(_scanned(text.decode()))


def _scanned(text: str) -> Iterator[_Member]:
    at = 1
    while text[at] == '"':
        name, name_end = _decode(text, at)
        _, end = _decode(text, name_end + 1)
        yield _Member(name, text[at:name_end].encode(), text[name_end + 1 : end].encode())
        if text[end] != ",":
            return
        at = end + 1
