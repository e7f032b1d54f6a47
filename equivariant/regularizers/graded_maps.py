"""Weights with a stated amount of equivariance: projections with their bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.actions import Action, EquivariantMaps
from equivariant.actions.intertwiners import Intertwiners, common_group
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.regularizers.declared_maps import Representations, declared_maps
from equivariant.shapes import Float

_MOST = 1024  # entries between two pieces: their conditions are decomposed whole


class GradedMaps:
    """Linear maps ordered by how much they break a symmetry.

    With the conditions C vec W = (dρ_out(X_k) W - W dρ_in(X_k))_k, X_k the basis of the Lie
    algebra, and discrete generators likewise, the right singular vectors of C are maps whose
    commutator is σ_i. Those with σ_i <= b span the subspace of softness b: b = 0 are the
    equivariant maps, large b all maps. For W in it

        (Σ_k |dρ_out(X_k) W - W dρ_in(X_k)|²)^½ <= b |W|

    and for orthogonal actions and g = exp(Σ t_k X_k), by integration along exp(s X),

        |ρ_out(g) W - W ρ_in(g)| <= |t| b |W|        (Frobenius norms)

    Args:
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.

    Raises:
        ConventionError: The actions have no group or two, are not linear, or a pair of their
            pieces has more than 1024 entries.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> maps = GradedMaps(Tensors(SO3(), 1), Tensors(SO3(), 1))
        >>> maps.grades.round(decimals=3).unique().tolist()
        [0.0, 1.414, 2.449]

    Source: Rahman et al. 2026, soft equivariant filters by singular values.
    """

    def __init__(self, act_in: Action, act_out: Action) -> None:
        common_group(act_in, act_out)
        pieces = [(b, a) for b, _ in act_out.pieces() for a, _ in act_in.pieces()]
        _check_sizes(pieces)
        self.maps = EquivariantMaps(act_in, act_out, merged=False)
        group = self.maps.group
        self._parts: list[tuple[Tensor, Tensor]] = []
        known: dict[bytes, tuple[Tensor, Tensor]] = {}
        for out, into in pieces:
            conditions = Intertwiners.of(_of(into, group), _of(out, group))
            key = conditions.left.tobytes() + b"|" + conditions.right.tobytes()
            if key not in known:
                known[key] = _graded(conditions)
            self._parts.append(known[key])

    @property
    def grades(self) -> Float[Tensor, " grades"]:
        """The commutators σ_i that occur between single pieces, ascending, float64."""
        return torch.cat([grades for grades, _ in self._parts]).sort().values

    def projection(self, W: Float[Tensor, "... outputs inputs"], softness: float) -> Tensor:
        """The nearest matrix of the subspace of softness b, shape, dtype and device of W.

        Args:
            W: Shape (..., outputs, inputs).
            softness: b, at least 0, in the unit of the algebra's basis (per radian for turns).

        Raises:
            ShapeError: W does not fit the actions.
            ConventionError: b is negative.
        """
        if W.ndim < 2 or tuple(W.shape[-2:]) != self.maps.shape:
            raise ShapeError(
                expected=f"weights of shape (..., {self.maps.shape[0]}, {self.maps.shape[1]})",
                got=f"shape {tuple(W.shape)}", argument="W", advice="Rows are outputs.",
            )  # fmt: skip
        _check_softness(softness)
        found = torch.zeros_like(W)
        for block, (grades, vectors) in zip(self.maps.blocks, self._parts, strict=True):
            kept = vectors[:, grades <= softness + 1e-9].to(W)
            pairs = block.split(W)
            found[..., block.rows, block.columns] = block.join((pairs @ kept) @ kept.T)
        return found


@dataclass(frozen=True)
class Softened:
    """What :func:`soften` did to one layer.

    Args:
        layer: Its name.
        kept: |W_b|² / |W|², the share of the weights that is left.
        bound: b |W_b|, above (Σ_k |dρ_out(X_k) W_b - W_b dρ_in(X_k)|²)^½.
    """

    layer: str
    kept: float
    bound: float


def soften(
    model: nn.Module,
    group: Group,
    softness: float,
    *,
    representations: Representations | None = None,
) -> list[Softened]:
    """Project the weights of a trained model on the subspace of a given softness, in place.

    Biases are projected likewise, as maps from scalars. Linear layers and convolutions.

    Args:
        model: Any module with linear layers or convolutions.
        group: The symmetry.
        softness: b of :class:`GradedMaps`, at least 0.
        representations: Actions by layer name; None takes what layers declare.

    Returns:
        One row per layer, in the model's order.

    Raises:
        ConventionError: A layer's weights are no view of a parameter, or see :class:`GradedMaps`.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> layer = nn.Linear(3, 3)
        >>> vector = Tensors(SO3(), 1)
        >>> row = soften(layer, SO3(), 0.0, representations={"": (vector, vector)})[0]
        >>> bool(torch.allclose(layer.weight, layer.weight[0, 0] * torch.eye(3), atol=1e-6))
        True

    Source: Rahman et al. 2026.
    """
    _check_softness(softness)
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    bases = {parameter.data_ptr() for parameter in model.parameters()}
    for one in declared_maps(model, representations):
        W = one.read()
        if W._base is None or W._base.data_ptr() not in bases:
            raise ConventionError(
                expected="layers whose matrices are views of their weights",
                got=one.layer, argument="model", advice="Linear layers and convolutions are.",
            )  # fmt: skip
        with torch.no_grad():
            projected = GradedMaps(*one.under(group)).projection(W, softness)
            before[one.layer] = before.get(one.layer, 0.0) + float(W.square().sum())
            after[one.layer] = after.get(one.layer, 0.0) + float(projected.square().sum())
            W.copy_(projected)
    return [
        Softened(layer, after[layer] / size if size else 1.0, softness * after[layer] ** 0.5)
        for layer, size in before.items()
    ]


def _check_softness(softness: float) -> None:
    if not softness >= 0:
        raise ConventionError(
            expected="a softness of at least 0", got=str(softness), argument="softness",
            advice="0 is exact equivariance.",
        )  # fmt: skip


def _check_sizes(pieces: list[tuple[Action, Action]]) -> None:
    largest = max(b.dim * a.dim for b, a in pieces)
    if largest > _MOST:
        raise ConventionError(
            expected=f"pairs of pieces of at most {_MOST} entries", got=str(largest),
            argument="act_in", advice="Split the action into a sum of smaller ones.",
        )  # fmt: skip


def _of(action: Action, group: Group) -> Action:
    return action if action.group is not None else action.under(group)


def _graded(conditions: Intertwiners) -> tuple[Tensor, Tensor]:
    """All singular values of the conditions, and their right singular vectors as columns."""
    left, right = torch.from_numpy(conditions.left), torch.from_numpy(conditions.right)
    outs, ins = torch.eye(left.shape[-1]).to(left), torch.eye(right.shape[-1]).to(left)
    size = len(outs) * len(ins)
    rows = [
        torch.kron(a, ins) - torch.kron(outs, b.T.contiguous())
        for a, b in zip(left, right, strict=True)
    ]
    if not rows:
        return torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64)
    _, s, vh = torch.linalg.svd(torch.cat(rows), full_matrices=False)
    return s, vh.T
