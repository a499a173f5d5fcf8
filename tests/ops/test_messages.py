"""What people read when operands or attributes do not fit: op, operand, expected, arrived."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.errors import (
    ArgumentError,
    DimensionError,
    DTypeError,
    IntegerDivisionError,
    TypeInferenceError,
)
from smelt.ir.evaluate import NUMPY_RULES
from smelt.ir.infer import infer_types
from smelt.ir.types import TensorType

F, I32, B = dtypes.float32, dtypes.int32, dtypes.bool_
Types = tuple[TensorType, ...]


def t(dtype: dtypes.DType, *shape: int) -> TensorType:
    return TensorType(dtype, shape)


CASES: list[tuple[str, Types, dict[str, Any], type[Exception], str]] = [
    (
        "add",
        (t(F, 2, 3), t(F, 3)),
        {},
        TypeInferenceError,
        "add: operands differ in shape: x is f32[2,3], y is f32[3]",
    ),
    (
        "mul",
        (t(F, 2), t(I32, 2)),
        {},
        DTypeError,
        "mul: operands differ in dtype: x is f32[2], y is i32[2]",
    ),
    ("exp", (t(I32, 3),), {}, DTypeError, "exp: x must have a floating-point dtype, but is i32[3]"),
    ("bitwise_and", (t(F, 2), t(F, 2)), {}, DTypeError, "bool or an integer dtype, but is f32[2]"),
    ("add", (t(B, 2), t(B, 2)), {}, DTypeError, "an integer or floating-point dtype"),
    ("where", (t(I32, 2), t(F, 2), t(F, 2)), {}, DTypeError, "cond must be bool, but is i32[2]"),
    ("bitcast", (t(F, 2),), {"dtype": dtypes.float64}, DTypeError, "numbers of the same size"),
    (
        "reshape",
        (t(F, 2, 3),),
        {"shape": (4, 2)},
        TypeInferenceError,
        "reshape: f32[2,3] has 6 elements, which do not fill the shape [4,2]",
    ),
    ("permute", (t(F, 2, 3),), {"dims": (0, 0)}, ArgumentError, "an order of the dimensions"),
    (
        "expand",
        (t(F, 2, 3),),
        {"shape": (2, 4)},
        TypeInferenceError,
        "expand: f32[2,3] does not broadcast to the shape [2,4]",
    ),
    (
        "slice",
        (t(F, 4),),
        {"starts": (1,), "stops": (5,), "steps": (1,)},
        ArgumentError,
        "slice: [1:5] is outside dimension 0 of f32[4], of size 4",
    ),
    (
        "slice",
        (t(F, 4),),
        {"starts": (0,), "stops": (4,), "steps": (0,)},
        ArgumentError,
        "must be positive, not 0",
    ),
    (
        "pad",
        (t(F, 4),),
        {"low": (-1,), "high": (0,), "value": 0.0},
        ArgumentError,
        "must not be negative",
    ),
    ("cat", (t(F, 2, 3), t(F, 2, 4)), {"dim": 0}, TypeInferenceError, "xs[1] is f32[2,4]"),
    ("cat", (t(F, 2), t(F, 2)), {"dim": 1}, DimensionError, "dim is 1, but the operand has 1"),
    ("cat", (), {"dim": 0}, TypeInferenceError, "at least one operand"),
    ("stack", (t(F, 2), t(F, 3)), {"dim": 0}, TypeInferenceError, "xs[0] is f32[2]"),
    ("sum", (t(F, 2, 3),), {"dims": (2,)}, DimensionError, "sum: dims is 2"),
    ("sum", (t(F, 2, 3),), {"dims": (1, 0)}, ArgumentError, "distinct and in order"),
    (
        "amax",
        (t(F, 2, 0),),
        {"dims": (1,)},
        DimensionError,
        "amax: dimension 1 of f32[2,0] has no elements to choose from",
    ),
    ("argmax", (t(F, 0),), {"dim": None}, DimensionError, "no elements"),
    ("any", (t(F, 2),), {"dims": (0,)}, DTypeError, "any: x must have bool, but is f32[2]"),
    (
        "matmul",
        (t(F, 2, 3), t(F, 4, 5)),
        {},
        TypeInferenceError,
        "matmul: a has 3 columns, but b has 4 rows: a is f32[2,3], b is f32[4,5]",
    ),
    ("matmul", (t(F, 3), t(F, 3, 5)), {}, TypeInferenceError, "at least 2 dimensions"),
    (
        "matmul",
        (t(F, 2, 2, 3), t(F, 3, 3, 5)),
        {},
        TypeInferenceError,
        "batch dimensions differ: a is f32[2,2,3], b is f32[3,3,5]",
    ),
    (
        "linear",
        (t(F, 2, 3), t(F, 5, 4)),
        {},
        TypeInferenceError,
        "linear: x has 3 features, but weight takes 4",
    ),
    ("linear", (t(F, 2, 3), t(F, 5, 3), t(F, 4)), {}, TypeInferenceError, "shape [5]"),
    ("clamp", (t(F, 2),), {"low": None, "high": None}, ArgumentError, "at least one"),
    ("gelu", (t(F, 2),), {"approximate": "sigmoid"}, ArgumentError, "'none' or 'tanh'"),
    ("sort", (t(F),), {"dim": 0}, DimensionError, "has no dimensions"),
    ("topk", (t(F, 3),), {"k": 4, "dim": 0}, ArgumentError, "topk: k is 4"),
    (
        "unfold",
        (t(F, 3),),
        {"dim": 0, "size": 4, "step": 1},
        ArgumentError,
        "windows of 4 by steps of 1 do not fit into dimension 0 of f32[3]",
    ),
    (
        "diagonal",
        (t(F, 3, 3),),
        {"offset": 0, "dim1": 1, "dim2": 1},
        ArgumentError,
        "dim1 and dim2 must differ",
    ),
    (
        "as_strided",
        (t(F, 5),),
        {"sizes": (2, 3), "strides": (3, 1), "offset": 0},
        TypeInferenceError,
        "reach element 5, but flat is f32[5]",
    ),
    (
        "as_strided_scatter",
        (t(F, 9), t(F, 2, 3)),
        {"sizes": (2, 3), "strides": (1, 1), "offset": 0},
        ArgumentError,
        "more than one element of src",
    ),
    (
        "full",
        (),
        {"value": 0.5, "dtype": dtypes.int64, "shape": (2,)},
        ArgumentError,
        "full: 0.5 is no i64",
    ),
    (
        "full",
        (),
        {"value": 1.0, "dtype": F, "shape": (-2,)},
        ArgumentError,
        "sizes must not be negative",
    ),
    ("neg", (t(F, 2), t(F, 2)), {}, TypeInferenceError, "neg: takes the operands x"),
]


@pytest.mark.parametrize(
    ("name", "types", "attrs", "error", "message"),
    CASES,
    ids=[f"{k}-{case[0]}" for k, case in enumerate(CASES)],
)
def test_message(
    name: str, types: Types, attrs: dict[str, Any], error: type[Exception], message: str
) -> None:
    op = registry.OPS[name]
    with pytest.raises(error) as caught:
        infer_types(op, op.attrs(**attrs), types)
    assert message in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("name", ["floordiv", "mod", "truncdiv", "rem"])
def test_integer_division_by_zero_raises(name: str) -> None:
    x, y = np.array([4, 5]), np.array([2, 0])
    with pytest.raises(IntegerDivisionError, match="ZeroDivisionError"):
        NUMPY_RULES(name, x, y)
    assert issubclass(IntegerDivisionError, (ZeroDivisionError, RuntimeError))
