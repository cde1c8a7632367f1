"""Logs: one record is one line, in either form, and never a secret in it."""

import io
import json
import logging
import re

import pytest

from kissvdb.logs import FIELD_CHARS_MAX, MASK, MESSAGE_CHARS_MAX, configure, event

logger = logging.getLogger("kissvdb.engine.test")


@pytest.fixture
def written():
    """Configure logs into a buffer: ``written(level, format)`` answers it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def configured(level: str = "info", format: str = "text") -> io.StringIO:
        stream = io.StringIO()
        configure(level, format, stream)
        return stream

    yield configured
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_text_line_has_time_level_logger_message_and_fields(written):
    out = written()
    event(logger, "warning", "disk is slow", fsync_ms=12.5, path="a b", empty="", ok=True, by=None)
    line = out.getvalue()
    time, rest = line[:24], line[24:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == (
        " WARNING kissvdb.engine.test disk is slow"
        ' fsync_ms=12.5 path="a b" empty="" ok=true by=null\n'
    )


def test_a_json_line_keeps_types_and_renames_fields_with_a_reserved_name(written):
    out = written(format="json")
    event(logger, logging.INFO, "ready", offset=7, ratio=0.5, ok=False, by=None, at={1}, level=3)
    line = json.loads(out.getvalue())
    del line["ts"]
    assert line == {
        "level": "info",
        "logger": "kissvdb.engine.test",
        "message": "ready",
        "offset": 7,
        "ratio": 0.5,
        "ok": False,
        "by": None,
        "at": "{1}",
        "level_": 3,
    }


def test_numbers_that_json_lacks_become_text(written):
    out = written(format="json")
    event(logger, "info", "odd", values=float("nan"), most=float("inf"))
    line = json.loads(out.getvalue(), parse_constant=pytest.fail)
    assert (line["values"], line["most"]) == ("nan", "inf")


def test_fields_may_come_through_the_standard_extra(written):
    out = written()
    logger.info("put %s", "k", extra={"fields": {"revision": 2}})
    assert out.getvalue().endswith("put k revision=2\n")


def test_less_severe_records_than_the_level_are_not_written(written):
    out = written("error")
    event(logger, "warning", "quiet")
    logger.error("loud")
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["loud"]


def test_configuring_again_replaces_the_writer_and_leaves_other_handlers(written):
    other = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(other)
    first, second = written(), written(format="json")
    logger.info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1
    assert other.stream.getvalue() == "once\n"


@pytest.mark.parametrize("format", ["text", "json"])
def test_keys_are_masked_by_name_and_by_shape_also_in_tracebacks(written, format):
    out = written(format=format)
    event(logger, "info", "set", api_key="hunter2", Authorization="Bearer hunter2")
    event(logger, "info", "get", url="http://a/v1/stream?api_key=hunter2&since=3")
    logger.info("head %s", {"x-api-key": "hunter2", "authorization": "Bearer hunter2"})
    assert out.getvalue().count(MASK) == 5
    assert "since=3" in out.getvalue()
    try:
        raise ValueError("refused api_key='hunter2'")
    except ValueError:
        logger.exception("failed")
    assert "ValueError: refused api_key=" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_a_client_cannot_forge_a_line(written):
    evil = "k\n2026-11-21T12:00:00.000Z INFO kissvdb.engine ready\r\x1b[31m\u2028"
    for format in ("text", "json"):
        out = written(format=format)
        logger.info("refused %s", evil)
        event(logger, "info", "refused", **{"key": evil, "evil\nname": 1})
        text = out.getvalue()
        assert len(text.splitlines()) == 2
        assert text.replace("\n", "").isprintable()


def test_a_traceback_follows_its_text_line_indented_and_stays_in_its_json_line(written):
    def fail() -> str:
        try:
            raise RuntimeError("first\nsecond")
        except RuntimeError:
            logger.exception("failed")
        return out.getvalue()

    out = written()
    head, *rest = fail().splitlines()
    assert head.endswith("ERROR kissvdb.engine.test failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    out = written(format="json")
    line = json.loads(fail())
    assert line["exception"].endswith("RuntimeError: first\nsecond")


def test_long_messages_and_fields_are_cut(written):
    out = written(format="json")
    event(logger, "info", "m" * 100_000, field="f" * 100_000)
    line = json.loads(out.getvalue())
    assert len(line["message"]) == MESSAGE_CHARS_MAX
    assert len(line["field"]) == FIELD_CHARS_MAX
