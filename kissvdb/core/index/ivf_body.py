"""Rows in lists by what they are near to, with their codes: grown, as values and as files.

It can always be made again from the rows. What has a place for every slot lies in the collection's
``Space``: row numbers and codes, list after list. The rest is small, and stored whole. Growing
learns centroids and codebooks from a sample, then assigns rows to lists and codes them.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.index.codes import NOTHING, TRAINING_ROWS_MAX, CodeSum, float32_codes
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import Damaged
from kissvdb.kernels.arrays import METRICS, Codes
from kissvdb.kernels.ivf import clustering
from kissvdb.kernels.ivf import lists as row_lists
from kissvdb.kernels.ivf import sign_blocks as row_signs
from kissvdb.kernels.ivf.checksums import block_sums
from kissvdb.kernels.ivf.lists import BLOCK_ROWS, Lists

Array = npt.NDArray[Any]

LISTS_PER_ROOT = 4.0
"""So many lists for each root of a row: choosing lists and reading them then cost about as much."""
RETRAINING_FACTOR = 4
"""All is learnt anew, and all rows assigned and coded anew, when there are so many times more."""
IMBALANCE_FACTOR = 2.0
IMBALANCE_ROWS_FACTOR = 1.5
"""Or when rows came so unlike the first that lists are so much less even than they were, once there
are so many times more rows."""
CODED_ROWS = 4096
COARSE_CODES_DIM_MIN = 32
"""With fewer dimensions the float32 of a centroid costs no more than its code."""


@attrs.frozen(eq=False)
class Body:
    """The indexed rows: 0 to ``size - 1`` of the collection, each in one list.

    ``codes`` have the order of slots, but those of float32, which are the rows. ``centroids``:
    float32 [lists, width], what rows are assigned by; ``coarse`` are codes of them as searches
    choose lists by. For dot ``reach`` is the length of the longest row of each list, float32
    [lists], and ``lengths`` that of each row, float32 [>= size]; else both are [0]. ``signs``: of
    the rows that have 4-bit codes, block by block; of none for dot, and where they were written
    before there were signs: these get them when they grow. ``sums``:
    uint32 [blocks], the checksum of each block. ``trained_rows``: how many rows there were when
    centroids and codebooks were learnt, ``balance`` the imbalance of the lists then. Growing writes
    into slots that no reader's lists count, and behind ``size``.
    """

    lists: Lists
    codes: Codes
    centroids: Array
    coarse: Codes
    reach: Array
    lengths: Array
    signs: row_signs.Signs
    sums: Array
    precision: str
    trained_rows: int
    balance: float
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of lists, centroids and codes, without the room to grow."""
        slots = len(self.lists.blocks) * BLOCK_ROWS
        coded = slots * self.codes.rows.strides[0] if self.codes.rows.dtype != np.float32 else 0
        signs = len(self.lists.blocks) * self.signs.blocks.strides[0] if self.has_signs else 0
        return int(coded + signs + 4 * slots + self.centroids.nbytes + self.coarse.rows.nbytes)

    @property
    def has_signs(self) -> bool:
        """Whether searches read signs first."""
        return len(self.signs.blocks) > 0

    def names(self) -> list[str]:
        """The names of the arrays in the space that have a place for every slot."""
        rows, codes, aux, _, signs = names_of(self.codes.rows.dtype, self.trained_rows)
        if self.codes.rows.dtype == np.float32:
            return [rows]
        names = [rows, codes, aux] if self.codes.aux.size else [rows, codes]
        return [*names, signs] if self.has_signs else names

    def code_sums(self) -> dict[str, CodeSum]:
        """A checksum of all blocks, the same for each of these arrays."""
        slots = len(self.lists.blocks) * BLOCK_ROWS
        return {name: CodeSum(slots, zlib.crc32(self.sums.tobytes())) for name in self.names()}


def names_of(dtype: Any, trained_rows: int) -> tuple[str, str, str, str, str]:
    """The names in a space of row numbers, codes, their ``aux``, lengths by row, signs. What was
    learnt from another number of rows lies in arrays of its own: readers may be using it."""
    bits = {"uint8": 4, "int8": 8, "float32": 32}[str(dtype)]
    base = f"lists{bits}-{trained_rows}"
    rows, signs = f"lists-{trained_rows}-rows", f"signs-{trained_rows}"
    return rows, base, f"{base}-aux", f"{base}-lengths", signs


def in_space(
    space: Space, lists: Lists, codes: Codes, trained_rows: int, metric: str
) -> tuple[Lists, Codes]:
    """Lists and coded rows with room for all slots of the lists; float32 codes as they are."""
    slots = len(lists.blocks) * BLOCK_ROWS
    rows, coded, aux, *_ = names_of(codes.rows.dtype, trained_rows)
    lists = lists._replace(rows=space.array(rows, "<i4", 0, slots))
    if codes.rows.dtype == np.float32:
        return lists, codes
    dtype = "|u1" if codes.rows.dtype == np.uint8 else "|i1"
    return lists, codes._replace(
        rows=space.array(coded, dtype, codes.rows.shape[1], slots),
        aux=NOTHING if metric == "cosine" else space.array(aux, "<f4", 0, slots),
    )


def lengths_in(space: Space, dtype: Any, trained_rows: int, rows: int, metric: str) -> Array:
    """The lengths of so many rows, for dot."""
    if metric != "dot" or dtype == np.float32:
        return NOTHING
    return space.array(names_of(dtype, trained_rows)[3], "<f4", 0, rows)


def signs_in(
    space: Space, lists: Lists, codes: Codes, centroids: Array, trained_rows: int, data: RowData
) -> row_signs.Signs:
    """The signs in the space, with room for all blocks; of none if such rows have none."""
    if codes.rows.dtype != np.uint8 or not row_signs.fits(METRICS[data.metric], data.dim):
        return row_signs.no_signs(centroids)
    name, width = names_of(codes.rows.dtype, trained_rows)[4], row_signs.block_bytes(data.dim)
    blocks = space.array(name, "|u1", width, len(lists.blocks))
    return row_signs.signs_of(blocks, centroids)


def to_fields(body: Body) -> dict[str, Any]:
    """What of a body goes into a manifest."""
    return {
        "size": body.size,
        "precision": body.precision,
        "trained_rows": body.trained_rows,
        "balance": body.balance,
        "signs": body.has_signs,
    }


def to_arrays(body: Body) -> dict[str, Array]:
    """What of a body goes into an index file."""
    arrays = {
        "first": body.lists.first,
        "blocks": body.lists.blocks,
        "counts": body.lists.counts,
        "centroids": body.centroids,
        "reach": body.reach,
        "scale": body.codes.scale,
        "mean": body.codes.mean,
        "coarse": body.coarse.rows,
        "coarse_aux": body.coarse.aux,
        "coarse_scale": body.coarse.scale,
        "coarse_mean": body.coarse.mean,
    }
    if body.codes.rows.dtype == np.float32:
        arrays["aux"] = body.codes.aux[: body.size]
    return arrays


def body_of(
    fields: Mapping[str, Any],
    arrays: Mapping[str, Array],
    sums: Mapping[str, CodeSum],
    data: RowData,
    space: Space,
) -> Body:
    """The body of ``to_fields`` and ``to_arrays``, its blocks checked. Raises Damaged."""
    try:
        size, trained_rows = int(fields["size"]), int(fields["trained_rows"])
        precision = fields["precision"]
        dtype = {"q4": np.uint8, "q8": np.int8, "none": np.float32}[precision]
        lists = Lists(arrays["first"], arrays["blocks"], arrays["counts"], np.zeros(0, np.int32))
        _check_shape(lists, size, data.count)
        coarse = Codes(
            *(arrays[name] for name in ("coarse", "coarse_aux", "coarse_scale", "coarse_mean"))
        )
        scale, mean = arrays["scale"], arrays["mean"]
        if precision == "none":
            codes = Codes(data.vectors, arrays["aux"], scale, mean)
        else:
            width = scale.shape[0] // (2 if precision == "q4" else 1)
            codes = Codes(np.zeros((0, width), dtype), NOTHING, scale, mean)
        lists, codes = in_space(space, lists, codes, trained_rows, data.metric)
        lengths = lengths_in(space, np.dtype(dtype), trained_rows, size, data.metric)
        signs = row_signs.no_signs(arrays["centroids"])
        if fields.get("signs"):
            signs = signs_in(space, lists, codes, arrays["centroids"], trained_rows, data)
        body = Body(
            lists,
            codes,
            arrays["centroids"],
            coarse,
            arrays["reach"],
            lengths,
            signs,
            block_sums(lists, codes, signs, np.arange(len(lists.blocks))),
            precision,
            trained_rows,
            float(fields["balance"]),
            size,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise Damaged(f"the index of the rows is of another form: {error!r}") from error
    if body.code_sums() != dict(sums):
        raise Damaged("the lists or their codes do not fit their checksum")
    if lengths.size:
        slots = row_lists.slots(lists)
        lengths[lists.rows[slots]] = codes.aux[slots]
    return body


def _check_shape(lists: Lists, size: int, rows: int) -> None:
    blocks, each = lists.blocks, np.diff(lists.first)
    if size > rows or int(lists.counts.sum()) != size or int(lists.first[-1]) != len(blocks):
        raise Damaged("the index does not fit the rows")
    if (each != -(-lists.counts // BLOCK_ROWS)).any():
        raise Damaged("a list has another number of blocks than its rows fill")
    if not np.array_equal(np.sort(blocks), np.arange(len(blocks))):
        raise Damaged("a block is in two lists, or in none")


def lists_for(spec: CollectionSpec, rows: int) -> int:
    """Into how many lists so many rows are put."""
    return max(min(spec.options.lists or round(LISTS_PER_ROOT * math.sqrt(rows)), rows), 1)


def grown(
    kernels: Kernels,
    body: Body | None,
    spec: CollectionSpec,
    data: RowData,
    last: int,
    space: Space,
    training_rows: int | None,
    precision: str,
) -> Body:
    """The body with the rows up to ``last``; for one thread at a time.

    Arrays lie in ``space``. ``training_rows``: how many rows there will be, if more are to come
    than ``data`` has. ``precision``: a new body's.
    """
    rows = max(data.count, training_rows or 0)
    if body is None or last >= RETRAINING_FACTOR * body.trained_rows:
        precision = precision if body is None else body.precision
        return _extended(kernels, _trained(kernels, spec, data, rows, precision), data, last, space)
    made = _extended(kernels, body, data, last, space)
    uneven = clustering.imbalance(made.lists.counts) > IMBALANCE_FACTOR * made.balance
    if uneven and last >= IMBALANCE_ROWS_FACTOR * body.trained_rows:
        anew = _trained(kernels, spec, data, rows, body.precision)
        return _extended(kernels, anew, data, last, space)
    return made


def _trained(
    kernels: Kernels, spec: CollectionSpec, data: RowData, rows: int, precision: str
) -> Body:
    """A body of no rows with new centroids and codebooks."""
    metric = METRICS[spec.metric]
    count = lists_for(spec, rows)
    centroids = clustering.train(data.vectors[: data.count], metric, min(count, data.count))
    return Body(
        row_lists.empty(len(centroids)),
        _new_codes(kernels, data, data.count, precision),
        centroids,
        _coarse(kernels, centroids, spec, precision),
        np.zeros(len(centroids) if spec.metric == "dot" else 0, np.float32),
        NOTHING,
        row_signs.no_signs(centroids),
        np.zeros(0, np.uint32),
        precision,
        rows,
        0.0,
        0,
    )


def _new_codes(kernels: Kernels, data: RowData, count: int, precision: str) -> Codes:
    """Codes of no rows with a codebook learnt from the first ``count``."""
    quantize, metric = kernels.compiled.quantize, METRICS[data.metric]
    sample = data.vectors[: count : -(-count // TRAINING_ROWS_MAX)]
    codes: Codes
    if precision == "q4":
        codes = quantize.int4_codes(0, quantize.train_int4(sample, metric, data.dim))
    elif precision == "q8":
        codes = quantize.int8_codes(0, quantize.train_int8(sample, metric, data.dim))
    else:
        codes = quantize.float32_codes(data.vectors[:0], metric)
    return codes


def _extended(kernels: Kernels, body: Body, data: RowData, last: int, space: Space) -> Body:
    """The body with the rows up to ``last`` in its lists."""
    first, metric = body.size, METRICS[data.metric]
    labels = clustering.assign(data.vectors[first:last], metric, body.centroids)
    lists, slots = row_lists.extended(body.lists, labels)
    lists, codes = in_space(space, lists, body.codes, body.trained_rows, data.metric)
    lists.rows[slots] = np.arange(first, last, dtype=np.int32)
    lengths = lengths_in(space, codes.rows.dtype, body.trained_rows, last, data.metric)
    if codes.rows.dtype == np.float32:
        codes = float32_codes(kernels.compiled.quantize, body.codes.aux, data, first, last)
    else:
        for start in range(first, last, CODED_ROWS):
            rows = np.arange(start, min(start + CODED_ROWS, last))
            part = slots[rows - first]
            vectors = data.vectors[start : rows[-1] + 1]
            _put(kernels, codes, vectors, data.metric, part, lengths, rows)
    body = _reaching(kernels, body, data, labels, first, last)
    signs = signs_in(space, lists, codes, body.centroids, body.trained_rows, data)
    blocks = np.unique(slots // BLOCK_ROWS)
    if len(signs.blocks) and first and not body.has_signs:
        first, blocks, (labels, slots) = 0, np.arange(len(lists.blocks)), row_lists.places(lists)
    if len(signs.blocks):
        encode = kernels.compiled.lists.encode_signs
        encode(signs, data.vectors[first:last], labels, slots, METRICS[data.metric])
    sums = np.zeros(len(lists.blocks), np.uint32)
    sums[: len(body.sums)] = body.sums
    sums[blocks] = block_sums(lists, codes, signs, blocks)
    balance = body.balance or clustering.imbalance(lists.counts)
    return attrs.evolve(
        body,
        lists=lists,
        codes=codes,
        lengths=lengths,
        signs=signs,
        sums=sums,
        balance=balance,
        size=last,
    )


def _put(
    kernels: Kernels,
    codes: Codes,
    vectors: Array,
    metric: str,
    slots: Array,
    lengths: Array,
    rows: Array,
) -> None:
    """Code rows into their slots. vectors: float32 [n, width], contiguous; rows: their numbers."""
    quantize, count = kernels.compiled.quantize, len(vectors)
    aux = np.zeros(0 if metric == "cosine" else count, np.float32)
    made = Codes(
        np.zeros((count, codes.rows.shape[1]), codes.rows.dtype), aux, codes.scale, codes.mean
    )
    encode = quantize.encode_int8 if codes.rows.dtype == np.int8 else quantize.encode_int4
    encode(vectors, 0, count, METRICS[metric], made)
    codes.rows[slots] = made.rows
    if aux.size:
        codes.aux[slots] = aux
    if lengths.size:
        lengths[rows] = aux


def _reaching(
    kernels: Kernels, body: Body, data: RowData, labels: Array, first: int, last: int
) -> Body:
    """For dot, with centroids as long as the longest row of their list: a long row is found by a
    query that its direction is not the nearest to."""
    if not body.reach.size:
        return body
    reach = body.reach.copy()
    for start in range(first, last, CODED_ROWS):
        part = data.vectors[start : min(start + CODED_ROWS, last)]
        here = np.sqrt(np.einsum("ij,ij->i", part, part))
        np.maximum.at(reach, labels[start - first : start - first + len(part)], here)
    longer = body.centroids * reach[:, None]
    coarse = _coarse_of(kernels, longer, data.metric, data.dim, body.coarse.rows.dtype)
    return attrs.evolve(body, reach=reach, coarse=coarse)


def _coarse(kernels: Kernels, centroids: Array, spec: CollectionSpec, precision: str) -> Codes:
    short = precision == "q4" and spec.dim >= COARSE_CODES_DIM_MIN
    return _coarse_of(kernels, centroids, spec.metric, spec.dim, np.uint8 if short else np.float32)


def _coarse_of(kernels: Kernels, centroids: Array, metric: str, dim: int, dtype: Any) -> Codes:
    """Codes of centroids: 4-bit, or the float32 themselves."""
    quantize, form, count = kernels.compiled.quantize, METRICS[metric], len(centroids)
    codes: Codes
    if dtype == np.uint8:
        codes = quantize.int4_codes(count, quantize.train_int4(centroids, form, dim))
        quantize.encode_int4(centroids, 0, count, form, codes)
    else:
        codes = quantize.float32_codes(centroids, form)
        quantize.encode_float32(centroids, 0, count, form, codes)
    return codes
