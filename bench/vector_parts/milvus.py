"""Milvus Lite as the vector bench uses it: through pymilvus, and by gRPC calls as bytes."""

from typing import Any

from bench.load import protocols
from bench.load.process import Server
from bench.vector_parts.contenders import M
from bench.vector_parts.data import Data, K

EF_CONSTRUCTION = 200
ID_BYTES_MAX = 256
_SEARCH = "/milvus.proto.milvus.MilvusService/Search"


def create(server: Server, name: str, dim: int) -> Any:
    """A new collection by cosine, built as ours is; answers the client."""
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(uri=f"http://127.0.0.1:{server.port}")
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_BYTES_MAX)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("meta", DataType.JSON)
    index = client.prepare_index_params()
    how = {"M": M, "efConstruction": EF_CONSTRUCTION}
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params=how)
    client.create_collection(name, schema=schema, index_params=index)
    return client


def insert(client: Any, name: str, data: Data, batch: int) -> None:
    """Insert all rows; found when it returns, but not in the index before `index`."""
    for start in range(0, len(data.ids), batch):
        part = slice(start, start + batch)
        columns = zip(data.ids[part], data.base[part], data.metas[part], strict=True)
        client.insert(name, [{"id": id_, "vector": v, "meta": meta} for id_, v, meta in columns])


def index(client: Any, name: str) -> None:
    """Flush what was inserted into segments, and index and load them."""
    client.flush(name)
    client.load_collection(name)


def search(name: str, query: Any, ef: int) -> bytes:
    """One search as a message: ids and distances, no more."""
    from pymilvus.client.prepare import Prepare

    param = {"metric_type": "COSINE", "params": {"ef": ef}}
    asked = Prepare.search_requests_with_expr(
        name, "vector", param, K, [query.tolist()], output_fields=["id"]
    )
    message: bytes = asked.SerializeToString()
    return message


def call(message: bytes) -> bytes:
    """A search as the load program sends it."""
    return protocols.grpc_call(_SEARCH, message)


def find(server: Server, messages: list[bytes]) -> list[list[str]]:
    """The ids found by each search, best first."""
    import grpc
    from pymilvus.grpc_gen import milvus_pb2

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        ask = channel.unary_unary(
            _SEARCH,
            request_serializer=bytes,
            response_deserializer=milvus_pb2.SearchResults.FromString,
        )
        found = []
        for message in messages:
            answer = ask(message)
            if answer.status.code:
                raise SystemExit(f"milvus-lite refused a search: {answer.status.reason}")
            found.append(list(answer.results.ids.str_id.data))
    return found
