"""Time one training step of the digits network: smelt eager, smelt compiled, PyTorch eager.

    python -m benchmarks.digits [--steps 200] [--threads 2]

All do the same work on the same batch in one process, round-robin in blocks of steps, so that noise
of the machine meets them alike. Prints medians in milliseconds, and ratios.
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

BATCH = 64
BLOCK = 10


def network(framework: ModuleType) -> Any:
    """Return the network of examples/digits.py, made of `framework`'s modules."""
    nn = framework.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(32 * 4 * 4, 64),
        nn.SiLU(),
        nn.Linear(64, 10),
    )


def training_step(framework: ModuleType) -> Callable[[], None]:
    """Return a function that does one training step on a fixed batch."""
    model = network(framework)
    optimizer = framework.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    criterion = framework.nn.CrossEntropyLoss()
    generator = np.random.default_rng(0)
    images = framework.from_numpy(generator.random((BATCH, 1, 8, 8), np.float32))
    labels = framework.from_numpy(generator.integers(0, 10, BATCH))

    def step() -> None:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    smelt.set_num_threads(arguments.threads)
    steps = {
        "smelt eager": training_step(smelt),
        "smelt compiled": smelt.compile(training_step(smelt)),
    }
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it")
    else:
        torch.set_num_threads(arguments.threads)
        steps["PyTorch eager"] = training_step(torch)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(BLOCK):
            step()
    for _ in range(max(1, arguments.steps // BLOCK)):
        for name, step in steps.items():
            for _ in range(BLOCK):
                start = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - start)
    medians = {name: 1e3 * statistics.median(found) for name, found in times.items()}
    for name, milliseconds in medians.items():
        ratio = milliseconds / medians["smelt compiled"]
        print(f"{name:16} {milliseconds:8.3f} ms   {ratio:6.2f} x compiled")


if __name__ == "__main__":
    main()
