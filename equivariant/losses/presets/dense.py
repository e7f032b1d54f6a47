"""Points instead of whole objects, and groups instead of pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.affinities import Near
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.objective.plan import ContrastTerm, FunctionTerm, Step, Term
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.sorting import group_ordering
from equivariant.processes import once_if_equal, total


@listed(
    title="PixPro on points",
    family="dense",
    formula="-Σ_{a→b, b→a} mean_objects mean_{|x_i - x_j| < radius} cos(prop(a)_i, k_j), "
    "prop(a)_i = Σ_j max(cos(a_i, a_j), 0)^γ g(a_j) within an object, k without gradient",
    source="Xie et al. 2021; γ 2, g one linear map; their radius is 0.7 bin diagonals. "
    "Their code doubles the loss and has unit g(a_j), which unit_values=True adds; an object "
    "without a pair is left out here and counts 0 there",
    purpose="Features of one point agree in both views, smoothed over what looks alike.",
    sides={
        "a": "points of first views, (N, D), knowing position (N, d), of one frame for an object's "
        "views, and id: the object",
        "b": "points of second views, (M, D), knowing the same; with keys=('c', 'd'), c and d are "
        "the momentum encoder's points of the first and second views",
    },
    memory="pairs",
)
def pixpro(
    dim: int,
    radius: float,
    sharpness: float = 2.0,
    keys: tuple[str, str] = ("a", "b"),
    unit_values: bool = False,
) -> Plan:
    if not radius > 0 or not sharpness >= 1:
        raise ConventionError(
            expected="a radius above 0 and a sharpness of at least 1",
            got=f"radius={radius}, sharpness={sharpness}",
            argument="radius" if not radius > 0 else "sharpness",
            advice="The radius is in the unit of the positions; the usual sharpness is 2.",
        )
    propagate = Propagation(dim, sharpness, Near("position", radius), unit_values)
    plan: list[Step | Term] = []
    for view, other in (("a", keys[1]), ("b", keys[0])):
        plan += [
            Step(f"keys_of_{view}", Side.detach, (other,)),
            Step(f"spread_{view}", propagate, (view, f"keys_of_{view}")),
            ContrastTerm(
                f"pixpro_{view}", anchors=f"spread_{view}", candidates=f"keys_of_{view}", tau=1.0,
                pairs=propagate.pairs, push="none",
            ),
        ]  # fmt: skip
    return plan


class Propagation(nn.Module):
    """Points as sums over their object, Σ_j max(cos(x_i, x_j), 0)^γ g(x_j), weighed by object.

    The weights turn the mean over anchors of their mean over positives into the mean over objects
    of the mean over an object's pairs.

    Args:
        dim: Width of the features.
        sharpness: γ, at least 1.
        pairs: Which points of the other view are positives.
        unit_values: Whether g(x_j) is brought to unit length.
    """

    def __init__(self, dim: int, sharpness: float, pairs: Near, unit_values: bool) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)
        self.sharpness, self.pairs, self.unit_values = sharpness, pairs, unit_values

    def forward(self, points: Side, keys: Side) -> Side:
        """The points propagated, with weights."""
        one = points.get("id")[:, None] == points.get("id")
        values = self.transform(points.z)
        values = unit(values) if self.unit_values else values
        rows = unit(points.z)
        alike = torch.where(one, rows @ rows.T, 0.0).clamp(min=0.0) ** self.sharpness
        return points.replace(alike @ values, weight=self._weights(points, keys, one), irreps=None)

    @torch.no_grad()
    def _weights(self, points: Side, keys: Side, one: Tensor) -> Tensor:
        number = self.pairs.tile(points, keys.collect()).positive.sum(1).to(points.z)
        same, some = one.to(number), (number > 0).to(number)
        objects = total((some / (same @ some).clamp(min=1)).sum())
        of_object = (same @ number).clamp(min=1)
        weight = total(some.sum()) * number / (objects.clamp(min=0.5) * of_object)
        return weight if points.weight is None else weight * points.weight.to(weight)


@listed(
    title="GroCo: group ordering",
    family="dense",
    formula="½ [BCE(m, y) + BCE(1 - m, 1 - y)], m_j the mass of list element j on the upper ranks "
    "of a soft sort of [hardest negatives, positives], y_j = 1 for positives",
    source="Shvetsova et al. 2023 and their code; 10 negatives, steepness 1, Cauchy comparators; "
    "only queries move. Their negatives are the queries of other objects, and views take turns",
    purpose="Positives rank above the hardest negatives, whatever the distances.",
    sides={
        "a": "queries, (N, D)",
        "b": "positives, (N, D); more are named by positives=",
        "negatives": "(M, D), of other objects, those of all processes, or the same on each; with "
        "in_batch=True, positives of other ids instead",
    },
    memory="pairs",
)
def groco(
    positives: str = "b", count: int = 10, steepness: float = 1.0, in_batch: bool = False
) -> Plan:
    further = ("a.id", *(f"{name}.id" for name in positives)) if in_batch else ("negatives",)
    settings = {"count": count, "steepness": steepness, "in_batch": in_batch}
    return [FunctionTerm("groco", 1.0, None, order_groups, ("a", *positives, *further), settings)]


def order_groups(
    q: Tensor, *others: Tensor, count: int, steepness: float, in_batch: bool
) -> Tensor:
    """:func:`group_ordering` of positives, then negatives; or then the ids of q and positives."""
    number = len(others) // 2 if in_batch else len(others) - 1
    positives, valid = others[:number], None
    for side in positives:
        if side.shape != q.shape:
            raise ShapeError(
                expected=f"one positive for each query, shape {tuple(q.shape)}",
                got=f"shape {tuple(side.shape)}",
                argument="positives",
                advice="Row i of every side shows a's object i.",
            )
    negatives = torch.cat(positives) if in_batch else once_if_equal(others[-1])
    if in_batch:
        valid = others[number][:, None] != torch.cat(others[number + 1 :])
    return group_ordering(
        q, torch.stack(positives, 1), negatives, count=count, steepness=steepness, valid=valid
    )
