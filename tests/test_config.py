"""The rules of every setting, and that its file and its page say the same."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from kissvdb.config import Config, Log, Search, Server, Stream, is_loopback
from kissvdb.errors import ConfigError
from kissvdb.settings import SETTINGS, load, shown
from kissvdb.sources import WITHOUT_EFFECT

ROOT = Path(__file__).parent.parent
NUMBERS = [row for row in SETTINGS.values() if row.kind is int]


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_key(bind):
    assert is_loopback(bind)
    assert not Server(bind=bind).exposed


@pytest.mark.parametrize("row", NUMBERS, ids=[row.name for row in NUMBERS])
def test_a_number_is_accepted_up_to_its_bounds_and_not_beyond(row):
    section = type(getattr(Config(), row.section))
    for value in (row.rule.least, row.rule.most):
        assert getattr(section(**{row.field: value}), row.field) == value
    for value in (row.rule.least - 1, row.rule.most + 1, True, str(row.default), None):
        with pytest.raises(ConfigError, match=f"{row.name} must be"):
            section(**{row.field: value})


def test_an_embedder_evolves_a_config_under_the_same_rules():
    config = attrs.evolve(Config(), stream=Stream(ring_events=16))
    assert config.stream.ring_events == 16
    assert config.search == Search()
    with pytest.raises(ConfigError, match=r"stream.ring_events must be between 16"):
        attrs.evolve(config.stream, ring_events=15)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.log = Log()  # type: ignore[misc]


def test_the_shipped_file_has_every_setting_at_its_default():
    file = ROOT / "config" / "kissvdb.toml"
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    written = {f"{section}.{field}" for section, fields in document.items() for field in fields}
    assert written == set(SETTINGS)
    assert load(config_file=str(file), environ={}, directory=file.parent).config == Config()


def test_the_shipped_file_says_something_about_every_setting():
    lines = (ROOT / "config" / "kissvdb.toml").read_text(encoding="utf-8").splitlines()
    undocumented = [
        line
        for before, line in pairwise(lines)
        if re.match(r"\w+ = ", line) and not before.startswith("# ")
    ]
    assert undocumented == []


def test_the_docs_have_every_setting_with_its_default_bounds_and_variables():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert set(rows) == set(SETTINGS)
    for name, row in SETTINGS.items():
        default, allowed, variables, meaning = rows[name].split(" | ")
        assert default == f"`{shown(row, row.default)}`", name
        assert variables.replace("`", "") == ", ".join(row.older_names), name
        assert len(meaning) > 10, name
        if row.kind is int:
            assert allowed == f"{row.rule.least} to {row.rule.most}", name
        if row.rule.choices:
            assert allowed == ", ".join(row.rule.choices), name
    section = text.partition("## Accepted, no effect here yet")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z0-9_]+)`", section)) == WITHOUT_EFFECT
