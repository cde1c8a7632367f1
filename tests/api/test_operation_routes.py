"""Health, readiness, metrics, snapshot, backup and the pages."""

import io
import re
import tarfile

import pytest

from kissvdb.api.description.pages import ASSETS, WEB
from kissvdb.config import Storage
from tests.api.caller import Caller, header, opened, reading, refused


async def test_health_is_the_text_ok(call: Caller):
    answer = await call("GET", "/v1/health")
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.content_type.startswith("text/plain")


async def test_ready_says_how_far_and_503_when_stopping(call: Caller):
    await call("PUT", "/v1/state/k", {"value": 1})
    answer = reading(await call("GET", "/v1/ready"))
    assert answer == {"ready": True, "offset": 1, "epoch": call.database.epoch}
    call.database.ready = False
    answer = await call("GET", "/v1/ready")
    refused(answer, 503, "stopping", "not ready")
    assert header(answer, "retry-after") == "1"


async def test_metrics_count_what_happened(call: Caller):
    await call("PUT", "/v1/state/k", {"value": 1})
    await call("DELETE", "/v1/state/k")
    await call("POST", "/v1/events", {"type": "log", "data": 1})
    answer = await call("GET", "/v1/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert "state_put_total 1.0" in lines
    assert "state_delete_total 1.0" in lines
    assert "sse_clients 0.0" in lines
    assert "kissvdb_last_offset 3.0" in lines


async def test_a_snapshot_answers_its_offset(tmp_path):
    async with opened(storage=Storage(data_dir=str(tmp_path))) as call:
        await call("PUT", "/v1/state/k", {"value": 1})
        assert reading(await call("POST", "/v1/snapshot")) == {"offset": 1}


async def test_a_backup_is_a_tar(tmp_path):
    async with opened(storage=Storage(data_dir=str(tmp_path))) as call:
        await call("PUT", "/v1/state/k", {"value": 1})
        answer = await call("GET", "/v1/backup")
        assert answer.content_type == "application/x-tar"
        tar = io.BytesIO(b"".join([blob async for blob in answer.body]))
        with tarfile.open(fileobj=tar) as files:
            assert "meta.json" in files.getnames()
        head = await call("HEAD", "/v1/backup")
        assert (head.status, head.content_type) == (200, "application/x-tar")


async def test_memory_has_no_backup(call: Caller):
    refused(await call("GET", "/v1/backup"), 501, "not_supported", "--data-dir")


@pytest.mark.parametrize("path", ["/", "/index.html"])
async def test_the_first_page_leads_on(call: Caller, path):
    answer = await call("GET", path)
    assert answer.content_type == "text/html; charset=utf-8"
    for link in ("/docs", "/openapi.yaml", "/v1/health", "/v1/metrics"):
        assert f'href="{link}"' in answer.body.decode()


async def test_pages_need_nothing_from_other_hosts(call: Caller):
    for path in ("/", "/docs"):
        page = (await call("GET", path)).body.decode()
        needed = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert needed
        for each in needed:
            assert (await call("GET", each)).status == 200, each
        policy = header(await call("GET", path), "content-security-policy")
        assert policy.startswith(("default-src 'self'", "default-src 'none'"))


async def test_the_viewer_is_served_from_the_package_with_its_licence(call: Caller):
    for name, (file, content_type) in ASSETS.items():
        answer = await call("GET", f"/docs/{name}")
        assert (answer.status, answer.content_type) == (200, content_type)
        assert answer.body == (WEB / file).read_bytes()
    assert b"Apache License" in (await call("GET", "/docs/LICENSE")).body


@pytest.mark.parametrize(
    "name", ["", "x", "../index.html", "..%2f..%2fconfig.py", "swagger/LICENSE"]
)
async def test_no_other_file_can_be_had(call: Caller, name):
    refused(await call("GET", f"/docs/{name}"), 404, "not_found")


async def test_the_description_is_yaml(call: Caller):
    for path in ("/openapi.yaml", "/docs/openapi.yaml"):
        answer = await call("GET", path)
        assert answer.content_type == "text/yaml; charset=utf-8"
        assert answer.body.startswith(b'openapi: "3.1.0"\n')
