"""Random numbers: published answers of Philox, streams, bits and the shape of distributions."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from smelt.driver import compile_graph
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.dim import symbol
from smelt.ir.errors import ArgumentError, DTypeError
from smelt.ir.evaluate import NUMPY_RULES, evaluate_decomposed
from smelt.ir.ops.philox import PhiloxAttrs, philox_block, words
from smelt.ir.ops.quantile import normal_quantile
from smelt.ir.ops.random import (
    DropoutAttrs,
    RandintAttrs,
    RandpermAttrs,
    UniformAttrs,
    words_drawn,
)
from smelt.ir.types import TensorType

from tests.graphs import same_bits

SEED = np.asarray(1234, np.int64)
OFFSET = np.asarray(0, np.int64)

# Counter, key and result of philox4x32-10 as published with Random123 (kat_vectors).
ANSWERS = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draw(op: str, **attrs: Any) -> Any:
    return NUMPY_RULES(op, SEED, OFFSET, **attrs)


@pytest.mark.parametrize("counter, key, expected", ANSWERS)
def test_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    block = philox_block(tuple(np.array([c], np.uint64) for c in counter), key)
    assert tuple(int(word[0]) for word in block) == expected


def test_published_answers_come_out_of_the_stream() -> None:
    first = NUMPY_RULES("philox", np.int64(0), np.int64(0), shape=(4,), words=1)
    assert tuple(int(w) for w in first[:, 0]) == ANSWERS[0][2]


def test_word_w_comes_from_counter_offset_plus_a_quarter_of_w() -> None:
    whole = words(np, SEED, np.int64(0), 64)
    for block in range(16):
        part = words(np, SEED, np.int64(block), 4)
        assert np.array_equal(part, whole[4 * block : 4 * block + 4])


def test_the_words_do_not_depend_on_how_a_draw_is_split() -> None:
    whole = NUMPY_RULES("philox", SEED, OFFSET, shape=(6, 4), words=1)
    deep = NUMPY_RULES("philox", SEED, OFFSET, shape=(6,), words=4)
    assert np.array_equal(whole.reshape(-1), deep.reshape(-1))
    first = NUMPY_RULES("uniform", SEED, OFFSET, shape=(8,), dtype=dtypes.float32)
    second = NUMPY_RULES("uniform", SEED, np.int64(2), shape=(4,), dtype=dtypes.float32)
    both = NUMPY_RULES("uniform", SEED, OFFSET, shape=(12,), dtype=dtypes.float32)
    assert np.array_equal(np.concatenate([first, second]), both)


def test_the_counter_wraps_at_64_bits_and_uses_all_of_them() -> None:
    last = words(np, SEED, np.int64(-1), 8)
    assert np.array_equal(last[4:], words(np, SEED, np.int64(0), 4))
    high = words(np, SEED, np.int64(2**32), 4)
    assert not np.array_equal(high, words(np, SEED, np.int64(0), 4))


def test_all_of_the_seed_counts() -> None:
    drawn = [words(np, np.int64(s), OFFSET, 4).tolist() for s in (0, 1, 2**32, -1, 2**63 - 1)]
    assert len({tuple(d) for d in drawn}) == 5


@pytest.mark.parametrize(
    "op, attrs, types, expected",
    [
        ("philox", PhiloxAttrs((3, 5), 2), (), 8),
        ("uniform", UniformAttrs((5,), dtypes.float32), (), 2),
        ("uniform", UniformAttrs((5,), dtypes.float64), (), 3),
        ("uniform", UniformAttrs((0,), dtypes.float64), (), 0),
        ("randint", RandintAttrs((5,), dtypes.int64, 0, 2), (), 3),
        ("randperm", RandpermAttrs(7), (), 4),
        ("dropout", DropoutAttrs(0.5), (TensorType(dtypes.float64, (9,)),), 3),
    ],
)
def test_words_drawn(op: str, attrs: Any, types: tuple[Any, ...], expected: int) -> None:
    assert words_drawn(op, attrs, *types) == expected


def test_words_drawn_of_a_symbolic_shape() -> None:
    n = symbol("n")
    assert words_drawn("uniform", UniformAttrs((4, n), dtypes.float32)) == n


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
@pytest.mark.parametrize("op", ["uniform", "normal"])
def test_reference_and_decomposition_agree_in_every_bit(op: str, dtype: dtypes.DType) -> None:
    definition = registry.OPS[op]
    attrs = definition.attrs(shape=(64, 33), dtype=dtype)
    (found,) = evaluate_decomposed(definition, attrs, (SEED, OFFSET))
    assert same_bits(found, draw(op, shape=(64, 33), dtype=dtype))


def test_native_code_gives_the_same_bits() -> None:
    draws: list[tuple[str, dict[str, Any]]] = [
        ("uniform", {"dtype": dtypes.float32, "low": -1.0, "high": 2.3}),
        ("uniform", {"dtype": dtypes.float64, "low": 0.1, "high": 0.7}),
        ("normal", {"dtype": dtypes.float32, "mean": 0.3, "std": 1.7}),
        ("normal", {"dtype": dtypes.float64, "mean": 0.3, "std": 1.7}),
        ("normal", {"dtype": dtypes.bfloat16}),
        ("randint", {"dtype": dtypes.int64, "low": -5, "high": 2**40}),
    ]
    shape = (37, 61)
    builder = GraphBuilder("draws")
    state = [builder.input(TensorType(dtypes.int64, ())) for _ in range(2)]
    program = compile_graph(
        builder.finish([builder(op, *state, shape=shape, **attrs) for op, attrs in draws])
    )
    found = program(SEED, np.asarray(2**40 + 7))
    for (op, attrs), mine in zip(draws, found, strict=True):
        expected = NUMPY_RULES(op, SEED, np.asarray(2**40 + 7), shape=shape, **attrs)
        assert same_bits(mine, expected), (op, attrs)


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
def test_uniform_stays_below_one_and_fills_the_interval(dtype: dtypes.DType) -> None:
    x = draw("uniform", shape=(40_000,), dtype=dtype).astype(np.float64)
    assert x.min() >= 0.0 and x.max() < 1.0
    counts = np.histogram(x, bins=16, range=(0, 1))[0]
    # 15 degrees of freedom: above 45 once in ten thousand times.
    assert ((counts - 2500.0) ** 2 / 2500.0).sum() < 45.0


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=str)
def test_normal_has_the_moments_and_the_distribution(dtype: dtypes.DType) -> None:
    x = np.sort(draw("normal", shape=(100_000,), dtype=dtype).astype(np.float64))
    assert abs(x.mean()) < 0.015
    assert abs(x.std() - 1) < 0.01
    assert abs((x**4).mean() - 3) < 0.15
    normal = statistics.NormalDist()
    ranks = (np.arange(0, len(x), 97) + 0.5) / len(x)
    exact = np.array([normal.cdf(v) for v in x[::97]])
    # Kolmogorov's statistic: above 2 / sqrt(n) less than once in a thousand times.
    assert np.abs(exact - ranks).max() < 2 / np.sqrt(len(x))


@pytest.mark.parametrize("width, tolerance", [(32, 2e-6), (64, 2e-15)])
def test_normal_quantile_is_accurate_into_the_tails(width: int, tolerance: float) -> None:
    integer = np.dtype(f"int{width}")
    powers = np.array([2**k for k in range(width - 1)], integer)
    drawn = np.random.default_rng(0).integers(2 ** (width - 1), size=2000).astype(integer)
    word = np.concatenate([powers, drawn, ~powers, ~drawn, np.array([0], integer)])
    found = normal_quantile(np, word).astype(np.float64)
    tail = ((word & (2 ** (width - 1) - 1)).astype(np.float64) + 0.5) * 2.0**-width
    inverse = statistics.NormalDist().inv_cdf
    exact = np.array([-inverse(float(t)) if t < 0.5 else 0.0 for t in tail])
    exact[word < 0] *= -1
    error = np.abs(found - exact) / np.maximum(np.abs(exact), 0.05)
    assert error.max() < tolerance


def test_randint_covers_its_range_evenly() -> None:
    x = draw("randint", shape=(20_000,), dtype=dtypes.int64, low=-2, high=3)
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert np.abs(counts - 4000).max() < 250


def test_bernoulli_and_dropout_at_the_ends_are_certain() -> None:
    shape, dtype = (1000,), dtypes.float32
    assert not draw("bernoulli", shape=shape, dtype=dtype, p=0.0).any()
    assert draw("bernoulli", shape=shape, dtype=dtype, p=1.0).all()
    x = np.linspace(1, 2, 1000).astype(np.float32)
    assert np.array_equal(NUMPY_RULES("dropout", x, SEED, OFFSET, p=0.0), x)
    assert not NUMPY_RULES("dropout", x, SEED, OFFSET, p=1.0).any()


def test_dropout_keeps_the_mean() -> None:
    x = np.ones(50_000, np.float32)
    y = NUMPY_RULES("dropout", x, SEED, OFFSET, p=0.3)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs(y.mean() - 1) < 0.02


def test_randperm_is_a_permutation() -> None:
    x = draw("randperm", n=500)
    assert np.array_equal(np.sort(x), np.arange(500))
    assert not np.array_equal(x, np.arange(500))


def test_errors_say_what_is_wrong() -> None:
    i64 = TensorType(dtypes.int64, ())
    uniform, dropout = registry.OPS["uniform"], registry.OPS["dropout"]
    with pytest.raises(DTypeError, match="dtype must be floating-point, not i32"):
        uniform.infer(UniformAttrs((2,), dtypes.int32), i64, i64)
    with pytest.raises(DTypeError, match=r"seed must be i64, but is f32\[\]"):
        uniform.infer(UniformAttrs((2,), dtypes.float32), TensorType(dtypes.float32, ()), i64)
    with pytest.raises(ArgumentError, match=r"p must be in \[0, 1\], but is 1.5"):
        dropout.infer(DropoutAttrs(1.5), TensorType(dtypes.float32, (3,)), i64, i64)
