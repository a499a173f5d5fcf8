"""Initial values: fans, gains, the moments of draws, and what each scheme promises."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest


def test_gains_and_mistakes(m: ModuleType) -> None:
    init = m.nn.init
    for name in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu"):
        assert init.calculate_gain(name) > 0
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    with pytest.raises(ValueError):
        init.calculate_gain("none such")
    for scheme in (init.xavier_uniform_, init.kaiming_normal_, init.orthogonal_):
        with pytest.raises(ValueError):
            scheme(m.zeros(3))
    for scheme in (init.eye_, lambda x: init.sparse_(x, 0.5)):
        with pytest.raises(ValueError):
            scheme(m.zeros(2, 2, 2))
    with pytest.raises(ValueError):
        init.dirac_(m.zeros(2, 2))
    with pytest.raises(ValueError):
        init.kaiming_uniform_(m.zeros(2, 2), mode="fan_sideways")


# The standard error of the deviation of n draws is about 1 / sqrt(2 n): 0.4 % here.
@pytest.mark.parametrize(
    "scheme, deviation",
    [
        ("uniform_", 1 / math.sqrt(12)), ("normal_", 1.0), ("xavier_uniform_", 0.1),
        ("xavier_normal_", 0.1), ("kaiming_uniform_", 1 / math.sqrt(75)),
        ("kaiming_normal_", 1 / math.sqrt(75)), ("trunc_normal_", 0.87962566),
    ],
)  # fmt: skip
def test_deviations(m: ModuleType, scheme: str, deviation: float) -> None:
    m.manual_seed(0)
    weight = m.empty(50, 150, 5).requires_grad_()
    weight = m.empty(50, 30, 5).requires_grad_() if "xavier" in scheme else weight
    weight = m.empty(200, 30, 5).requires_grad_() if "kaiming" in scheme else weight
    assert getattr(m.nn.init, scheme)(weight) is weight
    fan_in, fan_out = 150, 250
    expected = math.sqrt(2 / (fan_in + fan_out)) if "xavier" in scheme else deviation
    expected = math.sqrt(2 / 150) if "kaiming" in scheme else expected
    found = weight.detach().numpy()
    assert abs(found.std() / expected - 1) < 5 / math.sqrt(2 * found.size)
    assert weight.is_leaf and weight.requires_grad


@pytest.mark.filterwarnings("ignore:mean is more than 2 std:UserWarning")
def test_truncated_draws_stay_within(m: ModuleType) -> None:
    for a, b in [(-1.0, 0.5), (2.0, 2.5), (4.0, 4.1), (-9.0, -6.0)]:
        found = m.nn.init.trunc_normal_(m.empty(500), 0.0, 1.0, a, b).numpy()
        assert (found >= a).all() and (found <= b).all() and found.std() > 0


def test_matrices(m: ModuleType) -> None:
    init = m.nn.init
    np.testing.assert_array_equal(init.eye_(m.empty(2, 3)).numpy(), np.eye(2, 3))
    for shape in [(3, 5), (5, 3), (4, 2, 2)]:
        q = init.orthogonal_(m.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
        gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)
    sparse = init.sparse_(m.empty(10, 4), 0.3).numpy()
    assert ((sparse == 0).sum(0) == 3).all()
    x = m.tensor(np.random.default_rng(0).normal(size=(1, 4, 6)).astype(np.float32))
    weight = init.dirac_(m.empty(4, 2, 3), groups=2)
    kept = m.nn.functional.conv1d(x, weight, padding=1, groups=2)
    np.testing.assert_allclose(kept.numpy(), x.numpy(), atol=1e-6)
    assert init.ones_(m.empty(2)).tolist() == [1, 1] and init.zeros_(m.empty(1)).tolist() == [0]
    assert init.constant_(m.empty(1), 2.5).tolist() == [2.5]
