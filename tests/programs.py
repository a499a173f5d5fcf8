"""Random programs of tensors, and random steps of training, for `tests.fuzz`.

Their choices depend on the seed and on shapes, dtypes and aliasing alone, so that an eager run and
every compiled call take the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import smelt
from smelt import nn, optim

F = nn.functional
_SHAPES = ((3, 4), (4, 3), (4,), (3, 1), (1, 4), (2, 3, 4), (), (0, 4), (5,))
_DTYPES = ("float32",) * 6 + ("float64", "int64", "int32", "bool", "float16", "bfloat16")
_HALVES = ("float16", "bfloat16")


@dataclass
class Pool:
    """The tensors that a program works on, and what it has said so far.

    Attributes:
        rng: where its choices come from.
        tensors: what there is to choose from.
        text: one line for each step taken.
    """

    rng: random.Random
    tensors: list[Any]
    text: list[str] = field(default_factory=list)

    def pick(self, wanted: Callable[[Any], bool] = lambda t: True) -> Any:
        """Return one of the tensors that are wanted, or None."""
        found = [t for t in self.tensors if wanted(t)]
        return self.rng.choice(found) if found else None

    def name(self, tensor: Any) -> str:
        """Return how the text calls a tensor."""
        number = next((k for k, t in enumerate(self.tensors) if t is tensor), None)
        return "?" if number is None else f"t{number}"

    def add(self, tensor: Any, text: str) -> None:
        """Put a result into the pool."""
        self.text.append(f"t{len(self.tensors)} = {text}")
        self.tensors.append(tensor)


def is_float(t: Any) -> bool:
    """Tell whether a tensor may take any elementwise function."""
    return t.dtype.is_floating_point


def writable(t: Any) -> bool:
    """Tell whether an in-place operation on a tensor is allowed."""
    return all(s > 0 or n <= 1 for n, s in zip(t.shape, t.stride())) and not (
        t.is_leaf and t.requires_grad
    )


# Steps. Each looks for operands that fit; it does nothing where there are none.

_UNARY = (
    "exp", "sin", "cos", "tanh", "sigmoid", "relu", "abs", "neg", "square", "sqrt", "floor",
    "sign", "erf", "log1p", "reciprocal",
)  # fmt: skip
_BINARY = ("add", "sub", "mul", "maximum", "minimum", "atan2", "div")


def unary(p: Pool) -> None:
    """An elementwise function of one tensor."""
    x, name = p.pick(is_float), p.rng.choice(_UNARY)
    if x is not None:
        # Bounded, so that chains of functions stay where float32 is accurate.
        p.add(getattr(smelt, name)(x.clamp(0.1, 2.0)), f"{name}({p.name(x)}.clamp(0.1, 2.0))")


def binary(p: Pool) -> None:
    """An elementwise function of two tensors that broadcast."""
    name = p.rng.choice(_BINARY)
    x = p.pick()
    if x is None:
        return
    y = p.pick(lambda t: broadcast(x.shape, t.shape) and (is_float(t) or is_float(x)))
    if y is None:
        return
    p.text.append(f"{name}({p.name(x)}, {p.name(y)})")
    y = y.abs() + 0.5 if name == "div" and is_float(y) else y
    if name == "div" and not is_float(y):
        name = "add"
    p.text.pop()
    p.add(getattr(smelt, name)(x, y), f"{name}({p.name(x)}, .)")


def broadcast(a: Any, b: Any) -> bool:
    """Tell whether two shapes broadcast."""
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b)))


def integer(p: Pool) -> None:
    """Arithmetic that only integers have, at the ends of their range too."""
    x = p.pick(lambda t: t.dtype in (smelt.int64, smelt.int32))
    if x is None:
        return
    k = p.rng.choice((1, 2, 3, 7, 2**31 - 1))
    name, found = p.rng.choice(
        (
            ("+k > x", lambda: x + k > x),
            ("*k//k", lambda: (x * k) // k),
            ("% k", lambda: x % k),
            ("& k", lambda: x & k),
            ("<< >>", lambda: (x << 3) >> 2),
            ("float", lambda: x.to(smelt.float32) / 7),
            ("max", lambda: smelt.maximum(x + 1, -x)),
        )
    )
    p.add(found(), f"{p.name(x)} {name} (k={k})")


def view(p: Pool) -> None:
    """A view of a tensor."""
    x = p.pick()
    if x is None:
        return
    rank, k = x.dim(), p.rng.randrange(10)
    if k == 0:
        p.add(x.reshape(-1), f"{p.name(x)}.reshape(-1)")
    elif k == 1 and rank >= 2:
        p.add(x.transpose(0, rank - 1), f"{p.name(x)}.transpose(0, {rank - 1})")
    elif k == 2 and rank >= 1 and x.shape[0] > 0:
        at = p.rng.randrange(x.shape[0])
        p.add(x[at], f"{p.name(x)}[{at}]")
    elif k in (3, 4) and rank >= 1:
        start, step = p.rng.randrange(3), p.rng.choice((1, 1, 2))
        p.add(x[start::step], f"{p.name(x)}[{start}::{step}]")
    elif k == 5 and rank >= 2:
        p.add(x[..., 1:], f"{p.name(x)}[..., 1:]")
    elif k == 6:
        p.add(x.unsqueeze(0), f"{p.name(x)}.unsqueeze(0)")
    elif k == 7 and rank <= 2:
        p.add(x.expand(2, *x.shape), f"{p.name(x)}.expand(2, ...)")
    elif k == 8:
        p.add(x.detach(), f"{p.name(x)}.detach()")
    elif k == 9 and rank == 2:
        p.add(x.diagonal(), f"{p.name(x)}.diagonal()")


def write(p: Pool) -> None:
    """An in-place operation, on a view often enough."""
    x = p.pick(lambda t: writable(t) and is_float(t))
    if x is None:
        return
    k = p.rng.randrange(8)
    y = p.pick(lambda t: is_float(t) and t.shape == x.shape and t is not x)
    p.text.append(f"write {k} to {p.name(x)} from {p.name(y)}")
    if k == 0:
        x.add_(0.5)
    elif k == 1:
        x.mul_(0.5)
    elif k == 2 and y is not None:
        x.copy_(y)
    elif k == 3 and y is not None:
        x.add_(y.clamp(-2, 2) if y.dtype is x.dtype else y.clamp(-2, 2).to(x.dtype))
    elif k == 4 and x.dim() and x.shape[0]:
        x[p.rng.randrange(x.shape[0])] = p.rng.choice((0.0, 0.25, -1.0))
    elif k == 5 and x.dim() and x.shape[0] > 1:
        x[1:].mul_(0.75)
    elif k == 6:
        x.clamp_(-1.0, 1.0)
    elif k == 7:
        x.detach().sub_(0.125) if x.is_leaf else x.zero_()


def reduce(p: Pool) -> None:
    """A reduction, a scan or a softmax."""
    x = p.pick(lambda t: is_float(t) and t.dim() and t.numel())
    if x is None:
        return
    dim, k = p.rng.randrange(x.dim()), p.rng.randrange(9)
    tame = x.clamp(-2.0, 2.0)
    if k == 0:
        p.add(tame.sum(dim), f"{p.name(x)}.clamp.sum({dim})")
    elif k == 1:
        p.add(tame.mean(), f"{p.name(x)}.clamp.mean()")
    elif k == 2:
        p.add(tame.softmax(dim), f"{p.name(x)}.clamp.softmax({dim})")
    elif k == 3:
        p.add(x.amax(dim, keepdim=True), f"{p.name(x)}.amax({dim}, keepdim=True)")
    elif k == 4:
        p.add(tame.cumsum(dim), f"{p.name(x)}.clamp.cumsum({dim})")
    elif k == 5:
        p.add(x.argmax(dim), f"{p.name(x)}.argmax({dim})")
    elif k == 6:
        p.add(x.sort(dim).values, f"{p.name(x)}.sort({dim}).values")
    elif k == 7:
        p.add((x > 0).any(dim), f"({p.name(x)} > 0).any({dim})")
    else:
        p.add(tame.logsumexp(dim), f"{p.name(x)}.clamp.logsumexp({dim})")


def product(p: Pool) -> None:
    """A matrix product."""
    x = p.pick(lambda t: is_float(t) and t.dim() >= 2)
    if x is None:
        return
    y = p.pick(lambda t: t.dim() == 2 and t.dtype is x.dtype and t.shape[0] == x.shape[-1])
    if y is not None:
        p.add(x.clamp(-2, 2) @ y.clamp(-2, 2), f"{p.name(x)}.clamp @ {p.name(y)}.clamp")


def join(p: Pool) -> None:
    """Several tensors made one, or one by the choice of another."""
    x = p.pick(lambda t: t.dim() >= 1)
    y = None if x is None else p.pick(lambda t: t.shape == x.shape and t.dtype is x.dtype)
    if y is None:
        return
    k = p.rng.randrange(3)
    if k == 0:
        p.add(smelt.cat([x, y, x]), f"cat({p.name(x)}, {p.name(y)})")
    elif k == 1:
        p.add(smelt.stack([x, y], -1), f"stack({p.name(x)}, {p.name(y)})")
    else:
        p.add(smelt.where(x > 0, x, y), f"where({p.name(x)} > 0, ., {p.name(y)})")


def draw(p: Pool) -> None:
    """Random numbers."""
    shape, k = p.rng.choice(_SHAPES), p.rng.randrange(5)
    x = p.pick(lambda t: is_float(t) and writable(t))
    if k == 0:
        p.add(smelt.rand(*shape), f"rand{shape}")
    elif k == 1:
        p.add(smelt.randn(*shape, dtype=smelt.float64), f"randn{shape} f64")
    elif k == 2:
        p.add(smelt.randint(-5, 5, shape), f"randint{shape}")
    elif k == 3 and x is not None:
        p.add(F.dropout(x, 0.25), f"dropout({p.name(x)})")
    elif x is not None:
        x.uniform_(-1.0, 1.0) if not x.requires_grad else None
        p.text.append(f"{p.name(x)}.uniform_()")


def inner_gradient(p: Pool) -> None:
    """Gradients asked for inside: accumulated, or returned."""
    y = p.pick(lambda t: t.requires_grad and not t.is_leaf and is_float(t))
    leaf = p.pick(lambda t: t.requires_grad and t.is_leaf)
    if y is None or leaf is None:
        return
    if p.rng.randrange(2):
        p.text.append(f"{p.name(y)}.sum().backward(retain_graph=True)")
        y.sum().backward(retain_graph=True)
        return
    (found,) = smelt.autograd.grad(
        y.sum(), [leaf], allow_unused=True, retain_graph=True, create_graph=p.rng.random() < 0.3
    )
    if found is not None:
        p.add(found, f"grad({p.name(y)}, {p.name(leaf)})")


_STEPS = (unary, unary, binary, binary, view, view, view, write, write, reduce, product, join, draw,
          integer, inner_gradient)  # fmt: skip


def random_program(seed: int, inputs: list[Any], steps: int) -> tuple[list[Any], Pool]:
    """Run the program of `seed` on `inputs`; return what it gives back, and how it went."""
    rng = random.Random(seed)
    pool = Pool(rng, list(inputs))
    for _ in range(steps):
        step = rng.choice(_STEPS)
        if rng.random() < 0.1:
            pool.text.append("no_grad:")
            with smelt.no_grad():
                step(pool)
        else:
            step(pool)
    given = [t for t in pool.tensors[len(inputs) :] if rng.random() < 0.5]
    pool.text.append("return " + ", ".join(pool.name(t) for t in given))
    return given, pool


def random_inputs(seed: int) -> list[Any]:
    """Return arguments: tensors of many shapes and dtypes, some of them views of one another."""
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    made: list[Any] = []
    for _ in range(rng.randrange(2, 5)):
        shape = rng.choice(_SHAPES)
        dtype = getattr(smelt, rng.choice(_DTYPES))
        drawn = numbers.standard_normal(shape) * 2
        x = smelt.tensor(np.asarray(drawn)).to(dtype)
        if dtype in (smelt.int64, smelt.int32) and x.numel() and x.dim():
            ends = np.iinfo(dtype.numpy)
            x[0] = rng.choice((ends.max, ends.min, 0))
        kind = rng.randrange(5)
        if kind == 0 and dtype.is_floating_point:
            x.requires_grad_()
        elif kind == 1 and x.dim() >= 2:
            x = x.transpose(0, 1)
        elif kind == 2 and x.dim() and x.shape[0] > 2:
            made.append(x[1:])
        elif kind == 3 and made:
            x = rng.choice(made)
        made.append(x)
    return made


# Training


def random_training(seed: int) -> Callable[[int], list[Any]]:
    """Return a step of training: called with its number, it gives loss, parameters and state."""
    rng = random.Random(seed)
    smelt.manual_seed(seed)
    # Adam divides by gradients; those of a bias before batch normalisation are rounding alone.
    normalised = rng.random() < 0.5
    kinds: list[Callable[[], nn.Module]] = [
        nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU, lambda: nn.Dropout(0.2), lambda: nn.LayerNorm(6),
        lambda: nn.Linear(6, 6),
    ]  # fmt: skip
    if normalised:
        kinds += [lambda: nn.BatchNorm1d(6), lambda: nn.BatchNorm1d(6, momentum=None)]
    layers = [nn.Linear(4, 6), *[rng.choice(kinds)() for _ in range(rng.randrange(1, 4))]]
    model = nn.Sequential(*layers, nn.Linear(6, 3))
    parameters = list(model.parameters())
    rate = rng.choice((0.01, 0.05))
    optimisers: list[Callable[[], optim.Optimizer]] = [
        lambda: optim.SGD(parameters, lr=rate),
        lambda: optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=0.01),
        lambda: optim.SGD(parameters, lr=rate, momentum=0.5, nesterov=True),
    ]
    if not normalised:
        optimisers += [
            lambda: optim.Adam(parameters, lr=rate),
            lambda: optim.AdamW(parameters, lr=rate, amsgrad=True),
        ]
    optimiser = rng.choice(optimisers)()
    set_to_none, clip, twice = rng.random() < 0.7, rng.random() < 0.3, rng.random() < 0.3
    schedule = optim.lr_scheduler.StepLR(optimiser, 2, 0.5) if rng.random() < 0.3 else None
    data = smelt.randn(12, 4)
    target = smelt.randint(0, 3, (12,))

    def step(number: int) -> list[Any]:
        size = 4 if number % 3 else 6
        x, y = data[number : number + size], target[number : number + size]
        optimiser.zero_grad(set_to_none=set_to_none)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if twice:
            model(x * 2).square().mean().backward()
        if clip:
            nn.utils.clip_grad_norm_(parameters, 0.5)
        optimiser.step()
        if schedule is not None:
            schedule.step()
        state = [v for s in optimiser.state.values() for v in s.values() if v is not None]
        return [loss.detach(), *model.state_dict().values(), *state, *[q.grad for q in parameters]]

    return step
