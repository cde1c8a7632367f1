"""kissvdb: state, one event log, SSE and vectors in one small daemon.

The names below are loaded when first used, so that ``kissvdb --help`` stays quick.
"""

from typing import TYPE_CHECKING, Any

from kissvdb.version import VERSION

if TYPE_CHECKING:
    from kissvdb.config import Config as Config
    from kissvdb.engine.database import Database as Database
    from kissvdb.engine.opening import open_database as open_database

__version__ = VERSION

__all__ = ["Config", "Database", "__version__", "open_database"]

_HOMES = {
    "Config": "kissvdb.config",
    "Database": "kissvdb.engine.database",
    "open_database": "kissvdb.engine.opening",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
