"""A part of a document: the fields that are asked for, each with the bytes it was sent as."""

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_json = msgspec.json.encode


@attrs.frozen
class Projection:
    """Which fields: those of ``include`` (None: all) without those of ``exclude``; dotted paths,
    which are followed as filters follow them."""

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()

    def of(self, document: bytes) -> bytes:
        """The part of a document that is asked for; {} of one without fields, when some are."""
        if not document.startswith(b"{"):
            return document if self.include is None else b"{}"
        members: dict[str, Any] = _members(document)
        if self.include is not None:
            members = _included(members, self.include)
            if self.exclude:
                # What is nested is taken apart again.
                members = _members(_json(members))
        return _json(_without(members, self.exclude) if self.exclude else members)


def _included(members: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    whole, inner = _split(members, paths)
    kept = {}
    for name, value in members.items():
        if name in whole:
            kept[name] = value
        elif name in inner and _is_object(value):
            part = _included(_members(value), inner[name])
            if part:
                kept[name] = part
    return kept


def _without(members: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    whole, inner = _split(members, paths)
    kept = {}
    for name, value in members.items():
        if name in inner and _is_object(value):
            kept[name] = _without(_members(value), inner[name])
        else:
            kept[name] = value
    return {name: value for name, value in kept.items() if name not in whole}


def _split(members: dict[str, Any], paths: Iterable[str]) -> tuple[set[str], dict[str, list[str]]]:
    """The members that are named whole, and of the others what is named inside them: as
    `filters.lookup` finds them."""
    whole: set[str] = set()
    inner: dict[str, list[str]] = {}
    for path in paths:
        if path in members:
            whole.add(path)
            continue
        head, dot, rest = path.partition(".")
        if dot and head in members:
            inner.setdefault(head, []).append(rest)
    return whole, inner


def _is_object(value: msgspec.Raw) -> bool:
    return bytes(value).startswith(b"{")
