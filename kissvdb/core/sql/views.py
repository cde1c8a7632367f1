"""How often a statement has SQLite write out a view: that takes time before anything can stop it.

A view that names a view twice, which names another twice, is written out 2**n times while the
statement is prepared. So mentions are counted beforehand, in texts alone: each name that is that of
a view counts, also where it is a column or stands in a comment. That is more often than it is.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from kissvdb.errors import SqliteError

WRITTEN_OUT_MAX: Final = 1000
"""About 50 ms of SQLite's time, if each has a few columns."""
TOO_LARGE: Final = (
    f"sql: it names views of views that are over {WRITTEN_OUT_MAX} views when written out: name "
    "fewer, or have a table of what the inner ones answer"
)

# SQLite takes a name in any of its quotes, and in those of a text.
_NAME: Final = re.compile(
    r""""((?:[^"]|"")*)"|'((?:[^']|'')*)'|`((?:[^`]|``)*)`|\[([^\]]*)\]|([^\W\d][\w$]*)"""
)
_QUOTES: Final = "\"'`]"


def names_of(text: str) -> Counter[str]:
    """Each name in a text, in lower case, and how often it is there."""
    found: Counter[str] = Counter()
    for *quoted, plain in _NAME.findall(text):
        if plain:
            found[plain.lower()] += 1
        else:
            for part, quote in zip(quoted, _QUOTES, strict=True):
                if part:
                    found[part.replace(2 * quote, quote).lower()] += 1
    return found


def sizes_of(views: Mapping[str, str]) -> dict[str, int]:
    """How many views SQLite writes out for each, itself among them; over `WRITTEN_OUT_MAX` is as
    good as more. ``views``: their texts by name. What names itself, SQLite refuses at once."""
    texts = {name.lower(): text for name, text in views.items()}
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
