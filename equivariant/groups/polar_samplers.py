"""Sampling laws of linear groups: truncated Haar measure, and log-normal stretches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.decompositions import KAK, Polar, symmetric_exp
from equivariant.groups.numerics import random_normal
from equivariant.groups.radial_laws import (
    plane_deviations,
    plane_volume,
    space_deviations,
    space_volume,
)
from equivariant.groups.reductive import Reductive
from equivariant.groups.samplers import Sampler, Weighted
from equivariant.groups.so2 import SO2
from equivariant.groups.spread import (
    evenly_spaced,
    rotation_from_uniform,
    scrambled_sobol,
    spread_rotations,
    strata,
    uniform,
)

SamplingMethod = Literal["independent", "antithetic", "quasi", "stratified"]
_LARGEST = 100.0  # of radii: exp(4 radius), in the law of three singular values, must not overflow
_SPREADS = {"independent": uniform, "antithetic": uniform, "quasi": scrambled_sobol,
            "stratified": strata}  # fmt: skip


@dataclass(frozen=True)
class TruncatedHaarSampler(Sampler):
    """Haar measure of a linear group, cut off at a radius, exactly; every weight is 1.

    The law is Haar measure restricted to the elements

        h = k₁ exp(diag H) k₂,   |H_i - mean H| <= radius,   |mean H| <= scale_radius,

    a set that is the same seen from the right, from the left and through the inverse:
    h ↦ k h k' and h ↦ h⁻¹ keep it. Drawn as h = k exp(diag H) kᵀ R, the axes k and the rotation R
    Haar-uniform and H by inverse distribution functions, in the plane sinh² s = u sinh² radius
    for H = mean ± s. (R and the axes are what smooth functions depend on; the even spacing of two
    rotations k₁ and k₂ would be lost in their product.)

    Methods, each of which gives every single element the same law:

    - ``independent``: independent draws.
    - ``antithetic``: along the last batch axis the second half holds the inverses of the first, in
      the same order; of an odd number the element in the middle has no partner.
    - ``quasi``: the uniform numbers along the last batch axis are a scrambled Sobol sequence.
    - ``stratified``: along the last batch axis angles are evenly spaced with one random offset (in
      space: a randomly turned set of well-spread rotations; of O(2) every other angle is
      mirrored), singular values one to each of N equally likely intervals, and
      these are paired at random.

    Args:
        group: GL(n), SL(n), ScaledRotations(n), SO2, SO3, O2 or O3; n = 2 or 3.
        radius: Of the deviations of the logarithms of singular values, positive, at most 100.
            Groups whose singular values are all equal do not use it.
        scale_radius: Of the mean of these logarithms, at least 0; None takes ``radius``. SL(n) and
            orthogonal groups do not use it.
        method: See above.

    Raises:
        ConventionError: Another group or method, or a radius out of range.

    Example:
        >>> from equivariant.groups import GL
        >>> sampler = TruncatedHaarSampler(GL(2), 0.5, scale_radius=0.2, method="quasi")
        >>> drawn = sampler.draw(16, generator=torch.Generator().manual_seed(0))
        >>> drawn.elements.shape, round(sampler.bound, 4)
        (torch.Size([16, 2, 2]), 2.0138)
        >>> bool((torch.linalg.matrix_norm(drawn.elements, ord=2) <= sampler.bound).all())
        True
    """

    group: Group
    radius: float
    scale_radius: float | None = field(default=None, kw_only=True)
    method: SamplingMethod = field(default="independent", kw_only=True)

    def __post_init__(self) -> None:
        _linear(self.group)
        _check_positive("radius", self.radius)
        if self.scale_radius is not None and self.scale_radius != 0:
            _check_positive("scale_radius", self.scale_radius)
        if self.method not in get_args(SamplingMethod):
            raise ConventionError(
                expected=f"one of {', '.join(get_args(SamplingMethod))}", got=str(self.method),
                argument="method", advice='"independent" draws independent elements.',
            )  # fmt: skip

    @property
    def bound(self) -> float:
        """The largest singular value of an element, and 1 over the smallest."""
        linear, deviation, scale = _linear(self.group), self.radius, self._scale_radius
        return math.exp((deviation if linear.roots() else 0.0) + scale)

    @property
    def volume(self) -> float:
        """Haar measure of the set, by the normalization of :attr:`Decomposition.log_constant`.

        Means of f over draws times this estimate ∫ f dμ of functions that vanish outside. 0 for
        groups with a scale whose scale radius is 0.
        """
        linear, n = _linear(self.group), self.group.matrix_size
        total = math.exp(KAK(self.group).log_constant)
        if linear.roots():
            total *= plane_volume(self.radius) if n == 2 else space_volume(self.radius)
        return total * (2 * math.sqrt(n) * self._scale_radius if self._has_scale else 1.0)

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        """Elements of the law.

        Args:
            *batch: Leading shape of the result; none for a single element. Elements are
                dependent along the last axis, unless the method is ``independent``.
            generator: Source of randomness, on the CPU.

        Returns:
            Elements (*batch, n, n) and weights 1 of shape (*batch), float64 on the CPU.
        """
        shape = batch or (1,)
        if self.method == "antithetic":
            first = self._draw((*shape[:-1], (shape[-1] + 1) // 2), generator)
            back = self.group.inverse(first[..., : shape[-1] // 2, :, :])
            elements = torch.cat([first, back], -3)
        else:
            elements = self._draw(shape, generator)
        elements = elements.reshape(*batch, *elements.shape[-2:])
        return Weighted(elements, torch.ones(batch, dtype=torch.float64))

    @property
    def _has_scale(self) -> bool:
        rows = _linear(self.group).stretches()
        return bool((rows.sum(-1).abs() > 1e-9).any())

    @property
    def _scale_radius(self) -> float:
        if not self._has_scale:
            return 0.0
        return self.radius if self.scale_radius is None else self.scale_radius

    def _draw(self, batch: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Elements, those along the last batch axis by the method; antithetic ones unpaired."""
        linear, n = _linear(self.group), self.group.matrix_size
        mirrors = linear.orthogonal_subgroup.discrete_generators()
        turn, stretched = 1 if n == 2 else 3, bool(linear.roots())
        counts = {"turn": turn, "mirror": int(len(mirrors) > 0), "scale": int(self._has_scale),
                  "deviations": (n - 1) * stretched, "axes": turn * stretched}  # fmt: skip
        u = _SPREADS[self.method](batch, sum(counts.values()), generator)
        part = dict(zip(counts, u.split(list(counts.values()), -1), strict=True))
        if self.method == "stratified" and n == 2:
            part["turn"] = evenly_spaced(batch, 1, generator)
            if counts["mirror"]:  # every other angle, so that each half is evenly spaced too
                first = (2 * uniform((*batch[:-1], 1), 1, generator)).floor()
                part["mirror"] = ((part["turn"] * batch[-1]).floor() + first) % 2
            if stretched:
                part["axes"] = evenly_spaced(batch, 1, generator)
        h = self._rotation(part["turn"], generator)
        if counts["mirror"]:
            h = torch.where(part["mirror"].unsqueeze(-1) < 0.5, h, h @ mirrors[0])
        if counts["scale"]:
            h = h * (self._scale_radius * (2 * part["scale"] - 1)).exp().unsqueeze(-1)
        if stretched:
            law = plane_deviations if n == 2 else space_deviations
            stretch = law(part["deviations"], self.radius).exp()
            # In the plane k and -k give the same axes: half a turn goes round them once.
            k = self._rotation(part["axes"], generator, turns=0.5)
            h = (k * stretch.unsqueeze(-2)) @ k.mT @ h
        return h

    def _rotation(self, u: Tensor, generator: torch.Generator, *, turns: float = 1.0) -> Tensor:
        """Rotations (*batch, n, n), Haar-uniform for uniform numbers (*batch, 1 or 3)."""
        if u.shape[-1] == 1:
            return SO2().exp(2 * math.pi * turns * u)
        if self.method == "stratified":
            return spread_rotations(tuple(u.shape[:-1]), generator)
        return rotation_from_uniform(u)


@dataclass(frozen=True)
class LogNormalSampler(Sampler):
    """Stretches whose logarithm is normal, and Haar-uniform rotations.

        h = exp(Y / 2) R,   Y = Σ_k y_k B_k,   y_k ~ N(0, scale²),
        w = Π_{i<j} sinhc((y_i - y_j) / 2) / (density of Y)

    with B the orthonormal basis ``group.symmetric_basis()``. The weights are the density of Haar
    measure in that of the draws, with the constant of :attr:`Decomposition.log_constant`: means
    of w f(h) converge to ∫ f dμ for functions of compact support. The weights have no finite mean
    (Haar measure has infinite mass), so do not divide by their sum unless f and the mass are cut
    off; and their spread grows with the distance from the identity, most for small ``scale``.

    With ``weighted=False`` every weight is 1. This is the sampler of the published code of Lie
    group decomposition networks: its means converge to integrals in a measure that is not
    invariant, so a convolution built on it converges to a map that is not equivariant.

    Args:
        group: GL(n), SL(n), ScaledRotations(n), SO2, SO3, O2 or O3; n = 2 or 3.
        scale: Standard deviation of the coordinates of Y, positive; the published one is √0.1.
        weighted: Whether weights correct for the law.

    Raises:
        ConventionError: Another group, or a scale that is not positive.

    Example:
        >>> from equivariant.groups import SL
        >>> sampler = LogNormalSampler(SL(2), 0.5)
        >>> drawn = sampler.draw(4, generator=torch.Generator().manual_seed(0))
        >>> drawn.elements.shape, drawn.weights.shape
        (torch.Size([4, 2, 2]), torch.Size([4]))
    """

    group: Group
    scale: float
    weighted: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        _linear(self.group)
        _check_positive("scale", self.scale)

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        linear = _linear(self.group)
        basis = linear.symmetric_basis()
        y = self.scale * random_normal((*batch, len(basis)), generator=generator)
        p = symmetric_exp(0.5 * torch.einsum("...k,kij->...ij", y, basis))
        r = linear.orthogonal_subgroup.draw(batch, generator=generator)
        weights = torch.ones(batch, dtype=torch.float64)
        if self.weighted:
            # The normal density of X = Y / 2.
            deviation = 0.5 * self.scale
            normal = 0.5 * (y / self.scale).square().sum(-1)
            constant = len(basis) * math.log(math.sqrt(2 * math.pi) * deviation)
            weights = (Polar(self.group).log_density(p, r) + normal + constant).exp()
        return Weighted(p @ r, weights)


def _linear(group: Group) -> Reductive:
    """The group, if it is one that decompositions take."""
    return Polar(group).linear_group


def _check_positive(argument: str, value: float) -> None:
    given: Any = value
    if not (isinstance(given, Real) and 0 < value <= _LARGEST):
        raise ConventionError(
            expected=f"a positive number of at most {_LARGEST:g}", got=repr(value),
            argument=argument,
            advice="It is a distance in logarithms of singular values: 0.5 allows 1.65 times.",
        )  # fmt: skip
