"""How far layers are from each symmetry: the published penalties, as settings of one table.

Every penalty is a table of one number per layer and group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equivariant.actions import EquivariantMaps
from equivariant.errors import ConventionError, check_option
from equivariant.regularizers.stacked_projection import StackedProjection, at_least_single
from equivariant.shapes import Float

Kind = Literal["projection", "scale_free", "frobenius", "spectral", "sampled", "generators"]
KINDS = ("projection", "scale_free", "frobenius", "spectral", "sampled", "generators")


@dataclass(frozen=True)
class Penalty:
    """Which distance from equivariance is taken, W the weights of a layer and P W the nearest.

    "projection"
        ½ |W - P W|², with biases as a part of their layer. Its gradient is W - P W. For a compact
        group it is a quarter of the mean squared commutator over Haar measure.
    "scale_free"
        |W - P W|² / |W|² over codim / dim: 0 is exact, 1 what random weights have, whatever their
        size and however much the group demands. It cannot be lowered by shrinking weights.
    "frobenius", "spectral"
        |W - P W| itself in the Frobenius norm, or as the largest singular value: the whole orbit
        exactly, no sampling; plus ``equivariant_share`` times |P W|.
    "sampled"
        ¼ |ρ_out(g) W - W ρ_in(g)|², mean over ``samples`` random elements, drawn anew each time.
        On average "projection", for a compact group and orthogonal actions.
    "generators"
        ½ Σ_k |dρ_out(X_k) W - W dρ_in(X_k)|² + ½ Σ_h |ρ_out(h) W - W ρ_in(h)|² over a basis of the
        Lie algebra and the discrete generators: for representations that are not orthogonal.

    Args:
        kind: One of these words.
        samples: Of "sampled", at least 1.
        equivariant_share: Of "frobenius" and "spectral", at least 0.

    Raises:
        ConventionError: Another word, or a number out of range.

    Example:
        >>> Penalty("sampled", samples=4)
        Penalty(kind='sampled', samples=4, equivariant_share=0.0)

    Source: Kim et al. 2023 (projection); Berndt and Stühmer 2026 (norms); Elhag et al. 2024
    (sampled, there of whole networks).
    """

    kind: Kind = "projection"
    samples: int = 8
    equivariant_share: float = 0.0

    def __post_init__(self) -> None:
        check_option(self.kind, KINDS, "kind")
        if self.samples < 1 or not 0 <= self.equivariant_share < float("inf"):
            raise ConventionError(
                expected="at least 1 sample and a share of at least 0",
                got=f"samples={self.samples}, equivariant_share={self.equivariant_share}",
                argument="samples", advice="8 samples and a share of 0 are the defaults.",
            )  # fmt: skip

    def table(
        self, stack: StackedProjection, generator: torch.Generator
    ) -> Float[Tensor, "layers groups"]:
        """The penalty of every layer under every group, differentiable in the weights."""
        if self.kind in ("projection", "scale_free"):
            weights = stack.weights()
            broken = stack.broken(weights)
            return 0.5 * broken if self.kind == "projection" else _relative(stack, weights, broken)
        if self.kind in ("frobenius", "spectral"):
            return self._norms(stack)
        rows: list[Tensor] = []
        for one, solved in zip(stack.maps, stack.equivariant, strict=True):
            W = at_least_single(one.read())
            if self.kind == "sampled":
                each = [_sampled(W, found, self.samples, generator) for found in solved]
            else:
                each = [_at_generators(W, found) for found in solved]
            rows.append(torch.stack(each))
        return _by_layer(stack, rows)

    def _norms(self, stack: StackedProjection) -> Tensor:
        """Norms of W - P W, and of P W times its share.

        The Frobenius norm of a layer is that of all its maps together; the largest singular value
        that of its worst map.
        """
        if self.kind == "frobenius":
            weights = stack.weights()
            broken = stack.broken(weights)
            found = _root(broken)
            if self.equivariant_share:
                kept = (stack.sizes(weights).unsqueeze(-1) - broken).clamp(min=0.0)
                found = found + self.equivariant_share * _root(kept)
            return found
        rests = stack.rests(stack.weights())
        found = _by_layer(stack, [_largest(rest) for rest in rests], largest=True)
        if self.equivariant_share:
            pairs = zip(stack.maps, rests, strict=True)
            nearest = [at_least_single(one.read()) - rest for one, rest in pairs]
            shares = _by_layer(stack, [_largest(P) for P in nearest], largest=True)
            found = found + self.equivariant_share * shares
        return found


def relative_levels(stack: StackedProjection) -> Float[Tensor, "layers groups"]:
    """The scale-free penalty in float64 without gradients; NaN where a group demands nothing.

    Raises:
        ConventionError: Weights are not finite.
    """
    with torch.no_grad():
        weights = stack.weights().double()
        if not bool(weights.isfinite().all()):
            raise ConventionError(
                expected="finite weights", got="infinite or undefined ones", argument="model",
                advice="Levels of weights that have diverged mean nothing.",
            )  # fmt: skip
        found = _relative(stack, weights, stack.broken(weights))
        return torch.where(stack.codims.to(found) > 0, found, torch.nan)


def _relative(stack: StackedProjection, weights: Tensor, broken: Tensor) -> Tensor:
    size = stack.sizes(weights)
    share = broken / torch.where(size > 0, size, 1.0).unsqueeze(-1)
    codims = stack.codims.to(share)
    expected = codims / stack.dims.to(share).unsqueeze(-1)
    return torch.where(codims > 0, share / torch.where(codims > 0, expected, 1.0), 0.0)


def _by_layer(
    stack: StackedProjection, rows: list[Tensor], *, largest: bool = False
) -> Float[Tensor, "layers groups"]:
    """One row per map added up, or the largest of them, into one row per layer."""
    table = torch.stack(rows)
    owners = [stack.layers.index(one.layer) for one in stack.maps]
    merged = []
    for layer in range(len(stack.layers)):
        own = table[[k for k, owner in enumerate(owners) if owner == layer]]
        merged.append(own.amax(0) if largest else own.sum(0))
    return torch.stack(merged)


def _largest(W: Float[Tensor, "groups maps outs ins"]) -> Float[Tensor, " groups"]:
    """The largest singular value, of the worst tap; its slope at zero is zero."""
    tall = W if W.shape[-2] >= W.shape[-1] else W.transpose(-1, -2)
    if tall.shape[-1] == 1:
        squares = tall.square().sum((-2, -1))
    else:  # of the smaller Gram matrix, whose largest eigenvalue is as exact as its square root
        squares = torch.linalg.eigvalsh(tall.transpose(-1, -2) @ tall).amax(-1)
    norms = _root(squares)
    worst: Tensor = norms.amax(-1)
    return worst


def _root(x: Tensor) -> Tensor:
    """Square roots whose slope at zero is zero."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)


def _sampled(W: Tensor, maps: EquivariantMaps, samples: int, generator: torch.Generator) -> Tensor:
    g = maps.group.sample(samples, generator=generator)
    left, right = (action.matrix(g).to(W).unsqueeze(1) for action in (maps.act_out, maps.act_in))
    return 0.25 * (left @ W - W @ right).square().sum() / samples


def _at_generators(W: Tensor, maps: EquivariantMaps) -> Tensor:
    conditions = maps.conditions
    left, right = (torch.from_numpy(side).to(W) for side in (conditions.left, conditions.right))
    return 0.5 * (left.unsqueeze(1) @ W - W @ right.unsqueeze(1)).square().sum()
