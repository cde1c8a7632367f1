"""`kissvdb top` against a real server, driven by textual's pilot (which needs asyncio)."""

import asyncio
import math
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from textual.widgets import DataTable, Input, RichLog, Static, TabbedContent

from kissvdb.cli import main
from kissvdb.client import Client, Config
from kissvdb.config import Config as ServerConfig
from kissvdb.config import Server, Storage
from kissvdb.testing import serve
from kissvdb.top.app import Top
from kissvdb.top.readings import FSYNC, REQUESTS, Reading, parsed
from tests.patience import PATIENCE_SECS


@contextmanager
def started(tmp_path, port=0):
    """A server in a process of its own, and its address."""
    file = tmp_path / "url"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "kissvdb", "serve", "--memory", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--url-file", str(file)], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    try:
        ends = time.monotonic() + PATIENCE_SECS
        while not file.exists() or not file.read_text():
            assert process.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.02)
        yield file.read_text().strip()
    finally:
        process.kill()
        process.wait()


async def until(pilot, holds):
    ends = time.monotonic() + PATIENCE_SECS
    while not holds():
        assert time.monotonic() < ends, pilot.app.export_screenshot()
        await pilot.pause(0.1)


def cells(app, table):
    found = app.query_one(table, DataTable)
    rows = (found.get_row_at(at) for at in range(found.row_count))
    return {str(row[0]): [str(cell) for cell in row] for row in rows}


def lines(app):
    return [line.text for line in app.query_one("#lines", RichLog).lines]


def shown(app, selector):
    return str(app.query_one(selector, Static).content)


async def look_around(url, client):
    app = Top(Config(url=url), interval=0.3)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "GET /v1/metrics" in cells(app, "#routes-table"))
        await until(pilot, lambda: "memory" in shown(app, "#tile-server .value"))
        await until(pilot, lambda: "a second" in shown(app, "#tile-requests .value"))
        await pilot.press("2")
        await until(pilot, lambda: len(cells(app, "#collections-table")) == 2)
        table = cells(app, "#collections-table")
        assert table["places"][1:3] == ["vectors", "1"]
        assert table["books"][1:3] == ["documents", "2"]
        await pilot.press("slash", *"boo")
        await until(pilot, lambda: set(cells(app, "#collections-table")) == {"books"})
        await pilot.press("escape")
        await until(pilot, lambda: len(cells(app, "#collections-table")) == 2)
        await pilot.press("4")
        await until(pilot, lambda: "LogWriter" in cells(app, "#actors-table"))
        await pilot.press("3")
        # It follows from now on, which begins when it is connected.
        await until(pilot, lambda: client.admin.metrics().find("kissvdb_sse_clients 1.0") > 0)
        client.events.publish("said", {"t": "[bold]añ"}, key="k", tags=["x"])
        client.state.put("other", 1)
        await until(pilot, lambda: len(lines(app)) == 2)
        assert '  said  k  x  {"t":"[bold]añ"}' in lines(app)[0]
        await pilot.press("slash", *"said", "enter")
        await until(pilot, lambda: len(lines(app)) == 1)
        # The key is the app's again.
        await pilot.press("p")
        assert app.is_paused
        client.state.put("said:2", 1)
        await pilot.pause(0.5)
        assert len(lines(app)) == 1
        assert "PAUSED" in shown(app, "#said")
        await pilot.press("p")
        await until(pilot, lambda: len(lines(app)) == 2)
        await pilot.press("1", "minus", "plus")
        assert app.query_one(TabbedContent).active == "routes"
        assert not app.query_one("#filter", Input).display
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.slow
def test_what_one_sees():
    with serve() as running, Client(running.url) as client:
        client.vector.create("places", dim=2)
        client.vector.upsert("places", "a", [1, 0])
        client.doc.put("books", "1", {})
        client.doc.put("books", "2", {})
        asyncio.run(look_around(running.url, client))


async def outlive(tmp_path):
    with started(tmp_path) as url:
        app = Top(Config(url=url), interval=0.3)
        pilot_of = app.run_test(size=(100, 30))
        pilot = await pilot_of.__aenter__()
        await pilot.press("3")
        await until(pilot, lambda: "offset" in shown(app, "#said") and app.feed.trouble == "")
        await until(pilot, lambda: "a second" in shown(app, "#tile-requests .value"))
    trouble = app.query_one("#trouble", Static)
    await until(pilot, lambda: trouble.display and "no answer" in shown(app, "#trouble"))
    with started(tmp_path, int(url.rpartition(":")[2])):
        await until(pilot, lambda: not trouble.display)
        with Client(url) as client:
            await until(pilot, lambda: client.admin.metrics().find("kissvdb_sse_clients 1.0") > 0)
            client.events.publish("back", 1)
        await until(pilot, lambda: any("back" in line for line in lines(app)))
        await pilot.press("q")
        await pilot_of.__aexit__(None, None, None)


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(tmp_path):
    asyncio.run(outlive(tmp_path))


async def refused(url):
    app = Top(Config(url=url, key="wrong"), interval=0.3)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.query_one("#trouble", Static).display)
        return shown(app, "#trouble")


@pytest.mark.slow
def test_a_wrong_key_is_said_so():
    config = ServerConfig(
        server=Server(port=0, api_key="right-key-of-this-server"), storage=Storage(memory=True)
    )
    with serve(config) as running:
        assert "key" in asyncio.run(refused(running.url))


def page(started, requests, fast, slow):
    return parsed(
        f"""# TYPE kissvdb_start_time_seconds gauge
kissvdb_start_time_seconds {started}
# TYPE kissvdb_http_requests_total counter
kissvdb_http_requests_total{{route="GET /",status="2xx"}} {requests}
# TYPE kissvdb_log_fsync_seconds histogram
kissvdb_log_fsync_seconds_bucket{{le="0.001"}} {fast}
kissvdb_log_fsync_seconds_bucket{{le="0.002"}} {fast + slow}
kissvdb_log_fsync_seconds_bucket{{le="+Inf"}} {fast + slow}
"""
    )


def test_rates_and_quantiles_are_of_the_time_between():
    reading = Reading.of(page(1, 130, 60, 40), page(1, 100, 10, 0), 10.0)
    assert reading.rate(REQUESTS) == 3.0
    # 50 of 90 within 1 ms, 40 in the next.
    p50, p99 = reading.quantiles(FSYNC, (), 0.5, 0.99)
    assert p50 == pytest.approx(0.0009)
    assert p99 == pytest.approx(0.001 + 0.001 * (0.99 * 90 - 50) / 40)


def test_a_restart_is_no_negative_rate():
    reading = Reading.of(page(2, 5, 1, 1), page(1, 100, 10, 0), 10.0)
    assert reading.is_first
    assert reading.rate(REQUESTS) == 0
    assert math.isnan(reading.quantiles(FSYNC, (), 0.5)[0])


def test_without_textual_or_a_terminal_it_says_so(capsys, monkeypatch):
    assert main(["top"]) == 1
    assert "is for a terminal" in capsys.readouterr().err
    for name in [each for each in sys.modules if each.startswith(("textual", "kissvdb.top"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    assert main(["top"]) == 1
    assert "pip install 'kissvdb[tui]'" in capsys.readouterr().err
