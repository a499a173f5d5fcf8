"""What PyTorch refuses is refused by the same class of exception, naming what arrived."""

from __future__ import annotations

from typing import Any

import pytest
import smelt

torch = pytest.importorskip("torch")

KINDS = (IndexError, TypeError, ValueError, RuntimeError)

MISTAKES = [
    "m.zeros(4, 4).index_select(0, m.zeros(2))", "m.zeros(4, 4).gather(0, m.zeros(2, 2))",
    "m.zeros(4, 4).index_select(0, m.zeros(2, dtype=m.int16))",
    "m.zeros(4, 4).scatter(0, m.zeros(2, 2), 1.0)",
    "m.zeros(4, 4).scatter_add(0, m.zeros(2, 2), m.ones(2, 2))",
    "m.zeros(4, 4).index_add(0, m.zeros(2), m.ones(2, 4))",
    "m.zeros(4, 4).index_copy(0, m.zeros(2), m.ones(2, 4))", "m.zeros(4, 4)[m.zeros(2)]",
    "m.zeros(4, 4).index_put((m.zeros(2),), m.ones(2, 4))", "m.zeros(4, 4).take(m.zeros(2))",
    "m.take_along_dim(m.zeros(4, 4), m.zeros(2, 4), 0)", "m.nn.functional.one_hot(m.zeros(2))",
    "m.zeros(4).masked_fill(m.zeros(4), 1.0)", "m.zeros(4).masked_select(m.zeros(4))",
    "m.bincount(m.zeros(3))", "m.zeros(3) & m.zeros(3)", "m.zeros(3) << 1", "~m.zeros(3)",
    "m.arange(0, 5, 0)", "m.linspace(0, 1, -1)", "-m.zeros(3, dtype=m.bool)",
    "m.zeros(3, dtype=m.bool) - m.zeros(3, dtype=m.bool)", "m.zeros(3).mm(m.zeros(3))",
    "m.zeros(2, 3) @ m.zeros(2, 3)", "m.zeros(2, 3) + m.zeros(4)",
    "m.zeros(3, 3) @ m.zeros(3, 3, dtype=m.float64)", "m.zeros(3, dtype=m.int64).mean()",
    "m.nn.functional.linear(m.zeros(3, 3), m.zeros(3, 3, dtype=m.float64))",
    "m.nn.functional.layer_norm(m.zeros(3, 3, dtype=m.int64), (3,))",
    "m.nn.functional.cross_entropy(m.zeros(2, 3), m.zeros(2, dtype=m.int32))",
    "m.softmax(m.zeros(3, 3, dtype=m.int64), 0)", "m.zeros(3, dtype=m.int64).std()",
    "m.zeros(3, 4).t().view(12)", "m.zeros(2, 3).view(5)", "m.zeros(3).add_(m.zeros(2, 3))",
    "m.zeros(3, dtype=m.int64).add_(1.5)", "m.zeros(3, requires_grad=True).add_(1)",
    "m.zeros(3, requires_grad=True).mul(2).backward()", "m.zeros(3).topk(4)", "m.zeros(0).max()",
    "m.zeros(2).item()", "bool(m.zeros(2))", "m.zeros(5).split([2, 2])", "m.zeros(5).chunk(0)",
    "m.zeros(2, 3).expand(4, 3)", "m.zeros(2, 3).unsqueeze(5)", "m.zeros(2, 3).transpose(0, 5)",
    "m.zeros(4).as_strided((3, 3), (2, 2))", "m.zeros(2, 3)[5]", "m.zeros(2, 3).sum(7)",
    "m.cat([m.zeros(2, 3), m.zeros(2, 4)])", "m.stack([m.zeros(2), m.zeros(3)])",
    "m.where(m.zeros(2), m.zeros(2), m.zeros(2))", "m.zeros(2, dtype=m.int64).requires_grad_()",
    "m.nn.functional.embedding(m.tensor([9]), m.zeros(3, 2))",
    "m.zeros(3, 2).gather(0, m.tensor([[1, 3]]))", "m.zeros(3, 2)[m.tensor([0, 3])]",
    "m.tensor([1, 2]) // m.tensor([1, 0])",
]  # fmt: skip


def outcome(expression: str, m: Any) -> Exception:
    with pytest.raises(KINDS) as raised:
        eval(expression, {"m": m})
    return raised.value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", MISTAKES)
def test_mistake(expression: str) -> None:
    theirs, ours = outcome(expression, torch), outcome(expression, smelt)
    kind = next(k for k in KINDS if isinstance(theirs, k))
    assert isinstance(ours, kind), f"PyTorch: {theirs!r}, smelt: {ours!r}"


def test_data_at_fault_is_named_with_op_and_operands() -> None:
    def select(x: Any, at: Any) -> Any:
        return x.gather(0, at) * 2

    x, at = smelt.zeros(3, 2), smelt.tensor([[1, 3]])
    for function in (select, smelt.compile(select)):
        with pytest.raises(IndexError) as raised:
            function(x, at)
        assert str(raised.value) == (
            "gather: index 3 is out of bounds for a dimension of size 3: "
            "x is f32[3,2], index is i64[1,2]"
        )
