"""From text to types, dimensions, attribute values and constants."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from smelt.ir import dim as dims
from smelt.ir import dtypes
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import ParseError
from smelt.ir.text.attributes import canonical_bits
from smelt.ir.text.cursor import Cursor
from smelt.ir.text.lexer import Token
from smelt.ir.types import TensorType

_DTYPES = {d.name: d for d in dtypes.ALL}


def parse_type(cursor: Cursor) -> TensorType:
    """Read a type such as `f32[n,4]`."""
    dtype = _DTYPES.get(cursor.peek.text)
    if dtype is None:
        raise cursor.error("a dtype such as f32")
    cursor.advance()
    return TensorType(dtype, _shape(cursor))


def parse_dim(cursor: Cursor) -> int | Dim:
    """Read a dimension: sums of products of sizes, integers and `(a // b)`, `(a % b)`."""
    total = _signed_product(cursor)
    while cursor.peek.text in ("+", "-"):
        total = total + _signed_product(cursor)
    return total


def parse_attribute(cursor: Cursor) -> Any:
    """Read the value of an attribute."""
    token = cursor.peek
    if token.kind == "string":
        cursor.advance()
        return json.loads(token.text)
    if token.text == "(" and not _is_quotient(cursor):
        return _tuple(cursor)
    if token.kind == "float" or token.text in ("nan", "inf"):
        return _float(cursor)
    if token.text == "-" and (cursor.ahead.kind == "float" or cursor.ahead.text == "inf"):
        return _float(cursor)
    match token.text:
        case "none" | "true" | "false":
            cursor.advance()
            return {"none": None, "true": True, "false": False}[token.text]
        case "complex":
            return _complex(cursor)
        case text if text in _DTYPES:
            return _dtype_or_constant(cursor)
        case _ if token.kind in ("int", "word") or token.text in ("-", "("):
            return parse_dim(cursor)
        case _:
            raise cursor.error("the value of an attribute")


def _shape(cursor: Cursor) -> tuple[int | Dim, ...]:
    cursor.expect("[")
    extents: list[int | Dim] = []
    while not cursor.accept("]"):
        if extents:
            cursor.expect(",", "',' or ']'")
        extents.append(parse_dim(cursor))
    return tuple(extents)


def _signed_product(cursor: Cursor) -> int | Dim:
    sign = -1 if cursor.accept("-") else 1
    if sign == 1:
        cursor.accept("+")
    product = _factor(cursor) * sign
    while cursor.accept("*"):
        product = product * _factor(cursor)
    return product


def _factor(cursor: Cursor) -> int | Dim:
    token = cursor.peek
    if token.kind == "int":
        cursor.advance()
        return int(token.text)
    if token.kind == "word":
        if "." in token.text:
            raise cursor.error("a size")
        cursor.advance()
        return dims.symbol(token.text)
    if not cursor.accept("("):
        raise cursor.error("a size")
    inner = parse_dim(cursor)
    for mark in ("//", "%"):
        if cursor.accept(mark):
            divisor = cursor.peek
            right = parse_dim(cursor)
            if right == 0:
                raise ParseError(
                    "expected a divisor that is not 0; found '0'", divisor.line, divisor.column
                )
            inner = inner // right if mark == "//" else inner % right
            break
    cursor.expect(")", "'//', '%' or ')'")
    return inner


def _is_quotient(cursor: Cursor) -> bool:
    """Tell whether the parenthesis that comes next holds a quotient rather than a tuple."""
    depth = 0
    for token in cursor.rest():
        match token.text:
            case "(" | "[" | "{":
                depth += 1
            case ")" | "]" | "}":
                depth -= 1
                if depth == 0:
                    return False
            case "//" | "%" if depth == 1 and token.kind == "mark":
                return True
            case "," if depth == 1:
                return False
            case _:
                pass
    return False


def _tuple(cursor: Cursor) -> tuple[Any, ...]:
    cursor.expect("(")
    found: list[Any] = []
    while not cursor.accept(")"):
        if found:
            cursor.expect(",", "',' or ')'")
            if cursor.accept(")"):
                break
        found.append(parse_attribute(cursor))
    return tuple(found)


def _float(cursor: Cursor) -> float:
    sign = -1.0 if cursor.accept("-") else 1.0
    token = cursor.peek
    if token.kind != "float" and token.text not in ("nan", "inf"):
        raise cursor.error("a hexadecimal float, 'inf' or 'nan'")
    cursor.advance()
    return sign * (float.fromhex(token.text) if token.kind == "float" else float(token.text))


def _complex(cursor: Cursor) -> complex:
    cursor.expect("complex")
    cursor.expect("(")
    real = _float(cursor)
    cursor.expect(",")
    imaginary = _float(cursor)
    cursor.expect(")")
    return complex(real, imaginary)


def _dtype_or_constant(cursor: Cursor) -> DType | ConstantValue:
    if cursor.ahead.text != "[":
        return _DTYPES[cursor.advance().text]
    start = cursor.peek
    kind = parse_type(cursor)
    if not kind.is_static:
        raise ParseError(
            f"expected a constant of known size; found {kind}", start.line, start.column
        )
    if cursor.peek.kind == "digest":
        return _by_digest(cursor, kind, cursor.advance())
    return _inline(cursor, kind, start)


def _by_digest(cursor: Cursor, kind: TensorType, token: Token) -> ConstantValue:
    digest = token.text[1:]
    found = cursor.constants.get(digest)
    if found is None:
        raise ParseError(
            f"expected the array of digest {digest} among the constants; there are "
            f"{len(cursor.constants)} others",
            token.line,
            token.column,
        )
    value = found if isinstance(found, ConstantValue) else ConstantValue(_typed(found, kind))
    if value.digest != digest or value.type != kind:
        raise ParseError(
            f"expected a {kind} of digest {digest}; the array is a {value.type} of digest "
            f"{value.digest}",
            token.line,
            token.column,
        )
    return value


def _typed(array: np.ndarray[Any, Any], kind: TensorType) -> np.ndarray[Any, Any]:
    """Return an array read from a file, whose format may know only the width of its elements."""
    dtype = kind.dtype.numpy
    return array.view(dtype) if array.dtype.itemsize == dtype.itemsize else array


def _inline(cursor: Cursor, kind: TensorType, start: Token) -> ConstantValue:
    cursor.expect("(", "'(' or a digest")
    size = kind.size
    width = kind.dtype.itemsize
    pieces: list[bytes] = []
    while not cursor.accept(")"):
        if pieces:
            cursor.expect(",", "',' or ')'")
        pieces.append(_element(cursor, kind.dtype, width))
    if len(pieces) != size:
        raise ParseError(
            f"expected {size} elements of {kind}; found {len(pieces)}", start.line, start.column
        )
    array = np.frombuffer(b"".join(pieces), kind.dtype.numpy).reshape(kind.sizes)
    return ConstantValue(array)


def _element(cursor: Cursor, dtype: DType, width: int) -> bytes:
    token = cursor.peek
    if cursor.accept("bits"):
        cursor.expect("(")
        raw = cursor.expect("bits")
        cursor.expect(")")
        number = int(raw.text, 16)
        if number >= 1 << (8 * width):
            raise ParseError(
                f"expected at most {8 * width} bits; found {raw}", raw.line, raw.column
            )
        return number.to_bytes(width, "little")
    match dtype.kind:
        case Kind.BOOL:
            if token.text not in ("true", "false"):
                raise cursor.error("'true' or 'false'")
            cursor.advance()
            return np.array(token.text == "true").tobytes()
        case Kind.INT | Kind.UINT:
            sign = -1 if cursor.accept("-") else 1
            number = sign * int(cursor.expect("int").text)
            limits = np.iinfo(dtype.numpy)
            if not limits.min <= number <= limits.max:
                raise ParseError(
                    f"expected a value of {dtype.name}; found {number}", token.line, token.column
                )
            return np.array(number, dtype.numpy).tobytes()
        case Kind.FLOAT:
            return canonical_bits(_float(cursor), dtype)
        case Kind.COMPLEX:
            return canonical_bits(_complex(cursor), dtype)
