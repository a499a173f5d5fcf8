"""Random programs, run eagerly and compiled: values, gradients, mutation, aliasing, random state.

    python -m tests.fuzz --minutes 10 --seed 0      # prints a program for each difference found

A program is a list of steps over a pool of tensors: views, in-place writes, elementwise functions,
reductions, products, random draws, and gradients; or a step of training. What is compared are all
tensors that the function was given or gives back, the gradients that arrive inside and outside,
which tensors share memory, and where the random stream stands.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import smelt
from smelt.ir.errors import TraceError

from tests.programs import Pool, random_inputs, random_program, random_training


class Difference(Exception):
    """Eager and compiled runs do not agree."""


def compare(what: str, eager: Any, compiled: Any, scale: float = 1.0) -> None:
    """Raise `Difference` unless two tensors agree in everything that a user can see."""
    if eager is None or compiled is None:
        if eager is not compiled:
            raise Difference(f"{what}: None against a tensor")
        return
    for part in ("dtype", "shape", "requires_grad", "is_leaf"):
        a, b = getattr(eager, part), getattr(compiled, part)
        if a != b:
            raise Difference(f"{what}: {part} is {a} eagerly, {b} compiled")
    if eager.stride() != compiled.stride() and eager.numel():
        raise Difference(f"{what}: strides {eager.stride()} eagerly, {compiled.stride()} compiled")
    a, b = (t.detach().to(smelt.float64).numpy() for t in (eager, compiled))
    tolerance = {"float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-9}.get(eager.dtype.name, 1e-4)
    if not eager.dtype.is_floating_point:
        if not np.array_equal(eager.detach().numpy(), compiled.detach().numpy()):
            raise Difference(f"{what}: {eager} eagerly, {compiled} compiled")
    elif not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        raise Difference(f"{what}: {eager} eagerly, {compiled} compiled")


def shared(tensors: list[Any]) -> list[int]:
    """Return for each tensor the first one with which it shares its storage."""
    found = [t.untyped_storage().data_ptr() if t.numel() else -1 - k for k, t in enumerate(tensors)]
    return [found.index(address) for address in found]


def total(tensors: list[Any]) -> Any:
    """Return the sum of all elements of all tensors."""
    return sum([t.sum() for t in tensors])


def outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return what a call gives, and what it raises."""
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001 - it is compared, not swallowed
        return None, error


def check_program(seed: int, steps: int = 12, calls: int = 2) -> None:
    """Run one random program both ways; what capture refuses is left out.

    Raises:
        Difference: they do not agree.
    """
    texts: list[Pool] = []

    def program(inputs: list[Any]) -> list[Any]:
        given, pool = random_program(seed, inputs, steps)
        texts.append(pool)
        return given

    compiled = smelt.compile(program)
    for call in range(calls):
        runs: list[tuple[list[Any], Any, Exception | None, int]] = []
        for function in (program, compiled):
            inputs = random_inputs(seed)
            smelt.manual_seed(seed + call)
            found, error = outcome(lambda f=function, i=inputs: f(i))
            runs.append((inputs, found, error, smelt.rand(1).item()))
        (x, a, failed, stream), (y, b, failed_too, stream_too) = runs
        if isinstance(failed_too, TraceError):
            return
        described = "\n  ".join(texts[0].text) if texts else ""
        try:
            if "modified by an inplace operation" in str(failed):
                return  # a compiled function keeps what it saved: it has the gradient
            if type(failed) is not type(failed_too):
                raise Difference(f"{failed!r} eagerly, {failed_too!r} compiled") from failed_too
            if failed is not None:
                continue
            if stream != stream_too:
                raise Difference("the random stream stands elsewhere")
            eager, found = [*x, *a], [*y, *b]
            if shared(eager) != shared(found):
                raise Difference(f"sharing: {shared(eager)} eagerly, {shared(found)} compiled")
            for k, (p, q) in enumerate(zip(eager, found)):
                compare(f"tensor {k}", p, q)
                if p.is_leaf:
                    compare(f"gradient of {k}", p.grad, q.grad, 10.0)
            ends = [k for k, t in enumerate(eager) if t.requires_grad and not t.is_leaf]
            if ends:
                results = [
                    outcome(lambda ys=[ts[k] for k in ends]: total(ys).backward())
                    for ts in (eager, found)
                ]
                if "modified by an inplace operation" in str(results[0][1]):
                    continue
                if type(results[0][1]) is not type(results[1][1]):
                    raise Difference(f"backward: {results[0][1]!r} against {results[1][1]!r}")
                for k, (p, q) in enumerate(zip(eager, found)):
                    if p.is_leaf:
                        compare(f"outer gradient of {k}", p.grad, q.grad, 10.0)
        except Difference as error:
            raise Difference(f"program {seed}, call {call}: {error}\n  {described}") from error


def check_training(seed: int, calls: int = 4) -> None:
    """Train a random model both ways.

    Raises:
        Difference: they do not agree.
    """
    eager, plain = random_training(seed), random_training(seed)
    compiled = smelt.compile(plain)
    for number in range(calls):
        smelt.manual_seed(number)
        a = eager(number)
        smelt.manual_seed(number)
        b = compiled(number)
        for k, (p, q) in enumerate(zip(a, b, strict=True)):
            try:
                # Adam divides by gradients that may be zero but for rounding.
                compare(f"step {number}, tensor {k}", p, q, 50.0)
            except Difference as error:
                raise Difference(f"training {seed}: {error}") from error


def differences(seed: int) -> list[str]:
    """Try the program of a seed; return what it does differently when compiled."""
    try:
        if seed % 6 == 5:
            check_training(seed)
        else:
            check_program(seed)
    except Difference as error:
        return [str(error)]
    except Exception:  # noqa: BLE001 - a crash is a finding too
        return [f"seed {seed} crashed:\n{traceback.format_exc()}"]
    return []


def main() -> int:
    """Fuzz for some minutes, and print what differed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stop, seed, count = time.monotonic() + 60 * options.minutes, options.seed, 0
    while time.monotonic() < stop:
        for difference in differences(seed):
            print(difference, end="\n\n")
            count += 1
        seed += 1
    print(f"{seed - options.seed} programs, {count} differences")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
