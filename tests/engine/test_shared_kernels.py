"""Searches that come before the compiled code."""

import errno

import trio

from kissvdb.engine.rows.shared_kernels import EXACT_NUMBERS_MAX, SharedKernels
from kissvdb.engine.vectors import compilation


async def test_a_search_of_many_vectors_waits_for_code_that_is_being_loaded(autojump_clock):
    shared = SharedKernels()
    await shared.wait_if_soon(EXACT_NUMBERS_MAX + 1)
    shared.loaded.is_loading = True
    begun = trio.current_time()
    await shared.wait_if_soon(EXACT_NUMBERS_MAX)
    assert trio.current_time() == begun, "so few are looked at one by one meanwhile"
    async with trio.open_nursery() as tasks:
        tasks.start_soon(shared.wait_if_soon, EXACT_NUMBERS_MAX + 1)
        await trio.sleep(2)
        assert tasks.child_tasks
        shared.compiled.set()
    assert trio.current_time() == begun + 2


async def test_no_search_waits_for_ever_for_compiled_code(autojump_clock):
    shared = SharedKernels()
    shared.loaded.is_loading = True
    await shared.wait_if_soon(EXACT_NUMBERS_MAX + 1)
    assert trio.current_time() > 5


async def test_no_search_waits_for_code_that_could_not_be_loaded(monkeypatch):
    async def refused(kernels, *_):
        kernels.is_loading = True
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(compilation, "_load_once", refused)
    kernels = SharedKernels().loaded
    await compilation.load(kernels, None, None)
    assert not kernels.is_loading
