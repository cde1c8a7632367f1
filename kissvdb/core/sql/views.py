"""How often a statement has SQLite write out a view: that takes time before anything can stop it.

A view that names a view twice, which names another twice, is written out 2**n times while the
statement is prepared. So mentions are counted beforehand, in texts alone: each name that is that of
a view counts, also where it is a column. That is more often than it is, never less: the text is cut
as SQLite cuts it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Final

from kissvdb.errors import SqliteError

WRITTEN_OUT_MAX: Final = 1000
"""About 50 ms of SQLite's time, if each has a few columns."""
TOO_LARGE: Final = (
    f"sql: it names views of views that are over {WRITTEN_OUT_MAX} views when written out: name "
    "fewer, or have a table of what the inner ones answer"
)

# As sqlite3GetToken does: comments, and variables with what Tcl may write behind them, are no
# names, but may hold a quote. A name may be in any of the quotes, those of a text too; a bracket
# that stays open takes all that is left. One pass is enough for any text. It is compiled when it is
# first asked for: that would be 10 ms of each start.
_TOKEN: Final = (
    r"""--[^\n]*|/\*(?s:.*?)(?:\*/|\Z)"""
    r"""|[$@:\#](?:[\w$\x80-\U0010ffff]|::)+(?:\([^\s)]*\)?)?"""
    r"""|"([^"]*(?:""[^"]*)*)"|'([^']*(?:''[^']*)*)'|`([^`]*(?:``[^`]*)*)`|\[([^\]]*)(?:\]|\Z)"""
    r"""|([A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)"""
)
_QUOTES: Final = "\"'`]"
_LOWER: Final = {ord(each): each.lower() for each in ascii_uppercase}


def folded(name: str) -> str:
    """As SQLite compares names: only the letters of ASCII are the same in both cases."""
    return name.translate(_LOWER)


def names_of(text: str) -> Counter[str]:
    """Each name in a text, `folded`, and how often it is there."""
    found: Counter[str] = Counter()
    for match in re.finditer(_TOKEN, text):
        if match.lastindex is not None:
            name = match[match.lastindex]
            if match.lastindex <= len(_QUOTES):
                quote = _QUOTES[match.lastindex - 1]
                name = name.replace(2 * quote, quote)
            found[folded(name)] += 1
    return found


def sizes_of(views: Mapping[str, str]) -> dict[str, int]:
    """How many views SQLite writes out for each, itself among them; over `WRITTEN_OUT_MAX` is as
    good as more. ``views``: their texts by name. What names itself, SQLite refuses at once."""
    texts = {folded(name): text for name, text in views.items()}
    parts = {
        name: {each: count for each, count in names_of(text).items() if each in texts}
        for name, text in texts.items()
    }
    found: dict[str, int] = {}
    for start in texts:
        # Depth first without recursion: views may be nested as deep as there are views.
        path, waiting = {start}, [start]
        while waiting:
            name = waiting[-1]
            path.add(name)
            missing = [each for each in parts[name] if each not in found and each not in path]
            if missing and name not in found:
                waiting.append(missing[0])
                continue
            if name not in found:
                total = sum(found.get(each, 0) * count for each, count in parts[name].items())
                found[name] = min(WRITTEN_OUT_MAX, total) + 1
            path.discard(name)
            waiting.pop()
    return found


def check(sql: str, sizes: Mapping[str, int]) -> None:
    """Raises SqliteError for a statement that has too many views written out."""
    if not sizes:
        return
    total = sum(sizes.get(name, 0) * count for name, count in names_of(sql).items())
    if total > WRITTEN_OUT_MAX:
        raise SqliteError(TOO_LARGE)


def too_large(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """The views that no statement can name."""
    return [(name, size) for name, size in sizes.items() if size > WRITTEN_OUT_MAX]
