"""The tape and its engine: accumulation, freeing, hooks, modes, higher derivatives."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
import smelt
from smelt.autograd import grad


def leaf(*values: float) -> smelt.Tensor:
    return smelt.tensor([float(v) for v in values], requires_grad=True)


def test_gradients_accumulate_in_place() -> None:
    x = leaf(1, 2)
    (x * x).sum().backward()
    held = x.grad
    (x * x).sum().backward()
    assert x.grad is held
    assert held.tolist() == [4, 8]
    x.grad.zero_()
    assert held.tolist() == [0, 0]


def test_gradients_of_two_leaves_do_not_share_memory() -> None:
    x, y = leaf(1), leaf(1)
    (x + y).sum().backward()
    x.grad.add_(1)
    assert y.grad.item() == 1


def test_diamond() -> None:
    x = leaf(3)
    y = x * x
    z = y + y * x
    z.backward(smelt.ones(1))
    assert x.grad.item() == 2 * 3 + 3 * 9


def test_second_backward_needs_what_the_first_freed() -> None:
    x = leaf(2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    z = (x + x).sum()
    z.backward()
    z.backward()  # nothing was saved
    w = (x * x).sum()
    w.backward(retain_graph=True)
    w.backward()


def test_backward_asks_for_what_is_missing() -> None:
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        smelt.ones(1).backward()
    with pytest.raises(RuntimeError, match=r"shape \[3\].*shape \[2\]"):
        (x * 2).backward(smelt.ones(3))


def test_inputs_limits_where_gradients_go() -> None:
    x, y = leaf(1), leaf(2)
    z = x * y
    (z * z).sum().backward(inputs=[x])
    assert y.grad is None and x.grad.item() == 8
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * y).sum().backward(inputs=[])


def test_grad_returns_and_does_not_accumulate() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    z = (x * y).sum()
    gx, gy = grad(z, (x, y), retain_graph=True)
    assert gx.tolist() == [3, 4] and gy.tolist() == [1, 2]
    assert x.grad is None
    other = leaf(1)
    with pytest.raises(RuntimeError, match="not used"):
        grad(z, (x, other), retain_graph=True)
    assert grad(z, (x, other), allow_unused=True, retain_graph=True)[1] is None
    assert grad(z, (other,), materialize_grads=True)[0].tolist() == [0]


def test_grad_with_respect_to_an_inner_tensor() -> None:
    x = leaf(2)
    y = x * x
    z = (y * y).sum()
    assert grad(z, y)[0].item() == 8


def test_double_backward() -> None:
    x = leaf(0.5, 2)
    y = (x**3).sum()
    (g,) = grad(y, x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), [0.75, 12])
    (h,) = grad(g.sum(), x, create_graph=True)
    np.testing.assert_allclose(h.detach().numpy(), [3, 12])
    (third,) = grad(h.sum(), x)
    np.testing.assert_allclose(third.numpy(), [6, 6])


def test_backward_with_create_graph() -> None:
    x = leaf(2)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    penalty = (x.grad * x.grad).sum()
    assert grad(penalty, x)[0].item() == 2 * 12 * 12


def test_hooks_observe_and_replace() -> None:
    x = leaf(1, 2)
    seen = []
    y = x * 2
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert seen == [[1, 1]]
    assert x.grad.tolist() == [21, 21]
    handle.remove()
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        smelt.ones(1).register_hook(print)


def test_hook_must_keep_the_shape() -> None:
    x = leaf(1, 2)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="replaced a gradient of shape"):
        (x * 2).sum().backward()


def test_hooks_on_nodes_and_after_accumulation() -> None:
    x = leaf(1, 2)
    y = (x * 3).sum()
    y.grad_fn.register_hook(lambda gi, go: tuple(g * 2 for g in gi))
    done = []
    handle = x.register_post_accumulate_grad_hook(lambda t: done.append(t.grad.tolist()))
    y.backward()
    assert done == [[6, 6]]
    handle.remove()
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_retain_grad() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [4, 8]
    assert (x * 2).grad is None


def test_modes() -> None:
    x = leaf(1)
    with smelt.no_grad():
        assert not smelt.is_grad_enabled()
        assert not (x * 2).requires_grad
        with smelt.enable_grad():
            assert (x * 2).requires_grad
    assert smelt.is_grad_enabled()

    @smelt.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    with smelt.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @smelt.no_grad
    def triple(t):
        return t * 3

    assert not triple(x).requires_grad

    @smelt.no_grad()
    def steps():
        yield (x * 2).requires_grad

    assert list(steps()) == [False]
    with smelt.inference_mode():
        y = x * 2
    assert y.is_inference() and not y.requires_grad


def test_modes_are_the_threads_own() -> None:
    seen = []
    with smelt.no_grad():
        worker = threading.Thread(target=lambda: seen.append(smelt.is_grad_enabled()))
        worker.start()
        worker.join()
    assert seen == [True]


def test_detach_and_requires_grad() -> None:
    x = leaf(1)
    y = x * 2
    assert not y.detach().requires_grad
    with pytest.raises(RuntimeError, match="leaf variables"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match="floating point"):
        smelt.arange(2).requires_grad_()
    assert y.detach_().is_leaf
    with pytest.raises(RuntimeError, match="numpy"):
        x.numpy()


def test_grad_can_be_set_and_is_checked() -> None:
    x = leaf(1, 2)
    x.grad = smelt.ones(2)
    x.grad = None
    assert x.grad is None
    with pytest.raises(RuntimeError, match="shape"):
        x.grad = smelt.ones(3)
    with pytest.raises(TypeError):
        x.grad = 1.0


def test_grad_fn_names_and_edges() -> None:
    x = leaf(1, 2)
    y = x * 2 + 1
    assert y.grad_fn.name() == "AddBackward0"
    assert repr(y.grad_fn).startswith("<AddBackward0 object at 0x")
    (product, _), _ = y.grad_fn.next_functions
    assert product.name() == "MulBackward0"
    assert product.next_functions[0][0].variable is x
    assert x.grad_fn is None


def test_the_tape_is_freed_without_the_collector() -> None:
    x = leaf(1, 2)
    y = x.exp()  # saves its result
    reference = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert reference() is None
    finally:
        gc.enable()


def test_a_long_tape() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1
    y.backward(smelt.ones(1))
    assert x.grad.item() == 1


def test_anomaly_names_the_operation() -> None:
    x = leaf(0.0)
    with smelt.autograd.detect_anomaly(), pytest.raises(RuntimeError, match=r"SqrtBackward0.*nan"):
        (x.sqrt() * 0).sum().backward()


def test_compiled_programs_attach() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    out = smelt.tensor((x.detach() * y.detach()).numpy())
    calls = []

    def backward(cotangents):
        calls.append(len(cotangents))
        return [cotangents[0] * y.detach().numpy(), None]

    smelt.autograd.attach([out], [x, y], backward, "CompiledBackward")
    (out * 2).sum().backward()
    assert x.grad.tolist() == [6, 8] and y.grad is None and calls == [1]
    with pytest.raises(RuntimeError, match="second time"):
        out.sum().backward()


class Cube(smelt.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return g * 3 * x * x * ctx.scale, None


def test_custom_function() -> None:
    x = smelt.tensor([1.0, 2.0], dtype=smelt.float64, requires_grad=True)
    y = Cube.apply(x, 2.0)
    assert y.grad_fn.name() == "CubeBackward"
    assert smelt.autograd.gradcheck(lambda t: Cube.apply(t, 2.0), (x,))
    assert smelt.autograd.gradgradcheck(lambda t: Cube.apply(t, 2.0), (x,))
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_custom_function_with_setup_context() -> None:
    class Double(smelt.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2, x.detach() > 0

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.mark_non_differentiable(output[1])

        @staticmethod
        @smelt.autograd.once_differentiable
        def backward(ctx, g, _):
            return g * 2

    x = leaf(1, -1)
    y, mask = Double.apply(x)
    assert mask.tolist() == [True, False] and not mask.requires_grad
    (g,) = grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [2, 2]


def test_custom_function_refuses_overwritten_values() -> None:
    x = leaf(1, 2)
    z = x * 1
    y = Cube.apply(z, 1.0)
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


def test_gradcheck_finds_a_wrong_gradient() -> None:
    class Wrong(smelt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g

    x = smelt.tensor([2.0], dtype=smelt.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        smelt.autograd.gradcheck(Wrong.apply, (x,))
    assert not smelt.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)
    with pytest.raises(ValueError, match="float64"):
        smelt.autograd.gradcheck(Wrong.apply, (leaf(1),))


def test_derivatives_of_functions() -> None:
    from smelt.autograd.functional import hessian, jacobian, jvp, vjp

    x, y = smelt.tensor([1.0, 2.0]), smelt.tensor([3.0])

    def f(a, b):
        return a * a * b, a.sum()

    (first, second), (third, fourth) = jacobian(f, (x, y))
    assert first.tolist() == [[6, 0], [0, 12]] and second.tolist() == [[1], [4]]
    assert third.tolist() == [1, 1] and fourth.tolist() == [0]
    outputs, pulled = vjp(lambda a: a * a, x, smelt.tensor([1.0, 10.0]))
    assert outputs.tolist() == [1, 4] and pulled.tolist() == [2, 40]
    _, pushed = jvp(lambda a: smelt.stack([a.sum(), a.prod()]), x, smelt.tensor([1.0, 10.0]))
    assert pushed.tolist() == [11, 12]
    assert hessian(lambda a: (a**3).sum(), x).tolist() == [[6, 0], [0, 12]]


def test_a_broadcast_operand_written_after_it_was_saved_is_noticed() -> None:
    x, w = smelt.ones(2, 3).requires_grad_(), smelt.ones(3)
    y = x * w
    w.mul_(5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
