"""Two tenants of one database: neither learns anything of the other, whatever either asks.

Every kind of request of both, and what an admin does to the things of both at once, in any order.
Checked of all that a tenant receives (answers, errors, headers, streams): the other's marked bytes
are nowhere in it, and all of it is what the tenant would have received alone. So no name, count,
revision, error, order or mark of a batch is another because somebody else is there. What may differ
is said in `masked`: where in the common log things stand, and what time it is.
"""

import re
from functools import partial

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.frame.http import Response
from kissvdb.api.frame.principal import Scope
from tests.api.keyed import keyed
from tests.api.tenants import KINDS, TENANTS, Asks, grants, other, secret

MEANT = {"x-request-id", "kissvdb-epoch", "kissvdb-offset"}
"""Headers that are of the server or of its log."""
_PLACES = re.compile(
    rb'("(?:offset|first_offset|last_offset|applied_offset|created_at_ms|updated_at_ms|ts_ms'
    rb'|expires_at_ms|[a-z]+_us)":|\nid: |query\.at: offset |the newest is |at offset )\d+'
)

ASKED = st.tuples(
    st.just("ask"),
    st.sampled_from(TENANTS),
    st.sampled_from(KINDS),
    # Whether about the other's things.
    st.sampled_from([False, False, False, True]),
    st.integers(0, 3),
    st.integers(0, 6),
)
ADMIN = st.tuples(
    st.just("admin"),
    st.sampled_from(["batch", "bulk", "drop"]),
    st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 3)), min_size=1, max_size=4),
    st.sampled_from([None, "same-0", "same-1"]),
)
FOLLOWED = st.tuples(st.just("follow"), st.sampled_from(TENANTS))
STEPS = st.lists(st.one_of(ASKED, ASKED, ASKED, ASKED, ADMIN, FOLLOWED), min_size=5, max_size=25)
FILTERS = ("", "&types=batch_committed", "&vectors=false", "&key_prefix=", "&tag=common")


def masked(text):
    return _PLACES.sub(rb"\1_", text)


def logged(events):
    """Without what is streamed only: a replay does not have it."""
    return [frame for frame in events.split(b"\n\n") if b"\nid: " in frame]


@attrs.define
class Tenant:
    """What a tenant asks, and all that it has received."""

    name: str
    ask: object
    streams: list = attrs.field(factory=list)
    received: list = attrs.field(factory=list)
    events: list = attrs.field(factory=list)
    seen: int = 0

    async def open(self):
        for filter_ in FILTERS:
            answer = await self.ask("GET", f"/v1/stream?since=0{filter_}")
            assert answer.status == 200
            self.streams.append(answer.body)
            self.events.append(b"")

    async def request(self, kind, about_other, n, m):
        whose = other(self.name) if about_other else self.name
        method, target, body = getattr(Asks(self.name, whose, self.seen), kind)(n, m)
        if isinstance(body, bytes):
            answer = await self.ask(method, target, body=body, content_type="application/x-ndjson")
        else:
            answer = await self.ask(method, target, body)
        assert isinstance(answer, Response), "these are no streams"
        assert answer.status < 500, (target, answer.body)
        headers = [f"{name}: {value}" for name, value in answer.headers if name not in MEANT]
        head = f"{method} {target} {answer.status}\n{headers}\n".encode()
        # Its own question is no news: in the other run it may ask for another offset.
        self.received.append(re.sub(rb"at=\d+", b"at=_", head) + masked(answer.body))
        self.check_secret(headers, answer.body)
        offset = re.search(rb'"(?:last_)?offset":(\d+)', answer.body)
        if offset and method != "GET" and answer.status == 200:
            self.seen = int(offset[1])

    async def follow(self):
        """Take what is there by now: the hub hears of it a moment after the answer."""
        await wait_all_tasks_blocked()
        for place, stream in enumerate(self.streams):

            async def keep(blob, place=place):
                self.events[place] += blob

            assert await stream.catch_up(keep)

    async def end(self):
        """All of the streams again: from the ring of the newest events, and from the log."""
        lives = list(map(logged, self.events))
        ring = self.ask.caller.database.hub.ring
        for _ in range(2):
            replayed = len(self.streams)
            await self.open()
            await self.follow()
            assert list(map(logged, self.events[replayed:])) == lives
            ring.skip_to(ring.last_offset)
        for events in self.events:
            self.check_secret(events)
        self.events = list(map(masked, self.events[: len(FILTERS)]))

    def check_secret(self, *texts):
        for text in texts:
            assert secret(other(self.name)) not in str(text)


async def run(steps, who):
    """What the tenants in ``who`` receive while they, and the admin for them, do these steps."""
    everything = {name: (Scope.ADMIN, grants(name)) for name in TENANTS}
    async with keyed(**everything, root=(Scope.ADMIN, None)) as holder:
        tenants = {name: Tenant(name, holder(name)) for name in who}
        for tenant in tenants.values():
            await tenant.open()
        for step, *told in steps:
            if step == "admin":
                await administer(holder("root"), who, *told)
            elif told[0] in who:
                tenant = tenants[told[0]]
                await (tenant.follow() if step == "follow" else tenant.request(*told[1:]))
        for tenant in tenants.values():
            await tenant.follow()
        for tenant in tenants.values():
            await tenant.end()
        return tenants


async def administer(root, who, what, things, op_id):
    """What somebody does to the things of several at once; here, of those who are there."""
    mine = [(name, n) for name, n in things if name in who]
    if not mine:
        return
    if what == "drop":
        for name, n in mine:
            await root("DELETE", f"/v1/vector/{Asks(name, name, 0).notes(n)}")
        return
    puts = [
        {"op": "put", "key": Asks(name, name, 0).key(n), "value": ["root", secret(name)]}
        for name, n in mine
    ]
    if what == "batch":
        (name, _), *others = things
        is_named = op_id and all(each == name for each, _ in others)
        named = {"op_id": f"root-{name}-{op_id}"} if is_named else {}
        answer = await root("POST", "/v1/batch", {"operations": puts} | named)
        assert answer.status in (200, 409)
    else:
        lines = b"\n".join(map(msgspec.json.encode, puts))
        await root("POST", "/v1/bulk", body=lines, content_type="application/x-ndjson")


async def check(steps):
    note(f"{steps=}")
    together = await run(steps, set(TENANTS))
    for name in TENANTS:
        alone = (await run(steps, {name}))[name]
        assert together[name].received == alone.received
        assert together[name].events == alone.events


def both(*kinds):
    """Steps: each kind of request of the one tenant, then of the other, twice."""
    return [("ask", t, kind, False, n, m) for kind, n, m in kinds for t in "abab"]


SAME_NAMES = both(
    *(("create", 1, 0), ("put_doc", 1, 4), ("delete_doc", 1, 1), ("bulk", 1, 1), ("batch", 1, 1))
)
"""Operations with the same op_ids."""
SHARED_BATCHES = [
    ("admin", "batch", [("a", 1), ("b", 1), ("a", 0), ("b", 0)], None),
    ("admin", "batch", [("b", 2), ("a", 2)], None),
    ("admin", "batch", [("b", 3), ("b", 1)], "same-0"),
    ("follow", "a"),
]
VECTORS = both(("create", 1, 0), ("upsert", 1, 1), ("search", 1, 2), ("list_notes", 0, 0))
SQL = both(
    *(("sql", 1, 0), ("sql", 1, 1), ("sql", 1, 2), ("sql_batch", 1, 2), ("sql", 1, 3)),
    *(("sql", 1, 5), ("put", 1, 1), *(("sql_query", 1, m) for m in range(7))),
)
EVENTS = [("ask", "a", "publish_many", True, 1, 1), *both(("publish_many", 1, 1))]

few = partial(
    settings,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)


@few(max_examples=12)
@given(STEPS)
@example(SAME_NAMES)
@example(SHARED_BATCHES)
@example(VECTORS)
@example(EVENTS)
@example(SQL)
async def test_neither_tenant_learns_anything_of_the_other(steps):
    await check(steps)


@pytest.mark.slow
@few(max_examples=1000)
@given(STEPS)
async def test_neither_tenant_learns_anything_of_the_other_for_long(steps):
    await check(steps)
