"""Threads are moved on: each checkpoint over the tip that its worker knows, or not at all."""

import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from langgraph.checkpoint.base import WRITES_IDX_MAP, Checkpoint

from kissvdb.adapters.blobs import pack, put
from kissvdb.adapters.loads import load
from kissvdb.errors import InvalidArgument, RevisionMismatch
from kissvdb.langgraph.filters import scalars
from kissvdb.langgraph.keys import Place, ThreadConflict, Tip
from kissvdb.langgraph.reading import Reader

BATCH_BYTES = 500_000
"""Of what goes into one atomic batch; the rest is written before it, unseen."""
BATCH_OPERATIONS = 500
ATTEMPTS = 8
EMPTY_MAX = 65_536
SMALL_TEXT = 256
PARTS_LIVE = 3
"""Parts live so many times as long as the tip, which alone decides when a thread ends. They are
given their full time again whenever it was so long ago that they had it, so that a part always
outlives the tip by at least one such time, whatever two clocks say."""


@attrs.frozen
class Put:
    """A checkpoint to be stored. ``token``: of the tip that its worker has read."""

    place: Place
    parent: str | None
    token: int | None
    checkpoint: Checkpoint
    metadata: Mapping[str, Any]
    new_versions: Mapping[str, Any]


class Writer(Reader):
    """Also writes. ``ttl_ms``: a thread ends so long after its last checkpoint."""

    def __init__(self, *args: Any, ttl_ms: int | None = None) -> None:
        super().__init__(*args)
        self.ttl_ms = ttl_ms
        # Places that were read and empty: whoever begins there begins a thread, and only one may.
        self._empty: OrderedDict[Place, None] = OrderedDict()

    @property
    def part_ms(self) -> int | None:
        """How long a part lives."""
        return None if self.ttl_ms is None else self.ttl_ms * PARTS_LIVE

    def tip_ms(self, place: Place) -> int | None:
        """How long a tip lives: see `lives`."""
        return self.part_ms if place.ns else self.ttl_ms

    def note_empty(self, place: Place) -> None:
        """It was read, and there was nothing."""
        self._empty[place] = None
        while len(self._empty) > EMPTY_MAX:
            self._empty.popitem(last=False)

    def put(self, wanted: Put) -> None:
        """Store a checkpoint and move the tip there. Raises ThreadConflict."""
        self.refuse_past()
        for _ in range(ATTEMPTS):
            there = self.tip_there(wanted.place)
            tip = there if there is not None and self.lives(there) else None
            self._check(wanted, tip)
            touched_ms = self._touched(wanted.place, tip)
            life = os.urandom(6).hex() if tip is None else tip.life
            operations = self._operations(wanted, life)
            operations.append(self._move(wanted, there, life, touched_ms))
            try:
                self.client.batch(operations)
                return
            except RevisionMismatch:
                # The tip has moved since it was read: look whether this one may still follow it.
                continue
        raise ThreadConflict(f"{_name(wanted.place)} is written by others all the time: try again")

    def _check(self, wanted: Put, tip: Tip | None) -> None:
        """Whether this checkpoint may follow this tip."""
        place, parent, id = wanted.place, wanted.parent, wanted.checkpoint["id"]
        if tip is None:
            if parent is None:
                return
            raise ThreadConflict(
                f"{_name(place)} has no checkpoints: it was deleted or has expired, so {id} cannot "
                f"follow {parent}"
            )
        if parent is None:
            # Who puts checkpoints there by hand, without having read, may make several roots.
            if place not in self._empty or tip.id == id:
                return
            what = "begun"
        elif parent == tip.id or wanted.token == tip.offset or tip.id == id:
            return
        else:
            what = "moved on"
        raise ThreadConflict(
            f"{_name(place)} was {what} by another worker: its newest checkpoint is {tip.id}, so "
            f"{id} cannot follow {parent or 'an empty thread'}. Nothing of it was written: read "
            "the state and run again from there"
        )

    def _move(self, wanted: Put, there: Tip | None, life: str, touched_ms: int) -> dict[str, Any]:
        place = wanted.place
        value = {"id": wanted.checkpoint["id"], "life": life, "touched_ms": touched_ms}
        value |= {"thread": place.thread, "ns": place.ns}
        over = {"if_revision": 0} if there is None else {"if_offset": there.offset}
        return put(self.keys.tip(place), value, self.tip_ms(place), **over)

    def _operations(self, wanted: Put, life: str) -> list[dict[str, Any]]:
        """What goes into the batch beside the tip; what is too large for that is written now."""
        place, checkpoint = wanted.place, wanted.checkpoint
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        small = {name: each for name, each in values.items() if _small(each, name, versions)}
        parts: list[dict[str, Any]] = []
        for channel, version in wanted.new_versions.items():
            if channel in values and channel not in small:
                key = self.keys.blob(place, channel, version)
                parts += self._packed(place, key, {}, values[channel])
        body = {
            "checkpoint": {**checkpoint, "channel_values": small},
            "metadata": dict(wanted.metadata),
            "blobs": [name for name in values if name not in small],
        }
        about = {"life": life, "id": checkpoint["id"], "parent": wanted.parent}
        key = self.keys.checkpoint(place, checkpoint["id"])
        *pieces, record = self._packed(place, key, about, body)
        parts += pieces
        head = {**about, "thread": place.thread, "ns": place.ns}
        document: dict[str, Any] = {"op": "doc_put", "collection": self.keys.name}
        document["id"] = self.keys.document(place, checkpoint["id"])
        document["doc"] = {**head, "meta": scalars(wanted.metadata)}
        if self.part_ms is not None:
            document["ttl_ms"] = self.part_ms
        if _bytes(parts) > BATCH_BYTES or len(parts) > BATCH_OPERATIONS:
            load(self.client, parts)
            parts = []
        return [*parts, record, document]

    def _packed(
        self,
        place: Place,
        key: str,
        about: Mapping[str, Any],
        value: Any,
        inline: int = 45_000,
        **conditions: Any,
    ) -> list[dict[str, Any]]:
        """The operations that write a value: its pieces, if it has any, and at last its key."""
        kind, data = self.serde.dumps_typed(value)
        packed = pack(data, self.keys.pieces(place), ttl_ms=self.part_ms, inline=inline)
        whole = {**about, "t": kind, **packed.value}
        return [*packed.pieces, put(key, whole, self.part_ms, **conditions)]

    def put_writes(
        self, place: Place, id: str, writes: Sequence[tuple[str, Any]], task: str, path: str
    ) -> None:
        """Store what a task wrote on top of a checkpoint, all of it or nothing. A write is known by
        its task and number; what is there already stays, but for the special ones (errors,
        interrupts), of which the last counts."""
        self.refuse_past()
        numbered = {
            WRITES_IDX_MAP.get(channel, number): (channel, value)
            for number, (channel, value) in enumerate(writes)
        }
        for _ in range(ATTEMPTS):
            pieces, marks = self._marks(place, id, numbered, task, path)
            load(self.client, pieces)
            try:
                for start in range(0, len(marks), BATCH_OPERATIONS):
                    self.client.batch(marks[start : start + BATCH_OPERATIONS])
                return
            except RevisionMismatch:
                prefix = self.keys.writes(place, id, task)
                there = {item.value["idx"] for item in self.client.state.items(prefix)}
                numbered = {
                    idx: each for idx, each in numbered.items() if idx < 0 or idx not in there
                }
                if not numbered:
                    return
        raise ThreadConflict(f"the writes of task {task} are written by others all the time")

    def _marks(
        self,
        place: Place,
        id: str,
        numbered: Mapping[int, tuple[str, Any]],
        task: str,
        path: str,
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Pieces to be written first, and the keys that make the writes be seen."""
        # Together they are one batch, so what is longer than their share lies in pieces.
        inline = min(45_000, BATCH_BYTES // 2 // max(1, len(numbered)))
        about: dict[str, Any] = {"task": task, "path": path}
        if len(numbered) > BATCH_OPERATIONS:
            about["of"] = 1 + max(numbered)
        pieces, marks = [], []
        for idx, (channel, value) in numbered.items():
            only = {"if_revision": 0} if idx >= 0 else {}
            key = f"{self.keys.writes(place, id, task)}{idx}"
            one = {**about, "channel": channel, "idx": idx}
            *before, mark = self._packed(place, key, one, value, inline, **only)
            pieces += before
            marks.append(mark)
        return pieces, marks

    # Time to live

    def lives(self, tip: Tip) -> bool:
        """A namespace within a thread ends with the thread, however long ago it was written; its
        tip lives as long as a part. One that is alone ends by itself."""
        if self.ttl_ms is None or not tip.place.ns or tip.expires_at_ms is None:
            return True
        written_ms = tip.expires_at_ms - self.ttl_ms * PARTS_LIVE
        if time.time() * 1000 < written_ms + self.ttl_ms:
            return True
        return self.tip_there(Place(tip.place.thread, "")) is not None

    def _touched(self, place: Place, tip: Tip | None) -> int:
        """Since when the parts have their full time; they get it anew if that is too long ago."""
        now_ms = int(time.time() * 1000)
        if self.ttl_ms is None:
            return 0
        if tip is None:
            return now_ms
        if 0 <= now_ms - tip.touched_ms < self.ttl_ms:
            return tip.touched_ms
        self._touch(place)
        return now_ms

    def _touch(self, place: Place) -> None:
        more: dict[str, Any] = {"patch": {}, "ttl_ms": self.part_ms}
        state, thread = self.client.state, place.thread
        # The thread's end is its own; the tip that is being moved must be as it was read.
        others = {self.keys.tip(Place(thread, "")), self.keys.tip(place)}
        keys = (
            {"op": "patch", "key": item.key, "if_revision": item.revision, **more}
            for prefix in (self.keys.thread(thread), self.keys.tips(thread))
            for item in state.items(prefix)
            if item.key not in others
        )
        load(self.client, keys, forgive="revision_mismatch")
        where = {"thread": {"$eq": thread}}
        heads = self.client.doc.all(self.keys.name, where, fields=["id"])
        patch = {"op": "doc_patch", "collection": self.keys.name, **more}
        load(
            self.client,
            ({**patch, "id": head.id, "if_revision": head.revision} for head in heads),
            forgive="revision_mismatch",
        )

    def refuse_past(self) -> None:
        """Raises InvalidArgument."""
        if self.at is not None:
            raise InvalidArgument(f"this saver shows threads as of offset {self.at}: it only reads")


def _small(value: Any, channel: str, versions: Mapping[str, Any]) -> bool:
    """Whether it lies in the checkpoint itself. Told by the value alone, so that what has not
    changed is where it was."""
    if channel not in versions or value is None or isinstance(value, bool | float):
        return True
    if isinstance(value, str):
        return len(value) <= SMALL_TEXT
    return isinstance(value, int) and abs(value) < 2**63


def _bytes(operations: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(each["value"].get("d", "")) + 200 for each in operations)


def _name(place: Place) -> str:
    inner = f" ({place.ns})" if place.ns else ""
    return f"thread {place.thread!r}{inner}"
