"""Whether a key with grants may ask a route for what its path and its query name.

Decided by names alone, before anything is looked for: the answer is the same whether or not there
is such a thing, and takes as long. A message names what the client sent, and what its own key has.
"""

from collections.abc import Callable, Mapping

from kissvdb.api.frame.http import Request
from kissvdb.api.frame.reach import Names
from kissvdb.api.frame.route import Route
from kissvdb.api.reading.query import parse_query
from kissvdb.core.grants import Grants
from kissvdb.errors import Forbidden

SHOWN_MAX = 5
"""So many patterns of a key are named in a message."""

_CHECKS: Mapping[Names, tuple[Callable[[Grants, str], bool], str]] = {
    Names.KEY: (Grants.may_key, "key"),
    Names.VECTORS: (Grants.may_vectors, "vector collection"),
    Names.DOCUMENTS: (Grants.may_documents, "documents of"),
}


def check_reach(grants: Grants, route: Route, request: Request) -> None:
    """Raises Forbidden unless the key may use the route for this. ``request`` has its params."""
    reach = route.reach
    if not grants.may_route(route.method, route.path.replace("...", "")):
        raise Forbidden(f"the scopes of this API key do not have the route {route.name}")
    if reach.everything:
        raise Forbidden(f"{route.name} is about the whole database: use an API key without scopes")
    for parameter, names in reach.path.items():
        check_name(grants, names, request.params[parameter])
    for name, names in reach.always.items():
        check_name(grants, names, name)
    if reach.query:
        query = parse_query(request.query)
        for parameter, names in reach.query.items():
            check_name(grants, names, query.get(parameter, ""))


def check_name(grants: Grants, names: Names, name: str) -> None:
    """Raises Forbidden unless what the name names is granted."""
    if names is Names.PART:
        return
    if names is Names.PREFIX:
        if not grants.may_prefix(name):
            raise _not_a_prefix(grants, name)
        return
    may, what = _CHECKS[names]
    if not may(grants, name):
        raise outside(f"{what} {name[:200]!r}")


def outside(what: str) -> Forbidden:
    """The refusal of what is not granted, whether or not it is there."""
    return Forbidden(
        f"the scopes of this API key do not have the {what}: use another key, or one whose scopes "
        "name it"
    )


def _not_a_prefix(grants: Grants, prefix: str) -> Forbidden:
    asked = f"a prefix {prefix[:200]!r}" if prefix else "no prefix"
    there = [repr(each) for each in grants.prefixes[:SHOWN_MAX]]
    more = len(grants.prefixes) - SHOWN_MAX
    if more > 0:
        there.append(f"{more} more")
    hint = f"ask with prefix={' or '.join(there)}" if there else "it may list no keys"
    return Forbidden(
        f"the scopes of this API key do not have all keys of a list with {asked}: {hint}"
    )
