"""An objective is a weighted sum of terms over a batch of pairs, written as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.actions import Action, DirectSum
from equivariant.errors import ConventionError
from equivariant.losses.collect import collect
from equivariant.losses.contrast import contrast
from equivariant.losses.pairs import Pairs
from equivariant.losses.sides import Side
from equivariant.losses.terms import covariance, mean_squared_difference, variance
from equivariant.shapes import Float, Matrix, Vector

Kind = Literal["align", "contrast", "variance", "covariance"]


@dataclass(frozen=True)
class Term:
    """One term of an objective, as data.

    With z = (z_a, z_b) the embeddings of the two views, m = ρ(g) z_a the moved first view:

        align        mean (m - z_b)²
        contrast     InfoNCE over the 2N rows of m and z_b, cosine, temperature tau
        variance     of views: ½ V(z_a) + ½ V(z_b);  of moved: ½ V(m)
        covariance   of views: C(z_a) + C(z_b);      of moved: C(m)

    Args:
        kind: Which of the four.
        weight: Factor, >= 0.
        part: Index of the action's summand that the term sees; None sees the whole vector.
        of: For variance and covariance: of the views or of the moved first view.
        tau: For contrast: temperature, > 0.
        keep: For contrast: 1 is InfoNCE, 0 leaves the positive out of the denominator.
    """

    kind: Kind
    weight: float
    part: int | None = None
    of: Literal["views", "moved"] = "views"
    tau: float = 0.1
    keep: float = 1.0

    @property
    def name(self) -> str:
        """How the term is called in logs: kind, part, and what it is of."""
        part = "" if self.part is None else f"_{self.part}"
        return f"{self.kind}{part}{'_moved' if self.of == 'moved' else ''}"


@dataclass(frozen=True)
class ObjectiveValue:
    """The value of an objective.

    Args:
        total: Weighted sum, a scalar with gradient.
        terms: Each term before its weight, detached.
    """

    total: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """A weighted sum of terms; the action moves the first view before views are compared.

    Embeddings are gathered from all processes with gradient, so that variance, covariance and
    negatives are those of the whole batch; see :func:`equivariant.losses.collect.collect`.
    Everything is computed in float32 or wider, outside autocast.

    Args:
        terms: What is summed; :func:`equivariant.losses.preset` has the named ones.
        action: How g moves an embedding. Its weights, if any, are this module's.

    Raises:
        ConventionError: There is no term, a weight is negative, two terms have one name, or a
            part is not a summand of the action.

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO3
        >>> action = Trivial(4) + Vectors(SO3(), channels=2)
        >>> terms = [Term("align", 10.0, part=1), Term("variance", 10.0)]
        >>> value = Objective(terms, action)(torch.eye(10), torch.eye(10), torch.eye(3))
        >>> sorted(value.terms)
        ['align_1', 'variance']
    """

    def __init__(self, terms: Sequence[Term], action: Action) -> None:
        super().__init__()
        parts = len(action.summands) if isinstance(action, DirectSum) else 0
        names = [term.name for term in terms]
        wrong = [t for t in terms if t.weight < 0 or not (t.part is None or 0 <= t.part < parts)]
        if not terms or wrong or len(set(names)) < len(names):
            raise ConventionError(
                expected=f"terms of different names, weights >= 0, parts below {parts}",
                got=", ".join(map(str, wrong or terms)) or "no term",
                argument="terms",
                advice="A part is the index of a summand of the action: 0 is the first.",
            )
        self.terms = tuple(terms)
        self.action = action

    def forward(self, z_a: Vector, z_b: Vector, g: Matrix) -> ObjectiveValue:
        """Evaluate on a batch.

        Args:
            z_a: Embeddings of the first views, shape (N, dim).
            z_b: Embeddings of the second views, shape (N, dim).
            g: Elements, shape (N, n, n), or one for all, (n, n).

        Returns:
            Total and terms.

        Raises:
            ShapeError: The widths are not the action's, or N is too small for a term.
        """
        with torch.autocast(z_a.device.type, enabled=False):
            wide = torch.promote_types(z_a.dtype, torch.float32)
            z_a, z_b = z_a.to(wide), z_b.to(wide)
            moved = self.action(g.to(wide), z_a)
            views = tuple(collect(z) for z in (z_a, z_b, moved))
            values = {term.name: self._evaluate(term, *views) for term in self.terms}
        total = torch.stack([term.weight * values[term.name] for term in self.terms]).sum()
        return ObjectiveValue(total, {name: value.detach() for name, value in values.items()})

    def _evaluate(self, term: Term, z_a: Tensor, z_b: Tensor, moved: Tensor) -> Float[Tensor, ""]:
        if term.part is not None and isinstance(self.action, DirectSum):
            rows = self.action.slices[term.part]
            z_a, z_b, moved = z_a[:, rows], z_b[:, rows], moved[:, rows]
        if term.kind == "align":
            return mean_squared_difference(moved, z_b)
        if term.kind == "contrast":
            side = Side.views(moved, z_b)
            pairs = Pairs.same("id").not_self()
            return contrast(side, side, pairs, tau=term.tau, keep=term.keep).mean()
        if term.kind == "variance":
            if term.of == "moved":
                return 0.5 * variance(moved)
            return 0.5 * variance(z_a) + 0.5 * variance(z_b)
        if term.of == "moved":
            return covariance(moved)
        return covariance(z_a) + covariance(z_b)

    def extra_repr(self) -> str:
        return "\n".join(map(str, self.terms))
