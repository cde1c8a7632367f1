"""If-Match, If-None-Match (RFC 9110, section 13) and if_revision, if_offset.

A key's entity tag is its revision in quotes. The header forms answer 412, the others 409.
"""

import re
from collections.abc import Callable, Mapping

import attrs

from kissvdb.api.reading.query import parse_u64
from kissvdb.core.state.rules import ALWAYS, Item, Precondition
from kissvdb.errors import InvalidArgument, PreconditionFailed

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_EACH_TAG = re.compile(_TAG)

Look = Callable[[], Item | None]


def entity_tag(revision: int) -> str:
    """The ETag of a key at ``revision``."""
    return f'"{revision}"'


def precondition(
    headers: Mapping[str, str], if_revision: int | None, if_offset: int | None, look: Look
) -> Precondition:
    """What must hold for a write. ``look`` reads the key as it is now (for a list of tags).

    Raises InvalidArgument for a malformed header or when both forms are used, and
    PreconditionFailed when none of several tags is the current one.
    """
    match = headers.get("if-match")
    none_match = headers.get("if-none-match")
    if match is None and none_match is None:
        if if_revision is None and if_offset is None:
            return ALWAYS
        return Precondition(revision=if_revision, offset=if_offset)
    if if_revision is not None or if_offset is not None:
        raise InvalidArgument(
            "give either If-Match / If-None-Match or if_revision / if_offset, not both"
        )
    if match is None:
        if none_match != "*":
            raise InvalidArgument(
                'a write takes only "If-None-Match: *" (the key must be absent); to write over a '
                'known revision send it as If-Match: "3"'
            )
        return Precondition(absent=True, from_header=True)
    if none_match is not None:
        raise InvalidArgument("give either If-Match or If-None-Match, not both")
    if match == "*":
        return Precondition(absent=False, from_header=True)
    return Precondition(revision=_matched(match, look), from_header=True)


def of_existing(condition: Precondition) -> Precondition:
    """The same for a write that must not create its key (create=false). Raises InvalidArgument."""
    if condition.absent:
        raise InvalidArgument('query.create: false contradicts "If-None-Match: *": give one')
    return attrs.evolve(condition, absent=False)


def _matched(header: str, look: Look) -> int:
    tags = _tags(header, "If-Match")
    # Strong comparison: a weak tag matches nothing (RFC 9110, section 8.8.3.2).
    revisions = {parse_u64(tag[1:-1]) for tag in tags if not tag.startswith("W/")}
    known = {revision for revision in revisions if revision is not None and revision > 0}
    if len(known) == 1:
        return known.pop()
    item = look()
    if item is None or item.revision not in known:
        raise PreconditionFailed(f"no entity tag of If-Match ({header}) is the key's current one")
    return item.revision


def is_fresh(headers: Mapping[str, str], item: Item) -> bool:
    """Whether If-None-Match says that the client has this revision already (answer 304)."""
    header = headers.get("if-none-match")
    if header is None:
        return False
    if header == "*":
        return True
    return entity_tag(item.revision) in {
        tag.removeprefix("W/") for tag in _tags(header, "If-None-Match")
    }


def _tags(header: str, name: str) -> list[str]:
    if not _TAGS.fullmatch(header):
        raise InvalidArgument(f'{name}: expected quoted revisions such as "3", or *')
    return _EACH_TAG.findall(header)
