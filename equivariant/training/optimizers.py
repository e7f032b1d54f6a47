"""Optimizers by name, and which parameters their weight decay acts on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.training.config import FitConfig

ParameterGroups = list[dict[str, Any]]
MakeOptimizer = Callable[[ParameterGroups], torch.optim.Optimizer]
"""From groups with ``params`` and ``weight_decay`` to an optimizer of them."""


class LARS(torch.optim.Optimizer):
    """Stochastic gradient descent whose rate adapts to each layer: for batches of thousands.

        u = ∇w + λ w,   r = η |w| / |u|,   m ← μ m + r u,   w ← w − lr m

    r is 1 where |w| or |u| is 0, and for parameters of one dimension (biases, normalizations),
    which are neither scaled nor decayed, as in the published recipes of self-supervised training.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate, positive.
        momentum: μ in [0, 1).
        weight_decay: λ, at least 0.
        trust: η, positive.

    Raises:
        ConventionError: A number is out of its range.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> optimizer = LARS(layer.parameters(), lr=1.0, trust=0.1)
        >>> before = layer.weight.detach().clone()
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
        >>> moved = (layer.weight.detach() - before).norm() / before.norm()
        >>> bool(torch.isclose(moved, torch.tensor(0.1)))
        True

    Source: You, Gitman, Ginsburg 2017, arXiv 1708.03888, equation 6, with the exclusions of Grill
    et al. 2020 (BYOL) and Zbontar et al. 2021 (Barlow Twins).
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        if min(lr, trust) <= 0 or not 0 <= momentum < 1 or weight_decay < 0:
            raise ConventionError(
                expected="lr and trust above 0, momentum in [0, 1), weight_decay of at least 0",
                got=f"lr={lr}, trust={trust}, momentum={momentum}, weight_decay={weight_decay}",
                argument="lr", advice="LARS(parameters, lr=0.2) is a usual start.",
            )  # fmt: skip
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along the gradients.

        Args:
            closure: Computes the loss again, with gradients; its value is returned.
        """
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return value

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        update = weight.grad
        if weight.ndim > 1:
            update = update + group["weight_decay"] * weight
            sizes = weight.norm(), update.norm()
            ratio = group["trust"] * sizes[0] / sizes[1]
            there = (sizes[0] > 0) & (sizes[1] > 0)
            update = update * torch.where(there, ratio, torch.ones_like(ratio))
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(group["momentum"]).add_(update)
        weight.sub_(state["momentum"], alpha=group["lr"])


def make_optimizer(
    module: nn.Module, config: FitConfig, make: MakeOptimizer | None = None
) -> torch.optim.Optimizer:
    """The optimizer that settings name, over a module's parameters.

    Args:
        module: What is trained.
        config: Its ``optimizer``, ``learning_rate``, ``momentum``, ``weight_decay``,
            ``decay_on`` and ``amsgrad``.
        make: An optimizer of your own instead, from the groups; its state must be tensors, and
            ``config`` sets its learning rate before every step.

    Raises:
        ConventionError: ``make`` returned something else than an optimizer.

    Example:
        >>> norm = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
        >>> config = FitConfig(optimizer="adamw", weight_decay=0.1, decay_on="weights")
        >>> groups = make_optimizer(norm, config).param_groups
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.1), (3, 0.0)]
    """
    groups = parameter_groups(module, config.weight_decay, config.decay_on)
    if make is not None:
        made = make(groups)
        if not isinstance(made, torch.optim.Optimizer):
            raise ConventionError(
                expected="a torch.optim.Optimizer", got=type(made).__name__, argument="optimizer",
                advice="Pass a function of the groups: lambda groups: SGD(groups, lr=0.1).",
            )  # fmt: skip
        return made
    rate = config.learning_rate
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, amsgrad=config.amsgrad)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum)
    if config.optimizer == "lars":
        return LARS(groups, lr=rate, momentum=config.momentum)
    return torch.optim.Adam(groups, lr=rate, amsgrad=config.amsgrad)


def parameter_groups(
    module: nn.Module, weight_decay: float, decay_on: Literal["all", "weights"]
) -> ParameterGroups:
    """Parameters in groups with their weight decay.

    Args:
        module: What is trained; a parameter that it holds twice is listed once.
        weight_decay: Of the first group.
        decay_on: "all" for one group; "weights" for a second one without decay, of parameters
            with at most one dimension: biases, scales and shifts of normalizations, temperatures.
    """
    parameters: Sequence[nn.Parameter] = list(module.parameters())
    if decay_on == "all":
        return [{"params": parameters, "weight_decay": weight_decay}]
    split = {True: weight_decay, False: 0.0}
    groups = [
        {"params": [p for p in parameters if (p.ndim > 1) == decays], "weight_decay": amount}
        for decays, amount in split.items()
    ]
    return [group for group in groups if group["params"]]
