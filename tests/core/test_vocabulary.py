"""A vocabulary finds what it has learnt, many words at once as one by one."""

import random

import numpy as np

from kissvdb.core.postings import hashing
from kissvdb.core.postings.vocabulary import SURFACE, SURFACE_BYTES_MAX, TERM, Vocabulary, prefix_of


def test_many_keys_hash_as_each_does():
    chance = random.Random("hashes")
    keys = [chance.randbytes(chance.randrange(40)) for _ in range(500)]
    for salt in (0, 2**63 - 1):
        one_by_one = [hashing.hash_of(key, salt) % 2**32 for key in keys]
        assert hashing.hashes_of(keys, salt).tolist() == one_by_one
    assert hashing.hashes_of([], 1).tolist() == []


def test_entries_that_want_one_place_are_all_found():
    slots = np.zeros(16, np.int32)
    hashes = np.array([3, 3, 15, 15, 3, 4], np.uint32)
    hashing.place(slots, 0, hashes[:3])
    hashing.place(slots, 3, hashes[3:])
    found = hashing.candidates(slots, hashes, np.array([3, 15, 9], np.uint32))
    assert sorted(found) == [(0, 0), (0, 1), (0, 4), (1, 2), (1, 3)]


def test_what_was_learnt_is_known_in_batches_of_any_size():
    chance = random.Random("words")
    vocabulary, known = Vocabulary(salt=7), {}
    vocabulary.add_field("a")
    while len(known) < 3000:
        batch = {}
        for _ in range(chance.choice((1, 3, 400))):
            word = b"%d" % chance.randrange(10**6) * chance.choice((1, 1, 12))
            key = prefix_of(0, SURFACE) + word
            if key not in known:
                # Several words are of one term.
                batch[key] = prefix_of(0, TERM) + word[:3]
        terms = vocabulary.learn(list(batch.items()))
        known.update(zip(batch, zip(batch.values(), terms, strict=True), strict=True))
    assert len({term for _, term in known.values()}) == vocabulary.terms
    # As one reads it from disk: without what the writer keeps beside.
    arrays = vocabulary.to_arrays(vocabulary.entries, vocabulary.terms)
    for each in (vocabulary, Vocabulary.from_arrays(arrays, 7, ["a"])):
        for key, (name, term) in known.items():
            is_kept = len(key) <= SURFACE_BYTES_MAX
            assert each.term_of(key) == (term if is_kept else None)
            assert each.term_of(name) == term
        assert each.term_of(prefix_of(0, SURFACE) + b"none") is None
