"""A thread whose workers are processes, and whose server is killed."""

import operator
import os
import subprocess
import sys
import threading
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from kissvdb.client import Client, Config
from kissvdb.errors import KissError
from kissvdb.langgraph import KissSaver, ThreadConflict
from tests.crash.process import server_process

pytestmark = pytest.mark.slow

THREAD = {"configurable": {"thread_id": "t"}}
ROUNDS = 15


class Notes(TypedDict):
    notes: Annotated[list[Any], operator.add]


def graph_of(saver, note, done):
    """Two tasks, one after the other; ``done`` hears of each that was begun."""

    def one(state):
        done.append("one")
        return {"notes": [f"{note} one"]}

    def two(state):
        done.append("two")
        return {"notes": [f"{note} two"]}

    builder = StateGraph(Notes).add_node("one", one).add_node("two", two)
    return builder.add_edge(START, "one").add_edge("one", "two").compile(checkpointer=saver)


def test_of_two_processes_on_one_thread_no_note_is_lost_and_none_comes_twice(server, name):
    command = [sys.executable, __file__, server.url, name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, str(number)], **pipes) for number in range(2)]
    try:
        # Else one may be done before the other has begun.
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        outcomes = [worker.communicate(timeout=120)[0].split() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0]
    won = sorted(each for notes in outcomes for each in notes if each != "conflict")
    assert any("conflict" in notes for notes in outcomes)
    with Client(server.url) as client:
        listed = list(KissSaver(client, name=name).list(THREAD))
    notes = listed[0].checkpoint["channel_values"]["notes"]
    kept = sorted(each.split()[0] for each in notes if each.endswith("two"))
    assert set(won) <= set(kept)
    assert len(notes) == len(set(notes))
    ids = [each.config["configurable"]["checkpoint_id"] for each in listed]
    parents = [each.parent_config["configurable"]["checkpoint_id"] for each in listed[:-1]]
    assert parents == ids[1:]


def work(url, name, number):
    """A process of the test above: runs the thread again and again, and says what it has done."""
    with Client(url) as client:
        saver = KissSaver(client, name=name)
        list(saver.list(THREAD))
        print("ready", flush=True)
        input()
        for turn in range(ROUNDS):
            note = f"{number}.{turn}"
            try:
                graph_of(saver, note, []).invoke({"notes": []}, THREAD)
            except ThreadConflict:
                print("conflict")
            else:
                print(note)


class Killing(KissSaver):
    """The server is killed when what the first task wrote is about to be stored."""

    def put_writes(self, config, writes, *task):
        if ("notes", ["a one"]) in writes:
            self.kill()
        super().put_writes(config, writes, *task)


@pytest.fixture
def killable(tmp_path):
    with server_process(tmp_path / "data") as process:
        yield process


def test_a_run_goes_on_when_the_server_comes_back(killable):
    back = threading.Thread(target=killable.start)

    def kill():
        killable.kill()
        back.start()

    with Client(config=Config(url=killable.url, timeout_secs=60.0, retries=1000)) as client:
        saver = Killing(client)
        saver.kill, done = kill, []
        ended = graph_of(saver, "a", done).invoke({"notes": ["begun"]}, THREAD)
        assert ended["notes"] == ["begun", "a one", "a two"]
        assert done == ["one", "two"]
    back.join()


def test_a_thread_whose_worker_gave_up_goes_on_from_its_last_checkpoint(killable):
    with Client(config=Config(url=killable.url, timeout_secs=0.5)) as client:
        saver = Killing(client)
        saver.kill, done = killable.kill, []
        graph = graph_of(saver, "a", done)
        with pytest.raises(KissError):
            graph.invoke({"notes": ["begun"]}, THREAD, durability="sync")
    killable.start()
    with Client(killable.url) as client:
        done = []
        graph = graph_of(KissSaver(client), "b", done)
        # The checkpoint is there, and nothing of the task whose writes were not.
        assert graph.get_state(THREAD).values["notes"] == ["begun"]
        assert graph.get_state(THREAD).next == ("one",)
        assert graph.invoke(None, THREAD)["notes"] == ["begun", "b one", "b two"]
        assert done == ["one", "two"]


if __name__ == "__main__":
    sys.path.insert(0, os.environ.get("PYTHONPATH", "."))
    work(*sys.argv[1:])
