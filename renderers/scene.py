"""What is rendered: one mesh on a floor, one spot light, one ambient term, one camera.

Conventions: right-handed, +Z up, lengths in scene units, angles in radians, colors sRGB in
[0, 1] (what a color picker shows; renderers linearize them themselves). A rotation matrix acts
on columns, ``world = rotation @ object``. The camera looks along its own -Z with +Y up, as in
OpenGL; rows of an image run from top to bottom.

The defaults are the scene of 3DIEBench (Garrido, Najman, LeCun, ICML 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with one color per corner's vertex, per face, or from a texture.

    Compared by identity: a renderer keeps what it prepared for the mesh it saw last.

    Args:
        vertices: Positions, shape (V, 3), float64, finite.
        faces: Vertex indices, shape (F, 3), int32, F >= 1, counter-clockwise seen from outside
            (shading is two-sided, so a wrong winding does no harm).
        corner_normals: Unit normals per corner, shape (F, 3, 3), float32.
        face_colors: sRGB per face, shape (F, 3), uint8; None unless colors are per face.
        vertex_colors: sRGB per vertex, shape (V, 3), uint8; None unless colors are per vertex.
        texture: sRGB image, shape (height, width, 3), uint8, row 0 on top; None if untextured.
        corner_uv: Texture coordinates per corner, shape (F, 3, 2), float32, origin at the
            texture's lower left, repeated outside [0, 1]. Needed with ``texture``.
        face_textured: Which faces take the texture, shape (F,), bool; the others take their
            face color. None with a texture means all.

    Exactly one source of color must be given; where several are, the texture wins, then the
    vertex colors, then the face colors.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    corner_normals: NDArray[np.float32]
    face_colors: NDArray[np.uint8] | None = None
    vertex_colors: NDArray[np.uint8] | None = None
    texture: NDArray[np.uint8] | None = None
    corner_uv: NDArray[np.float32] | None = None
    face_textured: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels and a square image.

    Args:
        position: Where it stands, in world coordinates.
        target: The point in the middle of the image.
        up: Direction that is up in the image; not parallel to the viewing direction.
        field_of_view_rad: Full opening angle, horizontal and vertical, in (0, π).
    """

    position: Vector = (0.0, 2.5 * math.sin(math.pi / 4), 2.5 * math.cos(math.pi / 4))
    target: Vector = (0.0, 0.0, 0.0)
    up: Vector = (0.0, 0.0, 1.0)
    field_of_view_rad: float = 2.0 * math.atan(36.0 / 100.0)


@dataclass(frozen=True)
class Floor:
    """A horizontal plane without end.

    Args:
        height: Its z coordinate.
        color: sRGB in [0, 1].
    """

    height: float = -1.0
    color: Vector = (0.6, 0.24, 0.24)


@dataclass(frozen=True)
class Spot:
    """A spot light, a point source: its shadow is hard.

    Args:
        position: Where it stands.
        target: Where it points.
        color: sRGB in [0, 1].
        energy: Irradiance at distance 4 on a facing white surface, in units of full white.
        cone_rad: Full opening angle, in (0, π).
        blend: Share of the cone, from its rim, over which the light falls to zero, in [0, 1].
    """

    position: Vector = (0.0, 0.0, 4.0)
    target: Vector = (0.0, 0.0, 0.0)
    color: Vector = (0.8, 0.0, 0.0)
    energy: float = 0.7
    cone_rad: float = math.pi / 8
    blend: float = 0.15


@dataclass(frozen=True)
class Ambient:
    """Light from everywhere: ``level * (1 - sky + sky * n_z)`` on a surface with normal n.

    Args:
        level: Brightness of an upward-facing white surface under no other light, linear.
        sky: How much of it comes from above, in [0, 0.5].
    """

    level: float = 0.55
    sky: float = 0.45


@dataclass(frozen=True)
class Scene:
    """Everything one image shows.

    Args:
        mesh: The object, in its own coordinates.
        rotation: World from object, shape (3, 3), orthogonal with determinant 1. The object
            turns about its own origin, which stays at the world's.
        camera: Where from.
        floor: None leaves the floor out (the background is then black).
        spot: None leaves the spot out.
        ambient: The fill light.
    """

    mesh: Mesh
    rotation: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    camera: Camera = Camera()
    floor: Floor | None = Floor()
    spot: Spot | None = Spot()
    ambient: Ambient = Ambient()


@dataclass(frozen=True)
class Rendering:
    """The arrays of one image, row 0 on top.

    Args:
        rgb: sRGB, shape (size, size, 3), uint8.
        depth: Distance along the camera's viewing axis, shape (size, size), float32; infinite
            where nothing is hit.
        normals: World normals turned towards the camera, shape (size, size, 3), float32; zero
            where nothing is hit.
        mask: Where the object is, shape (size, size), bool.
        shadow: Where the floor or the object is inside the spot's cone yet hidden from it,
            shape (size, size), bool.

    Depth, normals and masks are those of the pixel's center and are never averaged.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    mask: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
