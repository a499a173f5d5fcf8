"""Weights are packed once for inference, and again exactly when they have changed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import nn, optim
from smelt.runtime import Executable

X = smelt.linspace(-1.0, 1.0, 8 * 64).reshape(8, 64)


class Derivations:
    """Counts how often something was derived that is kept."""

    def __init__(self) -> None:
        self.count = 0

    def since(self) -> int:
        """Return the count, and begin again."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> Derivations:
    counter = Derivations()
    derive = Executable.derive

    def counted(*args: Any) -> Any:
        counter.count += 1
        return derive(*args)

    monkeypatch.setattr(Executable, "derive", counted)
    return counter


def linear(seed: int = 0, bias: bool = True) -> nn.Linear:
    smelt.manual_seed(seed)
    return nn.Linear(64, 96, bias)


def agree(module: Callable[[Any], Any], compiled: Callable[[Any], Any], x: Any = X) -> None:
    """Assert that a compiled module gives what the module gives, without gradients."""
    with smelt.no_grad():
        expected, found = module(x), compiled(x)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-5, atol=2e-6)


def test_weights_are_packed_once(derivations: Derivations) -> None:
    module = linear()
    compiled = smelt.compile(module)
    for _ in range(4):
        agree(module, compiled)
    assert derivations.since() == 1
    agree(module, compiled, X + 1)
    assert derivations.since() == 0


def test_one_native_call_a_step_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Executable] = []
    run = Executable.run

    def noted(self: Executable, *args: Any) -> Any:
        found.append(self)
        return run(self, *args)

    monkeypatch.setattr(Executable, "run", noted)
    module = linear()
    compiled = smelt.compile(module)
    for _ in range(5):
        agree(module, compiled)
    assert len(set(map(id, found))) == 1
    assert found[0].derivations == 1
    assert found[0].native_calls == 6


def sgd_step(module: nn.Linear) -> None:
    optimiser = optim.SGD(module.parameters(), lr=0.5)
    module(X).square().mean().backward()
    optimiser.step()


def compiled_step(module: nn.Linear) -> None:
    optimiser = optim.Adam(module.parameters(), lr=0.1)

    @smelt.compile
    def step() -> None:
        optimiser.zero_grad()
        module(X).square().mean().backward()
        optimiser.step()

    step()


def in_place(module: nn.Linear) -> None:
    with smelt.no_grad():
        module.weight.mul_(2).add_(0.25)


def one_element(module: nn.Linear) -> None:
    with smelt.no_grad():
        module.weight[3, 5] = 7.0


def through_data(module: nn.Linear) -> None:
    module.weight.data += 1


def new_data(module: nn.Linear) -> None:
    module.weight.data = smelt.full((96, 64), 0.125)


def new_parameter(module: nn.Linear) -> None:
    module.weight = nn.Parameter(smelt.full((96, 64), 0.25))


def state_dict(module: nn.Linear) -> None:
    module.load_state_dict(linear(9).state_dict())


def through_a_view(module: nn.Linear) -> None:
    module.weight.detach()[10:20].fill_(3.0)


def compiled_write(module: nn.Linear) -> None:
    with smelt.no_grad():
        smelt.compile(lambda w: w.mul_(-1))(module.weight)


def initialised(module: nn.Linear) -> None:
    nn.init.normal_(module.weight)


CHANGES = [
    sgd_step, compiled_step, in_place, one_element, through_data, new_data, new_parameter,
    state_dict, through_a_view, compiled_write, initialised,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_write_is_seen(change: Callable[[Any], None], derivations: Derivations) -> None:
    module = linear()
    compiled = smelt.compile(module)
    agree(module, compiled)
    before = compiled(X).detach().numpy().copy()
    derivations.since()
    change(module)
    agree(module, compiled)
    assert derivations.since() == 1
    with smelt.no_grad():
        assert not np.allclose(compiled(X).numpy(), before)
    agree(module, compiled)
    assert derivations.since() == 0


@pytest.mark.parametrize("how", ["numpy", "asarray", "dlpack"])
def test_writes_by_numpy_are_seen(how: str, derivations: Derivations) -> None:
    module = linear()
    compiled = smelt.compile(module)
    agree(module, compiled)
    match how:
        case "numpy":
            memory = module.weight.detach().numpy()
        case "asarray":
            memory = np.asarray(module.weight.detach())
        case _:
            memory = np.from_dlpack(module.weight.detach())
            if not memory.flags.writeable:
                pytest.skip("this NumPy imports read-only")
    for value in (1.0, 2.0, 3.0):
        memory[...] = value
        agree(module, compiled)
    # Where NumPy looks on, nothing is kept.
    assert derivations.since() == 1


def test_weights_over_an_array_follow_it() -> None:
    array = np.full((96, 64), 0.5, np.float32)
    module = linear()
    module.weight = nn.Parameter(smelt.from_numpy(array))
    compiled = smelt.compile(module)
    for value in (0.5, 1.5, -1.0):
        array[...] = value
        agree(module, compiled)


def test_another_tensor_at_the_same_place(derivations: Derivations) -> None:
    module = linear(bias=False)
    compiled = smelt.compile(module)
    for value in range(6):
        # The pool gives the memory of the one before to the next.
        module.weight = None
        gc.collect()
        module.weight = nn.Parameter(smelt.full((96, 64), float(value)))
        agree(module, compiled)
        agree(module, compiled)
    assert derivations.since() == 6


def test_modules_that_share_a_program_keep_their_own(derivations: Derivations) -> None:
    modules = [linear(seed) for seed in range(3)]

    @smelt.compile
    def apply(module: nn.Linear, x: Any) -> Any:
        return module(x)

    for _ in range(3):
        for module in modules:
            agree(module, lambda x, m=module: apply(m, x))
    assert len(apply.graphs) == 1
    assert derivations.since() == 3


def test_what_was_derived_goes_with_the_weights() -> None:
    @smelt.compile
    def apply(module: nn.Linear, x: Any) -> Any:
        return module(x)

    modules = [linear()]
    agree(modules[0], lambda x: apply(modules[0], x))
    (segment,) = [end for step in _steps(apply._root) for end in step.ends.values()]
    assert len(segment.kept._found) == 1
    modules.clear()
    gc.collect()
    assert len(segment.kept._found) == 0


def _steps(step: Any) -> list[Any]:
    return [step, *(s for edge in step.edges.values() for s in _steps(edge))]


def test_threads_get_whole_weights() -> None:
    module = linear()
    compiled = smelt.compile(module)
    agree(module, compiled)
    with smelt.no_grad():
        expected = module(X).numpy().copy()
    wrong: list[Any] = []
    for _ in range(5):
        module.weight._storage.epoch += 1
        barrier = threading.Barrier(4)

        def call(barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            with smelt.no_grad():
                for _ in range(20):
                    found = compiled(X).numpy()
                    if not np.allclose(found, expected, rtol=2e-5, atol=2e-6):
                        wrong.append(found)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_whole_networks(derivations: Derivations) -> None:
    smelt.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 32, 3, stride=2), nn.GELU(),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.Tanh(), nn.Linear(64, 80),
    ).eval()  # fmt: skip
    compiled = smelt.compile(network)
    images = smelt.randn(5, 3, 9, 10)[..., :9]
    for _ in range(3):
        agree(network, compiled, images)
    assert derivations.since() == 1


def test_half_weights() -> None:
    module = linear().to(smelt.bfloat16)
    compiled = smelt.compile(module)
    x = X.to(smelt.bfloat16)
    with smelt.no_grad():
        for _ in range(2):
            expected, found = module(x), compiled(x)
            np.testing.assert_allclose(
                found.float().numpy(), expected.float().numpy(), rtol=2e-2, atol=2e-2
            )


def test_nothing_is_kept_in_training(derivations: Derivations) -> None:
    module = linear()
    optimiser = optim.SGD(module.parameters(), lr=0.1)

    @smelt.compile
    def step(x: Any) -> Any:
        optimiser.zero_grad()
        loss = module(x).square().mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    losses = [step(X).item() for _ in range(3)]
    assert losses[2] < losses[0]
    smelt.compile(module)(X).sum().backward()
    assert derivations.since() == 0


def test_arguments_are_not_weights(derivations: Derivations) -> None:
    product = smelt.compile(lambda a, b: a @ b)
    for seed in range(3):
        smelt.manual_seed(seed)
        a, b = smelt.randn(32, 64), smelt.randn(64, 96)
        np.testing.assert_allclose(
            product(a, b).numpy(), a.numpy() @ b.numpy(), rtol=1e-4, atol=1e-4
        )
    assert derivations.since() == 0
