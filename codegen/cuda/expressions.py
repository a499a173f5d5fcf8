"""Expressions of loop IR as Python for `numba.cuda`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from smelt.ir import scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import LoweringError
from smelt.ir.loop.builder import plus, times
from smelt.ir.loop.grammar import Buffer
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var

_INFIX = {
    "eq": ("==", 4), "ne": ("!=", 4), "lt": ("<", 4), "le": ("<=", 4), "gt": (">", 4),
    "ge": (">=", 4), "add": ("+", 9), "sub": ("-", 9), "mul": ("*", 10), "div": ("/", 10),
}  # fmt: skip
_QUOTIENTS = {"floordiv": "//", "mod": "%"}
_BITS = {"and": ("&", 7), "xor": ("^", 6), "or": ("|", 5)}
_WORDS = {"and": ("and", 2), "or": ("or", 1), "xor": ("!=", 4)}
_MATH = frozenset({
    "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "pow", "sqrt",
    "floor", "ceil", "trunc", "copysign",
})  # fmt: skip
_ATOM = 20


POSITIONS = tuple(f"cuda.{which}Idx.{axis}" for which in ("block", "thread") for axis in "xyz")
"""Where a thread is in the grid: variables that every kernel has."""


@dataclass
class Names:
    """What a generated module refers to, and how variables are called in it.

    Attributes:
        python: Python name of each variable and buffer of the kernel.
        types: names that are imported from numba.
        device: device functions in use.
    """

    python: dict[str, str] = field(default_factory=lambda: {p: p for p in POSITIONS})
    types: set[str] = field(default_factory=set)
    device: set[str] = field(default_factory=set)

    def of(self, name: str) -> str:
        """Return the Python name of a variable or buffer."""
        if name not in self.python:
            wanted = found = "".join(c if c.isalnum() else "_" for c in name)
            number = 0
            while found in _RESERVED or found in self.python.values():
                number += 1
                found = f"{wanted}_{number}"
            self.python[name] = found
        return self.python[name]

    def type(self, dtype: DType) -> str:
        """Return the name of a number type, imported from numba."""
        if dtype.is_half:
            raise LoweringError(
                f"CUDA kernels do not compute in {dtype.torch_name} yet: cast to float32"
            )
        name = "boolean" if dtype.kind is Kind.BOOL else dtype.torch_name
        self.types.add(name)
        return name

    def call(self, function: str, *arguments: str) -> str:
        """Return a call of a device function."""
        self.device.add(function)
        return f"{function}({', '.join(arguments)})"


_RESERVED = frozenset({
    "and", "as", "assert", "break", "class", "continue", "cuda", "def", "del", "elif", "else",
    "error", "except", "False", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "math", "None", "nonlocal", "not", "np", "or", "pass", "raise", "range", "return",
    "True", "try", "while", "with", "yield", "abs", "min", "max", "int64", "float32", "float64",
    "async", "await",
})  # fmt: skip


def python(names: Names, expr: Expr, strength: int = 0) -> str:
    """Return an expression as Python, in parentheses where it binds less than `strength`."""
    text, own = _python(names, expr)
    return f"({text})" if own < strength else text


def _python(names: Names, expr: Expr) -> tuple[str, int]:
    match expr:
        case Const():
            return _constant(names, expr), _ATOM
        case Var(name):
            return names.of(name), _ATOM
        case Load(buffer, index):
            return element(names, buffer, index), _ATOM
        case Apply(op, args, dtype):
            return _apply(names, op, args, dtype)
        case Read():
            raise AssertionError("a Read occurs in stages only, which have been lowered")


def _constant(names: Names, expr: Const) -> str:
    dtype, value = expr.dtype, expr.value
    match dtype.kind:
        case Kind.BOOL:
            return repr(bool(value))
        case Kind.FLOAT:
            number = float(value)
            text = (
                repr(number)
                if math.isfinite(number)
                else f"math.{'nan' if math.isnan(number) else 'inf'}"
            )
            text = f"-{text}" if number == -math.inf else text
            return f"{names.type(dtype)}({text})"
        case _ if dtype.bits == 64 and dtype.is_signed:
            return repr(int(value)) if value >= 0 else f"({int(value)})"
        case _:
            return f"{names.type(dtype)}({int(value)})"


def element(names: Names, buffer: Buffer, index: tuple[Expr, ...]) -> str:
    """Return an element of a buffer: arrays are flat, whatever their shape."""
    names.type(buffer.dtype)
    position: Expr = scalar.integer(0)
    for where, stride in zip(index, buffer.strides):
        position = plus(position, times(where, _size(stride)))
    return f"{names.of(buffer.name)}[{python(names, position)}]"


def _size(extent: int | Dim) -> Expr:
    return scalar.of_dim(extent)


def _apply(names: Names, op: str, args: tuple[Expr, ...], dtype: DType) -> tuple[str, int]:
    source = args[-1].dtype
    if op == "select":
        yes, no = (python(names, a, 1) for a in args[1:])
        return f"{yes} if {python(names, args[0], 1)} else {no}", 0
    if op in ("cast", "bitcast"):
        return _converted(names, op, args[0], dtype), _ATOM
    names.type(source)
    if op in _INFIX:
        text = _infix(names, *_INFIX[op], args)
        if op in ("add", "sub", "mul") and source.kind is not Kind.FLOAT and source.bits < 64:
            # Sums of narrow integers are i64 in Python: cut back to wrap.
            return f"{names.type(dtype)}({text})", _ATOM
        return text, _INFIX[op][1]
    if op in _QUOTIENTS and source.is_integer and _is_positive(args[1]):
        text = _infix(names, _QUOTIENTS[op], 10, args)
        return (text, 10) if source.bits == 64 else (f"{names.type(dtype)}({text})", _ATOM)
    if op in _BITS:
        symbol = (_WORDS if source.kind is Kind.BOOL else _BITS)[op]
        return _infix(names, *symbol, args), symbol[1]
    if op == "not" and source.kind is Kind.BOOL:
        return f"not {python(names, args[0], 3)}", 3
    return f"{names.type(dtype)}({_called(names, op, args, source)})", _ATOM


def _is_positive(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.value > 0


def _infix(names: Names, symbol: str, own: int, args: tuple[Expr, ...]) -> str:
    left, right = python(names, args[0], own), python(names, args[1], own + 1)
    return f"{left} {symbol} {right}"


def _called(names: Names, op: str, args: tuple[Expr, ...], source: DType) -> str:
    """Return a call; its result is converted to the type by the caller."""
    a = [python(names, arg) for arg in args]
    floating = source.kind is Kind.FLOAT
    if op in _MATH and floating:
        return f"math.{op}({', '.join(a)})"
    match op:
        case "exp2":
            return f"math.pow(2.0, {a[0]})"
        case "isnan" | "isfinite":
            return f"math.{op}({a[0]})"
        case "max" | "min":
            return names.call("greater" if op == "max" else "lesser", *a)
        case "neg":
            return f"-({a[0]})"
        case "not":
            return f"~({a[0]})"
        case "abs":
            return f"abs({a[0]})"
        case "sign":
            return names.call("sign" if floating else "sign_of_integer", *a)
        case "round":
            return names.call("nearest", *a)
        case "floordiv":
            return names.call("floor_division" if floating else "floor_quotient", *a)
        case "mod":
            return names.call("modulo" if floating else "floor_remainder", *a)
        case "rem":
            return f"math.fmod({a[0]}, {a[1]})" if floating else names.call("remainder", *a)
        case "truncdiv":
            return names.call("quotient", *a)
        case "pow":
            return names.call("whole_power", *a)
        case "mulhi" if source.bits == 64:
            return names.call("high_product", *a)
        case "mulhi":
            wide = "int64" if source.is_signed else "uint64"
            names.types.add(wide)
            return f"({wide}({a[0]}) * {wide}({a[1]})) >> {source.bits}"
        case "shl" | "shr":
            shift = "shift_left" if op == "shl" else "shift_right"
            return names.call(shift, *a, str(source.bits))
        case _:
            raise AssertionError(f"no operation {op} on {source}")


def _converted(names: Names, op: str, value: Expr, to: DType) -> str:
    source = value.dtype
    text = python(names, value)
    names.type(source)
    if op == "bitcast":
        return f"{names.type(source)}({text}).view(np.{to.torch_name})"
    if to.kind is Kind.BOOL:
        return f"({python(names, value, 5)} != 0)"
    if source.kind is Kind.FLOAT and to.is_integer and to.torch_name != "uint64":
        bits = 63 if to.torch_name in ("int64", "uint32") else 31
        names.types.add("int64")
        text = names.call("truncated", text, f"-{2.0**bits!r}")
    return f"{names.type(to)}({text})"
