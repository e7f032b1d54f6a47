"""The layout of the BOP benchmark (Hodan et al. 2018), one scene per object.

    OUT/camera.json, objects.json, models/{models_info.json, obj_000001.ply, ...}
    OUT/{train,val}/000001/{scene_camera,scene_gt,scene_gt_info}.json
    OUT/{train,val}/000001/{rgb,depth}/000000.png, {mask,mask_visib}/000000_000000.png

Lengths are millimetres, 1000 of them for a unit of the scene: the object's box has a diagonal of
1 m; the models of scenes of several objects have the scale that the objects have there. Poses are
model to camera in OpenCV's axes, pixels' centers at whole numbers. Depth is 16 bits in steps of
``depth_scale`` millimetres, 0.1 unless the object is farther than 6.5 m; 0 where nothing is seen or
it is beyond the last step. Folder k of the set is scene k; ``objects.json`` names the objects.
Boxes are (x, y, greatest x - x, greatest y - y), as the toolkit computes them, of what the picture
shows: an object that reaches the border has no other.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from datasets3d.exports.exported_set import ExportedSet
from datasets3d.meshes.source import MeshSource
from datasets3d.scenes.scene_meshes import SceneMeshes
from datasets3d.views.plan import key_of
from datasets3d.views.upkeep.recorded import recorded_source
from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import json_bytes
from renderers.scene import Mesh

UNIT_MM = 1000.0
FINEST_MM = 0.1
MOST = 65535
NO_MODELS = (
    "models are left out: name the folder of mesh files that the set was built from (--meshes)"
)


def write_bop(one: ExportedSet, out: Path) -> None:
    """Write a scene for every object, and the models where the source is known.

    Args:
        one: With the passes "depth" and "mask".
        out: An empty folder.
    """
    objects = sorted({member for key in one.keys for member in one.members(key)})
    numbers = {key: number for number, key in enumerate(objects, 1)}
    for index, key in one.each("bop"):
        split = one.manifest.splits[key]
        _write_scene(one, key, numbers, out / split / f"{index + 1:06d}")
    first = one.keys[0]
    K = one.camera(first, 0).intrinsics()
    size = {"width": one.size_px, "height": one.size_px}
    camera = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "depth_scale": FINEST_MM}
    (out / "camera.json").write_bytes(json_bytes(camera | size))
    (out / "objects.json").write_bytes(json_bytes({str(n): key for key, n in numbers.items()}))
    source = _source(one)
    if source is None:
        one.remarks.append(NO_MODELS)
    else:
        _write_models(source, numbers, out / "models", model_scale(one))


def _write_scene(one: ExportedSet, key: str, numbers: dict[str, int], folder: Path) -> None:
    for name in ("rgb", "depth", "mask", "mask_visib"):
        (folder / name).mkdir(parents=True)
    cameras: dict[str, Any] = {}
    truths: dict[str, Any] = {}
    infos: dict[str, Any] = {}
    for view in range(one.views):
        instances, depth = one.instances(key, view), one.array(key, view, "depth")
        seen = np.logical_or.reduce([instance.seen for instance in instances])
        steps, scale = depth_steps(depth, seen)
        camera = one.camera(key, view)
        name = f"{view:06d}"
        cameras[str(view)] = {
            "cam_K": camera.intrinsics().ravel().tolist(),
            "depth_scale": scale,
            "cam_R_w2c": camera.world_to_camera[:3, :3].ravel().tolist(),
            "cam_t_w2c": (UNIT_MM * camera.world_to_camera[:3, 3]).tolist(),
        }
        truths[str(view)], infos[str(view)] = [], []
        for k, instance in enumerate(instances):
            pose = _rigid(instance.pose, instance.key, model_scale(one))
            whole = instance.seen if instance.whole is None else instance.whole
            truths[str(view)].append({
                "cam_R_m2c": pose[:3, :3].ravel().tolist(),
                "cam_t_m2c": (UNIT_MM * pose[:3, 3]).tolist(),
                "obj_id": numbers[instance.key],
            })  # fmt: skip
            infos[str(view)].append(_info(instance.seen, whole, steps))
            for kind, mask in (("mask", whole), ("mask_visib", instance.seen)):
                white = mask.astype(np.uint8) * np.uint8(255)
                _write_png(folder / kind / f"{name}_{k:06d}.png", white)
        _write_png(folder / "rgb" / f"{name}.png", one.image(key, view))
        _write_png(folder / "depth" / f"{name}.png", steps)
    for name, value in (
        ("scene_camera", cameras), ("scene_gt", truths), ("scene_gt_info", infos)
    ):  # fmt: skip
        (folder / f"{name}.json").write_bytes(json_bytes(value))


def model_scale(one: ExportedSet) -> float:
    """Factor of the lengths of the models: 1, or the one scale of the objects of scenes."""
    return float(one.manifest.source["scale_low"]) if one.of_scenes else 1.0


def _rigid(pose: NDArray[np.float64], key: str, of_models: float) -> NDArray[np.float64]:
    """The pose of a scaled model, unless objects differ in scale: models have one size."""
    scale = float(np.cbrt(np.linalg.det(pose[:3, :3])))
    if of_models != 1.0:
        pose = pose.copy()
        pose[:3, :3] /= of_models
    if abs(scale / of_models - 1.0) > 1e-6:
        raise ConventionError(
            expected="objects of one size in all views", got=f"{key} at scale {scale:.4g}",
            argument="layout",
            advice="BOP's poses are rigid: build without ObjectScale, scenes with one scale.",
        )  # fmt: skip
    return pose


def depth_steps(
    depth: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.uint16], float]:
    """Depth in whole steps, and the length of a step in millimetres.

    Args:
        depth: In units of the scene, shape (size, size).
        mask: Where the object is, whose depth must fit into 16 bits.

    Returns:
        Shape (size, size), uint16, 0 where there is no depth or it does not fit; and the step:
        0.1, doubled until the object fits.

    Example:
        >>> depth = np.array([[2.5, 7.0], [20.0, np.inf]], np.float32)
        >>> steps, scale = depth_steps(depth, depth == 2.5)
        >>> steps.tolist(), scale
        ([[25000, 0], [0, 0]], 0.1)
    """
    scale = FINEST_MM
    farthest = UNIT_MM * float(depth[mask].max(initial=0.0))
    while farthest > MOST * scale:
        scale *= 2.0
    with np.errstate(over="ignore"):
        steps = np.rint(depth.astype(np.float64) * (UNIT_MM / scale))
    return np.where(steps <= MOST, steps, 0.0).astype(np.uint16), scale


def _info(
    seen: NDArray[np.bool_], whole: NDArray[np.bool_], steps: NDArray[np.uint16]
) -> dict[str, Any]:
    every, count = int(whole.sum()), int(seen.sum())
    return {
        "bbox_obj": _box(whole), "bbox_visib": _box(seen), "px_count_all": every,
        "px_count_valid": int((steps[whole] > 0).sum()), "px_count_visib": count,
        "visib_fract": count / every if every else 0.0,
    }  # fmt: skip


def _box(mask: NDArray[np.bool_]) -> list[int]:
    """Of the pixels of a mask; -1 four times where it has none, as the toolkit writes."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [-1, -1, -1, -1]
    left, top = int(columns.min()), int(rows.min())
    return [left, top, int(columns.max()) - left, int(rows.max()) - top]


def _write_png(path: Path, pixels: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _source(one: ExportedSet) -> MeshSource | None:
    """Where the models come from; None where that is a folder which was not named."""
    try:
        found = recorded_source(one.manifest.source, meshes=one.meshes)
        return found.source if isinstance(found, SceneMeshes) else found
    except ConventionError:
        if one.meshes is not None:
            raise
        return None


def _write_models(source: MeshSource, numbers: dict[str, int], folder: Path, scale: float) -> None:
    folder.mkdir()
    entries = {key_of(entry): entry for entry in source.entries()}
    absent = sorted(set(numbers) - set(entries))
    if absent:
        raise DataFormatError(
            expected="meshes of all objects", got=f"none of {absent[0]}", argument="meshes",
            advice="Name the folder that the set was built from.",
        )  # fmt: skip
    infos = {}
    for key, number in numbers.items():
        mesh = source.load(entries[key])
        mesh = mesh if scale == 1.0 else replace(mesh, vertices=scale * mesh.vertices)
        (folder / f"obj_{number:06d}.ply").write_bytes(model_bytes(mesh))
        infos[str(number)] = model_info(mesh)
    (folder / "models_info.json").write_bytes(json_bytes(infos))


def model_bytes(mesh: Mesh) -> bytes:
    """A model as text PLY in millimetres: positions, normals, faces; colors are left out.

    Args:
        mesh: In units of the scene.
    """
    normals = np.zeros_like(mesh.vertices)
    np.add.at(normals, mesh.faces.ravel(), mesh.corner_normals.reshape(-1, 3).astype(np.float64))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(mesh.vertices)}\n{names}"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.hstack([UNIT_MM * mesh.vertices, normals])
    lines = [" ".join(f"{value:.6g}" for value in row) for row in rows.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in mesh.faces.tolist()]
    return (head + "\n".join(lines) + "\n").encode()


def model_info(mesh: Mesh) -> dict[str, float]:
    """Box and diameter, the largest distance between two vertices, in millimetres.

    Args:
        mesh: In units of the scene.
    """
    points = UNIT_MM * np.unique(mesh.vertices[np.unique(mesh.faces)], axis=0)
    low, size = points.min(0), np.ptp(points, axis=0)
    info = {f"min_{axis}": float(low[k]) for k, axis in enumerate("xyz")}
    info |= {f"size_{axis}": float(size[k]) for k, axis in enumerate("xyz")}
    corners = points
    if len(points) > 2000:
        try:
            corners = points[ConvexHull(points).vertices]
        except QhullError:  # flat: nothing is inside
            corners = points
    return info | {"diameter": float(pdist(corners).max(initial=0.0))}
