"""``kissvdb check --deep``: the SQL database is made anew from the log, and compared."""

import tempfile
from pathlib import Path

import apsw
import attrs

from kissvdb.commands.log_dump import read_log
from kissvdb.engine.sql.sql_store import SqlReplay
from kissvdb.records import Record
from kissvdb.storage.log.inspection import CheckReport
from kissvdb.storage.sql.checking import difference
from kissvdb.storage.sql.file import FILE_NAME

_RECORDS_PER_PIECE = 1000


def compared(directory: Path, report: CheckReport) -> CheckReport:
    """The report, and how the SQL database differs from what the log makes of it, up to the offset
    that it is at.

    Nothing can be said of one whose log does not reach back to its beginning, or was cut.
    """
    file = directory / FILE_NAME
    sound = any(view.name == FILE_NAME for view in report.views)
    if not sound or report.first_offset != 1 or len(report.epochs) > 1:
        return report
    with tempfile.TemporaryDirectory(prefix="kissvdb-check-") as scratch:
        anew = Path(scratch) / FILE_NAME
        try:
            problem = _replay(directory, anew, _offset_of(report)) or difference(file, anew)
        except apsw.Error as error:
            problem = str(error)
    if problem is None:
        return report
    said = (
        f"{file} is not what the log makes of it: {problem}: move it away, and the next start "
        "makes it anew"
    )
    return attrs.evolve(report, problems=(*report.problems, said))


def _offset_of(report: CheckReport) -> int:
    return next(view.applied_offset for view in report.views if view.name == FILE_NAME)


def _replay(directory: Path, anew: Path, upto: int) -> str | None:
    """Make a database of the log; answers why it cannot be."""
    replay = SqlReplay(anew, durable=False)
    piece: list[tuple[int, Record]] = []
    try:
        for offset, _, record in read_log(directory, 0):
            if offset > upto or replay.damage is not None:
                break
            piece.append((offset, record))
            if len(piece) == _RECORDS_PER_PIECE:
                replay.replay(piece, offset)
                piece = []
        if piece:
            replay.replay(piece, piece[-1][0])
        return None if replay.damage is None else replay.damage.message
    finally:
        replay.close()
