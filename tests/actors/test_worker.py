"""Worker threads: order, errors, askers who leave, and the end."""

import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import MailboxClosed, Workers, WorkerThread


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def set_when_blocked(event: threading.Event) -> None:
    await wait_all_tasks_blocked()
    event.set()


async def test_jobs_run_in_order_in_one_thread_of_that_name() -> None:
    ran = []

    def job(n: int) -> int:
        ran.append((n, threading.current_thread().name))
        return n * 2

    async with WorkerThread("scribe") as worker:
        results: dict[int, int] = {}

        async def run(n: int) -> None:
            results[n] = await worker.run(job, n)

        hold = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, hold.wait)
            for n in range(20):
                await wait_all_tasks_blocked()
                nursery.start_soon(run, n)
            await wait_all_tasks_blocked()
            hold.set()
    assert ran == [(n, "scribe") for n in range(20)]
    assert results == {n: n * 2 for n in range(20)}


async def test_an_error_in_a_job_is_raised_in_the_asker_and_the_thread_goes_on() -> None:
    async with WorkerThread("w") as worker:
        with pytest.raises(ValueError, match="invalid literal"):
            await worker.run(int, "x")
        assert await worker.run(int, "3") == 3


async def test_cancelling_a_run_abandons_the_result_but_not_the_job() -> None:
    hold, ran = threading.Event(), threading.Event()
    async with WorkerThread("w") as worker, trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, hold.wait)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await worker.run(ran.set)
        assert scope.cancelled_caught
        assert not ran.is_set()
        hold.set()
    assert ran.is_set()


async def test_a_cancelled_run_queues_nothing() -> None:
    ran = threading.Event()
    async with WorkerThread("w") as worker:
        with trio.CancelScope() as scope:
            scope.cancel()
            await worker.run(ran.set)
    assert not ran.is_set()


async def test_a_job_that_fails_after_its_asker_left_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hold = threading.Event()

    def fail() -> None:
        hold.wait()
        raise OSError("disk full")

    async with WorkerThread("w") as worker, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await worker.run(fail)
        hold.set()
    assert "a job of w failed after its asker left" in caplog.text
    assert "disk full" in caplog.text


async def test_leaving_the_block_runs_what_is_queued_even_when_cancelled() -> None:
    hold, ran = threading.Event(), []
    with trio.CancelScope() as scope:
        async with WorkerThread("w") as worker, trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, hold.wait)
            await wait_all_tasks_blocked()
            for n in range(3):
                nursery.start_soon(worker.run, ran.append, n)
                await wait_all_tasks_blocked()
            scope.cancel()
            hold.set()
    assert scope.cancelled_caught
    assert ran == [0, 1, 2]
    assert "w" not in [thread.name for thread in threading.enumerate()]


async def test_a_run_after_the_block_is_refused() -> None:
    async with WorkerThread("w") as worker:
        pass
    with pytest.raises(MailboxClosed):
        await worker.run(int)


async def test_beyond_jobs_max_runs_wait_in_line_and_are_turned_away_at_the_end() -> None:
    hold, ran, refused = threading.Event(), [], []

    async def run(n: int) -> None:
        try:
            await worker.run(ran.append, n)
        except MailboxClosed:
            refused.append(n)

    async with trio.open_nursery() as nursery, WorkerThread("w", jobs_max=2) as worker:
        nursery.start_soon(worker.run, hold.wait)
        for n in range(6):
            await wait_all_tasks_blocked()
            nursery.start_soon(run, n)
        await wait_all_tasks_blocked()
        assert worker.statistics().jobs == worker.statistics().jobs_max == 2
        nursery.start_soon(set_when_blocked, hold)
    assert ran == [0]
    assert sorted(refused) == [1, 2, 3, 4, 5]
    assert worker.statistics().done == 2


def test_a_worker_thread_needs_room_for_one_job() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        WorkerThread("w", jobs_max=0)


async def test_workers_run_at_most_limit_jobs_at_once() -> None:
    hold = threading.Event()
    workers = Workers(2)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(workers.run, hold.wait)
        await wait_all_tasks_blocked()
        statistics = workers.statistics()
        hold.set()
    assert (statistics.busy, statistics.limit, statistics.waiting) == (2, 2, 3)
    assert (workers.statistics().busy, workers.statistics().waiting) == (0, 0)


async def test_workers_return_results_and_raise_errors() -> None:
    workers = Workers(1)
    assert await workers.run(int, "3") == 3
    with pytest.raises(ValueError, match="invalid literal"):
        await workers.run(int, "x")


async def test_an_abandoned_job_counts_against_the_limit_until_it_ends() -> None:
    hold, workers = threading.Event(), Workers(1)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await workers.run(hold.wait, abandon_on_cancel=True)
        assert scope.cancelled_caught
        assert workers.statistics().busy == 1
        nursery.start_soon(set_when_blocked, hold)
        assert await workers.run(hold.is_set)
