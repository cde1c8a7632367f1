"""How kernels are compiled: the three decorators of this package.

No kernel uses numba's ``fastmath``: callees inherit it depending on the order of compilation. Where
a sum may be regrouped, the vector code says so itself (see ``vector_ir``).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import overload as _numba_overload

from . import features as features  # it chooses the target processor: first of all compilation

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile an entry point: no lock held while it runs, kept in numba's disk cache."""
    return cast(F, njit(nogil=True, cache=True, error_model="numpy", _nrt=False)(function))


def helper(function: F) -> F:
    """Compile a part of kernels. Not cached: each kernel's compiled code contains its parts."""
    return cast(F, njit(nogil=True, error_model="numpy", _nrt=False)(function))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that writes LLVM code callable in kernels, without its typing context."""
    return cast(Callable[..., Any], _numba_intrinsic(function))


def overload(stub: Callable[..., Any]) -> Callable[[F], F]:
    """Give a stub one body for each array type, chosen when a kernel is compiled."""
    decorate = _numba_overload(stub, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
    return cast(Callable[[F], F], decorate)
