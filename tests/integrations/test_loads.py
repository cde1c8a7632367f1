"""What the bridges to frameworks load, in which no refusal may be passed over."""

import pytest

from kissvdb.adapters.loads import PART, load
from kissvdb.client import Client
from kissvdb.errors import NotFound


def test_a_refusal_behind_many_that_are_forgiven_is_raised(kissvdb_server):
    late = [{"op": "put", "key": "a", "value": 0, "if_revision": 9}] * (PART + 1)
    wrong = {"op": "upsert", "collection": "nowhere", "id": "1", "vector": [1.0]}
    with Client(kissvdb_server.url) as client:
        put = {"op": "put", "key": "b", "value": 1}
        assert load(client, [*late, put], forgive="revision_mismatch") == 1
        with pytest.raises(NotFound):
            load(client, [*late, wrong], forgive="revision_mismatch")
