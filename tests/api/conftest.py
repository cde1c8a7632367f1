import pytest

from tests.api.caller import opened


@pytest.fixture
async def call():
    """Dispatches requests to a database in memory."""
    async with opened() as caller:
        yield caller
