"""How far a weight matrix is from commuting with two representations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.actions.intertwiners import Intertwiners, check_weights, common_group
from equivariant.shapes import Float, Matrix


@dataclass(frozen=True)
class WeightDefect:
    """What :func:`weight_defect` found.

    Args:
        defect: |W - PW|² / |W|², in [0, 1]: the share of the weights that breaks equivariance.
        projection: PW, the nearest equivariant matrix, shape of W, dtype of W.
        commutators: |dρ_out(X) W - W dρ_in(X)| in the Frobenius norm for each basis element X of
            the algebra, shape (dim,), float64.
        jumps: |ρ_out(h) W - W ρ_in(h)| for each discrete element, shape (elements,), float64.
    """

    defect: float
    projection: Tensor
    commutators: Tensor
    jumps: Tensor


def weight_defect(
    W: Float[Tensor, "outputs inputs"],
    act_in: Action,
    act_out: Action,
    *,
    elements: Matrix | None = None,
) -> WeightDefect:
    """Measure how far a matrix is from the intertwiners of two representations.

    P is the orthogonal projection on {W : ρ_out(g) W = W ρ_in(g) for all g}, see
    :mod:`equivariant.actions.intertwiners`.

    Args:
        W: Weights, shape (act_out.dim, act_in.dim), floating point.
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.
        elements: Further discrete elements h, shape (k, n, n), beside those that the group names
            itself: mirrors, the inversion, permutations, alone or within a Product.

    Raises:
        ConventionError: The actions have no group or two, or are not linear.
        ShapeError: W does not fit the actions.

    Example:
        >>> from equivariant.actions import IrrepsAction
        >>> from equivariant.groups import SO3
        >>> vector, W = IrrepsAction("1x1o", SO3()), torch.arange(9.0).reshape(3, 3)
        >>> weight_defect(W, vector, vector).projection.round(decimals=5)
        tensor([[4., 0., 0.],
                [0., 4., 0.],
                [0., 0., 4.]])
    """
    conditions = Intertwiners.of(act_in, act_out, elements=elements)
    check_weights(W, act_in, act_out)
    weights = W.detach().cpu().double().numpy()
    norms = torch.from_numpy(np.linalg.norm(conditions.residuals(weights), axis=(1, 2)))
    nearest = conditions.projection(weights)
    size = float((weights**2).sum())
    continuous = common_group(act_in, act_out).dim
    return WeightDefect(
        defect=float(((weights - nearest) ** 2).sum()) / size if size > 0 else 0.0,
        projection=torch.from_numpy(nearest).to(W),
        commutators=norms[:continuous],
        jumps=norms[continuous:],
    )
