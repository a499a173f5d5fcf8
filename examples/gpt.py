"""Train a character-level GPT on Moby-Dick with a compiled training step, then let it write.

    python examples/gpt.py [--steps 2000] [--characters 400] [--eager]

A decoder of the GPT-2 kind: learned positions, pre-norm blocks of causal self-attention and a
GELU MLP. The loss on held-out text is in nats a character.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import smelt
from rich.console import Console
from rich.progress import Progress, TextColumn
from smelt import nn, optim
from smelt.nn import functional as F

TEXT = Path(__file__).parent / "data" / "moby_dick.txt"
CONTEXT = 64
BATCH = 16


class Block(nn.Module):
    """Causal self-attention and an MLP, each on a normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: smelt.Tensor) -> smelt.Tensor:
        """Map [N, T, width] to [N, T, width]."""
        n, t, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """A language model over characters."""

    def __init__(self, vocabulary: int, width: int = 128, heads: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, characters: smelt.Tensor) -> smelt.Tensor:
        """Map indices [N, T] to logits [N, T, vocabulary]."""
        places = smelt.arange(characters.shape[1])
        x = self.tokens(characters) + self.positions(places)
        return self.head(self.norm(self.blocks(x)))


def loss_of(model: GPT, inputs: smelt.Tensor, targets: smelt.Tensor) -> smelt.Tensor:
    """Return the mean cross entropy in nats a character."""
    logits = model(inputs)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def batch(data: smelt.Tensor) -> tuple[smelt.Tensor, smelt.Tensor]:
    """Draw windows of text, and the same windows one character on."""
    starts = smelt.randint(0, len(data) - CONTEXT - 1, (BATCH, 1))
    windows = data[starts + smelt.arange(CONTEXT + 1)]
    return windows[:, :-1], windows[:, 1:]


def write(model: GPT, prompt: smelt.Tensor, characters: int) -> smelt.Tensor:
    """Continue `prompt` ([1, T]) by sampling at temperature 0.8."""
    text = prompt
    with smelt.no_grad():
        for _ in range(characters):
            logits = model(text[:, -CONTEXT:])[:, -1] / 0.8
            following = smelt.multinomial(F.softmax(logits, dim=-1), 1)
            text = smelt.cat([text, following], dim=1)
    return text


def main() -> None:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="training steps")
    parser.add_argument("--characters", type=int, default=400, help="characters to write")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.characters < 0:
        parser.error("--steps must be at least 1, --characters at least 0")

    console = Console()
    smelt.manual_seed(0)
    text = TEXT.read_text()
    alphabet = sorted(set(text))
    number = {c: k for k, c in enumerate(alphabet)}
    data = smelt.tensor([number[c] for c in text])
    training, held_out = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]

    model = GPT(len(alphabet))
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1, betas=(0.9, 0.95))
    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-3, total_steps=arguments.steps, pct_start=0.1
    )

    def step(inputs: smelt.Tensor, targets: smelt.Tensor) -> smelt.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, inputs, targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def evaluate(inputs: smelt.Tensor, targets: smelt.Tensor) -> smelt.Tensor:
        with smelt.no_grad():
            return loss_of(model, inputs, targets)

    if not arguments.eager:
        step, evaluate = smelt.compile(step), smelt.compile(evaluate)

    console.print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    start = time.perf_counter()
    columns = (*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]:.3f}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=arguments.steps, loss=float("nan"))
        for _ in range(arguments.steps):
            loss = step(*batch(training))
            scheduler.step()
            progress.update(task, advance=1, loss=loss.item())
    seconds = time.perf_counter() - start
    console.print(f"{seconds:.0f} s, {1e3 * seconds / arguments.steps:.1f} ms a step")

    model.eval()
    losses = [evaluate(*batch(held_out)).item() for _ in range(40)]
    console.print(f"validation loss {sum(losses) / len(losses):.3f} nats a character")
    prompt = smelt.tensor([[number[c] for c in "CHAPTER "]])
    written = write(model, prompt, arguments.characters)
    console.print("".join(alphabet[k] for k in written[0].tolist()), markup=False, highlight=False)


if __name__ == "__main__":
    main()
