"""Indexing: reads and writes as NumPy's, wherever both libraries mean the same by an index."""

from __future__ import annotations

import numpy as np
import pytest
import smelt
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def indexed(draw):
    """Draw a shape and an index of it in whose meaning NumPy and PyTorch agree."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    items = []
    advanced = draw(st.sampled_from(["none", "tensors", "mask"]))
    block = draw(st.integers(0, len(shape) - 1))
    width = draw(st.integers(1, len(shape) - block))
    index_shape = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    dots = draw(st.integers(0, len(shape)))
    position = 0
    for dim, size in enumerate(shape):
        if dim == dots and advanced == "none":
            items.append(Ellipsis)
            break
        if draw(st.integers(0, 5)) == 0 and advanced == "none":
            items.append(None)
        inside = block <= dim < block + width
        if advanced == "tensors" and inside:
            values = draw(
                st.lists(
                    st.integers(-size, size - 1),
                    min_size=int(np.prod(index_shape)),
                    max_size=int(np.prod(index_shape)),
                )
            )
            items.append(np.array(values, np.int64).reshape(index_shape))
        elif advanced == "mask" and dim == block:
            bits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
            items.append(np.array(bits))
        elif advanced == "none" and draw(st.booleans()):
            items.append(draw(st.integers(-size, size - 1)))
        else:
            start = draw(st.none() | st.integers(-size - 1, size + 1))
            stop = draw(st.none() | st.integers(-size - 1, size + 1))
            items.append(slice(start, stop, draw(st.none() | st.integers(1, 3))))
        position = dim + 1
        if draw(st.integers(0, 4)) == 0 and (advanced == "none" or position >= block + width):
            break
    return shape, tuple(items)


def ours(items: tuple) -> tuple:
    return tuple(smelt.tensor(i) if isinstance(i, np.ndarray) else i for i in items)


@settings(max_examples=300, deadline=None)
@given(indexed())
def test_read(case) -> None:
    shape, items = case
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    got = smelt.tensor(array)[ours(items)]
    np.testing.assert_array_equal(got.numpy(), array[items], strict=True)


@settings(max_examples=300, deadline=None)
@given(indexed(), st.booleans())
def test_write(case, scalar: bool) -> None:
    shape, items = case
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    flat = [i % n for i, n in _repeats(items, shape)]
    x = smelt.tensor(array)
    part = array[items]
    value = -1.0 if scalar or flat else -np.arange(1.0, part.size + 1).reshape(part.shape)
    array[items] = value
    x[ours(items)] = value if isinstance(value, float) else smelt.tensor(value.astype(np.float32))
    np.testing.assert_array_equal(x.numpy(), array)


def _repeats(items: tuple, shape: tuple) -> list[tuple[int, int]]:
    """Return positions named by index arrays: with several of them, a write may name one twice."""
    return [
        (int(v), n)
        for item, n in zip(items, shape)
        if isinstance(item, np.ndarray) and item.dtype != bool
        for v in item.reshape(-1)
    ]


def test_basic_indexing_gives_views_and_advanced_copies() -> None:
    x = smelt.zeros(3, 4)
    for view in (x[0], x[:, 1], x[1:, ::2], x[..., None], x[:]):
        assert view.untyped_storage() is x.untyped_storage()
    for copy in (x[[0, 1]], x[x == 0], x[smelt.tensor(1)]):
        assert copy.untyped_storage() is not x.untyped_storage()


def test_ints_are_taken_before_tensors() -> None:
    x = smelt.arange(24).reshape(2, 3, 4)
    assert x[0, :, [1, 3]].shape == (3, 2)  # NumPy would put the 2 first
    assert x[[0, 1], :, [1, 3]].shape == (2, 3)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
        ((0, -5), IndexError, "index -5 is out of bounds for dimension 1 with size 4"),
        ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        ("a", TypeError, "valid indices"),
        (1.5, TypeError, "valid indices"),
        ([0, 3], IndexError, "out of bounds"),
        (([0, 1], [0, 1, 2]), IndexError, "could not be broadcast together"),
    ],
)
def test_mistakes(index, error, message) -> None:
    with pytest.raises(error, match=message):
        smelt.zeros(3, 4)[index]


def test_masks_must_fit() -> None:
    with pytest.raises(IndexError, match=r"shape of the mask \[2\]"):
        smelt.zeros(3)[smelt.tensor([True, False])]
    with pytest.raises(IndexError, match="float32"):
        smelt.zeros(3)[smelt.zeros(1)]


def test_values_must_fit() -> None:
    x = smelt.zeros(3, 4)
    with pytest.raises(RuntimeError, match=r"shape \[3\].*shape \[4\]"):
        x[0] = smelt.zeros(3)
    with pytest.raises(TypeError, match="can't assign a list"):
        x[0] = [1.0, 2.0, 3.0, 4.0]
    x[0] = smelt.ones(1, 1, 4)
    assert x[0].tolist() == [1, 1, 1, 1]


def test_gather_scatter_and_their_kin() -> None:
    x = smelt.arange(6.0).reshape(2, 3)
    index = smelt.tensor([[2, 0], [1, 1]])
    assert x.gather(1, index).tolist() == [[2, 0], [4, 4]]
    assert smelt.zeros(2, 3).scatter(1, index, 1.0).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert x.index_select(1, smelt.tensor([2, 0])).tolist() == [[2, 0], [5, 3]]
    assert x.take(smelt.tensor([0, -1])).tolist() == [0, 5]
    assert x.index_fill(1, smelt.tensor([0]), -1.0).tolist() == [[-1, 1, 2], [-1, 4, 5]]
    assert x.masked_select(x > 3).tolist() == [4, 5]
    with pytest.raises(RuntimeError, match="int64"):
        x.gather(1, smelt.zeros(2, 2))
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        x.gather(1, smelt.tensor([[3], [0]]))
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        x.gather(1, smelt.tensor([0]))
