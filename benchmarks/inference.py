"""Time a linear layer in inference: smelt eager, smelt compiled, PyTorch eager.

    python -m benchmarks.inference [--calls 200] [--threads 2]

Weights are packed at the first compiled call and used again by the others, which shows most where a
few rows meet many weights. All do the same work in one process, round-robin in blocks of calls.
Prints medians in microseconds for each width and batch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import smelt

BLOCK = 10
SHAPES = ((256, 256), (1024, 1024), (768, 3072))
BATCHES = (1, 4, 16, 64)


def layer(framework: ModuleType, inputs: int, outputs: int, batch: int) -> tuple[Any, Any]:
    """Return (linear layer, batch of inputs) of a framework, of the same values for each."""
    generator = np.random.default_rng(0)
    module = framework.nn.Linear(inputs, outputs).eval()
    weights = generator.standard_normal((outputs, inputs)).astype(np.float32)
    with framework.no_grad():
        module.weight.copy_(framework.from_numpy(weights))
        module.bias.zero_()
    return module, framework.from_numpy(generator.random((batch, inputs), np.float32))


def rivals(inputs: int, outputs: int, batch: int) -> dict[str, Callable[[], Any]]:
    """Return what is compared, by name."""
    module, x = layer(smelt, inputs, outputs, batch)
    compiled = smelt.compile(module)

    def without_gradients(function: Callable[[Any], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with smelt.no_grad():
                return function(x)

        return call

    found = {"eager": without_gradients(module), "compiled": without_gradients(compiled)}
    try:
        import torch
    except ModuleNotFoundError:
        return found
    torch.set_num_threads(smelt.get_num_threads())
    other, y = layer(torch, inputs, outputs, batch)

    def call_torch() -> Any:
        with torch.no_grad():
            return other(y)

    return {**found, "torch": call_torch}


def medians(functions: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    """Return the median time of a call of each function, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(0, calls, BLOCK):
        for name, function in functions.items():
            for _ in range(BLOCK):
                start = time.perf_counter()
                function()
                times[name].append(1e6 * (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--threads", type=int, default=smelt.get_num_threads())
    arguments = parser.parse_args()
    smelt.set_num_threads(arguments.threads)
    for inputs, outputs in SHAPES:
        for batch in BATCHES:
            found = medians(rivals(inputs, outputs, batch), arguments.calls)
            row = "  ".join(f"{name} {t:8.1f}" for name, t in found.items())
            print(f"{inputs:5} -> {outputs:5}, batch {batch:3}:  {row}")


if __name__ == "__main__":
    main()
