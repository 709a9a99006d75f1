"""How kernels are compiled: by Numba, without the GIL, once per machine; and the instructions that Numba has no word for."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

U8S = types.Array(types.uint8, 1, "C", readonly=True)
U32S = types.Array(types.uint32, 1, "C", readonly=True)
U64S = types.Array(types.uint64, 1, "C", readonly=True)
I64S = types.Array(types.int64, 1, "C", readonly=True)
"""Arrays that a kernel reads: typed so, one compilation serves writable arrays and read-only ones."""


def cache_folder() -> Path:
    """Where compiled kernels are kept, for all projects of a user."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else "")
    return (Path(base) if base else Path.home() / ".cache") / "mlx" / "numba"


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _sources() -> str:
    """Stands for the kernels' code: Numba itself looks only at the file of the one it loads, not at those that this one calls."""
    found = hashlib.sha256(numba.__version__.encode())
    for name in ("jit", "folding", "folded", "kernels", "buckets"):
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return found.hexdigest()[:16]


if not numba.config.CACHE_DIR and _is_writable(cache_folder()):
    numba.config.CACHE_DIR = str(cache_folder() / _sources())

_OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def kernel(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for this signature; where nothing can be cached it is compiled at each start (some seconds)."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(signature, cache=True, **_OPTIONS)(function)
        except (RuntimeError, OSError):  # no folder that can be written
            return numba.njit(signature, **_OPTIONS)(function)

    return compiled


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function as a part of the kernels that call it: loading those does not load it a second time."""
    return numba.njit(**_OPTIONS)(function)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load64(typing: Any, array: Any, place: Any) -> Any:
    """The eight bytes at any place of a byte array, as one number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, arguments), align=1)

    return types.uint64(array, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def store64(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Put eight bytes at any place of a byte array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature, arguments), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def load32(typing: Any, address: Any) -> Any:
    """The 32-bit number at an address of memory."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()), align=4)

    return types.uint32(types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing: Any, value: Any) -> Any:
    """How many of the lowest bits are 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def ones(typing: Any, value: Any) -> Any:
    """How many bits are 1."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code
