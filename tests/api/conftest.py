import httpx
import pytest

from kissvdb.config import Config, Http, Limits, Search, Server, Storage
from kissvdb.testing import serve
from tests.api.caller import opened
from tests.patience import PATIENCE_SECS


@pytest.fixture
async def call():
    """Dispatches requests to a database in memory."""
    async with opened() as caller:
        yield caller


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "hypercorn"])
def client(request):
    """An HTTP client of a server with small limits for vectors, through one door."""
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        http=Http(lane=request.param),
        # Compiled code is for the tests of kernels; here it would only take time.
        search=Search(compile=False),
        limits=Limits(vector_batch_max=8, json_bytes_max=200, body_bytes_max=20_000, k_max=50),
    )
    with serve(config) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        yield http
