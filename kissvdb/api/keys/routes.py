"""The routes of API keys: a part of the one table in `routes`."""

from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.reach import Names, Reach
from kissvdb.api.frame.route import JSON, Route, Scope, Success
from kissvdb.api.keys import handlers
from kissvdb.api.keys.bodies import ApiKey, Me, NewApiKey, NewKeyBody, RotateBody
from kissvdb.api.keys.me import me
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.state.parameters import WRITE_ERRORS
from kissvdb.errors import InvalidArgument, NotFound, ServerKeyMissing

_A_KEY = Reach(path={"id": Names.PART}, everything=True)

KEYS = (
    Route(
        "GET",
        "/v1/auth/me",
        me,
        "Who am I, and what may I do?",
        "keys",
        Success("The caller as the server sees it, and the server.", Me),
        hot=True,
        waits=False,
        recovered=False,
        scope=Scope.READ,
        reach=touches.FILTERED,
    ),
    Route(
        "GET",
        "/v1/auth/keys",
        handlers.list_keys,
        "List the API keys, without their secrets",
        "keys",
        Success("All that were issued, the oldest first.", list[ApiKey]),
        scope=Scope.ADMIN,
        reach=touches.EVERYTHING,
    ),
    Route(
        "POST",
        "/v1/auth/keys",
        handlers.issue,
        "Issue an API key",
        "keys",
        Success("The key; its secret is shown this once.", NewApiKey),
        body=NewKeyBody,
        body_media=(JSON,),
        errors=(InvalidArgument, MistypedField, ServerKeyMissing, *WRITE_ERRORS),
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.EVERYTHING,
    ),
    Route(
        "POST",
        "/v1/auth/keys/{id}/rotate",
        handlers.rotate,
        "Give an API key another secret",
        "keys",
        Success("The key with its new secret, which is shown this once.", NewApiKey),
        body=RotateBody,
        body_media=(JSON,),
        errors=(InvalidArgument, MistypedField, NotFound, *WRITE_ERRORS),
        audited=True,
        scope=Scope.ADMIN,
        reach=_A_KEY,
    ),
    Route(
        "DELETE",
        "/v1/auth/keys/{id}",
        handlers.revoke,
        "Revoke an API key: it works no more, and its streams end",
        "keys",
        Success("Revoked.", media=None, status=204),
        errors=(NotFound, ServerKeyMissing, *WRITE_ERRORS),
        audited=True,
        scope=Scope.ADMIN,
        reach=_A_KEY,
    ),
)
