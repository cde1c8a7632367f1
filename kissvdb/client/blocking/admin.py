"""What an admin does: API keys, copies, upkeep."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kissvdb.client import errors
from kissvdb.client.blocking.http import Http, Lost
from kissvdb.client.results import ApiKey, Me, NewApiKey, decode
from kissvdb.client.wire import Call, given, segment

ApiKeys = list[ApiKey]

_json = msgspec.json.encode
_KEYS = "/v1/auth/keys"
_ME = "/v1/auth/me"
SILENCE_MAX_SECS = 60.0
"""In the middle of a backup."""


class Keys:
    """``client.keys``: the API keys of the server. Needs one of the role admin."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def me(self) -> Me:
        """Who this client is, and what it may do. Needs no admin."""
        found: Me = decode(Me, (self._http.answer(Call("GET", _ME, safe=True))).body)
        return found

    def list(self) -> ApiKeys:
        """All that were issued, the oldest first, without their secrets."""
        answer = self._http.answer(Call("GET", _KEYS, safe=True))
        found: ApiKeys = decode(ApiKeys, answer.body)
        return found

    def issue(
        self,
        name: str,
        *,
        role: str = "write",
        scopes: Mapping[str, Sequence[str]] | None = None,
        limits: Mapping[str, int] | None = None,
        ttl_ms: int | None = None,
        expires_at_ms: int | None = None,
        permissions: Mapping[str, Any] | None = None,
    ) -> NewApiKey:
        """Make a key; its secret is in the answer's ``key`` and told this once. ``role``: read,
        write or admin. ``scopes`` None: everything; else of each kind the names it may touch, as
        ``{"keys": ["a:*"]}``. Raises ServerKeyMissing where the server has no key of its own."""
        body = given(
            name=name,
            role=role,
            scopes=scopes,
            limits=limits,
            ttl_ms=ttl_ms,
            expires_at_ms=expires_at_ms,
            permissions=permissions,
        )
        return self._new(_KEYS, body)

    def rotate(
        self,
        id: str,
        *,
        grace_ms: int | None = None,
        ttl_ms: int | None = None,
        expires_at_ms: int | None = None,
    ) -> NewApiKey:
        """Give a key another secret, told this once. For ``grace_ms`` the former one works, too."""
        body = given(grace_ms=grace_ms, ttl_ms=ttl_ms, expires_at_ms=expires_at_ms)
        return self._new(f"{_KEYS}/{segment(id)}/rotate", body)

    def revoke(self, id: str) -> bool:
        """Let a key be no more: it works nowhere from now on, and its streams end. False if there
        was none."""
        call = Call("DELETE", f"{_KEYS}/{segment(id)}", safe=True)
        return self._http.call(call, none_at=404) is not None

    def _new(self, path: str, body: dict[str, Any]) -> NewApiKey:
        # Not to be repeated: who lost the answer has lost the secret, and lists what was made.
        answer = self._http.answer(Call("POST", path, _json(body)))
        made: NewApiKey = decode(NewApiKey, answer.body)
        self._http.note_offset(made.offset)
        return made


class Admin:
    """``client.admin``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def snapshot(self) -> int:
        """Make a checkpoint now; up to which offset every file holds all."""
        answer = self._http.answer(Call("POST", "/v1/snapshot", safe=True))
        return int(msgspec.json.decode(answer.body)["offset"])

    def backup(self) -> Iterator[bytes]:
        """A consistent copy of the database, a tar in pieces: write them to a file, which
        ``kissvdb restore`` reads. Raises OutcomeUnknown if it breaks off: then it is no copy."""
        call = Call("GET", "/v1/backup")
        connection, answer = self._http.open(call, self._http.config.timeout_secs)
        try:
            piece = answer.body
            while True:
                if piece:
                    yield piece
                if connection.parser.is_complete:
                    return
                connection.receive(SILENCE_MAX_SECS)
                piece = connection.parser.take().body
        except Lost as lost:
            raise errors.lost(call.name, timed_out=lost.late) from lost
        finally:
            connection.stream.close()

    def metrics(self) -> str:
        """As Prometheus reads them."""
        return (self._http.answer(Call("GET", "/v1/metrics", safe=True))).body.decode()

    def stats(self) -> dict[str, Any]:
        """Counts and sizes, as the page shows them."""
        answer = self._http.answer(Call("GET", "/v1/stats", safe=True))
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found

    def embedders(self) -> list[dict[str, Any]]:
        """What makes vectors of texts, and whether it is available."""
        answer = self._http.answer(Call("GET", "/v1/embedders", safe=True))
        found: list[dict[str, Any]] = msgspec.json.decode(answer.body)["embedders"]
        return found
