"""Learn handwritten digits twice: eagerly, and with the whole training step compiled.

    python examples/digits.py [--epochs 15] [--json FILE] [--dump FOLDER]

The data are scikit-learn's bundled digits, 1,797 real images of 8 x 8 pixels; a fixed, stratified
fifth is held out. Both runs start from the same seed, see the same batches in the same order and
draw the same dropout masks, so their losses agree to rounding.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import smelt
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from smelt import nn, optim
from smelt.utils.data import DataLoader, TensorDataset

SEED = 0
BATCH = 64


class Net(nn.Module):
    """Two convolutions with batch norm, then two linear layers with dropout.

    SiLU and average pooling are smooth: where a rounding error flips a ReLU or the maximum of a
    window, two runs of the same training part for good, however right both of them are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.SiLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.SiLU(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 64), nn.SiLU(), nn.Linear(64, 10)
        )

    def forward(self, images: smelt.Tensor) -> smelt.Tensor:
        """Map images [N, 1, 8, 8] to logits [N, 10]."""
        return self.classifier(self.features(images))


@dataclass
class Run:
    """What one run measured.

    Attributes:
        losses: the loss of each training step.
        accuracy: share of the held-out images that were recognised.
        ms_per_step: median time of a training step in milliseconds.
        compile_seconds: time of the first two steps beyond median ones; 0 for the eager run.
    """

    losses: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    ms_per_step: float = 0.0
    compile_seconds: float = 0.0


def load() -> tuple[TensorDataset, TensorDataset]:
    """Return the training and the held-out digits, pixels scaled to [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype("float32") / 16
    parts = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)
    train_images, test_images, train_labels, test_labels = map(smelt.tensor, parts)
    return TensorDataset(train_images, train_labels), TensorDataset(test_images, test_labels)


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Return the share of `data` that `model` recognises."""
    model.eval()
    with smelt.no_grad():
        images, labels = data.tensors
        return (model(images).argmax(1) == labels).float().mean().item()


def train(
    data: tuple[TensorDataset, TensorDataset],
    epochs: int,
    compiled: bool,
    advance: Callable[[], None],
) -> Run:
    """Train a fresh network and return what was measured."""
    smelt.manual_seed(SEED)
    training, held_out = data
    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 3), gamma=0.3)
    loader = DataLoader(training, batch_size=BATCH, shuffle=True, drop_last=True)
    criterion = nn.CrossEntropyLoss()

    def step(images: smelt.Tensor, labels: smelt.Tensor) -> smelt.Tensor:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    if compiled:
        step = smelt.compile(step)
    run = Run()
    times: list[float] = []
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            start = time.perf_counter()
            loss = step(images, labels)
            times.append(time.perf_counter() - start)
            run.losses.append(loss.item())
            advance()
        scheduler.step()
    ordered = sorted(times)
    run.ms_per_step = 1e3 * ordered[len(ordered) // 2]
    # The first two steps differ in structure: momentum buffers come into being in the first.
    run.compile_seconds = sum(times[:2]) - 2e-3 * run.ms_per_step if compiled else 0.0
    run.accuracy = accuracy(model, held_out)
    return run


def report(runs: dict[str, Run], console: Console) -> None:
    """Print the two runs side by side."""
    table = Table(title="Handwritten digits")
    for heading in ("", "first loss", "last loss", "held-out accuracy", "ms per step", "compile s"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, run in runs.items():
        table.add_row(
            name,
            f"{run.losses[0]:.4f}",
            f"{run.losses[-1]:.4f}",
            f"{run.accuracy:.2%}",
            f"{run.ms_per_step:.2f}",
            f"{run.compile_seconds:.2f}",
        )
    console.print(table)
    eager, compiled = runs["eager"], runs["compiled"]
    apart = max(abs(a - b) / abs(a) for a, b in zip(eager.losses[:100], compiled.losses[:100]))
    console.print(f"losses of the first 100 steps differ by {apart:.1e} at most, relatively")
    console.print(f"a compiled step is {eager.ms_per_step / compiled.ms_per_step:.1f} x as fast")


def main() -> None:
    """Run both and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15, help="passes over the training data")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--dump", type=Path, help="folder for the IR after every pass")
    arguments = parser.parse_args()
    if arguments.epochs < 1:
        parser.error("--epochs must be at least 1")
    dump = arguments.dump or Path(os.environ.get("SMELT_DUMP") or tempfile.mkdtemp(prefix="smelt-"))
    os.environ["SMELT_DUMP"] = str(dump)

    console = Console()
    data = load()
    steps = arguments.epochs * (len(data[0]) // BATCH)
    runs: dict[str, Run] = {}
    with Progress(console=console) as progress:
        for name in ("eager", "compiled"):
            task = progress.add_task(f"{name:9}", total=steps)
            runs[name] = train(
                data, arguments.epochs, name == "compiled", lambda task=task: progress.advance(task)
            )
    report(runs, console)
    console.print(f"the IR after every pass, loop IR, LLVM IR and assembly are in {dump}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({k: asdict(v) for k, v in runs.items()}))


if __name__ == "__main__":
    main()
