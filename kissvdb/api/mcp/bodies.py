"""The messages of MCP as the description shows them; what reads them is in `protocol`."""

from typing import Any, Literal

import attrs
import msgspec
from msgspec import UNSET, UnsetType


class McpMessage(msgspec.Struct):
    """A message of JSON-RPC 2.0. Without ``id`` it is a notification, and answered by a 202."""

    jsonrpc: Literal["2.0"]
    method: str
    id: str | int | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET


@attrs.frozen
class McpError:
    """Why a message was refused; what a tool is refused stands in its result."""

    code: int
    message: str
    data: Any = UNSET


@attrs.frozen
class McpAnswer:
    """The answer to a request: ``result`` or ``error``. ``id`` is null where it was not read."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    result: dict[str, Any] | UnsetType = UNSET
    error: McpError | UnsetType = UNSET
