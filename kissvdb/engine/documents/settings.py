"""The settings of a collection of documents: the value of its settings key."""

import logging
from typing import TYPE_CHECKING, Any, Self

import attrs
import msgspec

from kissvdb import logs
from kissvdb.errors import InvalidArgument, Refused

if TYPE_CHECKING:
    # Not at run time: a stemmer comes with it, and a server without documents starts faster.
    from kissvdb.core.text.settings import TextSettings

logger = logging.getLogger("kissvdb.documents")

MEMBERS = ("text",)


@attrs.frozen
class DocumentSettings:
    """How documents are searched. ``text`` None: every string, as English."""

    text: "TextSettings | None" = None

    @classmethod
    def from_json(cls, value: Any, name: str = "body") -> Self:
        """Of ``{"text": {...}}``; members may be left out. Raises InvalidArgument."""
        from kissvdb.core.text.settings import TextSettings

        if not isinstance(value, dict):
            raise InvalidArgument(f"{name}: expected an object")
        for key in value:
            if key not in MEMBERS:
                raise InvalidArgument(f"{name}.{key}: unknown; known is {', '.join(MEMBERS)}")
        text = value.get("text")
        return cls(None if text is None else TextSettings.from_json(text, f"{name}.text"))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {} if self.text is None else {"text": self.text.to_json()}


def stored(value: bytes, collection: str) -> DocumentSettings:
    """The settings in a key's value. Of another form, written before the key was reserved, they
    are none."""
    try:
        return DocumentSettings.from_json(msgspec.json.decode(value))
    except (Refused, msgspec.DecodeError, RecursionError) as error:
        message = "the settings of documents cannot be read, and do not hold"
        logs.event(logger, logging.WARNING, message, collection=collection, error=str(error))
        return DocumentSettings()
