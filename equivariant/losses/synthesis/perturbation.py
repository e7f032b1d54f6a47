"""Negatives and positives found by gradients: small steps that hurt, large ones that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Float


@dataclass(frozen=True)
class Perturbed:
    """Vectors moved by gradients.

    Args:
        h: Same shape as what was moved, (..., D); detached unless a graph was asked for.
        moved: Which vectors have moved, shape (...); False where every gradient was zero.
    """

    h: Tensor
    moved: Tensor


def hard_negative(
    h: Float[Tensor, "... d"],
    task_loss_fn: Callable[[Tensor], Tensor],
    *,
    radius: float = 1.0,
    create_graph: bool = False,
) -> Perturbed:
    """A vector close to h that the task confuses most, to first order.

        h + ε g / |g|,   g = ∂ task loss / ∂h

    The norm is of each vector along the last axis, so it does not matter how losses are averaged.

    Args:
        h: Latent vectors, shape (..., D), such as (N, D) or (N, T, D).
        task_loss_fn: Loss of the task at given h; values of any shape are summed.
        radius: ε, at least 0.
        create_graph: Keep the graph through h and g, for second derivatives.

    Returns:
        The moved vectors; a vector whose gradient is zero stays and says so.

    Raises:
        ConventionError: A negative radius, or a loss that does not depend on h.

    Example:
        >>> hard_negative(torch.zeros(1, 2), lambda h: h[:, 1]).h
        tensor([[0., 1.]])

    Source: Lee et al. 2021 (CLAPS), published code.
    """
    _check_radius(radius)
    with torch.enable_grad():
        start = _start(h, create_graph)
        step, moved = _direction(task_loss_fn, start, "task_loss_fn", create_graph)
        result = start + radius * step
    return Perturbed(h=result if create_graph else result.detach(), moved=moved)


def hard_positive(
    h: Float[Tensor, "... d"],
    contrast_fn: Callable[[Tensor], Tensor],
    divergence_fn: Callable[[Tensor], Tensor],
    *,
    radius: float = 3.0,
    create_graph: bool = False,
) -> Perturbed:
    """A vector far from h in the contrast that the task still reads the same way.

        h̄ = h + ε c / |c|,   c = ∂ contrast / ∂h
        h̄ - ε f / |f|,       f = ∂ KL(p(·|h) ‖ p(·|h̄)) / ∂h̄

    Args:
        h: Latent vectors, shape (..., D).
        contrast_fn: Contrastive loss at given h, which the first step raises.
        divergence_fn: Divergence of the task's prediction at given h̄ from that at h, which the
            second step lowers; it holds the prediction at h itself.
        radius: ε of both steps, at least 0.
        create_graph: Keep the graph through h and both gradients.

    Returns:
        The moved vectors; ``moved`` is False where both gradients were zero.

    Raises:
        ConventionError: A negative radius, or a function that does not depend on h.

    Example:
        >>> found = hard_positive(torch.zeros(1, 2), lambda h: h.sum(), lambda h: h[:, 1] ** 2)
        >>> bool(torch.allclose(found.h, torch.tensor([[3 / 2**0.5, 3 / 2**0.5 - 3]])))
        True

    Source: Lee et al. 2021 (CLAPS), published code.
    """
    _check_radius(radius)
    with torch.enable_grad():
        start = _start(h, create_graph)
        away, moved_away = _direction(contrast_fn, start, "contrast_fn", create_graph)
        far = start + radius * away
        far = far if create_graph else far.detach().requires_grad_()
        up, moved_back = _direction(divergence_fn, far, "divergence_fn", create_graph)
        result = far - radius * up
    return Perturbed(h=result if create_graph else result.detach(), moved=moved_away | moved_back)


def _start(h: Tensor, create_graph: bool) -> Tensor:
    return h if create_graph and h.requires_grad else h.detach().requires_grad_()


def _direction(
    f: Callable[[Tensor], Tensor], h: Tensor, argument: str, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Unit gradients along the last axis, zero where the gradient is; and where it is not."""
    value = f(h)
    gradient = None
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(
            value.sum(), h, create_graph=create_graph, allow_unused=True
        )
    if gradient is None:
        raise ConventionError(
            expected="a differentiable function of h",
            got="a value that does not depend on its argument",
            argument=argument,
            advice="Compute it from the tensor it is called with, without detaching.",
        )
    wide = gradient.float() if gradient.dtype in (torch.float16, torch.bfloat16) else gradient
    # Divided by the largest entry first, squares of small gradients do not underflow.
    largest = wide.detach().abs().amax(-1, keepdim=True)
    moved = largest > 0
    scaled = wide / torch.where(moved, largest, 1.0)
    norm = torch.where(moved, scaled.square().sum(-1, keepdim=True), 1.0).sqrt()
    return (scaled / norm).to(h.dtype), moved.squeeze(-1)


def _check_radius(radius: float) -> None:
    if not radius >= 0:
        raise ConventionError(
            expected="a radius of at least 0",
            got=str(radius),
            argument="radius",
            advice="It is the length of the step in the space of h.",
        )
