"""``transforms.json``, as NeRF's synthetic scenes, instant-ngp and nerfstudio read it.

    OUT/<class>/<object id>/transforms.json, images/0000.png, ...

Every object is a scene in its own coordinates, +z up, the box's diagonal 1. Matrices take camera to
scene, the camera's x to the right, y up, looking along -z; pixels' centers are at halves. Pictures
have alpha, and the floor, which stands still while the object turns, is left out. The light stays
in them: relative to the object it moves from view to view, and with the default law its place and
hue in the world are drawn for each. ``ViewLaw(spot_theta_rad=(0, 0), spot_phi_rad=(0, 0),
spot_hue=(0.1, 0.1))`` is the nearest to one light, which then moves with the camera; instant-ngp
offers ``n_extra_learnable_dims`` for the rest.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from datasets3d.exports.exported_set import ExportedSet
from datasets3d.views.passes.camera import ViewCamera
from datasets3d.views.passes.kinds import pass_file
from equivariant.files import read_file
from equivariant.runs import json_bytes

REMARK = (
    "relative to the object the light moves from view to view; a law with one spot_theta_rad, "
    "spot_phi_rad and spot_hue is the nearest to one light"
)


def write_nerf(one: ExportedSet, out: Path) -> None:
    """Write a scene for every object.

    Args:
        one: With the pass "rgba", whose colors are true ones in every set.
        out: An empty folder.
    """
    for _, key in one.each("nerf"):
        folder = out / key
        (folder / "images").mkdir(parents=True)
        cameras = [one.camera(key, view) for view in range(one.views)]
        for view in range(one.views):
            one.array(key, view, "rgba")  # refuses a damaged file
            data = read_file(one.root / key / pass_file("rgba", view))
            (folder / _name(view)).write_bytes(data)
        (folder / "transforms.json").write_bytes(json_bytes(_scene(cameras)))
    one.remarks.append(REMARK)


def _scene(cameras: list[ViewCamera]) -> dict[str, Any]:
    """What ``transforms.json`` says of views of one size and focal length."""
    first = cameras[0]
    K = first.intrinsics("half")
    frames = []
    for view, camera in enumerate(cameras):
        matrix = np.linalg.inv(camera.object_pose("opengl"))
        scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
        if abs(scale - 1.0) > 1e-6:  # the camera of a scaled object stands nearer or farther
            matrix[:3, :3] /= scale
        frame: dict[str, Any] = {"file_path": _name(view), "transform_matrix": matrix.tolist()}
        if camera.focal_px != first.focal_px:
            frame |= {"fl_x": camera.focal_px, "fl_y": camera.focal_px}
        frames.append(frame)
    angle = 2.0 * math.atan(first.size_px / (2.0 * first.focal_px))
    return {
        "camera_angle_x": angle, "camera_angle_y": angle,
        "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2],
        "w": first.size_px, "h": first.size_px, "aabb_scale": 1, "frames": frames,
    }  # fmt: skip


def _name(view: int) -> str:
    return f"images/{view:04d}.png"
