"""The one route of the Model Context Protocol."""

from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.route import EVENT_STREAM, JSON, Parameter, Route, Scope, Success
from kissvdb.api.mcp import bodies, handlers
from kissvdb.api.mcp.protocol import SUPPORTED
from kissvdb.errors import Overloaded, Stopping

_TEXT = {"type": "string"}

MCP = (
    Route(
        "POST",
        "/mcp",
        handlers.post,
        "Speak the Model Context Protocol: tools and resources for agents",
        "mcp",
        Success("The answer.", bodies.McpAnswer),
        also=(
            Success("Notifications, without end.", media=EVENT_STREAM),
            Success("A notification: there is no answer.", media=None, status=202),
            Success("Refused, as JSON-RPC says it.", bodies.McpAnswer, status=400),
            Success("No such method.", bodies.McpAnswer, status=404),
        ),
        body=bodies.McpMessage,
        body_media=(JSON,),
        parameters=(
            Parameter(
                "MCP-Protocol-Version",
                f"The revision that is spoken: {', '.join(SUPPORTED)}.",
                _TEXT,
                "header",
            ),
            Parameter("Mcp-Method", "The method once more, from 2026-07-28 on.", _TEXT, "header"),
            Parameter("Mcp-Name", "The tool, prompt or resource once more.", _TEXT, "header"),
        ),
        errors=(Overloaded, Stopping),
        hot=True,
        # What writes asks a route that wants more.
        scope=Scope.READ,
        reach=touches.FILTERED,
        relays=True,
    ),
)
