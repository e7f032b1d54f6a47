"""Which share of a loss the broken symmetry costs, by averaging predictions over the group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.measure.error.statistics import Estimate
from equivariant.shapes import Float, Scalar

Loss = Callable[[Tensor, Tensor], Scalar]
_DRAWS = 1000


@dataclass(frozen=True)
class LossShare:
    """What :func:`symmetry_loss_share` found.

    Args:
        share: (L - L̄) / L with its interval over items, in [0, 1] for convex losses up to sampling.
        loss: L, the mean loss over items and the group.
        symmetrized: L̄, the mean loss of the averaged prediction.
        samples: Elements per item.
    """

    share: Estimate
    loss: float
    symmetrized: float
    samples: int

    def __str__(self) -> str:
        low, high = 100 * self.share.low, 100 * self.share.high
        return (
            f"{100 * self.share.value:.2g} % of the loss ({low:.2g} to {high:.2g} %) is broken "
            f"symmetry: {self.loss:.4g} becomes {self.symmetrized:.4g}"
        )


def symmetry_loss_share(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    act_in: Action,
    act_out: Action,
    loss: Loss | None = None,
    samples: int = 32,
    generator: torch.Generator | None = None,
) -> LossShare:
    """Measure how much of a convex loss goes away when predictions are averaged over a group.

        f̄(x) = E_g g⁻¹ f(g x),   L = E ℓ(f(g x), g y),   L̄ = E ℓ(f̄(x), y),   share = (L - L̄) / L

    By Jensen's inequality L̄ <= L for every loss that is convex in the prediction and does not
    change when both arguments are moved. For the squared error and orthogonal actions L - L̄ is the
    variance of g⁻¹ f(g x) over the group: what of the error is not about the task but about the
    symmetry. A mean of N elements keeps a share 1/N of that variance; of the squared error this
    is put right, of other losses the share found is a little too small.

    Args:
        f: Model in evaluation mode, x to predictions of shape (items, act_out.dim).
        x: Inputs, shape (items, ...).
        y: Targets, shape (items, act_out.dim).
        act_in: Action on inputs, of a compact group.
        act_out: Action on predictions and targets; ``Trivial(dim)`` for invariant ones.
        loss: Of predictions and targets to one number per item, shape (items,), convex in the
            first and unchanged when both move; None for the squared error, summed over entries.
        samples: N, at least 2.
        generator: Source of the elements; None for one with seed 0.

    Returns:
        The share with a bootstrap interval over items.

    Raises:
        ConventionError: The actions have no group, it is not compact, or samples below 2.
        ShapeError: Predictions and targets differ in shape, or there are fewer than 2 items.

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO3
        >>> x = torch.randn(64, 3, dtype=torch.float64)
        >>> y = x.norm(dim=1, keepdim=True)
        >>> found = symmetry_loss_share(
        ...     lambda x: x.norm(dim=1, keepdim=True) + 0.5, x, y, act_in=Vectors(SO3()),
        ...     act_out=Trivial(1),
        ... )
        >>> abs(found.share.value) < 1e-9, round(found.loss, 6)
        (True, 0.25)

    Source: Shen et al. 2025, arXiv 2512.02303.
    """
    group = _checked_group(act_in, act_out, samples)
    if len(x) != len(y) or len(x) < 2:
        raise ShapeError(
            expected="as many targets as inputs, at least 2", got=f"{len(x)} and {len(y)}",
            argument="y", advice="Pass a batch of test items.",
        )  # fmt: skip
    source = torch.Generator().manual_seed(0) if generator is None else generator
    backs, losses = [], []
    with torch.no_grad():
        for _ in range(samples):
            g = group.sample(len(x), generator=source, dtype=y.dtype, device=y.device)
            prediction = f(act_in(g.to(x.dtype), x))
            if prediction.shape != y.shape:
                raise ShapeError(
                    expected=f"predictions of shape {tuple(y.shape)}, as targets",
                    got=f"{tuple(prediction.shape)}", argument="f",
                    advice="Flatten predictions and targets to (items, act_out.dim).",
                )  # fmt: skip
            losses.append(_loss(loss, prediction, act_out(g, y)))
            backs.append(act_out(group.inverse(g), prediction).double())
        each = torch.stack(losses).double().mean(0)
        orbit = torch.stack(backs)
        averaged = _loss(loss, orbit.mean(0), y.double()).double()
        if loss is None:  # the mean of N elements keeps 1/N of their variance
            averaged = averaged - orbit.var(0).sum(-1) / samples
    return LossShare(_ratio(each - averaged, each), float(each.mean()), float(averaged.mean()),
                     samples)  # fmt: skip


def _checked_group(act_in: Action, act_out: Action, samples: int) -> Group:
    groups = {action.group for action in (act_in, act_out)} - {None}
    if len(groups) != 1 or samples < 2:
        raise ConventionError(
            expected="actions of one group and at least 2 samples", got=f"{groups}, {samples}",
            argument="act_in", advice="Trivial(dim) asks for invariance under the other's group.",
        )  # fmt: skip
    (group,) = groups
    if group is None or not group.compact:
        raise ConventionError(
            expected="a compact group, which has a mean", got=str(group), argument="act_in",
            advice="Of groups with translations take the rotations.",
        )  # fmt: skip
    return group


def _loss(loss: Loss | None, prediction: Tensor, y: Tensor) -> Tensor:
    if loss is None:
        return (prediction - y).flatten(1).square().sum(-1)
    return loss(prediction, y)


def _ratio(saved: Float[Tensor, " items"], whole: Float[Tensor, " items"]) -> Estimate:
    """A ratio of means with percentiles of bootstrap resamples of items."""
    value = float(saved.mean() / whole.mean()) if float(whole.mean()) > 0 else 0.0
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(saved), (_DRAWS, len(saved)), generator=generator)
    bottom = whole.cpu()[chosen].mean(1)
    drawn = saved.cpu()[chosen].mean(1) / torch.where(bottom > 0, bottom, 1.0)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    items = len(saved)
    return Estimate(value, low, high, 0.95, float(drawn.std()), items, 1, float(items))
