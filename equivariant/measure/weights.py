"""How far a weight matrix is from commuting with two representations."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lsmr
from torch import Tensor

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, Group, Product
from equivariant.measure.derivative import Curve, derivative
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

    P is the orthogonal projection on {W : ρ_out(g) W = W ρ_in(g) for all g}. The condition is
    imposed on a basis of the algebra, which settles the connected part of the group, and on
    discrete elements; it is linear, A(W) = 0, so W - PW is the least-norm solution D of
    A(D) = A(W), found by LSMR without a matrix of A.

    Args:
        W: Weights, shape (act_out.dim, act_in.dim), floating point.
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.
        elements: Discrete elements h that generate the group beyond its connected part, shape
            (k, n, n). The inversions of O3, alone or within a Product, are always added.

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
    groups = [a.group for a in (act_in, act_out) if a.group is not None]
    if not groups or groups[0] != groups[-1]:
        raise ConventionError(
            expected="linear actions of one group",
            got=f"{act_in.group} and {act_out.group}",
            argument="act_out",
            advice="Trivial(dim) fits every group, but not both sides.",
        )
    if tuple(W.shape) != (act_out.dim, act_in.dim):
        raise ShapeError(
            expected=f"weights of shape ({act_out.dim}, {act_in.dim})",
            got=f"shape {tuple(W.shape)}",
            argument="W",
            advice="Rows are outputs, columns inputs, as in torch.nn.Linear.",
        )
    group = groups[0]
    discrete = _inversions(group)
    if elements is not None:
        group.check_element(elements, "elements")
        discrete = torch.cat([discrete, elements.cpu().double().reshape(-1, *discrete.shape[1:])])
    left, right = (
        np.concatenate([_generators(action, group), _matrices(action, discrete)])
        for action in (act_out, act_in)
    )
    weights = W.detach().cpu().double().numpy()
    broken = left @ weights - weights @ right
    norms = torch.from_numpy(np.linalg.norm(broken, axis=(1, 2)))
    removed = _least_norm(left, right, broken)
    size = float((weights**2).sum())
    return WeightDefect(
        defect=float((removed**2).sum()) / size if size > 0 else 0.0,
        projection=torch.from_numpy(weights - removed).to(W),
        commutators=norms[: group.dim],
        jumps=norms[group.dim :],
    )


def _least_norm(left: Any, right: Any, target: Any) -> Any:
    """Least-norm D with left_i D - D right_i = target_i for all i, in the least-squares sense."""
    count, rows, columns = target.shape

    def apply(flat: Any) -> Any:
        d = flat.reshape(rows, columns)
        return (left @ d - d @ right).ravel()

    def transposed(flat: Any) -> Any:
        y = flat.reshape(count, rows, columns)
        return (left.transpose(0, 2, 1) @ y - y @ right.transpose(0, 2, 1)).sum(0).ravel()

    size = rows * columns
    operator = LinearOperator(
        (count * size, size), matvec=apply, rmatvec=transposed, dtype=np.float64
    )
    steps = max(100, 4 * size)
    solution = lsmr(operator, target.ravel(), atol=1e-15, btol=1e-15, conlim=0, maxiter=steps)
    return solution[0].reshape(rows, columns)


def _generators(action: Action, group: Group) -> Any:
    """dρ(X) of each basis element X, shape (dim, action.dim, action.dim)."""
    action = deepcopy(action).double().cpu()
    found = [np.zeros((0, action.dim, action.dim))]

    def curve_along(direction: Tensor) -> Curve:
        return lambda t: {"": action.matrix(group.exp(t * direction))}

    for direction in torch.eye(group.dim, dtype=torch.float64):
        moved = derivative(
            curve_along(direction),
            method="forward",
            precision=torch.float64,
            device=torch.device("cpu"),
        )
        found.append(moved[""].numpy()[None])
    return np.concatenate(found)


def _matrices(action: Action, elements: Tensor) -> Any:
    """ρ(h) of each element, shape (k, action.dim, action.dim)."""
    with torch.no_grad():
        found = [deepcopy(action).double().cpu().matrix(h).numpy() for h in elements]
    return np.stack(found) if found else np.zeros((0, action.dim, action.dim))


def _inversions(group: Group) -> Tensor:
    """-I of each O3 in the group, shape (k, n, n): they generate what exp does not reach."""
    factors = group.factors if isinstance(group, Product) else (group,)
    found = [torch.zeros(0, group.matrix_size, group.matrix_size, dtype=torch.float64)]
    start = 0
    for factor in factors:
        end = start + factor.matrix_size
        if factor == O3():
            element = group.identity(1)
            element[:, start:end, start:end] *= -1
            found.append(element)
        start = end
    return torch.cat(found)
