"""Which namespaces there are."""

from typing import Any

from langgraph.store.base import ListNamespacesOp, MatchCondition

from kissvdb.client import Client
from kissvdb.langgraph.items import Namespace, conditions, namespace_of

FACETS = 1000
"""As many values as the server tells of a field."""


def listed(client: Client, name: str, op: ListNamespacesOp) -> list[Namespace]:
    """Those that match, in order, from ``op.offset`` on."""
    wanted = op.match_conditions or ()
    where = conditions(_beginning(wanted), None)
    found = _distinct(client, name, where)
    found = {each for each in found if all(matches(condition, each) for condition in wanted)}
    if op.max_depth is not None:
        found = {each[: op.max_depth] for each in found}
    return sorted(found)[op.offset : op.offset + op.limit]


def _distinct(client: Client, name: str, where: dict[str, Any]) -> set[Namespace]:
    asked = client.doc.find(name, where, limit=0, count=True, facets={"ns": FACETS})
    facet = (asked.facets or {}).get("ns", {"values": []})
    values = facet["values"]
    if sum(each["count"] for each in values) == asked.count:
        return {namespace_of(each["value"]) for each in values}
    # Very many, or very long ones: one page of items after the other.
    every = client.doc.all(name, where, fields=["ns"])
    return {namespace_of(document.doc["ns"]) for document in every}


def _beginning(wanted: tuple[MatchCondition, ...]) -> Namespace:
    """What all of them begin with, as far as the server can be asked for it."""
    for condition in wanted:
        if condition.match_type == "prefix":
            plain: list[str] = []
            for label in condition.path:
                if label == "*":
                    break
                plain.append(label)
            return tuple(plain)
    return ()


def matches(condition: MatchCondition, namespace: Namespace) -> bool:
    """Whether a namespace begins or ends so; ``*`` is any label."""
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)]
    if condition.match_type == "suffix":
        part = namespace[len(namespace) - len(path) :]
    return all(want in ("*", label) for want, label in zip(path, part, strict=True))
