"""The group element between two views, in a stated convention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups import (
    SE3,
    SO3,
    Group,
    Product,
    Sim,
    Spin3,
    Translation,
    relative_quaternion_xyzw,
)
from equivariant.shapes import Float, Matrix


@dataclass(frozen=True)
class ElementConvention:
    """How the change from one view to another is written as an element of a group.

    Args:
        elements: "rotation", or "rotation+color" for the product with the changes of floor hue
            and light hue, plain differences in turns, not wrapped. "rigid" for the element of
            SE(3) between poses with translations, "similarity" for that of Sim(3) between poses
            with scales as well: R is then the 4 x 4 matrix [[s R, p], [0, 1]] below.
        frame: "object": g = R_a⁻¹ R_b, so R_b = R_a g, as in SIE. "world": g = R_b R_a⁻¹, so
            R_b = g R_a: the element that acts on what the camera sees. With translations, the
            world's element moves every point of view a to its place in view b; the object's is the
            same motion in coordinates fixed to the object, whose lengths are the object's own.
        cover: Write the rotation as a signed unit quaternion, an element of Spin(3), with the
            sign that the published code has. Only for the object's frame, and not for motions.

    Raises:
        ConventionError: A word is unknown, or cover is asked for in world axes.

    Example:
        >>> import torch
        >>> convention = ElementConvention(frame="world")
        >>> a, b = SO3().sample(2, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(convention.between(a, b) @ a, b))
        True
    """

    elements: Literal["rotation", "rotation+color", "rigid", "similarity"] = "rotation"
    frame: Literal["object", "world"] = "object"
    cover: bool = False

    def __post_init__(self) -> None:
        words = self.elements in ("rotation", "rotation+color", "rigid", "similarity")
        words = words and self.frame in ("object", "world")
        if not words or (self.cover and (self.frame == "world" or self.moves)):
            raise ConventionError(
                expected="rotation, rotation+color, rigid or similarity; object or world; "
                "cover only with object, and without rigid and similarity",
                got=str(self),
                argument="convention",
                advice="The published convention is rotation, object, cover=True.",
            )

    @property
    def moves(self) -> bool:
        """Whether elements are 4 x 4 matrices between poses with translations."""
        return self.elements in ("rigid", "similarity")

    @property
    def group(self) -> Group:
        """The group that elements belong to."""
        if self.moves:
            return SE3() if self.elements == "rigid" else Sim(3)
        rotations: Group = Spin3() if self.cover else SO3()
        if self.elements == "rotation":
            return rotations
        return Product(rotations, Translation(1), Translation(1))

    def between(
        self,
        pose_a: Float[Tensor, "... k k"],
        pose_b: Float[Tensor, "... k k"],
        hue_shift: Float[Tensor, "... 2"] | None = None,
        *,
        relative_xyzw: Float[Tensor, "... 4"] | None = None,
    ) -> Matrix:
        """The element that takes view a to view b.

        Args:
            pose_a: World from object in view a, shape (..., 3, 3); for "rigid" and "similarity"
                (..., 4, 4).
            pose_b: The same of view b.
            hue_shift: Floor and light hue of b minus those of a, turns, shape (..., 2); needed
                for "rotation+color" only.
            relative_xyzw: For ``cover``: the relative quaternion of the angles that were
                recorded. None takes those that the matrices tell, which have the published sign
                where no angle about y was recorded beyond ±π/2.

        Raises:
            ConventionError: Hues are needed and not given; or poses are scaled and the element
                asked for is rigid.
        """
        if self.moves:
            return self._motion(pose_a, pose_b)
        if self.cover:
            if relative_xyzw is None:
                relative_xyzw = relative_quaternion_xyzw(pose_a, pose_b)
            rotation = Spin3.from_quaternion_xyzw(relative_xyzw)
        elif self.frame == "object":
            rotation = pose_a.transpose(-1, -2) @ pose_b
        else:
            rotation = pose_b @ pose_a.transpose(-1, -2)
        group = self.group
        if not isinstance(group, Product):
            return rotation
        if hue_shift is None:
            raise ConventionError(
                expected="hue differences for rotation+color",
                got="None",
                argument="hue_shift",
                advice="Pass latents[..., [3, 6]] of b minus those of a.",
            )
        shift = Translation(1)
        floor, spot = shift.exp(hue_shift[..., :1]), shift.exp(hue_shift[..., 1:])
        return group.join([rotation, floor, spot])

    def _motion(self, pose_a: Matrix, pose_b: Matrix) -> Matrix:
        """The element of SE(3) or Sim(3)."""
        group = self.group
        for pose in (pose_a, pose_b):
            group.check_member(pose)
        if self.frame == "object":
            return group.inverse(pose_a) @ pose_b
        return pose_b @ group.inverse(pose_a)
