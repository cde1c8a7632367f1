"""kissvdb: state, one event log, SSE and vectors in one small daemon.

The names below are loaded when first used, so that ``kissvdb --help`` stays quick.
"""

import os
from typing import TYPE_CHECKING, Any

from kissvdb.version import VERSION

if TYPE_CHECKING:
    from kissvdb.config import Config as Config
    from kissvdb.embedding.database import Database as Database
    from kissvdb.embedding.database import open_database as open_database
    from kissvdb.embedding.events import Event as Event
    from kissvdb.embedding.items import Item as Item

__version__ = VERSION

__all__ = ["Config", "Database", "Event", "Item", "__version__", "open_database"]

_HOMES = {
    "Config": "kissvdb.config",
    "Database": "kissvdb.embedding.database",
    "Event": "kissvdb.embedding.events",
    "Item": "kissvdb.embedding.items",
    "open_database": "kissvdb.embedding.database",
}


# Installed from a wheel it is called otherwise, here and in all imports: see kissvdb/wheel.
_ACTORS = "actors"


def _check_actors() -> None:
    """Another package of that name would fail later, and far from here."""
    from importlib.util import find_spec

    spec = find_spec(_ACTORS)
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    if not any(os.path.isfile(os.path.join(place, "mailbox.py")) for place in places):
        found = "none" if spec is None else f"another one, {spec.origin or places[0]}"
        raise ImportError(
            f"kissvdb comes with a package {_ACTORS!r}, and Python finds {found}: rename that, or "
            "start Python where it is not on sys.path",
            name=_ACTORS,
        )


_check_actors()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
