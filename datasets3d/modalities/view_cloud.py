"""The surface of a view's object as points of the world: what is there, and what is seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets3d.clouds.surface_points import mesh_places
from datasets3d.views.passes.camera import ViewCamera, read_camera
from datasets3d.views.passes.files import read_pass
from equivariant.errors import ConventionError
from renderers.albedo import albedo_at
from renderers.color import srgb_from_linear
from renderers.scene import Mesh, Scene
from renderers.sight import Sight
from renderers.surface import outward_normals


@dataclass(frozen=True, eq=False)
class SurfaceSample:
    """Points of an object's surface at rest; the same ones in every view of it.

    Args:
        faces: Which face each is on, shape (N,), int64.
        points: In coordinates of the object, shape (N, 3), float64.
        normals: Unit normals, interpolated from those of the corners, on the side that the face's
            winding calls its outside, shape (N, 3), float64.
        colors: Linear light in [0, 1] before any light falls on it, shape (N, 3), float32.
    """

    faces: NDArray[np.int64]
    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    colors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.faces)

    @staticmethod
    def draw(mesh: Mesh, count: int, *, generator: np.random.Generator) -> SurfaceSample:
        """Independent points, uniform by area; none in a hole that a texture cuts.

        Args:
            mesh: The object.
            count: Points, at least 1.
            generator: Source of the draws: three uniform numbers per point.

        Raises:
            DataFormatError: The mesh has no area.
        """
        return SurfaceSample.at(mesh, *mesh_places(mesh, count, generator=generator))

    @staticmethod
    def at(mesh: Mesh, faces: NDArray[np.int64], weights: NDArray[np.float64]) -> SurfaceSample:
        """Given points.

        Args:
            mesh: The object.
            faces: Which face each is on, shape (N,), integers.
            weights: Barycentric weights of its corners, shape (N, 3), float64, of sum 1.

        Raises:
            RendererError: The shapes do not fit together, or a face is not one of the mesh.
        """
        colors = albedo_at(mesh, faces, weights)
        points = np.einsum("nk,nki->ni", weights, mesh.vertices[mesh.faces[faces]])
        corners = outward_normals(mesh)[faces].astype(np.float64)
        normals = np.einsum("nk,nki->ni", weights, corners)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 1e-12, normals / np.maximum(length, 1e-12), corners[:, 0])
        return SurfaceSample(faces, points, normals, colors)


@dataclass(frozen=True, eq=False)
class ViewCloud:
    """The surface of a view's object in its pose.

    Args:
        points: In coordinates of the world and units of the scene, shape (N, 3), float64.
        normals: Unit normals in the world, outwards, shape (N, 3), float64.
        colors: Linear light in [0, 1] before any light falls on it, shape (N, 3), float32.
        visible: What the view's camera sees: inside of the picture, and hidden neither by the
            object itself nor by the floor; shape (N,), bool.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    colors: NDArray[np.float32]
    visible: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.points)

    def srgb(self) -> NDArray[np.uint8]:
        """The colors as sRGB, shape (N, 3), uint8."""
        return np.rint(255.0 * srgb_from_linear(self.colors)).astype(np.uint8)

    def seen(self) -> ViewCloud:
        """The visible points alone: the partial cloud."""
        keep = self.visible
        return ViewCloud(self.points[keep], self.normals[keep], self.colors[keep], keep[keep])


def view_cloud(scene: Scene, sample: SurfaceSample, sight: Sight) -> ViewCloud:
    """Points of a surface, in the pose that a scene gives its object.

        x ↦ s R x + p,   n ↦ R n

    Args:
        scene: For example ``law.scene(mesh, latent)``.
        sample: Of the scene's mesh.
        sight: Of the same mesh.

    Returns:
        One point for each of the sample.

    Example:
        >>> from datasets3d import ProceduralMeshes, ViewLaw
        >>> source = ProceduralMeshes(instances=1, classes=["chair"])
        >>> mesh, law = source.load(source.entries()[0]), ViewLaw()
        >>> sample = SurfaceSample.draw(mesh, 200, generator=np.random.default_rng(0))
        >>> scene = law.scene(mesh, law.sample(0, "chair/chair-000000", view=0))
        >>> cloud = view_cloud(scene, sample, Sight(mesh))
        >>> len(cloud), 20 < len(cloud.seen()) < 150
        (200, True)
    """
    return ViewCloud(
        scene.scale * (sample.points @ scene.rotation.T) + np.array(scene.translation),
        sample.normals @ scene.rotation.T,
        sample.colors,
        visible_points(scene, sample, sight),
    )


def visible_points(scene: Scene, sample: SurfaceSample, sight: Sight) -> NDArray[np.bool_]:
    """Which points a scene's camera sees; see :class:`ViewCloud`.

    Args:
        scene: What is rendered.
        sample: Of its mesh.
        sight: Of the same mesh.

    Returns:
        Shape (N,), bool.
    """
    eye = np.array(scene.camera.position)
    inner = (eye - np.array(scene.translation)) @ scene.rotation / scene.scale
    world = scene.scale * (sample.points @ scene.rotation.T) + np.array(scene.translation)
    place, _ = ViewCamera.of_scene(scene, 1).project(world)  # one pixel: within ±1/2 of zero
    with np.errstate(invalid="ignore"):
        found = np.asarray((np.abs(place) < 0.5).all(axis=1))
    if scene.floor is not None:
        height = scene.floor.height
        found &= (world[:, 2] >= height) == (eye[2] >= height)
    found[found] = sight.unhidden(sample.points[found], sample.faces[found], inner)
    return found


@dataclass(frozen=True, eq=False)
class DepthCloud:
    """The points that a view's pixels see.

    Args:
        points: In coordinates of the world, shape (N, 3), float64.
        pixels: Column and row of each, shape (N, 2), int64; rows of the picture from the top.
    """

    points: NDArray[np.float64]
    pixels: NDArray[np.int64]


def back_projected(
    depth: NDArray[np.floating], mask: NDArray[np.bool_], camera: ViewCamera
) -> DepthCloud:
    """The points that the centers of some pixels see, from their depth.

        x = W⁻¹ (d K⁻¹ (u, v, 1)),   d the depth of the pixel at column u and row v

    Args:
        depth: Along the viewing axis, shape (size, size); the pass "depth".
        mask: Which pixels, shape (size, size), bool; those without finite depth are left out.
        camera: Of the view.

    Raises:
        ConventionError: The shapes are not those of the camera's picture.

    Example:
        >>> from datasets3d import ViewLaw, camera_of
        >>> camera = camera_of(ViewLaw(), np.zeros(7), size_px=4)
        >>> cloud = back_projected(np.full((4, 4), 2.0), np.eye(4, dtype=bool), camera)
        >>> uv, depth = camera.project(cloud.points)
        >>> bool(abs(uv - cloud.pixels).max() < 1e-9), bool(abs(depth - 2.0).max() < 1e-9)
        (True, True)
    """
    size = camera.size_px
    if depth.shape != (size, size) or mask.shape != (size, size):
        raise ConventionError(
            expected=f"depth and mask of shape ({size}, {size})",
            got=f"{depth.shape} and {mask.shape}", argument="depth",
            advice="Take passes and camera from one view.",
        )  # fmt: skip
    kept = mask & np.isfinite(depth)
    rows, columns = np.nonzero(kept)
    return DepthCloud(camera.points(depth)[kept], np.stack([columns, rows], 1).astype(np.int64))


def read_depth_cloud(root: Path | str, key: str, view: int) -> DepthCloud:
    """The points of an object that a view's pixels see, from what is stored of it.

    Args:
        root: A set that was built with the passes "depth" and "mask".
        key: The object, ``<class>/<object id>``.
        view: Which of its views, from 0.

    Raises:
        DataFormatError: The set was built without the passes, or a file is damaged; names it.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build
        >>> source, root = ProceduralMeshes(instances=1, classes=["chair"]), tempfile.mkdtemp()
        >>> config = BuildConfig(views=1, size_px=32, passes=("depth", "mask"))
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> cloud = read_depth_cloud(root, "chair/chair-000000", 0)
        >>> bool(np.linalg.norm(cloud.points, axis=1).max() <= 0.5)
        True
    """
    depth, mask = (read_pass(root, key, view, name) for name in ("depth", "mask"))
    return back_projected(depth, mask, read_camera(root, key, view))
