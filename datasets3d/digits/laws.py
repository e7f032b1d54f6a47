"""Sampling laws of motions of the picture plane: uniform numbers in, exact matrices out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from datasets3d.digits.placement import shift_inside
from datasets3d.pairs.streams import uniform_numbers
from datasets3d.views.latents import Range
from equivariant.errors import ConventionError, ShapeError, check_option
from equivariant.groups import Affine, Group
from equivariant.groups.radial_laws import plane_deviations

Placement = Literal["inside", "none"]
DEGREES_20 = math.radians(20.0)


class PlaneLaw(ABC):
    """A probability law of 3 x 3 matrices that move points (x, y, 1) of the picture plane.

    Coordinates are those of :class:`equivariant.actions.ImageWarp`: origin at the picture's
    centre, half its shorter side is 1, x to the right, y up. A law is a map from a fixed number
    of independent uniform numbers to a matrix, so one draw depends on its own numbers alone.

    Attributes:
        numbers: Uniform numbers that one matrix takes.
    """

    numbers: ClassVar[int]

    @property
    def motions(self) -> Group:
        """The group that the matrices belong to: Affine(2), unless the law says otherwise."""
        return Affine(2)

    @abstractmethod
    def matrices(
        self, uniform: NDArray[np.float64], corners: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """The matrices at given uniform numbers.

        Args:
            uniform: In (0, 1), shape (N, numbers), float64.
            corners: What must stay in the frame, of every picture: points of the plane, shape
                (N, points, 2), as :func:`ink_corners` gives them. Needed by laws that shift.

        Returns:
            Shape (N, 3, 3), float64.

        Raises:
            ShapeError: The numbers are not of that shape.
            ConventionError: The law shifts, and there are no corners.
        """

    def sample(
        self,
        seed: int,
        objects: NDArray[np.int64],
        *,
        epoch: int = 0,
        draw: int = 0,
        corners: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """One matrix for each object; it depends on (seed, epoch, object, draw) alone.

        Args:
            seed: At least 0.
            objects: Indices, shape (N,).
            epoch: At least 0.
            draw: Which of an object's draws, at least 0.
            corners: As in :meth:`matrices`.

        Returns:
            Shape (N, 3, 3), float64.

        Example:
            >>> law = RotationLaw()
            >>> many, one = law.sample(0, np.arange(9)), law.sample(0, np.array([4]))
            >>> bool((many[4] == one[0]).all())
            True
        """
        return self.matrices(
            uniform_numbers(seed, epoch, objects, draw=draw, count=self.numbers), corners
        )

    def _check(self, uniform: NDArray[np.float64]) -> None:
        if uniform.ndim != 2 or uniform.shape[1] != self.numbers:
            raise ShapeError(
                expected=f"{self.numbers} uniform numbers per matrix, shape (N, {self.numbers})",
                got=f"shape {uniform.shape}", argument="uniform",
                advice=f"See {type(self).__name__}.numbers.",
            )  # fmt: skip


class AffineLaw(PlaneLaw):
    """A law of x ↦ A x + t: A first, and then t where the law shifts.

    With ``translation="inside"`` t is uniform over all shifts that keep the corners inside the
    frame [-1, 1]², along x and along y; where A leaves no such shift, along either, t puts the
    middle of their extent at the middle of the frame. With "none" t = 0.
    """

    translation: Placement

    @abstractmethod
    def linear(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """A at given uniform numbers, shape (N, numbers - 2), as an array (N, 2, 2)."""

    def matrices(
        self, uniform: NDArray[np.float64], corners: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        self._check(uniform)
        g = np.zeros((len(uniform), 3, 3))
        g[:, :2, :2], g[:, 2, 2] = self.linear(uniform[:, :-2]), 1.0
        if self.translation == "inside":
            g[:, :2, 2] = shift_inside(g[:, :2, :2], corners, uniform[:, -2:])
        return g


@dataclass(frozen=True)
class AffNistLaw(AffineLaw):
    """The law of affNIST's pictures, as far as it is known; every range is a setting.

        A = R(θ) [[1, k], [0, 1]] diag(s_x, s_y),   all four uniform and independent

    R(θ) turns counter-clockwise as seen. The set's ranges are cited from memory of its page, so
    what this law makes is affNIST-style, and accuracy on it is no accuracy on affNIST.

    Args:
        rotation_rad: Range of θ, radians.
        shear: Range of k.
        scale_x: Range of s_x, positive.
        scale_y: Range of s_y, positive.
        translation: "inside": uniform over all shifts that keep every non-zero pixel inside the
            frame; "none".

    Raises:
        ConventionError: A range is empty, not finite or, of scales, not positive; an unknown word.

    Example:
        >>> law = AffNistLaw(rotation_rad=(0.0, 0.0), shear=(0.5, 0.5), translation="none")
        >>> g = law.sample(0, np.arange(1))[0]
        >>> bool(np.isclose(g[0, 1] / g[1, 1], 0.5)), g[2].tolist()
        (True, [0.0, 0.0, 1.0])
    """

    rotation_rad: Range = (-DEGREES_20, DEGREES_20)
    shear: Range = (-0.2, 0.2)
    scale_x: Range = (0.8, 1.2)
    scale_y: Range = (0.8, 1.2)
    translation: Placement = "inside"

    numbers: ClassVar[int] = 6

    def __post_init__(self) -> None:
        check_option(self.translation, ("inside", "none"), "translation")
        _check_range("rotation_rad", self.rotation_rad)
        _check_range("shear", self.shear)
        _check_range("scale_x", self.scale_x, positive=True)
        _check_range("scale_y", self.scale_y, positive=True)

    def linear(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        ranges = (self.rotation_rad, self.shear, self.scale_x, self.scale_y)
        theta, k, sx, sy = (_between(r, uniform[:, j]) for j, r in enumerate(ranges))
        cos, sin = np.cos(theta), np.sin(theta)
        return _square([cos * sx, (cos * k - sin) * sy, sin * sx, (sin * k + cos) * sy])


@dataclass(frozen=True)
class WideAffineLaw(AffineLaw):
    """A harder law than affNIST's: the full circle twice, and large changes of size and shape.

        A = R(α) diag(σ √r, σ / √r) R(β),   α, β uniform over the circle,
                                            log σ and log r uniform

    so √det A = σ and the ratio of the singular values is r. Where a digit does not fit into the
    frame, it is centred and its ends are cut off.

    Args:
        scale: Range of σ, positive.
        anisotropy: Range of r, at least 1.
        translation: As of :class:`AffNistLaw`.

    Raises:
        ConventionError: A range is empty, not finite or too low; an unknown word.

    Example:
        >>> g = WideAffineLaw(translation="none").sample(0, np.arange(50))
        >>> s = np.linalg.svd(g[:, :2, :2], compute_uv=False)
        >>> bool((s[:, 0] / s[:, 1] <= 2.0 + 1e-9).all())
        True
    """

    scale: Range = (0.5, 2.0)
    anisotropy: Range = (1.0, 2.0)
    translation: Placement = "inside"

    numbers: ClassVar[int] = 6

    def __post_init__(self) -> None:
        check_option(self.translation, ("inside", "none"), "translation")
        _check_range("scale", self.scale, positive=True)
        _check_range("anisotropy", self.anisotropy, positive=True)
        if self.anisotropy[0] < 1.0:
            _refuse("anisotropy", "ratios of at least 1", str(self.anisotropy))

    def linear(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        size, ratio = (
            _between((math.log(r[0]), math.log(r[1])), uniform[:, j])
            for j, r in enumerate((self.scale, self.anisotropy))
        )
        return turned_diagonal(size, 0.5 * ratio, uniform[:, 2:])


@dataclass(frozen=True)
class TruncatedHaarLaw(AffineLaw):
    """Haar measure of SL(2) or GL⁺(2) restricted to a ball of stretches, sampled exactly.

        A = R(α) diag(e^{c+s}, e^{c-s}) R(β),   α, β uniform over the circle,
        s has density ∝ sinh 2s on [0, S],      c uniform in [-C, C]

    In these coordinates Haar measure is sinh(2s) ds dc dα dβ, so no weight is left over, and
    sinh² s = u sinh² S with u uniform.

    Args:
        group: "sl2", where c = 0, or "gl2".
        radius: S, the largest logarithm of a stretch at fixed area, positive.
        scale_radius: C, the largest logarithm of a scale, at least 0; None takes S for "gl2".
        translation: As of :class:`AffNistLaw`.

    Raises:
        ConventionError: An unknown word, a number out of its range, or a scale_radius for "sl2".

    Example:
        >>> g = TruncatedHaarLaw("sl2", 0.4).sample(0, np.arange(100))
        >>> stretch = np.log(np.linalg.norm(g[:, :2, :2], ord=2, axis=(1, 2)))
        >>> bool((stretch <= 0.4 + 1e-9).all())
        True

    It is the law of :class:`equivariant.groups.TruncatedHaarSampler`, as 3 x 3 matrices, each from
    numbers of its own.

    Source: Helgason, Groups and Geometric Analysis, ch. I §5 (the integral in K A K).
    """

    group: Literal["sl2", "gl2"] = "sl2"
    radius: float = 0.4
    scale_radius: float | None = None
    translation: Placement = "none"

    numbers: ClassVar[int] = 6

    def __post_init__(self) -> None:
        check_option(self.group, ("sl2", "gl2"), "group")
        check_option(self.translation, ("inside", "none"), "translation")
        if not 0.0 < self.radius < 300.0:
            _refuse("radius", "a positive number below 300", str(self.radius))
        scale = self.scale_radius
        if scale is not None and (self.group == "sl2" or not 0.0 <= scale < 300.0):
            _refuse("scale_radius", "None for sl2, in [0, 300) for gl2", str(scale))

    def linear(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        limit = self.radius if self.scale_radius is None else self.scale_radius
        limit = limit if self.group == "gl2" else 0.0
        share = torch.from_numpy(np.ascontiguousarray(uniform[:, :1]))
        stretch = plane_deviations(share, self.radius)[:, 0].numpy()
        return turned_diagonal(_between((-limit, limit), uniform[:, 1]), stretch, uniform[:, 2:])


@dataclass(frozen=True)
class RotationLaw(AffineLaw):
    """Rotations about the picture's centre, uniform over a range: rotated MNIST.

    Args:
        angle_rad: Range, radians, counter-clockwise as seen; the full circle by default.
        translation: As of :class:`AffNistLaw`.

    Raises:
        ConventionError: The range is empty or not finite; an unknown word.

    Example:
        >>> RotationLaw((0.0, 0.0)).sample(0, np.arange(1))[0].tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    angle_rad: Range = (-math.pi, math.pi)
    translation: Placement = "none"

    numbers: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_option(self.translation, ("inside", "none"), "translation")
        _check_range("angle_rad", self.angle_rad)

    def linear(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        return _rotation(_between(self.angle_rad, uniform[:, 0]))


def turned_diagonal(
    size: NDArray[np.float64], stretch: NDArray[np.float64], turns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """R(2π u) diag(e^{size + stretch}, e^{size - stretch}) R(2π v), shape (N, 2, 2).

    Args:
        size: Shape (N,).
        stretch: Shape (N,).
        turns: u and v, shape (N, 2).
    """
    a, b = 2.0 * math.pi * turns[:, 0], 2.0 * math.pi * turns[:, 1]
    half = 0.5 * np.exp(size)
    mean = half * (np.exp(stretch) + np.exp(-stretch))  # its rotation turns by a + b
    flip = half * (np.exp(stretch) - np.exp(-stretch))  # its reflection by a - b
    c, s, d, t = np.cos(a + b), np.sin(a + b), np.cos(a - b), np.sin(a - b)
    return _square([mean * c + flip * d, -mean * s + flip * t, mean * s + flip * t,
                    mean * c - flip * d])  # fmt: skip


def _rotation(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return _square([cos, -sin, sin, cos])


def _square(entries: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack(entries, 1).reshape(-1, 2, 2) + 0.0


def _between(limits: Range, u: NDArray[np.float64]) -> NDArray[np.float64]:
    return limits[0] + (limits[1] - limits[0]) * u


def _check_range(name: str, limits: Range, *, positive: bool = False) -> None:
    given: Any = limits
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        _refuse(name, "two numbers (low, high)", repr(given))
    low, high = limits
    if not (-math.inf < low <= high < math.inf and (low > 0.0 or not positive)):
        _refuse(name, f"low <= high, finite{' and positive' * positive}", str(limits))


def _refuse(argument: str, expected: str, got: str) -> NoReturn:
    raise ConventionError(
        expected=expected, got=got, argument=argument, advice="See the documentation of the law.",
    )  # fmt: skip
