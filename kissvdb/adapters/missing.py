"""What to say where a framework is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around the imports of a framework: an ImportError says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kissvdb"):
            raise
        raise ImportError(
            f"kissvdb.{extra.replace('-', '')} needs {error.name}: pip install 'kissvdb[{extra}]'",
            name=error.name,
        ) from error
