"""Functions of one and two tensors as PyTorch's: values, gradients, dtypes, errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.expressions import ARGUMENTS, EXPRESSIONS, REDUCTIONS, UNARY
from tests.parity.comparing import compare

PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((7, 1, 2, 3), (5, 3, 4)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)), ((2, 3), (2, 3)), ((), (3,)), ((0, 3), (3, 4)), ((2, 0), (0, 4)),
    ((5, 2, 0), (0, 4)), ((5, 2, 3), (4, 3, 4)),
]  # fmt: skip
EINSUMS = [
    ("ij,jk", (2, 3), (3, 4)), ("ij->ji", (2, 3)), ("ii", (3, 3)), ("ii->i", (3, 3)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("i,j->ij", (2,), (3,)), ("ij,ij->", (2, 3), (2, 3)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)), ("ijk->k", (2, 3, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("ij,kj,lk->il", (2, 3), (4, 3), (5, 4)),
]  # fmt: skip
ADDED = {
    "addmm": ((2, 4), (2, 3), (3, 4)),
    "addmv": ((2,), (2, 3), (3,)),
    "addr": ((3, 4), (3,), (4,)),
    "baddbmm": ((5, 2, 4), (5, 2, 3), (5, 3, 4)),
    "addbmm": ((2, 4), (5, 2, 3), (5, 3, 4)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, shape: tuple[int, ...]) -> None:
    compare(lambda m, x: getattr(m, name)(x), shape)
    compare(lambda m, x: getattr(m, name)(x), shape, dtype="int64")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name: str, arguments: str) -> None:
    def call(m: Any, x: Any) -> Any:
        return eval(f"m.{name}(x, {arguments})")

    for shape in [(2, 3, 4), (), (0, 3)]:
        if shape == (0, 3) and (name == "median" or arguments in ("5", "dim=2")):
            continue  # PyTorch does not look at the dimension, or disagrees with itself
        compare(call, shape)
    compare(call, (4, 3, 3), dtype="int32")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression(expression: str) -> None:
    compare(lambda m, x: eval(expression), (2, 3, 4))


@pytest.mark.parametrize(("a", "b"), PRODUCTS)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    compare(lambda m, x, y: x @ y, a, b)


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum(case: tuple[Any, ...]) -> None:
    equation, *shapes = case
    compare(lambda m, *xs: m.einsum(equation, *xs), *shapes)


@pytest.mark.parametrize("name", ADDED)
def test_added_products(name: str) -> None:
    compare(lambda m, *xs: getattr(m, name)(*xs, beta=0.5, alpha=2), *ADDED[name])
    compare(lambda m, *xs: getattr(m, name)(*xs), *ADDED[name])
