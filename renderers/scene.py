"""What is rendered: one mesh on a floor, spot lights, one ambient term, one camera.

Conventions: right-handed, +Z up, lengths in scene units, angles in radians, colors sRGB in
[0, 1] (what a color picker shows; renderers linearize them themselves). A rotation matrix acts
on columns, ``world = rotation @ object``. The camera looks along its own -Z with +Y up, as in
OpenGL; rows of an image run from top to bottom.

The defaults are the scene of 3DIEBench (Garrido, Najman, LeCun, ICML 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from renderers.validation import describe, expect, expect_array, expect_color, expect_finite

Triple = tuple[float, float, float]


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
        corner_tint: Factor of the texture at each corner, linear light in [0, 1], shape
            (F, 3, 3), float32; None means 1.
        texture_tiles: Parts of the texture that are pictures of their own, so that no average
            goes over their borders: left, top, width and height in texels, shape (T, 4), int32.
            A face belongs to the tile that its middle lies in. None means that the whole texture
            is one, which repeats.
        texture_cutout: Where the texture leaves a hole in the surface: where the bilinear mean of
            its texels is below 127.5, shape (height, width), uint8. None for no holes.

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
    corner_tint: NDArray[np.float32] | None = None
    texture_tiles: NDArray[np.int32] | None = None
    texture_cutout: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        vertices, faces = self.vertices, self.faces
        expect(
            vertices.ndim == 2 and vertices.shape[1] == 3 and vertices.dtype == np.float64,
            "vertices",
            "float64 of shape (V, 3)",
            describe(vertices),
        )
        expect(bool(np.isfinite(vertices).all()), "vertices", "finite numbers", "NaN or infinity")
        expect(
            faces.ndim == 2 and faces.shape[1] == 3 and len(faces) > 0 and faces.dtype == np.int32,
            "faces",
            "int32 of shape (F, 3) with F >= 1",
            describe(faces),
        )
        expect(
            bool(faces.min() >= 0 and faces.max() < len(vertices)),
            "faces",
            f"indices in [0, {len(vertices)})",
            f"indices from {faces.min()} to {faces.max()}",
        )
        count = len(faces)
        expect_array("corner_normals", self.corner_normals, (count, 3, 3), np.float32)
        expect_array("face_colors", self.face_colors, (count, 3), np.uint8)
        expect_array("vertex_colors", self.vertex_colors, (len(vertices), 3), np.uint8)
        expect_array("corner_uv", self.corner_uv, (count, 3, 2), np.float32)
        expect_array("face_textured", self.face_textured, (count,), np.bool_)
        expect_array("corner_tint", self.corner_tint, (count, 3, 3), np.float32)
        if self.corner_tint is not None:
            fine = bool(((self.corner_tint >= 0.0) & (self.corner_tint <= 1.0)).all())
            expect(fine, "corner_tint", "factors in [0, 1]", "others")
        self._check_color()

    def _check_color(self) -> None:
        texture, cutout = self.texture, self.texture_cutout
        expect(cutout is None or texture is not None, "texture_cutout", "a texture with it", "None")
        if texture is not None:
            expect_array("texture", texture, (*texture.shape[:2], 3), np.uint8)
            expect(texture.size > 0, "texture", "at least one texel", describe(texture))
            expect(self.corner_uv is not None, "corner_uv", "coordinates for the texture", "None")
            self._check_tiles(texture.shape[0], texture.shape[1])
            expect_array("texture_cutout", cutout, texture.shape[:2], np.uint8)
            partly = self.face_textured is not None and not self.face_textured.all()
            expect(
                not partly or self.face_colors is not None,
                "face_colors",
                "colors for the faces without texture",
                "None",
            )
        expect(
            any(color is not None for color in (texture, self.vertex_colors, self.face_colors)),
            "face_colors",
            "one source of color: texture, vertex_colors or face_colors",
            "none of them",
        )

    def _check_tiles(self, height: int, width: int) -> None:
        tiles = self.texture_tiles
        if tiles is None:
            return
        expect_array("texture_tiles", tiles, (len(tiles), 4), np.int32)
        inside = (tiles[:, :2] >= 0) & (tiles[:, 2:] >= 1)
        inside &= tiles[:, :2].astype(np.int64) + tiles[:, 2:] <= (width, height)
        fine = len(tiles) > 0 and bool(inside.all())
        expect(fine, "texture_tiles", "rectangles within the texture", str(tiles.tolist()))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels and a square image.

    Args:
        position: Where it stands, in world coordinates.
        target: The point in the middle of the image.
        up: Direction that is up in the image; not parallel to the viewing direction.
        field_of_view_rad: Full opening angle, horizontal and vertical, in (0, π).
    """

    position: Triple = (0.0, 2.5 * math.sin(math.pi / 4), 2.5 * math.cos(math.pi / 4))
    target: Triple = (0.0, 0.0, 0.0)
    up: Triple = (0.0, 0.0, 1.0)
    field_of_view_rad: float = 2.0 * math.atan(36.0 / 100.0)

    def __post_init__(self) -> None:
        expect(
            0.0 < self.field_of_view_rad < math.pi,
            "field_of_view_rad",
            "an angle in (0, π)",
            str(self.field_of_view_rad),
        )
        expect_finite("position", self.position)
        sight = np.subtract(self.target, self.position)
        turn = np.cross(sight, self.up)
        expect(
            bool(np.linalg.norm(turn) > 1e-9 * np.linalg.norm(sight) * np.linalg.norm(self.up)),
            "up",
            "a direction that is not parallel to the viewing direction, which is not zero",
            f"up {self.up} with viewing direction {tuple(sight.tolist())}",
        )


@dataclass(frozen=True)
class Floor:
    """A horizontal plane without end.

    Args:
        height: Its z coordinate.
        color: sRGB in [0, 1].
    """

    height: float = -1.0
    color: Triple = (0.6, 0.24, 0.24)

    def __post_init__(self) -> None:
        expect(math.isfinite(self.height), "height", "a finite number", str(self.height))
        expect_color(self.color)


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

    position: Triple = (0.0, 0.0, 4.0)
    target: Triple = (0.0, 0.0, 0.0)
    color: Triple = (0.8, 0.0, 0.0)
    energy: float = 0.7
    cone_rad: float = math.pi / 8
    blend: float = 0.15

    def __post_init__(self) -> None:
        expect_finite("position", self.position)
        expect_finite("target", self.target)
        expect(
            self.position != self.target, "target", "a point other than the position", "the same"
        )
        expect_color(self.color)
        expect(0.0 <= self.energy < math.inf, "energy", "at least 0", str(self.energy))
        expect(0.0 < self.cone_rad < math.pi, "cone_rad", "in (0, π)", str(self.cone_rad))
        expect(0.0 <= self.blend <= 1.0, "blend", "in [0, 1]", str(self.blend))


@dataclass(frozen=True)
class Ambient:
    """Light from everywhere: ``level * (1 - sky + sky * n_z)`` on a surface with normal n.

    Args:
        level: Brightness of an upward-facing white surface under no other light, linear.
        sky: How much of it comes from above, in [0, 0.5].
    """

    level: float = 0.55
    sky: float = 0.45

    def __post_init__(self) -> None:
        expect(0.0 <= self.level < math.inf, "level", "at least 0", str(self.level))
        expect(0.0 <= self.sky <= 0.5, "sky", "in [0, 0.5]", str(self.sky))


@dataclass(frozen=True)
class Scene:
    """Everything one image shows.

    Args:
        mesh: The object, in its own coordinates.
        rotation: World from object, shape (3, 3), orthogonal with determinant 1. The object
            turns about its own origin.
        camera: Where from.
        floor: None leaves the floor out (the background is then black).
        spot: None leaves the spot out.
        ambient: The fill light.
        translation: Where the object's origin is, in world coordinates.
        scale: Factor of the object's lengths, positive. A point x of the object is at
            ``scale * rotation @ x + translation``.
        lights: Further spots, each with a shadow of its own. Their light adds up with that of
            ``spot``.
    """

    mesh: Mesh
    rotation: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    camera: Camera = Camera()
    floor: Floor | None = Floor()
    spot: Spot | None = Spot()
    ambient: Ambient = Ambient()
    translation: Triple = (0.0, 0.0, 0.0)
    scale: float = 1.0
    lights: tuple[Spot, ...] = ()

    def __post_init__(self) -> None:
        expect_finite("translation", self.translation)
        expect(0.0 < self.scale < math.inf, "scale", "a positive number", str(self.scale))
        rotation = self.rotation
        expect_array("rotation", rotation, (3, 3), np.float64)
        proper = bool(
            np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-4 and np.linalg.det(rotation) > 0.0
        )
        expect(proper, "rotation", "an orthogonal matrix of determinant 1", str(rotation.tolist()))


@dataclass(frozen=True)
class Rendering:
    """The arrays of one image, row 0 on top.

    Args:
        rgb: sRGB, shape (size, size, 3), uint8.
        depth: Distance along the camera's viewing axis, shape (size, size), float32; infinite
            where nothing is hit.
        normals: World normals on the side of the surface that the camera sees, shape
            (size, size, 3), float32; zero where nothing is hit.
        mask: Where the object is, shape (size, size), bool.
        shadow: Where the floor or the object is inside the spot's cone yet hidden from it, also
            by facing away from it; shape (size, size), bool.
        faces: Which face of the mesh is seen, shape (size, size), int32, -1 where none is; None
            from renderers that do not tell.
        light_shadows: The same as ``shadow`` for each of the scene's further lights, shape
            (lights, size, size), bool; None where there are none.

    Depth, normals, faces and masks are those of the pixel's center and are never averaged.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    mask: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    faces: NDArray[np.int32] | None = None
    light_shadows: NDArray[np.bool_] | None = None


@lru_cache(maxsize=64)
def camera_axes(
    camera: Camera,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors to the right, up and along the view of a camera, in world coordinates.

    Args:
        camera: Where from.

    Returns:
        Right, up and forward, each of shape (3,), float64, orthonormal, not to be written to.

    Example:
        >>> right, up, forward = camera_axes(Camera(position=(0.0, 0.0, 5.0), up=(0.0, 1.0, 0.0)))
        >>> (forward + 0.0).tolist()
        [0.0, 0.0, -1.0]
    """
    sight = np.subtract(camera.target, camera.position)
    forward = sight / np.linalg.norm(sight)
    right = np.cross(forward, np.asarray(camera.up, dtype=np.float64))
    right /= np.linalg.norm(right)
    upward = np.cross(right, forward)
    for axis in (right, upward, forward):
        axis.setflags(write=False)
    return right, upward, forward
