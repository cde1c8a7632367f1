"""Collections and their shadows on disk, cut off between any two steps. Seeded.

What is done here is what the engine does: records are logged first, files follow. A cut comes at
any change of a directory; the log keeps what is behind the least durable offset, and the replay
begins there or later. Whatever happens, a start finds what the log says.
"""

import os
import random
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from kissvdb.core.store.spec import CollectionSpec, shadow_of
from kissvdb.engine.vectors.collection_store import CollectionStore
from kissvdb.records import CollectionDeleted, CollectionReplaced, VectorDeleted, VectorWritten

NAME, SHADOW = "c", shadow_of("c")
IDS = [f"v{n}" for n in range(12)]
TEXTS = ("", "red", "green house", "blue tree by the house")


class Cut(Exception):
    """The process is gone."""


@contextmanager
def cut_after(monkeypatch, changes):
    """Let so many changes of directories happen, and no more."""
    left = [changes]

    def limited(change):
        def limit(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Cut
            return change(*arguments, **options)

        return limit

    with monkeypatch.context() as patch:
        for where, name in (
            *((os, each) for each in ("unlink", "rename", "replace", "mkdir", "rmdir")),
            *((Path, each) for each in ("unlink", "rename", "replace", "mkdir", "rmdir")),
        ):
            patch.setattr(where, name, limited(getattr(where, name)))
        yield


class Machine:
    """A data directory, the log beside it, and what both should say."""

    def __init__(self, chance, directory, monkeypatch):
        self.chance, self.directory, self.monkeypatch = chance, directory, monkeypatch
        self.store = CollectionStore(directory)
        self.log = []
        self.models = {}
        self.specs = {}
        self.operations = {}
        self.last = self.kept = self.cuts = self.replaced = 0

    def append(self, *records):
        for record in records:
            self.last += 1
            self.log.append((self.last, record))
        return self.last

    def step(self):
        actions = (
            (6, self.write),
            (3, self.copy),
            (3, self.checkpoint),
            (1, self.note),
            (3, self.create),
            (3, self.replace),
            (2, self.settle),
            (0.5, self.drop),
            (1, self.truncate),
            (1, self.crash),
        )
        act = self.chance.choices([each for _, each in actions], [each for each, _ in actions])[0]
        if act != self.crash and self.chance.random() < 0.4:
            try:
                with cut_after(self.monkeypatch, self.chance.randrange(3)):
                    act()
            except Cut:
                self.cuts += 1
                self.crash()
        else:
            act()

    def create(self):
        name = SHADOW if NAME in self.models else NAME
        if name in self.models or (name == SHADOW and self.store.former):
            return
        dim = self.chance.choice((2, 3))
        spec = CollectionSpec(name, dim, "l2", embedder="e", embedder_model=f"model {self.last}")
        stored = self.store.create(spec, self.last)
        self.models[name], self.specs[name] = {}, spec
        stored.created_offset = self.append(spec.record())
        stored.rows.note_offset(self.last)

    def write(self):
        if NAME not in self.models:
            return
        id_, model = self.chance.choice(IDS), self.models[NAME]
        if id_ in model and self.chance.random() < 0.3:
            del model[id_]
            record = VectorDeleted(NAME, id_, "explicit")
        else:
            op_id = f"op {self.last}" if self.chance.random() < 0.3 else None
            record = self.record(NAME, id_, self.chance.choice(TEXTS), op_id)
            model[id_] = (record.vector, record.text)
        offset = self.append(record)
        if record.op_id is not None:
            self.operations[record.op_id] = offset
        self.apply(NAME, offset, record)

    def record(self, name, id_, text, op_id=None):
        numbers = [self.chance.random() for _ in range(self.specs[name].dim)]
        vector = np.array(numbers, "<f4").tobytes()
        return VectorWritten("upserted", name, id_, vector, op_id=op_id, text=text or None)

    def apply(self, name, offset, record):
        self.store.collections[name].rows.apply(offset, record)
        for stored in self.store.collections.values():
            stored.rows.note_offset(self.last)

    def copy(self):
        """The shadow becomes what the collection is, but for the vectors."""
        if SHADOW not in self.models:
            return
        model, shadow = self.models[NAME], self.models[SHADOW]
        for id_ in sorted(set(model) | set(shadow)):
            if id_ not in model:
                record = VectorDeleted(SHADOW, id_, "explicit")
                del shadow[id_]
            elif id_ in shadow and shadow[id_][1] == model[id_][1]:
                continue
            else:
                record = self.record(SHADOW, id_, model[id_][1])
                shadow[id_] = (record.vector, record.text)
            self.apply(SHADOW, self.append(record), record)

    def replace(self):
        if SHADOW not in self.models:
            return
        self.copy()
        spec = self.specs.pop(SHADOW)
        self.models[NAME], self.specs[NAME] = self.models.pop(SHADOW), spec
        offset = self.append(CollectionReplaced(NAME, SHADOW, spec.dim, spec.metric))
        # Another record may be in the log before the rows know of it.
        self.replaced += 1
        self.maybe_cut()
        self.store.replace(NAME, offset)

    def maybe_cut(self):
        if self.chance.random() < 0.2:
            raise Cut

    def checkpoint(self):
        for name in list(self.store.collections):
            if self.chance.random() < 0.5:
                self.store.collections[name].checkpoint()

    def note(self):
        """What had no writes says up to where that is so."""
        for stored in self.store.collections.values():
            is_stored = stored.durable_offset >= (stored.created_offset or 0) and not stored.stale
            if is_stored and stored.rows.applied_offset == stored.durable_offset:
                stored.rows.note_offset(self.last)
                stored.restate(self.last)

    def settle(self):
        if NAME in self.store.former:
            self.store.collections[NAME].rows.note_offset(self.last)
            self.store.collections[NAME].checkpoint()
            self.store.settle(NAME)

    def drop(self):
        name = SHADOW if self.chance.random() < 0.7 else NAME
        if name not in self.models or (name == NAME and SHADOW in self.models):
            return
        del self.models[name], self.specs[name]
        if name == NAME:
            self.operations.clear()
        self.append(CollectionDeleted(name))
        self.store.remove(name)

    def truncate(self):
        """The log lets go of what is durable elsewhere."""
        through = min(self.store.durable_offsets, default=self.last)
        self.kept = max(self.kept, self.chance.randint(0, through))

    def crash(self):
        while True:
            before = min(self.store.durable_offsets, default=self.last)
            assert before >= self.kept or not self.store.collections
            self.store.close()
            changes = self.chance.choice((0, 1, 2, 4, 8, 10**9, 10**9))
            try:
                with cut_after(self.monkeypatch, changes):
                    self.open()
                break
            except Cut:
                self.cuts += 1
        self.compare()

    def open(self):
        self.store = CollectionStore(self.directory)
        view = self.store.view()
        self.store.isolate_before(self.kept + 1)
        # Keys may be behind: then more of the log is read.
        after = self.chance.randint(self.kept, max(self.kept, min(view.applied_offset, self.last)))
        rest = [(offset, record) for offset, record in self.log if offset > after]
        while rest:
            size = self.chance.choice((1, 3, 50))
            view.replay(rest[:size], rest[:size][-1][0])
            del rest[:size]
        self.store.forget_uncreated()

    def compare(self):
        assert not self.store.broken
        assert not self.store.former
        assert set(self.store.collections) == set(self.models)
        vectors = self.directory / "vectors"
        found = {each.name for each in vectors.iterdir()} if vectors.exists() else set()
        assert found == set(self.models)
        for name, model in self.models.items():
            stored = self.store.collections[name]
            view = stored.rows.view(0)
            rows = map(view.stored, view.hidden.living(view.data.count).tolist())
            assert {row.id: (row.vector, row.text) for row in rows} == model
            assert (view.spec.name, view.spec.dim) == (name, self.specs[name].dim)
            assert view.spec.embedder_model == self.specs[name].embedder_model
        for op_id, offset in self.operations.items() if NAME in self.models else ():
            assert self.store.collections[NAME].rows.operation(op_id).offset == offset


def live_through(seed, directory, monkeypatch, steps):
    machine = Machine(random.Random(seed), directory, monkeypatch)
    for _ in range(steps):
        try:
            machine.step()
        except Cut:
            machine.cuts += 1
            machine.crash()
    machine.crash()
    return machine


@pytest.mark.parametrize("seed", range(3))
def test_a_start_finds_what_the_log_says_wherever_it_was_cut_off(seed, tmp_path, monkeypatch):
    live_through(f"default {seed}", tmp_path, monkeypatch, 80)


def test_runs_are_cut_off_and_collections_replaced(tmp_path, monkeypatch):
    machine = live_through("one", tmp_path, monkeypatch, 200)
    assert machine.cuts > 10
    assert machine.replaced > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_a_start_finds_what_the_log_says_for_long(seed, tmp_path, monkeypatch):
    live_through(f"long {seed}", tmp_path, monkeypatch, 400)
