"""Hinges and slides between rigid parts, and where they take each part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError, ShapeError

JointKind = Literal["hinge", "slide"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Joint:
    """What moves one part relative to another.

    Args:
        name: Name of the part that it moves.
        kind: "hinge" turns about an axis, "slide" moves along it.
        parent: Number of the part that it is fixed to.
        part: Number of the part that it moves; greater than ``parent``.
        point: A point on the axis, with everything at rest.
        axis: Direction of the axis at rest, of length 1; hinges turn counter-clockwise about it.
        low: Smallest state: radians, or the unit of length of the points.
        high: Largest state, not below ``low``.
    """

    name: str
    kind: JointKind
    parent: int
    part: int
    point: Triple
    axis: Triple
    low: float
    high: float


@dataclass(frozen=True)
class Mechanism:
    """Rigid parts in a tree of joints; part 0 is the base, which no joint moves.

    A state has one number per joint; at rest all are zero. With E_j(q) the motion of joint j
    about, or along, its axis at rest,

        e_0 = 1,    e_part(q) = e_parent(q) E_j(q_j)

    so e_p(q) in SE3 takes part p from rest to the state q.

    Args:
        part_names: Names of the parts.
        joints: One for each part but the base, in the order of the parts that they move.

    Raises:
        ConventionError: A part has no joint of its own, or a parent that comes after it.

    Example:
        >>> lid = Joint("lid", "hinge", 0, 1, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.0, 2.0)
        >>> chest = Mechanism(("box", "lid"), (lid,))
        >>> quarter = chest.elements(np.array([np.pi / 2]))[1]
        >>> (quarter @ [2.0, 0.0, 0.0, 1.0]).round(6).tolist()
        [1.0, 1.0, 0.0, 1.0]
    """

    part_names: tuple[str, ...]
    joints: tuple[Joint, ...]

    def __post_init__(self) -> None:
        fits = [j.part for j in self.joints] == list(range(1, len(self.part_names)))
        if not fits or not all(0 <= joint.parent < joint.part for joint in self.joints):
            raise ConventionError(
                expected="one joint for each part but the base, parents before their parts",
                got=f"parts {[j.part for j in self.joints]} of {len(self.part_names)}",
                argument="joints",
                advice="Number the parts from the base outwards.",
            )

    @property
    def limits(self) -> NDArray[np.float64]:
        """Smallest and largest state of every joint, shape (joints, 2)."""
        return np.array([[joint.low, joint.high] for joint in self.joints]).reshape(-1, 2)

    @property
    def rest(self) -> NDArray[np.float64]:
        """The state in which nothing is moved: zeros, shape (joints,)."""
        return np.zeros(len(self.joints))

    def elements(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elements of SE3 that take every part from rest to a state.

        Args:
            state: Radians of hinges, lengths of slides, shape (..., joints), float64.

        Returns:
            Shape (..., parts, 4, 4), float64.

        Raises:
            ShapeError: The state has not one number per joint.
        """
        state = np.asarray(state, np.float64)
        if state.ndim < 1 or state.shape[-1] != len(self.joints):
            raise ShapeError(
                expected=f"states of shape (..., {len(self.joints)}), one number per joint",
                got=f"shape {state.shape}",
                argument="state",
                advice="mechanism.joints has the joints in their order.",
            )
        found = np.zeros((*state.shape[:-1], len(self.part_names), 4, 4))
        found[..., 0, :, :] = np.eye(4)
        for k, joint in enumerate(self.joints):
            found[..., joint.part, :, :] = found[..., joint.parent, :, :] @ _motion(
                joint, state[..., k]
            )
        return found

    def transform(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """The element of the piecewise action that takes state a to state b: e_p(b) e_p(a)⁻¹.

        Args:
            a: Shape (..., joints).
            b: Shape (..., joints).

        Returns:
            An element of ``Product(SE3(), ..., SE3())``, one factor per part: block-diagonal,
            shape (..., 4 parts, 4 parts), float64. ``torch.from_numpy`` makes it what
            ``Piecewise`` takes.

        Raises:
            ShapeError: A state has not one number per joint.
        """
        moved = self.elements(b) @ inverse(self.elements(a))
        count = len(self.part_names)
        joined = np.zeros((*moved.shape[:-3], count, 4, count, 4))
        for part in range(count):
            joined[..., part, :, part, :] = moved[..., part, :, :]
        return joined.reshape(*moved.shape[:-3], 4 * count, 4 * count)


def inverse(elements: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverses of elements of SE3: (R, t) ↦ (Rᵀ, -Rᵀ t).

    Args:
        elements: Shape (..., 4, 4).

    Example:
        >>> up = np.eye(4)
        >>> up[2, 3] = 1.0
        >>> float(inverse(up)[2, 3])
        -1.0
    """
    turned = np.swapaxes(elements[..., :3, :3], -1, -2)
    found = np.zeros_like(elements)
    found[..., :3, :3] = turned
    found[..., :3, 3] = -(turned @ elements[..., :3, 3:])[..., 0]
    found[..., 3, 3] = 1.0
    return found


def _motion(joint: Joint, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """E_j of states of one joint, shape (..., 4, 4)."""
    x, y, z = axis = np.array(joint.axis)
    found = np.zeros((*value.shape, 4, 4))
    found[..., :, :] = np.eye(4)
    if joint.kind == "slide":
        found[..., :3, 3] = value[..., None] * axis
        return found
    # Rodrigues: R = 1 + sin q K + (1 - cos q) K², K the cross product with the axis
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = value[..., None, None]
    R = np.eye(3) + np.sin(angle) * K + 2.0 * np.sin(angle / 2.0) ** 2 * (K @ K)
    point = np.array(joint.point)
    found[..., :3, :3] = R
    found[..., :3, 3] = point - R @ point
    return found
