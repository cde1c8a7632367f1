"""Segments made by compiled kernels: the same as ``segment.build`` makes."""

import attrs
import numpy as np

from kissvdb.core import bitmaps
from kissvdb.core.postings.segment import Array, Forward, Segment, bits_width
from kissvdb.core.postings.vocabulary import FIELDS_MAX
from kissvdb.kernels.text import build as building
from kissvdb.kernels.text import few, lists


def build(forward: Forward, field_of_term: Array) -> Segment:
    """The segment of rows. ``field_of_term``: uint8, the field of each term in the stream."""
    rows, end = forward.row_count, int(forward.ptr[forward.row_count])
    ptr = np.ascontiguousarray(forward.ptr[: rows + 1], np.int64)
    stream = np.ascontiguousarray(forward.stream[:end], np.int32)
    field_of_term = np.ascontiguousarray(field_of_term, np.uint8)
    term_count = int(stream.max()) + 1 if end else 0
    sizes, last_row = np.zeros(term_count, np.int64), np.full(term_count, -1, np.int32)
    # Room for every field there is: which have terms here is known afterwards.
    all_fields = int(field_of_term[:term_count].max()) + 1 if term_count else 0
    lengths = np.zeros((max(all_fields, 1), rows), np.uint16)
    addresses = (ptr.ctypes.data, stream.ctypes.data, field_of_term.ctypes.data)
    places = np.arange(256)
    total = building.count_postings(rows, *addresses, places, lengths, last_row, sizes)
    terms = np.flatnonzero(sizes).astype(np.int32)
    cursors = np.cumsum(sizes) - sizes
    docs, tfs = np.empty(total, np.int32), np.zeros(total, np.uint8)
    most, least = np.zeros(term_count, np.uint8), np.full(term_count, 65535, np.uint16)
    building.write_postings(
        rows, *addresses, places, lengths, cursors.copy(), cursors, docs, tfs, most, least
    )
    fields = np.unique(field_of_term[terms]).astype(np.int32)
    made = Segment(
        Forward(rows, ptr, stream),
        fields,
        lengths[fields].ravel(),
        terms,
        np.append(cursors[terms], total).astype(np.int64),
        docs,
        tfs,
        most[terms],
        least[terms],
    )
    return with_bits(made)


def with_bits(segment: Segment) -> Segment:
    """As ``segment.with_bits``."""
    dense, rows = segment.dense_terms, segment.row_count
    bits = np.zeros((len(dense), bits_width(rows)), np.uint64)
    docs, st = (np.require(each, None, ("C", "W")) for each in (segment.docs, segment.st))
    lists.fill_bits(docs, st, dense, bitmaps.word_count(rows), bits)
    return attrs.evolve(segment, dense=dense, bits=bits)


def build_few(forward: Forward, field_of_term: Array) -> Segment:
    """The same of few rows, whatever the number of terms there are in all."""
    rows, end = forward.row_count, int(forward.ptr[forward.row_count])
    ptr, stream = forward.ptr[: rows + 1], forward.stream[:end]
    keys = np.empty(end, np.int64)
    keys = keys[: few.list_keys(ptr, stream, keys)]
    keys.sort()
    size = len(keys)
    fields = np.empty(min(size, FIELDS_MAX), np.int32)
    lengths = np.zeros(len(fields) * rows, np.uint16)
    owners, st = np.empty(size, np.int32), np.empty(size + 1, np.int64)
    docs, tfs = np.empty(size, np.int32), np.empty(size, np.uint8)
    most, least = np.empty(size, np.uint8), np.empty(size, np.uint16)
    places, sizes = np.full(256, -1, np.int64), np.empty(3, np.int64)
    few.write_few(
        keys,
        rows,
        field_of_term.ctypes.data,
        places,
        fields,
        lengths,
        owners,
        st,
        docs,
        tfs,
        most,
        least,
        sizes,
    )
    field_count, count, total = sizes.tolist()
    return Segment(
        Forward(rows, ptr, stream),
        fields[:field_count],
        lengths[: field_count * rows],
        owners[:count],
        st[: count + 1],
        docs[:total],
        tfs[:total],
        most[:count],
        least[:count],
    )
