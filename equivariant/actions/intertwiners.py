"""Equivariant linear maps between two representations: conditions on a matrix, and the nearest one.

W intertwines ρ_in and ρ_out where ρ_out(g) W = W ρ_in(g) for all g. The conditions on the basis of
the Lie algebra settle the identity component of the group, those on its discrete generators the
rest; all are linear in W.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, lsmr
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.derivative import OutputsAlong, derivative
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.shapes import Float, Matrix

Matrices = NDArray[np.float64]


@dataclass(frozen=True)
class Intertwiners:
    """The condition ρ_out(g) W = W ρ_in(g) as a list of pairs of matrices, A_i W = W B_i.

    Args:
        left: A_i, the basis of the algebra in the output representation and then discrete
            elements, shape (conditions, outputs, outputs), float64.
        right: B_i, the same in the input representation, shape (conditions, inputs, inputs).

    Example:
        >>> from equivariant.actions import IrrepsAction
        >>> from equivariant.groups import SO3
        >>> vector = IrrepsAction("1x1o", SO3())
        >>> Intertwiners.of(vector, vector).projection(np.arange(9.0).reshape(3, 3)).round(5)
        array([[4., 0., 0.],
               [0., 4., 0.],
               [0., 0., 4.]])
    """

    left: Matrices
    right: Matrices

    @classmethod
    def of(cls, act_in: Action, act_out: Action, *, elements: Matrix | None = None) -> Intertwiners:
        """The conditions of two linear actions of one group.

        Args:
            act_in: Linear action on inputs.
            act_out: Linear action on outputs, of the same group.
            elements: Further discrete elements, shape (k, n, n), beside those that the group
                names itself, see :meth:`Group.discrete_generators`.

        Raises:
            ConventionError: The actions have no group or two, or are not linear.
        """
        group = common_group(act_in, act_out)
        discrete = group.discrete_generators()
        if elements is not None:
            group.check_element(elements, "elements")
            given = elements.cpu().double().reshape(-1, *discrete.shape[1:])
            discrete = torch.cat([discrete, given])
        left, right = (
            np.concatenate([algebra_matrices(action, group), element_matrices(action, discrete)])
            for action in (act_out, act_in)
        )
        return cls(left, right)

    def residuals(self, W: Matrices) -> Matrices:
        """A_i W - W B_i for each condition, shape (conditions, outputs, inputs)."""
        residuals: Matrices = self.left @ W - W @ self.right
        return residuals

    def projection(self, W: Matrices) -> Matrices:
        """The nearest intertwiner in the Frobenius norm.

        W minus the least-norm solution D of A_i D - D B_i = A_i W - W B_i, found by LSMR
        without the matrix of these equations.
        """
        return W - self._least_norm(self.residuals(W))

    def _least_norm(self, target: Matrices) -> Matrices:
        count, rows, columns = target.shape
        left, right = self.left, self.right

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
        solution: Matrices = lsmr(
            operator, target.ravel(), atol=1e-15, btol=1e-15, conlim=0, maxiter=steps
        )[0]
        return solution.reshape(rows, columns)


def common_group(act_in: Action, act_out: Action) -> Group:
    """The one group of two actions.

    Raises:
        ConventionError: They have none, or two, or are no actions.
    """
    for action, argument in ((act_in, "act_in"), (act_out, "act_out")):
        if not isinstance(action, Action):
            raise ConventionError(
                expected="an action of a group", got=repr(action), argument=argument,
                advice="For example Tensors(SO3(), 1), the vectors of space.",
            )  # fmt: skip
    groups = [a.group for a in (act_in, act_out) if a.group is not None]
    if not groups or groups[0] != groups[-1]:
        raise ConventionError(
            expected="linear actions of one group",
            got=f"{act_in.group} and {act_out.group}",
            argument="act_out",
            advice="Trivial(dim) fits every group, but not both sides.",
        )
    return groups[0]


def check_weights(W: Float[Tensor, "outputs inputs"], act_in: Action, act_out: Action) -> None:
    """Refuse a matrix that does not map one representation to the other.

    Raises:
        ShapeError: W does not fit the actions.
    """
    if tuple(W.shape) != (act_out.dim, act_in.dim):
        raise ShapeError(
            expected=f"weights of shape ({act_out.dim}, {act_in.dim})",
            got=f"shape {tuple(W.shape)}",
            argument="W",
            advice="Rows are outputs, columns inputs, as in torch.nn.Linear.",
        )


def algebra_matrices(action: Action, group: Group) -> Matrices:
    """dρ(X) of each basis element X of the algebra, shape (group.dim, action.dim, action.dim)."""
    closed = action.algebra()
    if closed is not None:
        return closed.double().cpu().numpy()
    action = deepcopy(action).double().cpu()
    found = [np.zeros((0, action.dim, action.dim))]

    def curve_along(direction: Tensor) -> OutputsAlong:
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


def element_matrices(action: Action, elements: Matrix) -> Matrices:
    """ρ(h) of each element, shape (k, action.dim, action.dim)."""
    with torch.no_grad():
        found = [deepcopy(action).double().cpu().matrix(h).numpy() for h in elements]
    return np.stack(found) if found else np.zeros((0, action.dim, action.dim))
