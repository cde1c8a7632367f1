"""A server in memory that is started again: places of its former life are told apart."""

import json

import httpx

from tests.crash.process import server_process


def put_many(server, count):
    for number in range(count):
        answer = httpx.put(f"{server.url}/v1/state/k", json={"value": number})
    return answer.json()["offset"], answer.headers["kissvdb-epoch"]


def first_event(server, last_event_id):
    headers = {"last-event-id": str(last_event_id)}
    with httpx.stream("GET", f"{server.url}/v1/stream", headers=headers, timeout=30) as stream:
        lines = stream.iter_lines()
        for line in lines:
            if line.startswith("event: "):
                return line[7:], int(next(lines)[4:]), json.loads(next(lines)[6:])
    raise AssertionError("the stream ended")


def test_a_client_of_the_former_life_gets_a_gap_even_when_numbers_have_caught_up(tmp_path):
    with server_process(tmp_path / "a", "--memory") as server:
        seen, epoch = put_many(server, 5)
    with server_process(tmp_path / "b", "--memory") as server:
        assert put_many(server, 1)[0] > seen
        assert put_many(server, 20)[1] != epoch
        kind, place, data = first_event(server, seen)
        assert (kind, data["reason"]) == ("gap", "epoch")
        assert first_event(server, place)[1] == place + 1
        stale = {"value": 1, "if_offset": seen}
        assert httpx.put(f"{server.url}/v1/state/k", json=stale).status_code == 409
        assert place < 2**53
