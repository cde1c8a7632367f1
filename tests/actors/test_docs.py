"""What docs/actors.md shows is run here, as it stands there."""

import io
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import actors
import actors.testing
from actors import Actor, Address, Envelope
from actors.testing import ScriptedActor

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "actors.md").read_text()
EXAMPLE = ROOT / "docs" / "examples" / "counter.py"
KIT = {**vars(actors), **vars(actors.testing)}


class Shard(Actor):
    """The smallest actor that passes its batches on."""

    def __init__(self, log: Address) -> None:
        self.log = log

    async def handle(self, batch: list[Envelope]) -> None:
        written = await self.log.ask(tuple(envelope.message for envelope in batch))
        for envelope in batch:
            envelope.answer(written)


def block(language: str, start: str) -> str:
    """The only block of the page in that language that starts so."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if each.startswith(start)]
    return found


async def run(code: str, **names: object) -> None:
    namespace = {**KIT, **names}
    exec(f"async def page():\n{textwrap.indent(code, '    ')}", namespace)
    await namespace["page"]()


def test_the_example_prints_what_the_page_says() -> None:
    printed = subprocess.run(
        [sys.executable, EXAMPLE],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == block("text", "total")
    assert block("python", "class Counter") in EXAMPLE.read_text()


async def test_the_supervised_block_on_the_page_runs() -> None:
    def actor(_: object) -> ScriptedActor:
        return ScriptedActor()

    code = block("python", "async with open_supervisor")
    await run(code, Journal=actor, Counter=actor, Search=actor)


async def test_the_threads_on_the_page_run() -> None:
    file = io.StringIO()
    code = block("python", "async with WorkerThread")
    await run(code, file=file, data="written", search=str, query=1)
    assert file.getvalue() == "written"


async def test_the_test_on_the_page_passes() -> None:
    code = block("python", "async def test_writes")
    name = "test_writes_that_wait_share_one_append"
    await run(f"{code}\nawait {name}()", Shard=Shard)
    with pytest.raises(AssertionError):
        await run(f"{code}\nawait {name}()", Shard=OneByOne)


class OneByOne(Shard):
    """Does not share: the test on the page must notice."""

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            await super().handle([envelope])
