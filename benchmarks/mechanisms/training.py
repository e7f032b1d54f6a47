"""Encoders, one training loop, and probes; the same for every arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from equivariant.measure.representations.scores import regression_score
from equivariant.nn import PointNet


@dataclass(frozen=True)
class Run:
    """What one training run is given by the harness.

    Args:
        seed: Draws objects, weights, batches and views.
        rate: Learning rate at the start; it falls to 0 along half a cosine.
        steps: Optimizer steps.
    """

    seed: int
    rate: float
    steps: int

    def generator(self) -> torch.Generator:
        """A fresh source of batches and views, the same for every arm of a seed."""
        return torch.Generator().manual_seed(self.seed)


class CloudEncoder(nn.Module):
    """A small PointNet, and a head of two layers for the space in which a loss compares."""

    def __init__(self, dim: int = 32, width: int = 32) -> None:
        super().__init__()
        self.body = PointNet((width, 2 * width, 4 * width), "layer")
        self.head = perceptron(4 * width, 4 * width, dim)

    def forward(self, clouds: Tensor) -> Tensor:
        embedding: Tensor = self.head(self.body(clouds))
        return embedding


def perceptron(*widths: int) -> nn.Sequential:
    """Linear maps with rectifiers between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def fresh(run: Run, *builders: Callable[[], nn.Module]) -> list[nn.Module]:
    """Networks whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return [build() for build in builders]


def train(
    modules: Iterable[nn.Module], loss: Callable[[], Tensor], run: Run, *, momentum: bool = False
) -> None:
    """Minimize ``loss()``, which draws its own batch; leaves evaluation mode on.

    Args:
        modules: What is trained.
        loss: A batch's objective.
        run: Rate and steps.
        momentum: Stochastic gradient with momentum 0.9 instead of Adam.
    """
    modules = list(modules)
    parameters = [p for module in modules for p in module.parameters()]
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, lr=run.rate, momentum=0.9)
        if momentum
        else torch.optim.Adam(parameters, lr=run.rate)
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(run.steps, 1))
    for _ in range(run.steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()
    for module in modules:
        module.eval()


def batch(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Row numbers of a batch, without repetition where there are enough rows."""
    if size > count:
        return torch.randint(count, (size,), generator=generator)
    return torch.randperm(count, generator=generator)[:size]


@torch.no_grad()
def knn_accuracy(
    train_z: Tensor, train_y: Tensor, test_z: Tensor, test_y: Tensor, neighbors: int = 5
) -> float:
    """Share of test rows whose nearest training rows by cosine vote for their class."""
    z = nn.functional.normalize(train_z, dim=1)
    near = (nn.functional.normalize(test_z, dim=1) @ z.T).topk(neighbors, 1)
    votes = torch.zeros(len(test_z), int(train_y.max()) + 1)
    votes.scatter_add_(1, train_y[near.indices], 1.0 + near.values)
    return float((votes.argmax(1) == test_y).float().mean())


@torch.no_grad()
def retrieval(asked: Tensor, stored: Tensor) -> float:
    """Share of rows whose nearest stored row by cosine has their own number."""
    scores = nn.functional.normalize(asked, dim=1) @ nn.functional.normalize(stored, dim=1).T
    return float((scores.argmax(1) == torch.arange(len(asked))).float().mean())


@torch.no_grad()
def ridge(train_z: Tensor, train_y: Tensor, test_z: Tensor, penalty: float = 1e-2) -> Tensor:
    """Predictions of least squares on standardized inputs with penalty times n on the weights."""
    mean, scale = train_z.mean(0), train_z.std(0).clamp(min=1e-6)
    x, center = ((train_z - mean) / scale).double(), train_y.double().mean(0)
    gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, x.T @ (train_y.double() - center))
    return ((test_z - mean) / scale).double() @ weights + center


def ridge_r2(train_z: Tensor, train_y: Tensor, test_z: Tensor, test_y: Tensor) -> float:
    """Held-out R² of the ridge; 0 is the best constant, below 0 is worse than that."""
    return regression_score(ridge(train_z, train_y, test_z), test_y.double()).r2


def linear_accuracy(train_z: Tensor, train_y: Tensor, test_z: Tensor, test_y: Tensor) -> float:
    """Held-out accuracy of the ridge onto one-hot classes."""
    codes = nn.functional.one_hot(train_y).float()
    return float((ridge(train_z, codes, test_z).argmax(1) == test_y).float().mean())
