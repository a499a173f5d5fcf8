"""Conversions between dtypes, as `smelt.ir.scalar_reference` defines them.

The half types are kept as their bits (i16). float16 is converted by the machine where it has
instructions for it and by integer arithmetic elsewhere; bfloat16 always by integer arithmetic, as
the instruction of AVX-512 treats denormals as zero.
"""

from __future__ import annotations

from smelt.codegen.llvm import floats, library
from smelt.codegen.llvm.values import (
    Operand,
    Value,
    bits_of,
    float_constant,
    integer_constant,
    is_float,
    register_type,
)
from smelt.codegen.llvm.writer import Writer
from smelt.ir import dtypes
from smelt.ir.dtypes import DType, Kind


def cast(w: Writer, operand: Operand, source: DType, to: DType) -> Operand:
    """Return a number of dtype `source` converted to dtype `to`."""
    if source is to:
        return operand
    value = w.value(operand)
    if source.is_half:
        return cast(w, widened(w, value, source), dtypes.float32, to)
    if to.is_half:
        single = w.value(cast(w, value, source, dtypes.float32))
        return narrowed(w, single, to)
    element = register_type(to)
    match source.kind, to.kind:
        case Kind.BOOL, Kind.FLOAT:
            return w.convert("uitofp", value, element)
        case Kind.BOOL, _:
            return w.resize(value, element, signed=False)
        case Kind.FLOAT, Kind.BOOL:
            return w.compare("une", value, float_constant(0.0, value.element))
        case _, Kind.BOOL:
            return w.compare("ne", value, integer_constant(0, value.element))
        case Kind.FLOAT, Kind.FLOAT:
            return w.convert("fpext" if element == "double" else "fptrunc", value, element)
        case Kind.FLOAT, _:
            return _truncated(w, value, to)
        case kind, Kind.FLOAT:
            return w.convert("sitofp" if kind is Kind.INT else "uitofp", value, element)
        case kind, _:
            if bits_of(element) == bits_of(value.element):
                return value
            return w.resize(value, element, signed=kind is Kind.INT)


def bitcast(w: Writer, operand: Operand, to: DType) -> Operand:
    """Return the bits of a value as another dtype of the same size."""
    value, element = w.value(operand), register_type(to)
    if is_float(value.element) or is_float(element):
        return w.convert("bitcast", value, element)
    return value


def _truncated(w: Writer, value: Value, to: DType) -> Value:
    """Return a float as an integer, towards 0; what does not fit is as on x86."""
    element = register_type(to)
    if to is dtypes.uint64:
        top = float_constant(2.0**63, value.element)
        high = w.compare("oge", value, top)
        lowered = w.select(high, w.binary("fsub", value, top), value)
        whole = _hardware(w, lowered, "i64")
        flipped = w.binary("xor", whole, integer_constant(-(1 << 63)))
        return w.select(high, flipped, whole)
    through = "i64" if to in (dtypes.int64, dtypes.uint32) else "i32"
    whole = _hardware(w, value, through)
    return whole if element == through else w.resize(whole, element, signed=True)


def _hardware(w: Writer, value: Value, element: str) -> Value:
    """Return what x86's conversion gives: the least integer for NaN and what does not fit."""
    limit = 2.0 ** (bits_of(element) - 1)
    low = w.compare("oge", value, float_constant(-limit, value.element))
    # -2**31 - 0.5 truncates to a number that fits; only double can tell it from -2**31.
    if element == "i32" and value.element == "double":
        low = w.compare("ogt", value, float_constant(-limit - 1.0, value.element))
    fits = w.binary("and", low, w.compare("olt", value, float_constant(limit, value.element)))
    # A select does not pass on the poison of the operand that it leaves.
    whole = w.convert("fptosi", value, element)
    return w.select(fits, whole, integer_constant(-(1 << (bits_of(element) - 1)), element))


def widened(w: Writer, bits: Value, dtype: DType) -> Value:
    """Return a half type, given as its bits, as `float`."""
    if dtype is dtypes.bfloat16:
        wide = w.resize(bits, "i32", signed=False)
        return w.convert("bitcast", w.binary("shl", wide, integer_constant(16, "i32")), "float")
    if has_half_instructions(w):
        return w.convert("fpext", w.convert("bitcast", bits, "half"), "float")
    return library.call(w, "half_to_single", (bits,), _half_to_single, "float")


def narrowed(w: Writer, single: Value, dtype: DType) -> Value:
    """Return a `float` as the bits of a half type, rounded to nearest even."""
    if dtype is dtypes.bfloat16:
        return library.call(w, "single_to_bfloat", (single,), _single_to_bfloat, "i16")
    if has_half_instructions(w):
        return w.convert("bitcast", w.convert("fptrunc", single, "half"), "i16")
    return library.call(w, "single_to_half", (single,), _single_to_half, "i16")


def has_half_instructions(w: Writer) -> bool:
    """Tell whether the machine converts float16 by itself."""
    target = w.module.target
    return not target.triple.startswith(("x86_64", "i686")) or target.has("f16c")


def _single_to_bfloat(w: Writer, x: Value) -> Value:
    bits = floats.bitcast(w, x, "i32")
    high = w.binary("lshr", bits, integer_constant(16, "i32"))
    odd = w.binary("and", high, integer_constant(1, "i32"))
    bias = w.binary("add", odd, integer_constant(0x7FFF, "i32"))
    rounded = w.binary("lshr", w.binary("add", bits, bias), integer_constant(16, "i32"))
    # A NaN becomes the quiet NaN of its sign; rounding could carry it to infinity.
    sign = w.binary("and", high, integer_constant(0x8000, "i32"))
    quiet = w.binary("or", sign, integer_constant(0x7FC0, "i32"))
    return w.resize(w.select(floats.isnan(w, x), quiet, rounded), "i16", signed=False)


def _half_to_single(w: Writer, h: Value) -> Value:
    """Shift the digits into place; multiply by 2**112 to correct the exponent, denormals too."""
    wide = w.resize(h, "i32", signed=False)
    sign = w.binary("shl", w.binary("and", wide, _word(0x8000)), _word(16))
    magnitude = w.binary("and", wide, _word(0x7FFF))
    shifted = floats.bitcast(w, w.binary("shl", magnitude, _word(13)), "float")
    scaled = floats.bitcast(w, w.binary("fmul", shifted, floats.constant(2.0**112, shifted)), "i32")
    special = w.binary("or", scaled, _word(0x7F800000))
    exponent = w.compare("uge", magnitude, _word(0x7C00))
    result = w.binary("or", w.select(exponent, special, scaled), sign)
    return floats.bitcast(w, result, "float")


def _single_to_half(w: Writer, x: Value) -> Value:
    """Round with integers: normal numbers by a bias, denormal ones by adding a power of two."""
    bits = floats.bitcast(w, x, "i32")
    sign = w.binary("and", w.binary("lshr", bits, _word(16)), _word(0x8000))
    magnitude = w.binary("and", bits, _word(0x7FFFFFFF))
    odd = w.binary("and", w.binary("lshr", magnitude, _word(13)), _word(1))
    biased = w.binary("add", w.binary("add", magnitude, odd), _word(0xFFF - (112 << 23)))
    normal = w.binary("lshr", biased, _word(13))
    # 0.5 has its last digit at 2**-24, the last digit of a denormal half.
    half = floats.constant(0.5, x)
    sum_bits = floats.bitcast(
        w, w.binary("fadd", floats.bitcast(w, magnitude, "float"), half), "i32"
    )
    denormal = w.binary("sub", sum_bits, _word(0x3F000000))
    result = w.select(w.compare("ult", magnitude, _word(0x38800000)), denormal, normal)
    infinite = w.compare("uge", magnitude, _word(0x477FF000))
    result = w.select(infinite, _word(0x7C00), result)
    payload = w.binary("and", w.binary("lshr", magnitude, _word(13)), _word(0x3FF))
    quiet = w.binary("or", payload, _word(0x7E00))
    result = w.select(w.compare("ugt", magnitude, _word(0x7F800000)), quiet, result)
    return w.resize(w.binary("or", result, sign), "i16", signed=False)


def _word(value: int) -> Value:
    return integer_constant(value, "i32")
