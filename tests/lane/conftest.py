import pytest

from tests.lane.peers import open_lane


@pytest.fixture
async def lane():
    """A lane with the default limits on a database in memory."""
    async with open_lane() as served:
        yield served
