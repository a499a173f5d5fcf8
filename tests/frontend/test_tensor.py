"""Creation, questions, conversion, copying, pickling and printing of tensors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import smelt
from smelt.surface import generate


def test_the_surface_is_current() -> None:
    folder = Path(generate.__file__).parent
    for name, text in generate.files().items():
        assert (folder / name).read_text() == text, f"run python -m smelt.surface.generate: {name}"


def test_tensor_copies_and_infers() -> None:
    array = np.arange(3, dtype=np.float64)
    x = smelt.tensor(array)
    array[0] = 9
    assert x.tolist() == [0, 1, 2] and x.dtype is smelt.float64
    assert smelt.tensor([[1, 2], [3, 4]]).dtype is smelt.int64
    assert smelt.tensor([]).shape == (0,) and smelt.tensor([]).dtype is smelt.float32
    assert smelt.tensor([smelt.tensor(1.5), 2]).tolist() == [1.5, 2]
    assert smelt.tensor([1.7, -1.7], dtype=smelt.int32).tolist() == [1, -1]
    with pytest.raises(ValueError, match="box"):
        smelt.tensor([[1], [2, 3]])
    with pytest.raises(TypeError, match="could not infer dtype of str"):
        smelt.tensor("a")
    with pytest.raises(RuntimeError, match="cuda"):
        smelt.zeros(2, device="cuda")


def test_as_tensor_shares_where_it_can() -> None:
    array = np.zeros(3)
    assert smelt.as_tensor(array).data_ptr() == array.ctypes.data
    assert smelt.as_tensor(array, dtype=smelt.float32).data_ptr() != array.ctypes.data
    x = smelt.ones(1)
    assert smelt.as_tensor(x) is x


def test_ranges() -> None:
    assert smelt.arange(1, 2, 0.25).tolist() == [1, 1.25, 1.5, 1.75]
    assert smelt.arange(5, 1, -2).tolist() == [5, 3]
    assert smelt.arange(3).dtype is smelt.int64 and smelt.arange(3.0).dtype is smelt.float32
    assert smelt.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    with pytest.raises(RuntimeError, match="nonzero"):
        smelt.arange(0, 1, 0)
    with pytest.raises(RuntimeError, match="step sign"):
        smelt.arange(0, 1, -1)


def test_constructors() -> None:
    assert smelt.Tensor([1, 2]).dtype is smelt.float32
    assert smelt.Tensor(2, 3).shape == (2, 3)
    assert smelt.LongTensor([1]).dtype is smelt.int64
    assert isinstance(smelt.arange(2), smelt.LongTensor)
    assert not isinstance(smelt.zeros(2), smelt.LongTensor)
    assert isinstance(smelt.zeros(2), smelt.Tensor)


def test_questions() -> None:
    x = smelt.zeros(2, 3)
    assert x.shape == smelt.Size([2, 3]) and repr(x.shape) == "torch.Size([2, 3])"
    assert x.size(-1) == 3 and x.dim() == x.ndim == 2 and len(x) == 2
    assert x.numel() == x.shape.numel() == 6 and x.nbytes == 24
    assert isinstance(x.shape[:1], smelt.Size)
    assert x.type() == "torch.FloatTensor" and x.device == smelt.device("cpu")
    with pytest.raises(IndexError, match="out of range"):
        x.size(2)
    with pytest.raises(TypeError, match="0-d"):
        len(smelt.tensor(1.0))


def test_values() -> None:
    x = smelt.tensor([3])
    assert x.item() == 3 and int(x) == 3 and float(x) == 3.0 and bool(x)
    assert [10, 20, 30, 40][smelt.tensor(2)] == 30
    assert f"{smelt.tensor(1.5):.2f}" == "1.50"
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(smelt.zeros(2))
    with pytest.raises(RuntimeError, match="2 elements"):
        smelt.zeros(2).item()
    with pytest.raises(TypeError, match="index"):
        [1][smelt.tensor(0.0)]
    assert [t.item() for t in smelt.arange(3)] == [0, 1, 2]
    assert 2 in smelt.arange(3) and 5 not in smelt.arange(3)
    assert {smelt.zeros(1): 1}  # hashed by identity


def test_numpy_interoperates() -> None:
    x = smelt.arange(3.0)
    np.testing.assert_array_equal(np.asarray(x), [0, 1, 2])
    assert np.sin(x.numpy()).shape == (3,)
    assert isinstance(np.float32(2) * x, smelt.Tensor)
    assert (
        isinstance(x + np.float64(1), smelt.Tensor) and (x + np.float64(1)).dtype is smelt.float32
    )
    assert np.array(x, dtype=np.int64).dtype == np.int64


def test_deepcopy_keeps_sharing_and_gradients() -> None:
    x = smelt.ones(4, requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.grad.tolist() == [2] * 4
    assert y.data_ptr() != x.data_ptr()
    a = smelt.zeros(4)
    b = a[:2]
    c, d = copy.deepcopy((a, b))
    d.fill_(1)
    assert c.tolist() == [1, 1, 0, 0] and a.tolist() == [0] * 4
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(x * 2)


def test_copy_shares_the_storage() -> None:
    x = smelt.ones(2)
    y = copy.copy(x)
    y.add_(1)
    assert x.tolist() == [2, 2] and y is not x


def test_pickle() -> None:
    for x in (
        smelt.arange(6).reshape(2, 3).t(),
        smelt.tensor(1.5, dtype=smelt.bfloat16),
        smelt.ones(0, 2, requires_grad=True),
        smelt.tensor([True, False]),
    ):
        y = pickle.loads(pickle.dumps(x))
        assert y.dtype is x.dtype and y.shape == x.shape and y.requires_grad == x.requires_grad
        assert y.tolist() == x.tolist()


def test_attributes_of_ones_own() -> None:
    x = smelt.zeros(1)
    x.note = "kept"
    assert x.note == "kept" and copy.deepcopy(x).note == "kept"


def test_generators() -> None:
    smelt.manual_seed(7)
    first, state = smelt.rand(5), smelt.get_rng_state()
    second = smelt.randn(3)
    smelt.set_rng_state(state)
    assert smelt.equal(smelt.randn(3), second)
    smelt.manual_seed(7)
    assert smelt.equal(smelt.rand(5), first)
    mine = smelt.Generator().manual_seed(7)
    assert smelt.equal(smelt.rand(5, generator=mine), first)
    assert mine.initial_seed() == 7 and mine.offset == 2
    assert pickle.loads(pickle.dumps(mine)).offset == 2
    assert sorted(smelt.randperm(10).tolist()) == list(range(10))
    assert ((smelt.randint(2, 5, (100,)) >= 2) & (smelt.randint(5, (100,)) < 5)).all()
    with pytest.raises(ValueError, match="below"):
        smelt.randint(3, 3, (1,))


def test_distributions() -> None:
    smelt.manual_seed(0)
    n = 20_000
    assert abs(smelt.rand(n).mean().item() - 0.5) < 0.01
    assert abs(smelt.normal(2.0, 3.0, (n,)).std().item() - 3) < 0.1
    assert abs(smelt.full((n,), 0.3).bernoulli().mean().item() - 0.3) < 0.02
    assert abs(smelt.empty(n).exponential_(2.0).mean().item() - 0.5) < 0.02
    counts = smelt.multinomial(smelt.tensor([1.0, 0.0, 3.0]), n, replacement=True).bincount()
    assert counts[1] == 0 and abs(counts[2].item() / n - 0.75) < 0.02
    drawn = smelt.multinomial(smelt.tensor([1.0, 2.0, 3.0]), 3)
    assert sorted(drawn.tolist()) == [0, 1, 2]


def test_limits() -> None:
    assert smelt.finfo(smelt.float32).eps == np.finfo(np.float32).eps
    assert smelt.finfo(smelt.bfloat16).bits == 16
    assert smelt.iinfo(smelt.int8).min == -128 and smelt.iinfo(smelt.uint8).max == 255
    with pytest.raises(TypeError, match="iinfo"):
        smelt.finfo(smelt.int64)


PRINTED = [
    (lambda: smelt.tensor([[1.0, 1.0], [1.0, 1.0]], requires_grad=True),
     "tensor([[1., 1.],\n        [1., 1.]], requires_grad=True)"),
    (lambda: smelt.ones(2, requires_grad=True).sum(), "tensor(2., grad_fn=<SumBackward0>)"),
    (lambda: smelt.tensor([1.5, float("inf"), float("nan")]), "tensor([1.5000,    inf,    nan])"),
    (lambda: smelt.tensor([1e-6, 1.0]), "tensor([1.0000e-06, 1.0000e+00])"),
    (lambda: smelt.zeros(2, 0), "tensor([], size=(2, 0))"),
    (lambda: smelt.tensor([1, -20]), "tensor([  1, -20])"),
    (lambda: smelt.tensor([1.0], dtype=smelt.float64), "tensor([1.], dtype=torch.float64)"),
    (lambda: smelt.tensor([True, False]), "tensor([ True, False])"),
    (lambda: smelt.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), PRINTED)
def test_printed(make, text: str) -> None:
    assert repr(make()) == str(make()) == text


def test_print_options() -> None:
    try:
        smelt.set_printoptions(precision=2)
        assert repr(smelt.tensor([0.123])) == "tensor([0.12])"
        smelt.set_printoptions(profile="full")
        assert "..." not in repr(smelt.arange(2000))
    finally:
        smelt.set_printoptions(profile="default")
