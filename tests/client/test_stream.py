"""A stream whose connections break where it hurts, from a server that is made of sockets."""

import socket
import threading
import time

import anyio

from kissvdb.client import AsyncClient, Client, Config, Event

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'event: a\nid: 8\ndata: {"offset":8,"ts_ms":1,"type":"a","data":1}\n\n'


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_what_broke_off_before_there_was_a_place_is_no_part_of_what_comes_next():
    answers = [EVENT[:30], b": ok\n\n" + EVENT]
    asked = []

    def serve(listener):
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(HEAD + chunk(answer))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        config = Config(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        with Client(config=config) as client, client.stream.events(since=7) as stream:
            assert next(stream) == Event("a", 1, 8, 1)
            assert stream.last_offset == 8
        thread.join()
    assert [b"since=7" in each for each in asked] == [True, True]


def test_a_call_that_may_not_be_repeated_is_not_lost_in_a_connection_that_has_ended():
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    asked = []

    def serve(listener):
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(65536).split(b" ", 1)[0])
                connection.sendall(answer)

    async def use(url):
        async with AsyncClient(config=Config(url=url)) as client:
            for n in range(2):
                await client.vector.create(f"v{n}", 2)
                await anyio.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for backend in (None, "trio", "asyncio"):
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            if backend is None:
                with Client(config=Config(url=url)) as client:
                    for n in range(2):
                        client.vector.create(f"v{n}", 2)
                        time.sleep(0.1)
            else:
                anyio.run(use, url, backend=backend)
            thread.join()
    assert asked == [b"POST"] * 6
