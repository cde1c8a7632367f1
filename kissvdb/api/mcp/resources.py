"""Resources: collections, documents, vectors and keys by address, ``kissvdb://KIND/NAME/ID``."""

import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import attrs
import msgspec

from kissvdb.api.frame.principal import Principal
from kissvdb.api.mcp.asking import Asker, Failed, checked_size, segment
from kissvdb.core.state.reserved_keys import document_prefix

SCHEME = "kissvdb://"
PAGE = 100
"""Collections in one answer of resources/list."""
SHOWN = 20
"""So many documents show what is in a collection."""
URI_LENGTH_MAX = 2048

_PLAIN = frozenset(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/%")
_FORMS = (
    "kissvdb://doc/COLLECTION, kissvdb://doc/COLLECTION/ID, kissvdb://vector/COLLECTION, "
    "kissvdb://vector/COLLECTION/ID, kissvdb://state/KEY, percent-encoded"
)

TEMPLATES: Sequence[Mapping[str, str]] = (
    {
        "uriTemplate": "kissvdb://doc/{collection}/{id}",
        "name": "document",
        "title": "A document",
        "description": "A document, or a memory, by its collection and id.",
        "mimeType": "application/json",
    },
    {
        "uriTemplate": "kissvdb://vector/{collection}/{id}",
        "name": "vector",
        "title": "A vector",
        "description": "A vector with its text and metadata.",
        "mimeType": "application/json",
    },
    {
        "uriTemplate": "kissvdb://state/{key}",
        "name": "key",
        "title": "A key",
        "description": "A key of the state with its value.",
        "mimeType": "application/json",
    },
)
_KIND_OF_TEMPLATE = {"document": "documents", "vector": "vectors", "key": "keys"}


class BadUri(Exception):
    """It is no address of a resource. The message says what one is."""


@attrs.frozen
class Address:
    """What a URI names. ``kind``: doc, vector or state; ``name``: a collection, or the key; ``id``
    None: all of the collection."""

    kind: str
    name: str
    id: str | None = None

    @classmethod
    def of(cls, uri: str) -> "Address":
        """Raises BadUri."""
        rest = uri.removeprefix(SCHEME)
        plain = len(uri) <= URI_LENGTH_MAX and _PLAIN.issuperset(rest)
        kind, _, path = rest.partition("/")
        if rest == uri or not plain or not path or kind not in ("doc", "vector", "state"):
            raise BadUri(f"{uri[:100]!r} is none of {_FORMS}")
        try:
            if kind == "state":
                return cls(kind, unquote(path, errors="strict"))
            name, slash, id_ = path.partition("/")
            named = unquote(name, errors="strict")
            return cls(kind, named, unquote(id_, errors="strict") if slash else None)
        except UnicodeDecodeError as problem:
            raise BadUri(f"{uri[:100]!r} is not percent-encoded UTF-8: {_FORMS}") from problem

    @property
    def key(self) -> str | None:
        """The key of the state that it is."""
        if self.kind == "state":
            return self.name
        if self.kind == "doc" and self.id is not None:
            return document_prefix(self.name) + self.id
        return None

    def is_granted(self, principal: Principal) -> bool:
        """Whether who asks may see it, by its name alone."""
        grants = principal.grants
        if grants is None:
            return True
        if self.kind == "vector":
            return grants.may_vectors(self.name)
        if self.kind == "doc":
            return grants.may_documents(self.name)
        return grants.may_key(self.name)


def uri_of(kind: str, name: str) -> str:
    """The address of a collection."""
    return f"{SCHEME}{kind}/{quote(name, safe='')}"


class _Named(msgspec.Struct):
    collection: str
    count: int


class _Listed(msgspec.Struct):
    collections: list[_Named]


async def collections(asker: Asker) -> list[tuple[str, str, int]]:
    """Every collection that the key may see: kind, name and how many it holds, in order."""
    found = []
    for kind in ("doc", "vector"):
        try:
            listed = await asker.read(_Listed, "GET", f"/v1/{kind}")
        except Failed as failed:
            if failed.status != 403:
                raise
            # A key whose scopes leave the route out.
            continue
        found += sorted((kind, each.collection, each.count) for each in listed.collections)
    return found


async def page(asker: Asker, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Collections as resources, and where to go on. Raises BadUri for a cursor that is none."""
    after = ("", "")
    if cursor is not None:
        kind, slash, name = cursor.partition("/")
        if not slash or kind not in ("doc", "vector"):
            raise BadUri("cursor: not one of an answer before: leave it out to begin anew")
        after = (kind, name)
    rest = [each for each in await collections(asker) if each[:2] > after]
    shown = [_described(*each) for each in rest[:PAGE]]
    last = "/".join(rest[PAGE - 1][:2]) if len(rest) > PAGE else None
    return shown, last


def _described(kind: str, name: str, count: int) -> dict[str, Any]:
    what = "documents" if kind == "doc" else "vectors"
    return {
        "uri": uri_of(kind, name),
        "name": f"{kind}/{name}",
        "title": f"{name} ({what})",
        "description": f"{what}: {count}",
        "mimeType": "application/json",
    }


def templates(principal: Principal) -> list[Mapping[str, str]]:
    """The templates that a key may fill in."""
    grants = principal.grants
    return [
        each
        for each in TEMPLATES
        if grants is None or getattr(grants, _KIND_OF_TEMPLATE[each["name"]])
    ]


async def read(asker: Asker, uri: str) -> dict[str, Any]:
    """The contents of a resource. Raises BadUri and Failed."""
    text = checked_size(await _read(asker, Address.of(uri)))
    return {"uri": uri, "mimeType": "application/json", "text": text.strip().decode()}


async def _read(asker: Asker, address: Address) -> bytes:
    if address.kind == "state":
        return await asker.ask("GET", f"/v1/state/{segment(address.name)}")
    path = f"/v1/{address.kind}/{segment(address.name)}"
    if address.id is None:
        about = await asker.ask("GET", path)
        if address.kind == "vector":
            return about
        some = await asker.ask("POST", f"{path}/find", {"limit": SHOWN})
        return msgspec.json.encode({"about": msgspec.Raw(about), "found": msgspec.Raw(some)})
    if address.kind == "vector":
        return await asker.ask("GET", f"{path}/get", id=address.id)
    return await asker.ask("GET", f"{path}/{segment(address.id)}")
