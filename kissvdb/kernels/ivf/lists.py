"""Lists of rows, in blocks: where the rows of each list are, and how more come to them.

A list is a chain of blocks of ``BLOCK_ROWS`` slots; a slot holds the number and the code of a row.
What is trained anew is laid out list after list; rows that come later fill the last block of their
list, and then new blocks behind all others. So a writer only ever writes slots that no reader's
``counts`` include.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK_ROWS = 32


class Lists(NamedTuple):
    """first: int64 [lists + 1], where the blocks of each list begin in ``blocks``: int32 [blocks].
    counts: int64 [lists], rows of each. rows: int32 [>= blocks * BLOCK_ROWS], the row in each slot.
    """

    first: Array
    blocks: Array
    counts: Array
    rows: Array


def empty(lists: int) -> Lists:
    """So many lists without rows."""
    return Lists(
        np.zeros(lists + 1, np.int64),
        np.zeros(0, np.int32),
        np.zeros(lists, np.int64),
        np.zeros(0, np.int32),
    )


def extended(lists: Lists, labels: Array) -> tuple[Lists, Array]:
    """The lists with more rows, whose ``rows`` are still to be made larger and filled, and the slot
    of each of these rows, int64 [n]. labels: int32 [n], the list of each."""
    count = len(lists.counts)
    added = np.bincount(labels, minlength=count)
    counts = lists.counts + added
    had = np.diff(lists.first)
    more = -(-counts // BLOCK_ROWS) - had
    first = np.zeros(count + 1, np.int64)
    np.cumsum(had + more, out=first[1:])
    blocks = np.empty(int(first[-1]), np.int32)
    blocks[_places(first[:-1], had)] = lists.blocks
    new = np.arange(len(lists.blocks), len(blocks), dtype=np.int32)
    blocks[_places(first[:-1] + had, more)] = new
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order].astype(np.int64)
    places = _places(lists.counts, added)
    slots = np.empty(len(labels), np.int64)
    block = blocks[first[sorted_labels] + places // BLOCK_ROWS].astype(np.int64)
    slots[order] = block * BLOCK_ROWS + places % BLOCK_ROWS
    return Lists(first, blocks, counts, lists.rows), slots


def filled(lists: Lists) -> Array:
    """How many slots of each block hold a row, int64 [blocks], by the number of the block."""
    here = np.diff(lists.first)
    inside = _places(np.zeros(len(here), np.int64), here)
    rows = np.minimum(np.repeat(lists.counts, here) - inside * BLOCK_ROWS, BLOCK_ROWS)
    each = np.empty(len(lists.blocks), np.int64)
    each[lists.blocks] = rows
    return each


def slots(lists: Lists) -> Array:
    """The slots that hold a row, int64 [rows], block after block."""
    each = filled(lists)
    return _places(np.arange(len(each)) * BLOCK_ROWS, each)


def places(lists: Lists) -> tuple[Array, Array]:
    """The list of each row, int32 [rows], and its slot, int64 [rows], by row."""
    held = slots(lists)
    list_of_block = np.empty(len(lists.blocks), np.int32)
    list_of_block[lists.blocks] = np.repeat(
        np.arange(len(lists.counts), dtype=np.int32), np.diff(lists.first)
    )
    by_row = np.empty(len(held), np.int64)
    by_row[lists.rows[held]] = held
    return list_of_block[by_row // BLOCK_ROWS], by_row


def _places(starts: Array, lengths: Array) -> Array:
    """start, start + 1 ... for each of these lengths, one after the other: int64."""
    ends = np.cumsum(lengths)
    places: Array = np.arange(int(lengths.sum())) + np.repeat(starts - (ends - lengths), lengths)
    return places
