"""Bodies made of capsules around the bones of a skeleton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.bodies.capsules import capsule, inside_capsule
from datasets3d.clouds.surface_points import sample_faces
from datasets3d.meshes.articulated import moved_mesh
from datasets3d.meshes.normals import corner_normals
from datasets3d.meshes.procedural import CREASE_RAD
from datasets3d.motion.motion import RecordedMotion
from datasets3d.motion.skeleton import Skeleton
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError
from equivariant.shapes import Float, Int
from renderers.color import rgb_from_hsv
from renderers.scene import Mesh

UPRIGHT = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
"""From the axes of recorded motions, +y up, to +z up: (x, y, z) ↦ (x, -z, y)."""


class BodyPart(NamedTuple):
    """A rigid part: a capsule between two joints at rest that moves with one bone.

    Attributes:
        bone: Name of the bone that it moves with.
        start: Joint where it begins.
        end: Joint where it ends.
        radius_m: At its beginning, metres.
        end_radius_m: At its end, metres.
        depth: Thickness from front to back over thickness from side to side.
    """

    bone: str
    start: str
    end: str
    radius_m: float
    end_radius_m: float
    depth: float = 1.0


class _Shape(TypedDict):
    """Keyword arguments of a capsule."""

    radius: float
    end_radius: float
    depth: float
    front: tuple[float, float, float]


def _limbs(side: str) -> dict[str, BodyPart]:
    s, name = side[0], side
    return {
        f"{name} upper arm": BodyPart(f"{s}humerus", f"{s}clavicle", f"{s}humerus", 0.055, 0.042),
        f"{name} forearm": BodyPart(f"{s}radius", f"{s}humerus", f"{s}hand", 0.042, 0.03),
        f"{name} thigh": BodyPart(f"{s}femur", f"{s}hipjoint", f"{s}femur", 0.085, 0.058),
        f"{name} shin": BodyPart(f"{s}tibia", f"{s}femur", f"{s}tibia", 0.058, 0.04),
        f"{name} foot": BodyPart(f"{s}foot", f"{s}tibia", f"{s}toes", 0.042, 0.035),
    }


HUMAN: Mapping[str, BodyPart] = {
    "pelvis": BodyPart("root", "lhipjoint", "rhipjoint", 0.11, 0.11, 0.9),
    "abdomen": BodyPart("upperback", "root", "upperback", 0.13, 0.13, 0.75),
    "chest": BodyPart("thorax", "lclavicle", "rclavicle", 0.11, 0.11, 0.9),
    "head": BodyPart("head", "upperneck", "head", 0.075, 0.095),
    **_limbs("left"),
    **_limbs("right"),
}
"""Fourteen parts on the skeleton of CMU's motion capture; its bones' names."""


@dataclass(frozen=True, eq=False)
class Body:
    """A skeleton with a capsule around each rigid part.

    Args:
        skeleton: The bones.
        parts: Rigid parts by name; a part's number is its place.
        girths: Factor of each part's radii, by name; those not named keep theirs.

    Raises:
        ConventionError: A joint is unknown to the skeleton, or a girth is not positive.

    Example:
        >>> from datasets3d.motion.skeleton import Skeleton
        >>> bones = {"root": ("", (0.0, 0.0, 0.0)), "shin": ("root", (0.0, -0.4, 0.0))}
        >>> shin = BodyPart("shin", "root", "shin", 0.05, 0.04)
        >>> body = Body(Skeleton.of_bones(bones), {"shin": shin})
        >>> points, parts = body.sample(100, seed=0)
        >>> points.shape, parts.unique().tolist()
        (torch.Size([100, 3]), [0])
    """

    skeleton: Skeleton
    parts: Mapping[str, BodyPart]
    girths: Mapping[str, float]

    def __init__(
        self,
        skeleton: Skeleton,
        parts: Mapping[str, BodyPart] = HUMAN,
        *,
        girths: Mapping[str, float] | None = None,
    ) -> None:
        girths = {} if girths is None else girths
        for part in parts.values():
            for joint in (part.bone, part.start, part.end):
                skeleton.index(joint)
        wrong = [name for name, g in girths.items() if name not in parts or not 0.0 < g < 10.0]
        if wrong or not parts:
            raise ConventionError(
                expected=f"positive girths of parts among {', '.join(parts)}",
                got=f"{wrong}", argument="girths", advice="1 leaves a part as thick as it is.",
            )  # fmt: skip
        for name, value in (("skeleton", skeleton), ("parts", parts), ("girths", girths)):
            object.__setattr__(self, name, value)

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts, in the order of their numbers."""
        return tuple(self.parts)

    @cached_property
    def surface(self) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int64]]:
        """Triangles of all parts at rest, +z up: vertices (V, 3) in metres, faces (F, 3), and the
        part of every face (F,). The surface of each part is closed."""
        vertices, faces, owners, count = [], [], [], 0
        for number, name in enumerate(self.parts):
            found, triangles = capsule(*self._ends(name), **self._shape(name))
            vertices.append(found)
            faces.append(triangles + np.int32(count))
            owners.append(np.full(len(triangles), number, np.int64))
            count += len(found)
        return np.concatenate(vertices), np.concatenate(faces), np.concatenate(owners)

    def mesh(self, elements: Float[Tensor, "parts 4 4"] | None = None) -> Mesh:
        """The body as one mesh to be rendered, each part in a color of its own.

        Args:
            elements: What moves each part, from :meth:`elements`; None leaves it at rest.

        Returns:
            Faces in the order of ``surface``, so that its third array says which part each pixel
            of a rendering shows.
        """
        vertices, faces, parts = self.surface
        still = Mesh(
            vertices=vertices,
            faces=faces,
            corner_normals=corner_normals(vertices, faces, crease_rad=CREASE_RAD),
            face_colors=part_colors(len(self.parts))[parts],
        )
        return still if elements is None else moved_mesh(still, parts, elements.numpy())

    def hidden(self, points: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which points of the surface at rest are inside of another part.

        Args:
            points: Shape (N, 3), metres, +z up.
            parts: The part of each, shape (N,).

        Returns:
            Shape (N,), bool.
        """
        found = np.zeros(len(points), np.bool_)
        for number, name in enumerate(self.parts):
            other = (parts != number) & ~found
            found[other] = inside_capsule(points[other], *self._ends(name), **self._shape(name))
        return found

    def sample(
        self, points: int, *, seed: int, draw: int = 0, inner: bool = True
    ) -> tuple[Float[Tensor, "points 3"], Int[Tensor, " points"]]:
        """Points on the surface at rest, uniform by area, and their parts.

        Args:
            points: How many, at least 1.
            seed: At least 0.
            draw: Which of the samples of that seed, at least 0.
            inner: Whether to keep points that are inside of another part at rest, such as the
                end of an arm inside of the chest; else others are drawn for them.

        Returns:
            Points (points, 3) in metres, float64, +z up, and parts (points,), int64.
        """
        vertices, faces, owners = self.surface
        draws = generator(seed, "points of a body", draw, points)
        x, chosen = sample_faces(vertices, faces, points, generator=draws)
        part = owners[chosen]
        while not inner and (inside := self.hidden(x, part)).any():
            again, chosen = sample_faces(vertices, faces, int(inside.sum()), generator=draws)
            x[inside], part[inside] = again, owners[chosen]
        return torch.from_numpy(x), torch.from_numpy(part)

    def elements(
        self,
        motion: RecordedMotion,
        frames: Int[Tensor, " frames"] | None = None,
        *,
        centred: bool = False,
    ) -> Float[Tensor, "frames parts 4 4"]:
        """Elements of SE3 that take each part from rest to some frames, +z up.

        The body makes the motion's rotations on its own bones; the way of the root is scaled by
        the lengths of the legs.

        Args:
            motion: On a skeleton of the same bones.
            frames: Which frames, shape (frames,), int64; None takes all.
            centred: Whether the root's joint stands over the origin, x = y = 0, in every frame.

        Returns:
            Shape (frames, parts, 4, 4), float64, metres.

        Raises:
            ConventionError: The skeletons' bones differ.
        """
        if frames is not None:
            motion = replace(
                motion, rotations=motion.rotations[frames], root_m=motion.root_m[frames]
            )
        own = motion.on(self.skeleton, travel=reach(self.skeleton) / reach(motion.skeleton))
        bones = [self.skeleton.index(part.bone) for part in self.parts.values()]
        up = torch.eye(4, dtype=torch.float64)
        up[:3, :3] = UPRIGHT
        found: Tensor = up @ own.transforms[:, bones] @ up.mT
        if centred:
            found[..., :2, 3] -= (own.root_m @ UPRIGHT.mT)[:, None, :2]
        return found

    def _ends(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where a part begins and ends at rest, +z up."""
        rest = (self.skeleton.rest_positions_m @ UPRIGHT.mT).numpy()
        part = self.parts[name]
        return rest[self.skeleton.index(part.start)], rest[self.skeleton.index(part.end)]

    def _shape(self, name: str) -> _Shape:
        """The other arguments of a part's capsule."""
        part, girth = self.parts[name], self.girths.get(name, 1.0)
        return {
            "radius": girth * part.radius_m,
            "end_radius": girth * part.end_radius_m,
            "depth": part.depth,
            "front": (0.0, -1.0, 0.0),
        }


def part_colors(count: int) -> NDArray[np.uint8]:
    """A color per part, hues a golden section apart: sRGB, shape (count, 3).

    Example:
        >>> part_colors(3).shape
        (3, 3)
    """
    hues = (0.618033988749895 * np.arange(count)) % 1.0
    colors = [rgb_from_hsv(float(hue), 0.55, 0.9) for hue in hues]
    return np.rint(255.0 * np.array(colors)).astype(np.uint8)


def reach(skeleton: Skeleton) -> float:
    """How far below its root a skeleton's lowest joint is at rest, metres; y is up."""
    return -float(skeleton.rest_positions_m[:, 1].min())
