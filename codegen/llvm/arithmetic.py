"""Dispatch the operations of `SCALAR_OPS` to what writes them for their dtype."""

from __future__ import annotations

from smelt.codegen.llvm import conversions, floats, integers, vector_math
from smelt.codegen.llvm.values import Operand, Value, integer_constant
from smelt.codegen.llvm.writer import Writer
from smelt.ir.dtypes import DType, Kind
from smelt.ir.scalar import SCALAR_OPS, Typing

_RELATIONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
_FLOAT_PREDICATES = {
    "eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge",
}  # fmt: skip


def apply(
    w: Writer, op: str, operands: tuple[Operand, ...], dtype: DType, result: DType
) -> Operand:
    """Write a scalar operation, for as many lanes as its operands have.

    Args:
        w: where it is written.
        op: name in `SCALAR_OPS`.
        operands: numbers of `dtype`; the condition of `select` is a bool.
        dtype: what the operands are.
        result: what the result is.
    """
    match op:
        case "select":
            condition, yes, no = operands
            if isinstance(condition, Value) and condition.text in ("true", "false"):
                return yes if condition.text == "true" else no
            return w.select(w.value(condition), yes, no)
        case "cast":
            return conversions.cast(w, operands[0], dtype, result)
        case "bitcast":
            return conversions.bitcast(w, operands[0], result)
    if dtype.is_half:
        return _half(w, op, operands, dtype)
    if dtype.kind is Kind.FLOAT:
        return _float(w, op, *(w.value(o) for o in operands))
    return _integer(w, op, operands, dtype)


def _half(w: Writer, op: str, operands: tuple[Operand, ...], dtype: DType) -> Operand:
    bits = tuple(w.value(o) for o in operands)
    # These change nothing but the sign bit, and keep every bit of a NaN.
    sign, rest = integer_constant(0x8000, "i16"), integer_constant(0x7FFF, "i16")
    match op:
        case "neg":
            return w.binary("xor", bits[0], sign)
        case "abs":
            return w.binary("and", bits[0], rest)
        case "copysign":
            magnitude = w.binary("and", bits[0], rest)
            return w.binary("or", magnitude, w.binary("and", bits[1], sign))
    wide = _float(w, op, *(conversions.widened(w, b, dtype) for b in bits))
    if SCALAR_OPS[op].typing is not Typing.SAME:
        return wide
    return conversions.narrowed(w, wide, dtype)


def _float(w: Writer, op: str, *v: Value) -> Value:
    match op:
        case "add":
            return w.fadd(*v)
        case "sub":
            return w.fsub(*v)
        case "mul":
            return w.fmul(*v)
        case "div":
            return w.fdiv(*v)
        case "floordiv":
            return floats.floor_quotient(w, *v)
        case "mod":
            return floats.floor_modulo(w, *v)
        case "rem":
            return floats.remainder(w, *v)
        case "max" | "min":
            return floats.extreme(w, *v, greatest=op == "max")
        case "neg":
            return floats.negated(w, *v)
        case "abs":
            return floats.absolute(w, *v)
        case "sign":
            return floats.sign(w, *v)
        case "copysign":
            return floats.copysign(w, *v)
        case "floor" | "ceil" | "trunc" | "round":
            return floats.rounded(w, op, *v)
        case "sqrt":
            return floats.sqrt(w, *v)
        case "isnan":
            return floats.isnan(w, *v)
        case "isfinite":
            return floats.isfinite(w, *v)
        case _ if op in _RELATIONS:
            return w.compare(_FLOAT_PREDICATES[op], *v)
        case _:
            return vector_math.apply(w, op, *v)


def _integer(w: Writer, op: str, v: tuple[Operand, ...], dtype: DType) -> Operand:
    signed = dtype.kind is Kind.INT
    match op:
        case "add":
            return integers.add(w, *v)
        case "sub":
            return integers.sub(w, *v)
        case "mul":
            return integers.mul(w, *v)
        case "floordiv":
            return integers.floordiv(w, *v, signed=signed)
        case "mod":
            return integers.mod(w, *v, signed=signed)
        case "truncdiv":
            return integers.truncdiv(w, *v, signed=signed)
        case "rem":
            return integers.rem(w, *v, signed=signed)
        case "max" | "min":
            return integers.extreme(w, *v, greatest=op == "max", signed=signed)
        case "pow":
            return integers.power(w, *v)
        case "mulhi":
            return integers.mulhi(w, *v, signed=signed)
        case "neg":
            return integers.neg(w, *v)
        case "abs":
            return integers.absolute(w, *v) if signed else v[0]
        case "sign":
            return integers.sign(w, *v, signed=signed)
        case "and" | "or" | "xor":
            return w.binary(op, v[0], v[1])
        case "not":
            if dtype.kind is Kind.BOOL:
                return w.negation(w.value(v[0]))
            value = w.value(v[0])
            return w.binary("xor", value, integer_constant(-1, value.element))
        case "shl":
            return integers.shift_left(w, *v)
        case "shr":
            return integers.shift_right(w, *v, signed=signed)
        case _:
            assert op in _RELATIONS, f"no operation {op} on {dtype}"
            return integers.compare(w, op, *v, signed=signed)
