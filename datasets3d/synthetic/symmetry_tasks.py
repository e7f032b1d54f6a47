"""Regression tasks with a known symmetry, and with a part that breaks it by a known amount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from equivariant.actions import Action, Tensors, Trivial
from equivariant.errors import ConventionError, check_option
from equivariant.groups import (
    O2,
    O3,
    SE3,
    SO3,
    Embedded,
    Group,
    ScaledRotations,
    Scaling,
    Translation,
)
from equivariant.shapes import Float

Axis = Literal["x", "y", "z"]
CosineBreak = Literal["none", "scale", "turns"]
DistanceBreak = Literal["none", "shifts", "turns"]


@dataclass(frozen=True, eq=False)
class SymmetryTask:
    """Inputs and targets, how they move, and which groups may or may not hold.

    Attributes:
        x: Inputs, shape (samples, act_in.dim), float32.
        y: Targets, shape (samples, act_out.dim).
        act_in: Action of ``group`` on inputs, a sum of tensors.
        act_out: Action on targets.
        candidates: Groups whose symmetry is in question, by name.
        exact: Names of those that the task respects exactly.
    """

    x: Float[Tensor, "samples inputs"]
    y: Float[Tensor, "samples outputs"]
    act_in: Action
    act_out: Action
    candidates: dict[str, Group]
    exact: tuple[str, ...]

    @property
    def group(self) -> Group:
        """The group of both actions: it holds all candidates."""
        found = self.act_in.group
        if found is None:
            raise ConventionError(
                expected="an action of a group", got="none", argument="act_in",
                advice="Tensors(group, 1) are vectors of a group.",
            )  # fmt: skip
        return found


def inertia_task(
    samples: int,
    *,
    seed: int,
    breaking: float = 0.0,
    axis: Axis = "z",
    masses: int = 5,
    shift: float = 0.0,
) -> SymmetryTask:
    """Moments of inertia of point masses, with an axis of its own: O(2) about it is left of O(3).

        m = softplus(N(0, 1)),   r ~ N(0, I) + shift,   I = Σ m (|r|² 1 - r rᵀ)
        y = I + breaking (I e) eᵀ,   e the axis

    Candidates are O(2) in each of the three planes. The one about the axis is exact; all three are
    where ``breaking`` is 0.

    Args:
        samples: At least 1.
        seed: Of the draws.
        breaking: ε; the paper has 0, 0.3, 0.9 and -1.
        axis: Which axis is special.
        masses: Number of points, at least 1.
        shift: Added to every coordinate of positions: another law than that of training.

    Returns:
        Inputs are the masses and then the positions; targets the matrix y row by row.

    Raises:
        ConventionError: A number is below 1, or another axis.

    Example:
        >>> task = inertia_task(10, seed=0, breaking=0.3)
        >>> task.x.shape, task.y.shape, task.exact
        (torch.Size([10, 20]), torch.Size([10, 9]), ('O(2) about z',))

    Source: Finzi, Welling, Wilson 2021 (inertia); Kim et al. 2023 (broken).
    """
    check_option(axis, ("x", "y", "z"), "axis")
    _check_counts(samples, masses)
    generator = torch.Generator().manual_seed(seed)
    mass = softplus(torch.randn(samples, masses, generator=generator, dtype=torch.float64))
    r = torch.randn(samples, masses, 3, generator=generator, dtype=torch.float64) + shift
    square = r.square().sum(-1)[..., None, None] * torch.eye(3, dtype=torch.float64)
    inertia = (mass[..., None, None] * (square - r.unsqueeze(-1) * r.unsqueeze(-2))).sum(1)
    e = torch.eye(3, dtype=torch.float64)["xyz".index(axis)]
    y = inertia + breaking * (inertia @ e).unsqueeze(-1) * e
    planes = {"O(2) about z": (0, 1), "O(2) about x": (1, 2), "O(2) about y": (0, 2)}
    candidates: dict[str, Group] = {n: Embedded(O2(), 3, axes) for n, axes in planes.items()}
    exact = tuple(candidates) if breaking == 0 else (f"O(2) about {axis}",)
    return SymmetryTask(
        torch.cat([mass, r.flatten(1)], -1).float(), y.flatten(1).float(),
        masses * Tensors(O3(), 0) + masses * Tensors(O3(), 1), Tensors(O3(), 2), candidates, exact,
    )  # fmt: skip


def cosine_task(
    samples: int, *, seed: int, breaks: CosineBreak = "none", breaking: float = 0.3,
    vectors: int = 3, shift: float = 0.0,
) -> SymmetryTask:  # fmt: skip
    """Mean cosine of neighbouring vectors, which turns and scales leave alone, or one of the two.

        y = (1/k) Σ_i cos(x_i, x_{i+1})  -  breaking b(x)
        b = (1/k) Σ |x_i|                                   "scale": only SO(3) is left
        b = Σ_{i < k/2} |x_i|₁ / Σ_{i >= k/2} |x_i|₁        "turns": only scaling is left

    with x ~ N(0, I) + shift, neighbours in a circle, and k/2 rounded down.

    Args:
        samples: At least 1.
        seed: Of the draws.
        breaks: What is broken.
        breaking: ε.
        vectors: k, at least 2.
        shift: Added to every coordinate: another law than that of training.

    Raises:
        ConventionError: A number is out of range, or another word.

    Example:
        >>> cosine_task(10, seed=0, breaks="scale").exact
        ('SO(3)',)

    Source: Kim et al. 2023.
    """
    check_option(breaks, ("none", "scale", "turns"), "breaks")
    _check_counts(samples, vectors - 1)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, vectors, 3, generator=generator, dtype=torch.float64) + shift
    y = torch.nn.functional.cosine_similarity(x, x.roll(-1, 1), dim=-1).mean(1)
    half = vectors // 2
    if breaks == "scale":
        y = y - breaking * x.norm(dim=-1).mean(1)
    elif breaks == "turns":
        sizes = x.abs().sum(-1)
        y = y - breaking * sizes[:, :half].sum(1) / sizes[:, half:].sum(1)
    group = ScaledRotations(3)
    exact = {"none": ("SO(3)", "scaling"), "scale": ("SO(3)",), "turns": ("scaling",)}[breaks]
    return SymmetryTask(
        x.flatten(1).float(), y[:, None].float(), vectors * Tensors(group, 1), Trivial(1, group),
        {"SO(3)": SO3(), "scaling": Scaling(3)}, exact,
    )  # fmt: skip


def distance_task(
    samples: int, *, seed: int, breaks: DistanceBreak = "none", breaking: float = 0.3,
    points: int = 3, shift: float = 0.0,
) -> SymmetryTask:  # fmt: skip
    """Mean edge of a polygon, which rigid motions leave alone, or only turns or only shifts.

        y = (1/k) Σ_i |x_i - x_{i+1}|  -  breaking b(x)
        b = (1/k) Σ |x_i|                "shifts": only turns about the origin are left
        b = (1/k) Σ |x_i - x_{i+1}|₁     "turns": only shifts are left

    with x ~ N(0, I) + shift. Inputs are homogeneous points (x, 1), so that translations are
    matrices.

    Args:
        samples: At least 1.
        seed: Of the draws.
        breaks: What is broken.
        breaking: ε.
        points: k, at least 2.
        shift: Added to every coordinate: another law than that of training.

    Raises:
        ConventionError: A number is out of range, or another word.

    Example:
        >>> distance_task(10, seed=0, breaks="shifts").exact
        ('turns',)

    Source: Kim et al. 2023.
    """
    check_option(breaks, ("none", "shifts", "turns"), "breaks")
    _check_counts(samples, points - 1)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, points, 3, generator=generator, dtype=torch.float64) + shift
    edges = x - x.roll(-1, 1)
    y = edges.norm(dim=-1).mean(1)
    if breaks == "shifts":
        y = y - breaking * x.norm(dim=-1).mean(1)
    elif breaks == "turns":
        y = y - breaking * edges.abs().sum(-1).mean(1)
    homogeneous = torch.cat([x, torch.ones_like(x[..., :1])], -1)
    exact = {"none": ("turns", "shifts"), "shifts": ("turns",), "turns": ("shifts",)}[breaks]
    return SymmetryTask(
        homogeneous.flatten(1).float(), y[:, None].float(), points * Tensors(SE3(), 1),
        Trivial(1, SE3()),
        {"turns": Embedded(SO3(), 4, (0, 1, 2)), "shifts": Translation(3)}, exact,
    )  # fmt: skip


def _check_counts(*counts: int) -> None:
    if min(counts) < 1:
        raise ConventionError(
            expected="at least one sample, and enough points", got=str(counts),
            argument="samples", advice="1000 samples are the paper's.",
        )  # fmt: skip
