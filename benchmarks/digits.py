"""Time one training step of the digits network: smelt eager, smelt compiled, PyTorch eager.

    python -m benchmarks.digits [--steps 300] [--threads 2] [--rounds 3]

Every contender does the same work on the same batch, in a process of its own: thread pools that
spin for a while after their work would take the cores from the next one. Processes take turns, so
that noise of the machine meets all alike. Prints medians in milliseconds, and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import smelt

BATCH = 64
WARM_UP = 30
CONTENDERS = ("smelt eager", "smelt compiled", "PyTorch eager")


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


def contender(name: str) -> Callable[[], None]:
    """Return the training step of a contender."""
    if name == "PyTorch eager":
        import torch

        return training_step(torch)
    step = training_step(smelt)
    return smelt.compile(step) if name == "smelt compiled" else step


def median_step(name: str, steps: int, threads: int) -> float:
    """Return the median time of a step in milliseconds."""
    step = contender(name)
    if name == "PyTorch eager":
        import torch

        torch.set_num_threads(threads)
    else:
        smelt.set_num_threads(threads)
    for _ in range(WARM_UP):
        step()
    times: list[float] = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS, help="run this one here and print it")
    arguments = parser.parse_args()
    if arguments.contender is not None:
        print(median_step(arguments.contender, arguments.steps, arguments.threads))
        return
    names = [n for n in CONTENDERS if n != "PyTorch eager" or find_spec("torch") is not None]
    if len(names) < len(CONTENDERS):
        print("PyTorch is not installed: no comparison with it")
    found: dict[str, list[float]] = {name: [] for name in names}
    command = [sys.executable, "-m", "benchmarks.digits", "--steps", str(arguments.steps)]
    command += ["--threads", str(arguments.threads)]
    for _ in range(arguments.rounds):
        for name in names:
            ran = subprocess.run(
                [*command, "--contender", name], check=True, capture_output=True, text=True
            )
            found[name].append(float(ran.stdout))
    medians = {name: statistics.median(times) for name, times in found.items()}
    for name, milliseconds in medians.items():
        ratio = milliseconds / medians["smelt compiled"]
        print(f"{name:16} {milliseconds:8.3f} ms   {ratio:6.2f} x compiled")


if __name__ == "__main__":
    main()
