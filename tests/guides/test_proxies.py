"""config/nginx.conf and config/Caddyfile, by real proxies in front of a real server."""

import contextlib
import json
import threading
import time

import httpx
import pytest

from kissvdb.client import Client, Config, Event
from tests.crash.process import ServerProcess
from tests.guides.proxies import FILES, OPENSSL, Certificates, need, proxy_process
from tests.patience import PATIENCE_SECS

KEY = "a-key-of-the-test"
BODY_MAX = 1 << 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    need(OPENSSL, OPENSSL)
    return Certificates.made(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """As the guide says: a key, and a proxy that is trusted."""
    running = ServerProcess(
        tmp_path_factory.mktemp("proxied") / "data",
        *("--set", f"server.api_key={KEY}", "--set", "server.trusted_proxies=127.0.0.1"),
        *("--set", "rate.failures_burst=5", "--set", "rate.failures_per_min=1"),
        # More than the proxies let through, so that one knows who refuses.
        *("--set", "limits.body_bytes_max=4MiB", "--set", "search.compile=false"),
    )
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module", params=sorted(FILES))
def proxy(request, tmp_path_factory, certificates, server):
    need(FILES[request.param][0], OPENSSL)
    folder = tmp_path_factory.mktemp(request.param) / "proxy"
    with proxy_process(request.param, folder, certificates, server.port) as running:
        yield running


@pytest.fixture
def http(proxy):
    with httpx.Client(
        base_url=proxy.url,
        verify=proxy.certificates.trusted(),
        headers={"authorization": f"Bearer {KEY}"},
        timeout=PATIENCE_SECS,
    ) as client:
        yield client


def test_events_come_through_one_by_one(http):
    """A proxy that collects an answer would keep a small event until more come, which never do."""
    with http.stream("GET", "/v1/stream?since=now") as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines()
        for number in range(3):
            written = http.post("/v1/events", json={"type": "tick", "data": number}).json()
            event = next(line for line in lines if line.startswith("data:"))
            assert json.loads(event[5:])["offset"] == written["offset"]


def test_the_key_is_the_servers_business(http):
    assert http.get("/v1/state").status_code == 200
    refused = http.get("/v1/state", headers={"authorization": "Bearer wrong"})
    assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
    assert http.get("/v1/health", headers={"authorization": ""}).status_code == 200


def test_wrong_keys_hold_up_the_client_they_come_from_and_no_other(http, proxy):
    def asked_from(address, key, forwarded=None):
        with httpx.Client(
            base_url=proxy.url,
            verify=proxy.certificates.trusted(),
            transport=httpx.HTTPTransport(
                local_address=address, verify=proxy.certificates.trusted()
            ),
        ) as client:
            headers = {"authorization": f"Bearer {key}"}
            if forwarded:
                headers["x-forwarded-for"] = forwarded
            return client.get("/v1/state", headers=headers).status_code

    guesser = {"nginx": "127.0.0.2", "caddy": "127.0.0.3"}[proxy.name]
    # Each under another name of its own: it is not believed.
    guesses = [asked_from(guesser, "wrong", f"192.0.2.{n}") for n in range(7)]
    assert guesses[-1] == 429
    assert asked_from(guesser, KEY) == 429
    assert asked_from("127.0.0.4", KEY) == 200


def test_a_body_that_is_too_large_is_refused_by_the_proxy(http):
    fits = http.post("/v1/events", json={"type": "t", "data": "x" * 60_000})
    assert fits.status_code == 200
    large = http.post("/v1/events", content=b"x" * (BODY_MAX + 1))
    assert (large.status_code, large.json()["error"]) == (413, "payload_too_large")
    assert "/v1/bulk" in large.json()["message"]


def test_a_load_of_any_length_goes_through(http):
    count = 3_000
    text = "y" * 1_000
    lines = (
        json.dumps({"op": "put", "key": f"load:{n}", "value": text}).encode() + b"\n"
        for n in range(count)
    )
    answer = http.post("/v1/bulk?answers=errors", content=lines)
    assert answer.status_code == 200
    done = json.loads(answer.text.splitlines()[-1])
    assert (done["status"], done["operations"], done["errors"]) == ("done", count, 0)


def test_no_key_stands_in_the_log(http, proxy):
    assert http.get("/v1/state/in-the-log", params={"api_key": KEY}).status_code == 404
    deadline = time.monotonic() + PATIENCE_SECS
    while "/v1/state/in-the-log" not in proxy.access_log:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert KEY not in proxy.access_log


@pytest.mark.parametrize("name", sorted(FILES))
def test_mtls_lets_nobody_in_without_a_certificate(name, tmp_path, certificates, server):
    need(FILES[name][0], OPENSSL)

    def asked(client):
        context = certificates.trusted(client)
        # In TLS 1.3 a client hears of the refusal with its first answer.
        try:
            return httpx.get(f"{proxy.url}/v1/health", verify=context).status_code
        except httpx.TransportError:
            return None

    with proxy_process(name, tmp_path / name, certificates, server.port, mtls=True) as proxy:
        assert asked("client") == 200
        assert asked(None) in (None, 400)
        assert asked("stranger") in (None, 400)


class Traffic:
    """Somebody who writes through a proxy, and somebody who follows what is written there."""

    def __init__(self, proxy):
        self._url, self._key = proxy.url, f"upgrade:{proxy.name}"
        self.offsets, self.seen = [], []
        self.stop = threading.Event()
        self._failures = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,))
            for work in (self._write, self._follow)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join(PATIENCE_SECS)
            assert not thread.is_alive()
        self.check()

    def check(self):
        if self._failures:
            raise self._failures[0]

    def _guarded(self, work):
        try:
            with Client(config=Config(url=self._url, retries=50)) as client:
                work(client)
        except BaseException as error:
            self._failures.append(error)

    def _write(self, client):
        number = 0
        while not self.stop.is_set():
            number += 1
            self.offsets.append(client.events.publish("step", number, key=self._key))
        self.offsets.append(client.events.publish("step", "last", key=self._key))

    def _follow(self, client):
        with client.stream.events(since=0, key=self._key) as stream:
            for event in stream:
                assert isinstance(event, Event), event
                self.seen.append(event.offset)
                if event.data == "last":
                    return


@pytest.mark.slow
def test_an_upgrade_behind_a_proxy_loses_no_event(tmp_path, certificates, monkeypatch):
    """The server stops and another one starts, while clients write and follow."""
    names = [name for name in FILES if FILES[name][0] is not None]
    if not names:
        pytest.skip("no proxy is installed here")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    server = ServerProcess(tmp_path / "data", "--set", "search.compile=false")
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        proxies = [
            stack.enter_context(proxy_process(name, tmp_path / name, certificates, server.port))
            for name in names
        ]
        traffic = [Traffic(proxy) for proxy in proxies]
        for each in traffic:
            each.start()
            stack.callback(each.stop.set)
        wait_until(lambda: all(len(each.seen) > 20 for each in traffic), traffic)
        assert server.stop() == 0
        before = [len(each.offsets) for each in traffic]
        server.start()
        wait_until(lambda: more(traffic, before), traffic)
        for each in traffic:
            each.stop.set()
        for each in traffic:
            each.join()
            # What was answered, each once and in order; and nothing that was written twice.
            assert each.seen == each.offsets


def more(traffic, before):
    return all(len(each.offsets) > count + 20 for each, count in zip(traffic, before, strict=True))


def test_an_event_source_comes_again_after_a_restart(tmp_path, certificates):
    """nginx answers streams with an empty one while nobody is there; Caddy lets them wait."""
    need(FILES["nginx"][0], OPENSSL)
    server = ServerProcess(tmp_path / "data")
    with proxy_process("nginx", tmp_path / "nginx", certificates, server.port) as proxy:
        trusted = certificates.trusted()
        stream = httpx.get(f"{proxy.url}/v1/stream", verify=trusted)
        assert (stream.status_code, stream.content) == (200, b"")
        assert stream.headers["content-type"] == "text/event-stream"
        other = httpx.get(f"{proxy.url}/v1/state", verify=trusted)
        assert (other.status_code, other.json()["error"]) == (503, "unavailable")
        assert other.headers["retry-after"] == "1"


def wait_until(is_so, traffic=()):
    deadline = time.monotonic() + PATIENCE_SECS
    while not is_so():
        for each in traffic:
            each.check()
        assert time.monotonic() < deadline
        time.sleep(0.01)
