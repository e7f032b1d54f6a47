"""The gradient of a step from several smaller batches, one after the other."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.training.config import FitConfig
from equivariant.training.learners.pairs import Learner


def check_accumulation(learner: Learner, config: FitConfig) -> None:
    """Raise ConventionError unless a learner's loss may be computed in parts.

    Args:
        learner: What is trained.
        config: Settings; with ``accumulate=1`` every learner passes.
    """
    if config.accumulate > 1 and not learner.mean_over_samples:
        raise ConventionError(
            expected="a loss that is the mean of those of the batch's samples",
            got=f"accumulate={config.accumulate} with {type(learner).__name__}, whose loss needs "
            "the whole batch (contrast, variances and covariances do)",
            argument="accumulate",
            advice="Leave accumulate at 1, or compute exact steps on large batches with "
            "equivariant.training.cached_step. If the loss of your learner is such a mean, set "
            "its attribute mean_over_samples = True.",
        )


def backward(
    module: Any, tensors: dict[str, Tensor], config: FitConfig, fabric: Fabric
) -> tuple[Tensor, dict[str, Tensor]]:
    """Add the gradient of the mean loss of a batch's parts; returns loss and terms, means too.

        ∇ (1/k) Σᵢ L(part i)

    Args:
        module: The learner as ``fabric`` set it up.
        tensors: This process's share of the batch, by name; cut along the first axis.
        config: ``accumulate`` is k.
        fabric: Runs backward; processes are synchronized in the last part alone.

    Raises:
        ConventionError: Tensors of a batch differ in length, or it does not divide into k.
    """
    parts = config.accumulate
    if parts == 1:
        total, terms = module(**tensors)
        fabric.backward(total)
        return total, terms
    totals, found = [], []
    for number, part in enumerate(_cut(tensors, parts)):
        with fabric.no_backward_sync(module, enabled=number < parts - 1):
            total, terms = module(**part)
            fabric.backward(total / parts)
        totals.append(total.detach())
        found.append(terms)
    means = {name: torch.stack([t[name] for t in found]).mean() for name in found[0]}
    return torch.stack(totals).mean(), means


def _cut(tensors: dict[str, Tensor], parts: int) -> list[dict[str, Tensor]]:
    lengths = {len(x) if x.ndim else 0 for x in tensors.values()}
    if len(lengths) != 1 or next(iter(lengths)) % parts:
        raise ConventionError(
            expected=f"tensors of one length, a multiple of accumulate={parts}",
            got=f"lengths {sorted(lengths)}", argument="batch",
            advice="Batches are cut along the first axis; graphs cannot be cut so.",
        )  # fmt: skip
    size = lengths.pop() // parts
    return [{k: x[i * size : (i + 1) * size] for k, x in tensors.items()} for i in range(parts)]
