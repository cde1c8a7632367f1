"""How kernels are compiled: the decorators of this package.

No kernel uses numba's ``fastmath``: callees inherit it depending on the order of compilation. Where
operations may be fused or regrouped, the vector code says so itself.

Kernels allocate nothing and borrow the arrays they are given, so numba's reference counts are off
(``_nrt=False``): atomic counting of arrays in inner loops halved the speed of a search.
"""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import overload as _numba_overload
from numba.extending import register_jitable

from kissvdb.kernels import (
    features as features,  # it chooses the target processor: first of all compilation
)

F = TypeVar("F", bound=Callable[..., Any])

#: A number inside a kernel. What machine type it has, numba infers and the code says with numpy's.
Number = Any

# Of the options only ``_nrt`` is not in numba's type stubs.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}


_PACKAGE = "kissvdb.kernels"
_FOLDER = Path(__file__).parent

# ``from a.b import c, d``, also in brackets; ``import a.b``. That it may find some in a text too
# costs a kernel that is compiled once more. No syntax tree: in CPython 3.11 two threads that make
# one at the same time both fail, and any thread of the program may.
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.M
)
_NAME = re.compile(rb"[\w.]+")


@cache
def _imports(module: str) -> tuple[Path, frozenset[str]] | None:
    """The file of a module of this package, and what it may import; None for another."""
    if module != _PACKAGE and not module.startswith(f"{_PACKAGE}."):
        return None
    place = _FOLDER.joinpath(*module.split(".")[2:])
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not path.is_file():
        return None
    names: set[str] = set()
    for source, listed, plain in _IMPORT.findall(path.read_bytes()):
        found = [name.decode() for name in _NAME.findall(listed + plain)]
        if source:
            # What is imported may be a module itself.
            names.add(source.decode())
            found = [f"{source.decode()}.{name}" for name in found]
        names.update(found)
    return path, frozenset(names)


def stamp(module: str) -> str:
    """A digest of the sources of a module and of all of this package that it imports."""
    seen: dict[str, Path] = {}
    todo = [module, __name__]
    while todo:
        name = todo.pop()
        found = None if name in seen else _imports(name)
        if found is not None:
            seen[name] = found[0]
            todo.extend(found[1])
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + seen[name].read_bytes())
    return digest.hexdigest()


_stamp = cache(stamp)

#: Every kernel, as numba's dispatchers; ``warmup`` compiles and then closes them.
KERNELS: list[Any] = []


def kernel(function: F) -> F:
    """Compile an entry point: no lock held while it runs, kept in numba's disk cache.

    Numba renews a cached kernel when the file of its own function changed. A kernel holds code of
    other files too, so here it is renewed when a file of the package changed that its own imports.
    """
    dispatcher = njit(cache=True, **_OPTIONS)(function)
    index = dispatcher._cache._cache_file
    if not hasattr(index, "_source_stamp"):
        raise RuntimeError("this version of numba keeps its cache differently; use a pinned one")
    index._source_stamp = _stamp(function.__module__)
    KERNELS.append(dispatcher)
    return cast(F, dispatcher)


def helper(function: F) -> F:
    """Compile a part of kernels, without the wrapper that would make it callable from Python.

    Not cached either: each kernel's compiled code contains its parts.
    """
    compiled: F = register_jitable(**_OPTIONS)(function)
    return compiled


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that writes LLVM code callable in kernels, without its typing context."""
    return cast(Callable[..., Any], _numba_intrinsic(function))


def overload(stub: Callable[..., Any]) -> Callable[[F], F]:
    """Give a stub one body for each array type, chosen when a kernel is compiled."""
    return cast(Callable[[F], F], _numba_overload(stub, jit_options=cast(Any, _OPTIONS)))
