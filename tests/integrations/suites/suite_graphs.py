"""Graphs whose threads a server keeps: workers, forks, interrupts, expiry, deletion, size."""

import asyncio
import operator
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import httpx
import pytest
import trio
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from kissvdb.client import Client
from kissvdb.config import Config, Server, Storage
from kissvdb.errors import Forbidden
from kissvdb.langgraph import KissSaver, ThreadConflict
from kissvdb.testing import serve


class Notes(TypedDict):
    notes: Annotated[list[Any], operator.add]


def graph_of(saver, *nodes):
    """Nodes one after the other: functions of the state that return notes."""
    builder = StateGraph(Notes)
    last = START
    for number, node in enumerate(nodes):
        builder.add_node(f"n{number}", node)
        builder.add_edge(last, f"n{number}")
        last = f"n{number}"
    builder.add_edge(last, END)
    return builder.compile(checkpointer=saver)


def note(text):
    return lambda state: {"notes": [text]}


def thread(name):
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def saver(client, name):
    return KissSaver(client, name=name)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_of_two_workers_on_one_thread_one_goes_on_and_the_other_is_told(
    server, name, begun, shared
):
    with Client(server.url) as one, Client(server.url) as two:
        first = KissSaver(one, name=name)
        savers = [first, first if shared else KissSaver(two, name=name)]
        if begun:
            graph_of(first, note("begun")).invoke({"notes": []}, thread("t"))
        together = threading.Barrier(2)

        def work(number):
            # Both have read the thread when the first of them writes to it.
            graph = graph_of(Meeting(savers[number], together), note(f"worker {number}"), note("b"))
            try:
                return graph.invoke({"notes": []}, thread("t"))["notes"]
            except ThreadConflict as conflict:
                return conflict

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(work, range(2)))
        (lost,) = (each for each in outcomes if isinstance(each, ThreadConflict))
        (won,) = (each for each in outcomes if each is not lost)
        assert "by another worker" in lost.message
        assert won == [*(["begun"] if begun else []), f"worker {outcomes.index(won)}", "b"]
        listed = list(first.list(thread("t")))
        assert listed[0].checkpoint["channel_values"]["notes"] == won
        # One line of checkpoints, each on top of the one before it.
        ids = [each.config["configurable"]["checkpoint_id"] for each in listed]
        parents = [each.parent_config["configurable"]["checkpoint_id"] for each in listed[:-1]]
        assert (parents, listed[-1].parent_config) == (ids[1:], None)


class Meeting(KissSaver):
    """Two workers meet when both have read."""

    def __init__(self, saver, barrier):
        self.__dict__.update(saver.__dict__)
        self._barrier = barrier

    def get_tuple(self, config):
        found = super().get_tuple(config)
        self._barrier.wait(30)
        return found


async def test_of_tasks_of_one_loop_one_goes_on(saver):
    graph = graph_of(saver, note("a"), note("b"))
    await graph.ainvoke({"notes": []}, thread("t"))
    read = [await saver.aget_tuple(thread("t")) for _ in range(4)]
    done = await asyncio.gather(
        *(graph.aupdate_state(each.config, {"notes": [n]}) for n, each in enumerate(read)),
        return_exceptions=True,
    )
    lost = [each for each in done if isinstance(each, ThreadConflict)]
    state = await graph.aget_state(thread("t"))
    # Each read before it wrote, so some may have followed another; none is lost, none forks.
    assert len(state.values["notes"]) == 2 + len(done) - len(lost)


def test_who_goes_back_in_time_moves_the_thread_there(saver):
    graph = graph_of(saver, note("a"), note("b"))
    graph.invoke({"notes": []}, thread("t"))
    history = list(graph.get_state_history(thread("t")))
    old = next(each for each in history if each.values["notes"] == ["a"])
    held = saver.get_tuple(thread("t"))
    graph.update_state(old.config, {"notes": ["another b"]})
    assert graph.get_state(thread("t")).values["notes"] == ["a", "another b"]
    assert graph.get_state(history[0].config).values["notes"] == ["a", "b"]
    # Who had read the thread before that may not go on as if nothing had been.
    with pytest.raises(ThreadConflict, match="moved on"):
        follow(saver, held.config)


def follow(saver, config):
    held = saver.get_tuple(config)
    later = {**held.checkpoint, "id": "ffffffff" + held.checkpoint["id"][8:]}
    saver.put(config, later, {"source": "loop", "step": 9}, {})


def test_what_one_of_parallel_tasks_did_is_kept_when_the_other_fails(saver):
    runs = []

    def good(state):
        runs.append("good")
        return {"notes": ["good"]}

    def bad(state):
        runs.append("bad")
        if runs.count("bad") == 1:
            raise OSError("once")
        return {"notes": ["bad"]}

    builder = StateGraph(Notes)
    for node in (good, bad):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
        builder.add_edge(node.__name__, END)
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(OSError, match="once"):
        graph.invoke({"notes": []}, thread("t"))
    done = graph.invoke(None, thread("t"))
    assert sorted(done["notes"]) == ["bad", "good"]
    assert runs.count("good") == 1


def test_a_graph_in_a_graph_waits_for_a_person_and_goes_on(saver):
    inner = StateGraph(Notes)
    inner.add_node("ask", lambda state: {"notes": [interrupt("sure?")]})
    inner.add_edge(START, "ask")
    outer = StateGraph(Notes)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    graph = outer.compile(checkpointer=saver)
    asked = graph.invoke({"notes": ["¿?"]}, thread("t"))
    assert asked["__interrupt__"][0].value == "sure?"
    done = graph.invoke(Command(resume="sí"), thread("t"))
    assert done["notes"][-1] == "sí"
    assert {tip.ns != "" for tip in (each.place for each in saver._threads.tips("t"))} == {
        True,
        False,
    }


def test_a_thread_is_as_it_was_at_an_offset(client, saver):
    graph = graph_of(saver, note("a"))
    graph.invoke({"notes": []}, thread("t"))
    offset = client.last_offset
    graph.invoke({"notes": ["more"]}, thread("t"))
    then = graph_of(saver.as_of(offset), note("a"))
    assert then.get_state(thread("t")).values["notes"] == ["a"]
    assert len(list(then.get_state_history(thread("t")))) == 3
    assert graph.get_state(thread("t")).values["notes"] == ["a", "more", "a"]
    with pytest.raises(Exception, match="only reads"):
        then.update_state(thread("t"), {"notes": ["no"]})


def test_a_thread_ends_whole_and_its_name_begins_anew(client, name):
    saver = KissSaver(client, name=name, ttl_secs=3600)
    graph = graph_of(saver, note("a"))
    graph.invoke({"notes": ["x" * 1000]}, thread("t"))
    held = saver.get_tuple(thread("t"))
    (tip,) = client.state.items(f"{name}:t:")
    # As if its time were over now; what it led to is still there.
    client.state.patch(tip.key, {}, ttl_ms=1)
    time.sleep(0.02)
    assert saver.get_tuple(thread("t")) is None
    assert saver.get_tuple(held.config) is None
    assert list(saver.list(thread("t"))) == []
    with pytest.raises(ThreadConflict, match="has expired"):
        saver.put(held.config, {**held.checkpoint, "id": "z"}, {}, {})
    assert graph.invoke({"notes": []}, thread("t"))["notes"] == ["a"]
    assert len(list(saver.list(thread("t")))) == 3
    assert saver.get_tuple(held.config) is None


def test_a_namespace_ends_with_its_thread_and_not_before(client, name):
    saver = KissSaver(client, name=name, ttl_secs=3600)
    outer, inner = (
        {"configurable": {"thread_id": "t", "checkpoint_ns": ns}} for ns in ("", "inner:1")
    )
    checkpoint = {"v": 1, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}}
    checkpoint["versions_seen"] = {}
    for each in (outer, inner):
        saver.put(each, checkpoint, {}, {})
    first, second = (item.key for item in client.state.items(f"{name}:t:"))
    # The inner one was written long ago.
    client.state.patch(second, {}, ttl_ms=3_600_000)
    assert saver.get_tuple(inner) is not None
    client.state.delete(first)
    assert saver.get_tuple(inner) is None
    saver.put(inner, {**checkpoint, "id": "2"}, {}, {})
    assert [each.checkpoint["id"] for each in saver.list(inner)] == ["2"]
    client.state.patch(second, {"touched_ms": 1})
    saver.put(saver.get_tuple(inner).config, {**checkpoint, "id": "3"}, {}, {})
    assert [each.checkpoint["id"] for each in saver.list(inner)] == ["3", "2"]


def test_a_namespace_of_a_copy_ends_with_the_copy(client, name):
    saver = KissSaver(client, name=name, ttl_secs=3600)
    checkpoint = {"v": 1, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}}
    checkpoint["versions_seen"] = {}
    for ns in ("", "inner:1"):
        config = {"configurable": {"thread_id": "t", "checkpoint_ns": ns}}
        saver.put(config, checkpoint, {}, {})
    saver.copy_thread("t", "u")
    outer, inner = client.state.items(f"{name}:t:u:")
    assert inner.expires_at_ms > outer.expires_at_ms + 3_600_000


def test_no_part_of_a_thread_ends_before_the_thread(client, name):
    saver = KissSaver(client, name=name, ttl_secs=3600)
    graph = graph_of(saver, note("a"))
    graph.invoke({"notes": ["x" * 1000]}, thread("t"))
    ends = {item.key: item.expires_at_ms for item in client.state.items(f"{name}:p:")}
    (tip,) = client.state.items(f"{name}:t:")
    assert min(ends.values()) > tip.expires_at_ms + 3_600_000
    # As if all of it had been written long ago.
    client.state.patch(tip.key, {"touched_ms": tip.value["touched_ms"] - 3_600_001})
    for key in [*ends, *(f"doc:{name}:{each.id}" for each in client.doc.all(name))]:
        client.state.patch(key, {}, ttl_ms=3_700_000)
    graph.update_state(thread("t"), {"notes": ["b"]})
    (tip,) = client.state.items(f"{name}:t:")
    ends = [item.expires_at_ms for item in client.state.items(f"{name}:p:")]
    ends += [item.expires_at_ms for item in client.state.items(f"doc:{name}:")]
    assert min(ends) > tip.expires_at_ms + 3_600_000
    assert graph.get_state(thread("t")).values["notes"] == ["x" * 1000, "a", "b"]


@pytest.mark.slow
def test_deleted_is_gone_with_all_its_keys(client, saver, name):
    graph = graph_of(saver, note("x" * 100_000))
    for each in ("t", "té:/" * 40, "u"):
        graph.invoke({"notes": []}, thread(each))
    saver.delete_thread("t")
    saver.delete_thread("té:/" * 40)
    assert saver.get_tuple(thread("t")) is None
    kept = {item.key.split(":")[2] for item in client.state.items(name + ":")}
    assert kept == {"u"}
    assert client.doc.find(name, limit=0, count=True).count == 3
    saver.delete_thread("u")
    assert list(client.state.items(name + ":")) == []


@pytest.mark.slow
def test_values_may_be_large_and_writes_many(saver):
    big = "é" * 400_000
    graph = graph_of(saver, note(big))
    graph.invoke({"notes": []}, thread("t"))
    assert graph.get_state(thread("t")).values["notes"] == [big]
    config = saver.get_tuple(thread("t")).config
    many = [("notes", [number]) for number in range(1200)]
    saver.put_writes(config, many, "task")
    saver.put_writes(config, [("notes", ["other"])] * 3, "task")
    found = saver.get_tuple(thread("t")).pending_writes
    assert [each[2][0] for each in found] == list(range(1200))
    saver.put_writes(config, [("notes", big)] * 2, "another", "~path")
    assert saver.get_tuple(thread("t")).pending_writes[-1][2] == big
    saver.prune(["t"])
    assert graph.get_state(thread("t")).values["notes"] == [big]


class Deltas(TypedDict):
    notes: Annotated[list[Any], DeltaChannel(lambda old, new: [*old, *(x for w in new for x in w)])]


def test_channels_of_differences_are_told_also_after_pruning_and_copying(saver):
    builder = StateGraph(Deltas)
    builder.add_node("n", note("n"))
    builder.add_edge(START, "n")
    graph = builder.compile(checkpointer=saver)
    for number in range(5):
        graph.invoke({"notes": [number]}, thread("t"))
    wanted = [each for number in range(5) for each in (number, "n")]
    assert graph.get_state(thread("t")).values["notes"] == wanted
    saver.prune(["t"])
    assert graph.get_state(thread("t")).values["notes"] == wanted
    saver.copy_thread("t", "u")
    with pytest.raises(ThreadConflict, match="exists already"):
        saver.copy_thread("t", "u")
    saver.delete_thread("t")
    assert graph.invoke({"notes": ["more"]}, thread("u"))["notes"] == [*wanted, "more", "n"]


def test_methods_run_on_trio_as_well(saver):
    graph_of(saver, note("a")).invoke({"notes": []}, thread("t"))

    async def main():
        found = await saver.aget_tuple(thread("t"))
        listed = [each async for each in saver.alist(thread("t"), limit=2)]
        return found.checkpoint["channel_values"]["notes"], len(listed)

    assert trio.run(main) == (["a"], 2)


@pytest.mark.slow
def test_a_key_that_is_confined_to_its_names_suffices():
    secret = "admin-secret-of-this-test"
    config = Config(server=Server(port=0, api_key=secret), storage=Storage(memory=True))
    scopes = {"keys": ["agents:*"], "documents": ["agents"]}
    with serve(config) as server:
        asked = {"name": "agent", "role": "write", "scopes": scopes}
        key = httpx.post(
            f"{server.url}/v1/auth/keys", json=asked, headers={"x-api-key": secret}
        ).json()["key"]
        with Client(server.url, key) as confined:
            saver = KissSaver(confined, name="agents", ttl_secs=60)
            graph = graph_of(saver, note("a"))
            assert graph.invoke({"notes": []}, thread("t"))["notes"] == ["a"]
            saver.copy_thread("t", "u")
            saver.prune(["t"])
            saver.delete_thread("t")
            assert len(list(saver.list(None))) == 3
            with pytest.raises(Forbidden):
                KissSaver(confined, name="others").get_tuple(thread("t"))
