"""The description says what the route table does."""

import re

import yaml as reference
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.api.description import yaml
from kissvdb.api.description.openapi import description, document
from kissvdb.api.routes import ROUTES

# What is printable, as YAML wants it, and what JSON escapes.
texts = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]) | st.sampled_from("\n\t"))
words = st.sampled_from(
    ["yes", "No", "null", "~", "1", "1.0", "1e3", "0x1", "-", "a: b", "# x", "/"]
)
scalars = st.none() | st.booleans() | st.integers() | texts | words
trees = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts | words, inner), max_leaves=30
)


@given(trees)
def test_yaml_is_read_back_as_it_was(tree):
    assert reference.safe_load(yaml.dump(tree)) == tree


def test_the_document_is_the_description():
    assert reference.safe_load(document(ROUTES)) == description(ROUTES)


def test_every_route_is_described():
    described = {
        (method.upper(), path)
        for path, operations in description(ROUTES)["paths"].items()
        for method in operations
    }
    assert described == {(route.method, route.path.replace("...", "")) for route in ROUTES}


def test_operation_ids_are_unique():
    ids = [route.operation_id for route in ROUTES]
    assert len(set(ids)) == len(ids)


def references(tree):
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def test_every_reference_leads_somewhere():
    tree = description(ROUTES)
    for each in references(tree):
        place = tree
        for part in each.removeprefix("#/").split("/"):
            place = place[part]


def test_path_parameters_are_those_of_the_path():
    for path, operations in description(ROUTES)["paths"].items():
        for operation in operations.values():
            named = [
                each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"
            ]
            assert named == re.findall(r"{(\w+)}", path)
