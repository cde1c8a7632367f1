"""The description says what the route table does, and the documentation names all of it."""

import json
import re
from pathlib import Path

import pytest
import yaml as reference
from hypothesis import given
from hypothesis import strategies as st

from kissvdb import errors
from kissvdb.api import yaml
from kissvdb.api.openapi import description, document
from kissvdb.api.routes import ROUTES

DOCS = Path(__file__).resolve().parents[2] / "docs"

scalars = st.none() | st.booleans() | st.integers() | st.text()
trees = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)


@given(trees)
def test_yaml_is_read_back_as_it_was(tree):
    if any(character in json.dumps(tree, ensure_ascii=False) for character in "\x85\ud800"):
        return
    assert reference.safe_load(yaml.dump(tree)) == tree


def test_the_document_is_the_description():
    assert reference.safe_load(document()) == description()


def test_every_route_is_described():
    described = {
        (method.upper(), path)
        for path, operations in description()["paths"].items()
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
    tree = description()
    for each in references(tree):
        place = tree
        for part in each.removeprefix("#/").split("/"):
            place = place[part]


def test_path_parameters_are_those_of_the_path():
    for path, operations in description()["paths"].items():
        for operation in operations.values():
            named = [
                each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"
            ]
            assert named == re.findall(r"{(\w+)}", path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_is_documented_with_curl(route):
    text = (DOCS / "api.md").read_text()
    assert f"`{route.method} {route.path.replace('...', '')}`" in text
    assert re.search(r"curl .*" + re.escape(route.path.partition("{")[0]), text)


def kinds(kind=errors.KissError):
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


def test_every_error_code_is_documented_with_its_status():
    text = (DOCS / "errors.md").read_text()
    for kind in kinds():
        if kind.__module__ == "kissvdb.errors":
            assert (
                re.search(rf"\| {kind.status} \| `{kind.code}` \|", text) or kind.status == 500
            ), kind
            assert f"`{kind.code}`" in text, kind
