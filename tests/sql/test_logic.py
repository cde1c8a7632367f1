"""sqllogictest: thousands of records through /v1/sql, compared with what another SQLite answered.

The files are made by ``make_logic.py``.
"""

from collections import Counter
from pathlib import Path

import attrs
import pytest

from kissvdb.config import Search
from tests.api.caller import IN_MEMORY, opened, reading
from tests.sql.slt import lines_of, read

FILES = sorted((Path(__file__).parent / "logic").glob("*.slt"))
QUICK = attrs.evolve(IN_MEMORY, search=Search(compile=False))
RECORDS_MIN = 2500
KINDS = {"I": int, "R": float}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_every_record_is_answered_as_expected(path):
    async with opened(QUICK) as call:
        for record in read(path):
            place = f"{path.name}:{record.line}: {record.sql}"
            if record.kind != "query":
                answer = await call("POST", "/v1/sql/exec", {"sql": record.sql})
                assert answer.status == (200 if record.kind == "ok" else 400), (place, answer.body)
                continue
            answer = await call("POST", "/v1/sql/query", {"sql": record.sql})
            assert answer.status == 200, (place, answer.body)
            found = reading(answer)
            rows = [list(row.values()) for row in found["rows"]]
            assert lines_of(rows, record.sort) == record.expected, place
            assert len(found["columns"]) == len(record.types), place
            for row in rows:
                for value, letter in zip(row, record.types, strict=True):
                    assert value is None or isinstance(value, KINDS.get(letter, object)), place


def test_there_are_thousands_of_every_kind():
    kinds = Counter(record.kind for path in FILES for record in read(path))
    assert sum(kinds.values()) >= RECORDS_MIN
    assert min(kinds["ok"], kinds["error"]) > 50
    assert sum(path.stat().st_size for path in FILES) <= 300_000
