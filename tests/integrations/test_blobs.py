"""Bytes of any length, read while somebody writes them anew."""

from kissvdb.adapters.blobs import PIECE_BYTES, Blobs
from kissvdb.client import Client


def test_who_reads_while_it_is_written_anew_gets_the_new_bytes(kissvdb_server, monkeypatch):
    first, second = b"1" * (2 * PIECE_BYTES), b"2" * (2 * PIECE_BYTES)
    with Client(kissvdb_server.url) as client, Client(kissvdb_server.url) as other:
        blobs = Blobs(client, "b")
        blobs.put([("k", first)])
        items, writes = client.state.items, [second]

        def after_a_write(*arguments, **options):
            if writes:
                Blobs(other, "b").put([("k", writes.pop())])
            return items(*arguments, **options)

        monkeypatch.setattr(client.state, "items", after_a_write)
        assert blobs.get("k") == second
