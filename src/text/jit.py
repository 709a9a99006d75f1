"""How kernels come to run: compiled by Numba once per machine, from then on loaded without it; called without the GIL."""

import ctypes
import hashlib
import os
import sys
import threading
import uuid
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

_MODULES = ("jit", "folding", "ascii", "folded", "scan", "kernels", "buckets")
_OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
_SCALARS = {"i8": ctypes.c_int64, "u8": ctypes.c_uint64, "f8": ctypes.c_double, "": None}
_TYPES = {"u1": "uint8", "u4": "uint32", "u8": "uint64", "i8": "int64", "f8": "float64", "": "void"}
_SUM = 16
_MEMORY = {"memset": ctypes.memset, "memcpy": ctypes.memmove, "memmove": ctypes.memmove}
_UNUSED = ("llvm.", "Py", "_Py", "NRT_", "numba_")
"""What code may name besides: intrinsics, and what Numba would call for exceptions and to free memory; kernels have neither."""
_LOCK = threading.RLock()


class Part:
    """A function that is compiled into the kernels that call it; until one has to be, it is a name only."""

    def __init__(self, function: Callable[..., Any], made: Callable[[Any], Any]) -> None:
        self.function = function
        self.made = made


def helper(function: Callable[..., Any]) -> Any:
    """Mark what kernels call."""

    def made(function: Any) -> Any:
        from numba import njit

        return njit(**_OPTIONS)(function)

    return Part(function, made)


def instruction(function: Callable[..., Any]) -> Any:
    """Mark what writes an instruction that Numba has no word for."""

    def made(function: Any) -> Any:
        from numba.extending import intrinsic

        return intrinsic(function)

    return Part(function, made)


class Kernel:
    """A function over arrays and numbers; the first call loads its code, or compiles it, which takes seconds."""

    def __init__(self, signature: str, function: Callable[..., Any]) -> None:
        self.function = function
        self.returns, _, rest = signature.partition("(")
        self.kinds = [each.strip() for each in rest.removesuffix(")").split(",")]
        self._call: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        """Call it; every array has to be contiguous and of the type that the signature says."""
        plain: list[Any] = []
        for kind, value in zip(self.kinds, arguments, strict=True):
            if kind.endswith("*"):
                _check(kind, value)
                plain += [value.ctypes.data, *value.shape]
            else:
                plain.append(value)
        return (self._call or self._opened())(*plain)

    def _opened(self) -> Callable[..., Any]:
        with _LOCK:
            if self._call is None:
                path = _folder() / f"{self.function.__name__}.o"
                code = _saved(path)
                if code is None:
                    code = _compiled(self)
                    _save(path, code)
                self._call = self._loaded(code)
        return self._call

    def _loaded(self, code: bytes) -> Callable[..., Any]:
        names, _, data = code.partition(b"\n")
        _name([*_MEMORY, *names.decode().split()])
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        kinds: list[Any] = []
        for kind in self.kinds:
            kinds += [ctypes.c_void_p, *[ctypes.c_int64] * kind.count("*")] if "*" in kind else [_SCALARS[kind]]
        call: Any = ctypes.CFUNCTYPE(_SCALARS[self.returns], *kinds)(engine.get_function_address("entry"))
        call.engine = engine  # owns the code
        return call  # type: ignore[no-any-return]


def kernel(signature: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a kernel: `i8(u1*, u8**, f8)` takes bytes, a matrix of 64-bit numbers and a float, and returns an integer."""
    return lambda function: Kernel(signature, function)


def _check(kind: str, value: Any) -> None:
    fits = value.dtype.str[1:] == kind[:2] or (kind[:2] == "u1" and value.dtype == np.bool_)
    if not fits or value.ndim != kind.count("*") or not value.flags.c_contiguous:
        raise TypeError(f"an array {value.dtype}{value.shape} in place of {kind}")


def _machine() -> Any:
    """Of its own for each engine, which owns it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), features=_features(), opt=3, jit=True)


def _name(names: list[str]) -> None:
    """Tell the linker where things are: where it does not find one, it leaves out all the others too, and says nothing."""
    for name in names:
        if llvm.address_of_symbol(name) is None:
            function = _MEMORY.get(name, ctypes.pythonapi.Py_FatalError)
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


def cache_folder() -> Path:
    """Where compiled kernels are kept, for all projects of a user."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else "")
    return (Path(base) if base else Path.home() / ".cache") / "mlx" / "kernels"


@cache
def _folder() -> Path:
    """The place for this code, compiler and processor."""
    marks = [version("numba"), version("llvmlite"), llvm.get_host_cpu_name(), _features()]
    found = hashlib.sha256("\n".join(marks).encode())
    for name in _MODULES:
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return cache_folder() / found.hexdigest()[:16]


def _saved(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data[_SUM:] if hashlib.sha256(data[_SUM:]).digest()[:_SUM] == data[:_SUM] else None


def _save(path: Path, code: bytes) -> None:
    """Keep it; where no file can be written, each start compiles again."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(code).digest()[:_SUM] + code)
        part.replace(path)
    except OSError:
        return


def _compiled(kernel: Kernel) -> bytes:
    """A line with the names of what the code calls, and the code: a function `entry`, which takes an address and sizes for each array."""
    from numba import carray, cfunc, njit, types

    _settle()
    names, values, kinds = [], [], []
    for number, kind in enumerate(kernel.kinds):
        name, type_ = f"a{number}", getattr(types, _TYPES[kind[:2]])
        sizes = [f"{name}_{axis}" for axis in range(kind.count("*"))]
        names += [name, *sizes]
        values.append(f"carray({name}, ({', '.join(sizes)},))" if sizes else name)
        kinds += [types.CPointer(type_), *[types.int64] * len(sizes)] if sizes else [type_]
    space: dict[str, Any] = {"carray": carray, "kernel": njit(**_OPTIONS)(kernel.function)}
    exec(f"def entry({', '.join(names)}): return kernel({', '.join(values)})", space)  # noqa: S102 - of our own signature only
    made = cfunc(getattr(types, _TYPES[kernel.returns])(*kinds))(space["entry"])
    module = llvm.parse_assembly(made.inspect_llvm())
    module.get_function(made.native_name).name = "entry"
    outside = [each.name for each in module.functions if each.is_declaration]
    outside += [each.name for each in module.global_variables if each.is_declaration]
    if unknown := [name for name in outside if name not in _MEMORY and not name.startswith(_UNUSED)]:
        raise RuntimeError(f"{kernel.function.__name__} calls {', '.join(unknown)}, which is nowhere")
    return " ".join(name for name in outside if not name.startswith("llvm.")).encode() + b"\n" + bytes(_machine().emit_object(module))


def _settle() -> None:
    """Put what Numba can call in the place of every Part."""
    made: dict[Part, Any] = {}
    for module in [sys.modules[name] for name in (f"{__package__}.{each}" for each in _MODULES) if name in sys.modules]:
        for name, value in list(vars(module).items()):
            if isinstance(value, Part):
                made[value] = made.get(value) or value.made(value.function)
                setattr(module, name, made[value])


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    from llvmlite import ir

    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())


@instruction
def load64(typing: Any, array: Any, place: Any) -> Any:
    """The eight bytes at any place of a byte array, as one number."""
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, arguments), align=1)

    return types.uint64(array, types.int64), code


@instruction
def store64(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Put eight bytes at any place of a byte array."""
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature, arguments), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), code


@instruction
def load32(typing: Any, address: Any) -> Any:
    """The 32-bit number at an address of memory."""
    from llvmlite import ir
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()), align=4)

    return types.uint32(types.int64), code


@instruction
def trailing_zeros(typing: Any, value: Any) -> Any:
    """How many of the lowest bits are 0."""
    from llvmlite import ir
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), code


@instruction
def ones(typing: Any, value: Any) -> Any:
    """How many bits are 1."""
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code
