"""A document's names: a collection and an id outside, one state key inside."""

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.config import Limits
from kissvdb.core.state.reserved_keys import document_key, document_prefix
from kissvdb.engine.vectors.model import check_name
from kissvdb.errors import InvalidArgument


def collection_of(context: Context, request: Request) -> str:
    """The collection that the path names. Raises InvalidArgument for a name that cannot be."""
    name = request.params["collection"]
    check_name(name, context.config.limits)
    return name


def key_of(collection: str, id_: str, bounds: Limits, where: str = "id") -> str:
    """The state key of a document. No name of a collection has a colon, so a key is of one
    document. Raises InvalidArgument unless the id, and the key, have a length that can be."""
    limits.check_id(id_, bounds, where)
    key = document_key(collection, id_)
    if limits.utf8_length(key) > bounds.key_bytes_max:
        raise InvalidArgument(
            f"{where}: the document would be the key {document_prefix(collection)}... of "
            f"{limits.utf8_length(key)} bytes, the limit is {bounds.key_bytes_max}: use shorter "
            "ids, or raise limits.key_bytes_max (MAX_KEY_LEN)"
        )
    return key


def key_of_path(context: Context, request: Request) -> tuple[str, str]:
    """The id that the path names, and its key."""
    collection, id_ = collection_of(context, request), request.params["id"]
    return id_, key_of(collection, id_, context.config.limits)
