"""The learned action of SIE: a linear map whose matrix is written from the group element."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.actions import Action
from equivariant.errors import ConventionError
from equivariant.groups import SO3, Group, Product, Spin3, Translation, quaternion_xyzw_from_matrix
from equivariant.shapes import Float, Matrix, Vector

Conditioning = Literal["quaternion", "matrix"]


class Hypernetwork(Action):
    """ρ(g) z = Σ_k c_k(g) W_k z with free matrices W_k and features c(g) of the element.

    It is linear and without bias in both: it cannot ignore g unless every W_k is zero. A ``deep``
    one replaces c by a small network of it, ReLU(B ReLU(A c)) with square A and B. The sum
    over k is formed directly; the matrices of a batch are never stored. Nothing forces
    ρ(g)ρ(h) = ρ(gh): how far it holds is measured, not assumed.

    Args:
        group: SO3, Spin3, Translation, or a product of them.
        dim: Width of the vectors it acts on.
        conditioning: Features of a rotation. "quaternion" (x, y, z, w) as in the paper: signed
            on Spin3, which is what the published code does; on SO3 the one with w >= 0, which
            jumps where the angle is π. "matrix": the 9 entries, single-valued and continuous.
            Translations give their coordinates.
        gain: By how much ρ(g) lengthens a random vector at the start. None keeps the published
            start, uniform in ±1/√K for K features, whose gain grows as √dim (9.2 at dim 1024
            on quaternions); 1 preserves lengths. Of a deep one it holds before the small network.
        deep: Whether the small network stands before the matrices; without biases, as published.

    Raises:
        ConventionError: A factor of the group has no such features, or gain is not positive.

    Example:
        >>> action = Hypernetwork(Spin3(), 1024)
        >>> sum(weight.numel() for weight in action.parameters())
        4194304

    Source: Garrido et al. 2023, section 3 and published code.
    """

    def __init__(
        self,
        group: Group,
        dim: int,
        conditioning: Conditioning = "quaternion",
        *,
        gain: float | None = None,
        deep: bool = False,
    ) -> None:
        super().__init__(group, dim)
        if conditioning not in ("quaternion", "matrix") or not (gain is None or gain > 0):
            raise ConventionError(
                expected="quaternion or matrix, and a gain above 0 or None",
                got=f"{conditioning!r}, gain={gain}",
                argument="conditioning",
                advice="quaternion is the paper's; matrix is single-valued on rotations.",
            )
        self.conditioning: Conditioning = conditioning
        self._conditioned_on = group
        features = element_features(group, group.identity(), conditioning)
        bound = features.shape[-1] ** -0.5
        if gain is not None:
            length = float(features.norm()) or 1.0
            bound = gain * (3.0 / dim) ** 0.5 / length
        weight = torch.empty(features.shape[-1], dim, dim).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.before: nn.Module = nn.Identity()
        if deep:
            size = features.shape[-1]
            layers = [nn.Linear(size, size, bias=False) for _ in range(2)]
            self.before = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        features = self._features(g, z.dtype)
        count, dim, _ = self.weight.shape
        images = z @ self.weight.to(z.dtype).reshape(count * dim, dim).T
        images = images.reshape(*z.shape[:-1], count, dim)
        return (features.unsqueeze(-1) * images).sum(-2)

    def matrix(self, g: Matrix) -> Float[Tensor, "... dim dim"]:
        """ρ(g) as matrices: ``Σ_k c_k(g) W_k``, shape (..., dim, dim)."""
        self.check_element(g)
        features = self._features(g, self.weight.dtype)
        return torch.einsum("...k,kij->...ij", features, self.weight)

    def _features(self, g: Matrix, dtype: torch.dtype) -> Float[Tensor, "... features"]:
        features = element_features(self._conditioned_on, g, self.conditioning)
        found: Tensor = self.before(features.to(self.weight.dtype))
        return found.to(dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, conditioning={self.conditioning}"


def element_features(
    group: Group, g: Matrix, conditioning: Conditioning
) -> Float[Tensor, "... features"]:
    """Numbers that describe an element to a network.

    Args:
        group: SO3, Spin3, Translation, or a product of them.
        g: Elements, shape (..., n, n).
        conditioning: See :class:`Hypernetwork`.

    Returns:
        Shape (..., K): 4 or 9 for a rotation, n for a translation of n numbers; those of the
        factors of a product one after another.

    Raises:
        ConventionError: No features are defined for the group.

    Example:
        >>> element_features(Spin3(), Spin3().identity(), "quaternion").tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    if isinstance(group, Product):
        parts = zip(group.factors, group.split(g), strict=True)
        return torch.cat([element_features(f, part, conditioning) for f, part in parts], -1)
    if isinstance(group, Translation):
        return group.log(g)
    if group == Spin3():
        return Spin3.quaternion_xyzw(g) if conditioning == "quaternion" else (
            Spin3.rotation(g).flatten(-2)
        )  # fmt: skip
    if group == SO3():
        return quaternion_xyzw_from_matrix(g) if conditioning == "quaternion" else g.flatten(-2)
    raise ConventionError(
        expected="SO3, Spin3, Translation, or a product of them",
        got=str(group),
        argument="group",
        advice="Write the element as one of these, or act exactly by a known representation.",
    )
