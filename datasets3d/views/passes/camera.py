"""The camera and the pose of a view, in the conventions of OpenCV and OpenGL."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.latents import ViewLaw
from datasets3d.views.passes.kinds import camera_file
from datasets3d.views.shards.layout import is_sharded
from datasets3d.views.shards.members import shard_member
from equivariant.errors import DataFormatError
from equivariant.files import read_file
from equivariant.runs import json_bytes
from renderers.scene import Mesh, Scene, camera_axes

Axes = Literal["opencv", "opengl"]
Centers = Literal["integer", "half"]
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
MOST_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class ViewCamera:
    """What sees a view, and where the object is in it: a pinhole with square pixels.

    With the default conventions, OpenCV's, a point x of the object, homogeneous, is at

        (u w, v w, w) = K [I 0] W M x,

    u to the right and v down in pixels, w its depth; W = ``world_to_camera``, M =
    ``object_to_world``. The center of the pixel in row i and column j is at (u, v) = (j, i).

    Args:
        size_px: Side of the picture.
        focal_px: Focal length in pixels, horizontal and vertical.
        world_to_camera: W in OpenCV's axes (x right, y down, z ahead), shape (4, 4), float64.
        object_to_world: M, shape (4, 4), float64: a similarity, a rigid motion where objects are
            not scaled.
    """

    size_px: int
    focal_px: float
    world_to_camera: NDArray[np.float64]
    object_to_world: NDArray[np.float64]

    @staticmethod
    def of_scene(scene: Scene, size_px: int) -> ViewCamera:
        """The camera and the pose of a scene.

        Args:
            scene: What is rendered.
            size_px: Side of the picture.
        """
        right, up, forward = camera_axes(scene.camera)
        world_to_camera, object_to_world = np.eye(4), np.eye(4)
        world_to_camera[:3, :3] = np.stack([right, -up, forward])
        world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ np.array(scene.camera.position)
        object_to_world[:3, :3] = scene.scale * scene.rotation
        object_to_world[:3, 3] = scene.translation
        focal = size_px / (2.0 * math.tan(scene.camera.field_of_view_rad / 2.0))
        return ViewCamera(size_px, focal, world_to_camera, object_to_world)

    def intrinsics(self, centers: Centers = "integer") -> NDArray[np.float64]:
        """The matrix K.

        Args:
            centers: "integer": the center of the pixel in row i and column j is at (j, i), as in
                OpenCV and BOP. "half": at (j + 0.5, i + 0.5), as in NeRF's codes.

        Returns:
            Shape (3, 3), float64.
        """
        middle = self.size_px / 2.0 - (0.5 if centers == "integer" else 0.0)
        return np.array(
            [[self.focal_px, 0.0, middle], [0.0, self.focal_px, middle], [0.0, 0.0, 1.0]]
        )

    def pose(self, axes: Axes = "opencv") -> NDArray[np.float64]:
        """World to camera.

        Args:
            axes: Of the camera. "opencv": x right, y down, z ahead. "opengl": x right, y up,
                z backward.

        Returns:
            Shape (4, 4), float64.
        """
        return self.world_to_camera if axes == "opencv" else FLIP @ self.world_to_camera

    def object_pose(self, axes: Axes = "opencv") -> NDArray[np.float64]:
        """Object to camera, W M, shape (4, 4), float64.

        Args:
            axes: As in :meth:`pose`.
        """
        found: NDArray[np.float64] = self.pose(axes) @ self.object_to_world
        return found

    def project(
        self, world: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where points of the world appear.

        Args:
            world: Shape (..., 3).

        Returns:
            (u, v) in pixels, centers at whole numbers, shape (..., 2), and depth, shape (...).
            Points that are not in front of the camera have NaN for (u, v).
        """
        seen = world @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        depth = seen[..., 2]
        ahead = depth > 0.0
        slope = seen[..., :2] / np.where(ahead, depth, np.nan)[..., None]
        return self.focal_px * slope + (self.size_px - 1) / 2.0, depth

    def points(self, depth: NDArray[np.floating]) -> NDArray[np.float64]:
        """The points of the world that pixels' centers see.

        Args:
            depth: Of every pixel, shape (size, size).

        Returns:
            Shape (size, size, 3), float64; not finite where depth is not.
        """
        steps = (np.arange(self.size_px) - (self.size_px - 1) / 2.0) / self.focal_px
        rays = np.ones((self.size_px, self.size_px, 3))
        rays[..., 0], rays[..., 1] = steps[None, :], steps[:, None]
        with np.errstate(invalid="ignore"):
            seen = rays * depth.astype(np.float64)[..., None]
            shifted: NDArray[np.float64] = seen - self.world_to_camera[:3, 3]
            return shifted @ self.world_to_camera[:3, :3]


def camera_of(law: ViewLaw, latent: NDArray[np.float64], *, size_px: int) -> ViewCamera:
    """The camera and the pose of a view, from what is recorded of it.

    Args:
        law: The law that the view was drawn by.
        latent: Shape (7 or more,).
        size_px: Side of the picture.

    Example:
        >>> camera = camera_of(ViewLaw(), np.zeros(7), size_px=128)
        >>> camera.intrinsics().round(2).tolist()
        [[177.78, 0.0, 63.5], [0.0, 177.78, 63.5], [0.0, 0.0, 1.0]]
        >>> camera.pose("opengl")[:3, 3].round(6).tolist()
        [0.0, 0.0, -2.5]
    """
    corners, normals = np.eye(3), np.zeros((1, 3, 3), np.float32)
    any_mesh = Mesh(
        corners, np.array([[0, 1, 2]], np.int32), normals, face_colors=np.zeros((1, 3), np.uint8)
    )
    return ViewCamera.of_scene(law.scene(any_mesh, latent), size_px)


def camera_bytes(camera: ViewCamera) -> bytes:
    """The bytes of ``camera_k.json``; numbers are exact."""
    return json_bytes({
        "axes": "OpenCV: x right, y down, z ahead; matrices act on columns",
        "pixel_centers": "row i, column j at (u, v) = (j, i)",
        "size_px": camera.size_px,
        "intrinsics": camera.intrinsics().tolist(),
        "world_to_camera": camera.world_to_camera.tolist(),
        "object_to_world": camera.object_to_world.tolist(),
    })  # fmt: skip


def read_camera(root: Path | str, key: str, view: int) -> ViewCamera:
    """The camera of a view of a set that was built with passes.

    Args:
        root: The set's folder, or that of its shards.
        key: The object, ``<class>/<object id>``.
        view: Which of its views.

    Raises:
        DataFormatError: The file is missing, damaged or longer than 64 KiB; names it.
    """
    path = Path(root) / key / camera_file(view)
    data = None
    if is_sharded(Path(root)):
        data, path = shard_member(Path(root), key, view, path.name)
    try:
        size = path.stat().st_size if data is None else len(data)
        if size > MOST_BYTES:
            raise ValueError(f"{size} bytes")
        value = json.loads(read_file(path) if data is None else data)
        size = value["size_px"]
        intrinsics = np.array(value["intrinsics"], np.float64)
        poses = [
            np.array(value[name], np.float64) for name in ("world_to_camera", "object_to_world")
        ]
        camera = ViewCamera(size, float(intrinsics[0, 0]), *poses)
        fine = type(size) is int and size >= 1 and _is_rigid(poses[0]) and _is_similarity(poses[1])
        if not fine or not np.array_equal(intrinsics, camera.intrinsics()):
            raise ValueError("numbers that are no camera")
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataFormatError(
            expected="a view's camera", got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="Sets have cameras where they were built with passes; a damaged one is "
            "brought back by `equivariant verify DATA --repair`.",
        ) from error  # fmt: skip
    return camera


def _is_rigid(matrix: NDArray[np.float64]) -> bool:
    return _is_similarity(matrix) and abs(_scale(matrix) - 1.0) < 1e-4


def _is_similarity(matrix: NDArray[np.float64]) -> bool:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    scale = _scale(matrix)
    if not scale > 0.0:
        return False
    turn = matrix[:3, :3] / scale
    near = np.abs(turn @ turn.T - np.eye(3)).max() < 1e-4
    return bool(near and np.array_equal(matrix[3], [0.0, 0.0, 0.0, 1.0]))


def _scale(matrix: NDArray[np.float64]) -> float:
    """The scale of a similarity; not positive where it mirrors."""
    return float(np.cbrt(np.linalg.det(matrix[:3, :3])))
