"""LlamaIndex's filters of metadata as the server's."""

from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

_PLAIN = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.CONTAINS: "$contains",
}


def condition(filters: MetadataFilters) -> dict[str, Any]:
    """Raises ValueError for what the server cannot do: matching of text within a field."""
    parts = [
        condition(each) if isinstance(each, MetadataFilters) else _one(each)
        for each in filters.filters
    ]
    if not parts:
        return {}
    if filters.condition == FilterCondition.OR:
        return {"$or": parts}
    if filters.condition == FilterCondition.NOT:
        # None of them, as LlamaIndex's own stores understand it.
        return {"$not": {"$or": parts}}
    return {"$and": parts}


def _one(wanted: MetadataFilter) -> dict[str, Any]:
    name, value, operator = wanted.key, wanted.value, wanted.operator
    if operator in _PLAIN:
        return {name: {_PLAIN[operator]: value}}
    if operator == FilterOperator.IS_EMPTY:
        return {"$or": [{name: {"$exists": False}}, {name: {"$in": [None, []]}}]}
    if operator in (FilterOperator.ANY, FilterOperator.ALL) and isinstance(value, list):
        parts = [{name: {"$contains": each}} for each in value]
        return {"$or" if operator == FilterOperator.ANY else "$and": parts}
    raise ValueError(
        f"the filter {operator.value!r} on {name!r}: the server compares whole values; search in "
        "the texts with mode=VectorStoreQueryMode.TEXT_SEARCH"
    )
