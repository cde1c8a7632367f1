"""Who is let in: the scopes of the routes, and what web pages may do where no key is set."""

import attrs
import pytest

from kissvdb.api.access.admission import Admission
from kissvdb.api.access.hosts import Hosts, host_of, is_local
from kissvdb.api.access.origins import Origins
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import Scope
from kissvdb.api.routes import ROUTES
from kissvdb.config import Server
from tests.api.caller import Caller, header, opened, refused
from tests.api.wire import configured, door

FOREIGN = "https://evil.example"


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
def lane(request):
    return request.param


def asks(port, method, path, body="", **headers):
    """A request whose Host is 127.0.0.1 unless told otherwise."""
    fields = {"host": f"127.0.0.1:{port}", "connection": "close", **headers}
    if body:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", body]).encode()


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


READ = ("GET", "/v1/state")
WRITE = ("PUT", "/v1/state/k", '{"value":1}')
STREAM = ("GET", "/v1/stream")
PREFLIGHT = ("OPTIONS", "/v1/state/k")
COLD = ("GET", "/v1/metrics")
ALL = [READ, WRITE, STREAM, PREFLIGHT, COLD, ("POST", "/v1/bulk", "{}"), ("GET", "/nowhere")]


@pytest.mark.parametrize("what", ALL, ids=lambda what: " ".join(what[:2]))
async def test_a_page_of_a_foreign_origin_is_refused(lane, what):
    async with door(configured(lane)) as server:
        for origin in (FOREIGN, "http://localhost.evil.example", "http://127.0.0.1.evil.example"):
            answer = await server.exchange(asks(server.port, *what, origin=origin))
            assert status_of(answer) == 403, answer
            assert b"server.cors_allowed_origins" in answer
            assert b"access-control-allow-origin" not in answer.lower()
        assert server.database.last_offset == 0


@pytest.mark.parametrize("what", ALL, ids=lambda what: " ".join(what[:2]))
async def test_a_page_that_came_by_a_foreign_name_is_refused(lane, what):
    """DNS rebinding: to the browser the page and the database are of one origin."""
    async with door(configured(lane)) as server:
        name = f"evil.example:{server.port}"
        for signs in (
            {"origin": f"http://{name}"},
            {"sec_fetch_site": "same-origin"},
            # What Chrome and Firefox send to a plain http address that is not loopback.
            {"accept_language": "en"},
        ):
            answer = await server.exchange(asks(server.port, *what, host=name, **signs))
            assert status_of(answer) == 403, answer
            assert b"server.hosts" in answer
        assert server.database.last_offset == 0


async def test_a_page_that_hides_its_origin_is_refused(lane):
    async with door(configured(lane)) as server:
        signs = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}
        assert status_of(await server.exchange(asks(server.port, *STREAM, **signs))) == 403
        answer = await server.exchange(asks(server.port, *WRITE, origin="null"))
        assert status_of(answer) == 403


async def test_a_link_to_the_server_may_be_followed_from_anywhere(lane):
    async with door(configured(lane)) as server:
        signs = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
        for path in ("/docs", "/v1/health"):
            assert status_of(await server.exchange(asks(server.port, "GET", path, **signs))) == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost:3000", "http://127.0.0.1:5173", "http://127.8.9.1", "http://[::1]:80"),
        *("https://app.localhost", "http://LOCALHOST:1", "tauri://localhost"),
    ],
)
async def test_a_page_under_development_on_this_machine_works(lane, origin):
    async with door(configured(lane)) as server:
        for what, status in ((PREFLIGHT, 204), (WRITE, 200), (READ, 200)):
            signs = {"origin": origin, "sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}
            answer = await server.exchange(asks(server.port, *what, **signs))
            assert status_of(answer) == status
            assert f"access-control-allow-origin: {origin}\r\n".encode() in answer
            assert b"vary: origin" in answer.lower()


async def test_what_is_no_browser_is_not_asked_where_it_comes_from(lane):
    async with door(configured(lane)) as server:
        for fields in (
            {},
            {"host": "kissvdb:9917"},
            {"host": "evil.example", "user_agent": "curl/8.5.0"},
            # Node's fetch.
            {"host": "kissvdb:9917", "accept_language": "*", "sec_fetch_mode": "cors"},
        ):
            assert status_of(await server.exchange(asks(server.port, *WRITE, **fields))) == 200
            assert status_of(await server.exchange(asks(server.port, *PREFLIGHT, **fields))) == 204


async def test_the_servers_own_pages_work_under_the_names_it_is_given(lane):
    server = Server(hosts=("db.example.org", "DB2.lan"))
    async with door(configured(lane, server=server)) as served:
        for host, origin in (
            # Through a proxy that speaks https; one that drops the port; on the port itself.
            ("db.example.org", "https://db.example.org"),
            ("db.example.org", "https://db.example.org:8443"),
            ("db2.lan:9917", "http://db2.lan:9917"),
            # The address of another machine, and the port.
            ("192.0.2.7:9917", "http://192.0.2.7:9917"),
            ("[2001:db8::7]:9917", "http://[2001:db8::7]:9917"),
            (f"localhost:{served.port}", f"http://localhost:{served.port}"),
        ):
            signs = {"host": host, "origin": origin, "sec_fetch_site": "same-origin"}
            for what in (WRITE, READ):
                answer = await served.exchange(asks(served.port, *what, **signs))
                assert status_of(answer) == 200, answer
        for host, origin in (
            ("db.example.org", FOREIGN),
            ("db3.lan", "http://db3.lan"),
            ("192.0.2.7:9917", "http://192.0.2.8:9917"),
            ("db.example.org", "https://db.example.org.evil.example"),
            ("db.example.org@evil.example", "http://db.example.org@evil.example"),
        ):
            answer = await served.exchange(asks(served.port, *WRITE, host=host, origin=origin))
            assert status_of(answer) in (400, 403), answer


async def test_configured_origins_replace_loopback(lane):
    server = Server(cors_allowed_origins=("https://a.example",))
    async with door(configured(lane, server=server)) as served:
        for origin, status in (
            ("https://a.example", 200),
            # The server's own pages.
            (f"http://127.0.0.1:{served.port}", 200),
            ("http://127.0.0.1:3000", 403),
            ("https://b.example", 403),
        ):
            answer = await served.exchange(asks(served.port, *WRITE, origin=origin))
            assert status_of(answer) == status, origin
            assert b"vary: origin" in answer.lower()


async def test_a_star_lets_any_page_in_by_any_name(lane):
    server = Server(cors_allowed_origins=("*",))
    async with door(configured(lane, server=server)) as served:
        fields = {"host": "evil.example", "origin": FOREIGN}
        answer = await served.exchange(asks(served.port, *WRITE, **fields))
        assert status_of(answer) == 200
        assert b"access-control-allow-origin: *\r\n" in answer


async def test_with_a_key_the_key_decides(lane):
    async with door(configured(lane, server=Server(api_key="s3cret"))) as served:
        fields = {"host": "db.example.org", "origin": FOREIGN}
        assert status_of(await served.exchange(asks(served.port, *WRITE, **fields))) == 401
        answer = await served.exchange(asks(served.port, *WRITE, **fields, x_api_key="s3cret"))
        assert status_of(answer) == 200
        # The page itself must not read it, all the same.
        assert b"access-control-allow-origin" not in answer.lower()


async def test_a_refusal_says_which_pages_may(call: Caller):
    answer = await call("GET", "/v1/state", origin=FOREIGN, host="localhost")
    refused(answer, 403, "forbidden", FOREIGN, "loopback origins", "CORS_ALLOWED_ORIGINS")
    answer = await call("GET", "/v1/state", sec_fetch_site="same-origin", host="evil.example:1")
    refused(answer, 403, "forbidden", "evil.example:1", "KISSVDB_SERVER_HOSTS")
    assert header(answer, "access-control-allow-origin") is None


AUTHORITIES = {
    "a": "a",
    "A.b:80": "a.b",
    "a:": "a",
    "[::1]:9": "::1",
    "127.0.0.1:1": "127.0.0.1",
    **dict.fromkeys(["", ":80", "a b", "a@b", "[::1", "a:b", "a:1:2"], ""),
}


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_the_host_of_an_authority(authority):
    assert host_of(authority) == AUTHORITIES[authority]


def test_local_is_what_no_name_server_can_change():
    for host in ("localhost", "localhost.", "app.localhost", "127.0.0.1", "127.255.0.1", "::1"):
        assert is_local(host)
    for host in ("", ".", "localhost.x", "xlocalhost", "0.0.0.0", "10.0.0.1", "127.0.0.1.x"):
        assert not is_local(host)


def test_every_route_states_its_scope():
    """Deliberate, route by route: what reads, what writes, what runs the server."""
    scopes = {scope: {r.name for r in ROUTES if r.scope is scope} for scope in Scope}
    assert sum(map(len, scopes.values())) == len(ROUTES)
    assert scopes[Scope.PUBLIC] == {
        *("GET /", "GET /index.html", "GET /docs", "GET /docs/{asset}", "GET /docs/openapi.yaml"),
        *("GET /openapi.yaml", "GET /v1/health", "GET /v1/ready"),
        *("GET /kissvdb.js", "GET /kissvdb.d.ts"),
        *("GET /page/{asset}", "GET /views/{asset}", "GET /vendor/{asset}"),
    }
    assert scopes[Scope.ADMIN] == {
        *("POST /v1/snapshot", "GET /v1/backup", "GET /v1/auth/keys", "POST /v1/auth/keys"),
        *("POST /v1/auth/keys/{id}/rotate", "DELETE /v1/auth/keys/{id}"),
        *("POST /v1/vector/{collection}/reindex", "DELETE /v1/vector/{collection}/reindex"),
        "POST /v1/vector/{collection}/tune",
        *("POST /v1/vector/{collection}/diskann/build",),
        *("POST /v1/vector/{collection}/diskann/tune",),
        *("POST /v1/vector/{collection}/vacuum", "POST /v1/doc/{collection}/vacuum"),
    }
    reads_by_post = {name for name in scopes[Scope.READ] if not name.startswith("GET ")}
    vectors, documents = "POST /v1/vector/{collection}/", "POST /v1/doc/{collection}/"
    assert reads_by_post == {
        *(f"{vectors}{what}" for what in ("search", "search_batch", "count", "scroll", "map")),
        *(f"{documents}{what}" for what in ("find", "search")),
        *("POST /search", "POST /v1/sql/query", "POST /mcp"),
    }
    assert not any(name.startswith("GET ") for name in scopes[Scope.WRITE])


def test_a_route_without_a_scope_cannot_be_made():
    assert attrs.fields_dict(type(ROUTES[0]))["scope"].default is attrs.NOTHING


async def test_both_doors_let_every_request_in_at_one_place(lane, monkeypatch):
    admitted = []
    admit = Admission.admit

    def watched(self, request, bound):
        principal = admit(self, request, bound)
        admitted.append((request.path, bound and bound.route.name, principal.name))
        return principal

    monkeypatch.setattr(Admission, "admit", watched)
    async with door(configured(lane, server=Server(api_key="s3cret"))) as served:
        for method, path, *body in (WRITE, ("GET", "/v1/state/k"), READ, COLD, ("GET", "/docs")):
            await served.exchange(asks(served.port, method, path, *body, x_api_key="s3cret"))
    assert admitted == [
        ("/v1/state/k", "PUT /v1/state/{key}", "key"),
        ("/v1/state/k", "GET /v1/state/{key}", "key"),
        ("/v1/state", "GET /v1/state", "key"),
        ("/v1/metrics", "GET /v1/metrics", "key"),
        ("/docs", "GET /docs", "stranger"),
    ]


@pytest.mark.parametrize("key", ["", "s3cret"])
async def test_what_a_principal_may(key):
    server = Server(api_key=key)
    async with opened(server=server) as call:
        admission = Admission(server, Origins(()), Hosts(server))
        for route in ROUTES:
            path = route.path.replace("{", "").replace("...}", "")
            answer = await call(route.method, path)
            assert (answer.status == 401) == (bool(key) and route.scope is not Scope.PUBLIC), path
        holder = Request("GET", "/", headers={"x-api-key": key})
        assert admission.admit(holder, None).may(Scope.ADMIN)


@pytest.mark.parametrize(("key", "name"), [("", "anybody"), ("s3cret", "key")])
async def test_a_handler_is_told_who_asks_through_both_doors(lane, key, name, monkeypatch):
    asked = []

    def telling(route):
        def operation(context, request):
            asked.append((route.name, request.principal.name))
            return route.operation(context, request)

        return attrs.evolve(route, operation=operation)

    monkeypatch.setattr("kissvdb.api.dispatch.ROUTES", tuple(map(telling, ROUTES)))
    requests = [WRITE, ("GET", "/v1/state/k"), COLD, ("POST", "/v1/bulk", "{}")]
    async with door(configured(lane, server=Server(api_key=key))) as served:
        for what in requests:
            await served.exchange(asks(served.port, *what, x_api_key=key))
    assert {who for _, who in asked} == {name}
    assert len({route for route, _ in asked}) == len(requests)
