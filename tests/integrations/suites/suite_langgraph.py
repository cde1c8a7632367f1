"""langgraph-checkpoint-conformance, in full."""

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from kissvdb.langgraph import KissSaver


async def test_the_saver_has_all_capabilities_and_passes_all_their_tests(client, name):
    await conforms(client, name)


@pytest.mark.slow
async def test_it_conforms_with_a_time_to_live_as_well(client, name):
    await conforms(client, name, ttl_secs=3600)


async def conforms(client, name, **options):
    @checkpointer_test(name=name)
    async def saver():
        yield KissSaver(client, name=name, **options)

    report = await validate(saver)
    failures = [each for result in report.results.values() for each in result.failures]
    assert failures == []
    assert report.conformance_level() == "FULL"
    assert {name for name, result in report.results.items() if result.passed} == {
        each.value for each in Capability
    }
    assert sum(result.tests_passed for result in report.results.values()) >= 81
