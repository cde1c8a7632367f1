"""The tools for tests do what they say, since other tests rest on them."""

import ast
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import actors
from actors import ActorCrashed, Restart
from actors.testing import Crash, Gate, ScriptedActor, running


async def test_a_scripted_actor_takes_one_step_for_each_message() -> None:
    def fail(message: object) -> None:
        raise LookupError(message)

    actor = ScriptedActor(1, OSError("no"), lambda message: message + 1, fail, otherwise="rest")
    async with running(actor) as address:
        assert await address.ask("a") == 1
        with pytest.raises(OSError, match="no"):
            await address.ask("b")
        assert await address.ask(2) == 3
        with pytest.raises(LookupError):
            await address.ask("d")
        assert await address.ask("e") == await address.ask("f") == "rest"
    assert actor.messages == ["a", "b", 2, "d", "e", "f"]
    assert actor.calls == ["open"] + ["handle"] * 6 + ["close"]


async def test_a_message_that_the_script_does_not_expect_is_a_crash() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="was not told what to do")):
        async with running(ScriptedActor()) as address:
            await address.ask("surprise")


async def test_a_scripted_crash_is_one() -> None:
    scripts = iter([ScriptedActor(Crash(OSError("x"))), ScriptedActor("fresh")])
    async with running(lambda: next(scripts), restart=Restart.ON_CRASH) as address:
        with pytest.raises(ActorCrashed):
            await address.ask(1)
        assert await address.ask(2) == "fresh"


async def test_a_gate_holds_until_it_is_opened() -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(gate.pass_)
        await gate.wait_held(3)
        assert (gate.waiting, gate.passed) == (3, 0)
        gate.open_once()
        await wait_all_tasks_blocked()
        assert (gate.waiting, gate.passed) == (2, 1)
        gate.open()
        await gate.pass_()
    assert (gate.waiting, gate.passed) == (0, 4)
    gate.shut()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.pass_)
        await gate.wait_held()
        gate.open()


def test_the_kit_imports_trio_and_attrs_only() -> None:
    allowed = sys.stdlib_module_names | {"trio", "attrs"}
    for path in Path(actors.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= allowed, path.name
