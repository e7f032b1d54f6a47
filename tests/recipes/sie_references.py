"""Terms of the methods, written out, and models and batches for their tests."""

import math

import torch

from datasets3d import ThreeDIEBench, TransformPairs
from equivariant.recipes.sie_3diebench.models import (
    ModelConfig,
    build_learner,
    make_header,
    trained,
)


def fresh(data, **settings):
    """A model with fresh weights, as evaluation takes it."""
    config = ModelConfig(width=2, projector=(8, 8), irreps="2x1o", **settings)
    learner = build_learner(config, classes=len(data.label_names), seed=0)
    header = make_header(
        config, labels=tuple(data.label_names), channel_mean=(0.5,) * 3, channel_std=(0.2,) * 3,
        seed=0, data="",
    )  # fmt: skip
    return trained(learner, config, header)


def pairs_of_views(folder, config, count):
    """The tensors of one batch of pairs, by name."""
    pairs = TransformPairs(ThreeDIEBench(folder, "train"), convention=config.convention, seed=0)
    return next(pairs.stream(count)).tensors()


def nt_xent(u, v, tau=0.1):
    """2N rows, 2N - 1 candidates each."""
    rows, total = [*u, *v], 0.0
    for i, row in enumerate(rows):
        cosines = [float(torch.cosine_similarity(row, other, dim=0)) / tau for other in rows]
        pull = cosines[(i + len(u)) % len(rows)]
        total += math.log(sum(math.exp(c) for k, c in enumerate(cosines) if k != i)) - pull
    return torch.tensor(total / len(rows))


def align(u, v):
    """Mean over items and columns of the squared difference."""
    return sum((x - y) ** 2 for x, y in zip(u.flatten(), v.flatten(), strict=True)) / u.numel()


def half_variance(z):
    """½ mean over columns of max(0, 1 - √(variance + 1e-4)), unbiased variance."""
    hinges = []
    for column in z.T:
        variance = ((column - column.mean()) ** 2).sum() / (len(column) - 1)
        hinges.append(max(0.0, 1.0 - math.sqrt(float(variance.detach()) + 1e-4)))
    return 0.5 * sum(hinges) / len(hinges)


def covariance(z):
    """Squares of the covariances of different columns, over the number of columns."""
    centred = z - z.mean(0)
    matrix = centred.T @ centred / (len(z) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]
