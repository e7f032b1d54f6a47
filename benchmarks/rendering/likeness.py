"""Embree's pictures beside Blender's of the same latents: outline, depth, shadow, light.

    python -m benchmarks.rendering.likeness --blender-python PATH
    python -m benchmarks.rendering.likeness --show    # of the results on disk

Both engines render the same meshes, rotations, lights and colors; Blender with 256 paths per pixel,
three bounces and its denoiser. Passes are those of the pixels' centers. Writes numbers, and a
figure with a row per mesh: Embree, Blender, what differs (gray is nothing, four times enlarged),
and the outlines of object (white) and shadow (black) on Blender's picture, by Embree.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rendering.engines import Engine, Process
from benchmarks.rendering.objects import views, write_mesh
from benchmarks.rendering.table import meshes
from renderers import Scene, get

RESULTS = Path(__file__).parents[1] / "results" / "rendering_likeness.json"
FIGURE = Path(__file__).parents[2] / "docs" / "pictures" / "blender.png"
BLENDER = Engine("Blender", "blender", {"samples": 256, "bounces": 3, "denoise": True})
SIZE_PX = 192
VIEWS = 4
GAP_PX = 4
Passes = Mapping[str, NDArray[Any]]


def grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """A mask and what is within some pixels of it."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = np.zeros_like(mask)
        for down in range(3):
            for over in range(3):
                mask |= padded[down : down + mask.shape[0], over : over + mask.shape[1]]
    return mask


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask that have another one beside them."""
    return mask & grown(~mask, 1)


def outline_distances(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From every pixel of either outline to the nearest of the other one, in pixels."""
    one, other = np.argwhere(outline(a)), np.argwhere(outline(b))
    if not len(one) or not len(other):
        return np.zeros(0) if len(one) == len(other) else np.full(1, np.inf)
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    return np.concatenate([apart.min(1), apart.min(0)])


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int((a | b).sum())
    return 1.0 if union == 0 else float((a & b).sum() / union)


def likeness(one: Passes, other: Passes, lit: NDArray[np.bool_]) -> dict[str, float]:
    """How like two renderings of a scene are.

    Args:
        one: ``rgb``, ``depth``, ``mask`` and ``shadow``, shape (size, size) and three channels.
        other: The same of the other engine.
        lit: The floor that the spot lights.

    Returns:
        ``silhouette_iou`` and ``shadow_iou`` of the masks (of the shadow on the floor);
        ``silhouette_px`` and ``shadow_px``: mean distance of their outlines in pixels, and
        ``..._px_max``, the largest; ``depth``: largest difference on the object, off its outline;
        ``lit_floor_levels``: median over lit floor and channels of the difference in sRGB levels,
        and ``lit_floor_levels_95``, its 95th percentile; ``object_levels``: mean difference on the
        object, which includes what bounces.
    """
    floors = [image["shadow"] & ~image["mask"] for image in (one, other)]
    edge = grown(outline(one["mask"]) | outline(other["mask"]), 1)
    inside = ~edge & one["mask"] & other["mask"]
    change = np.abs(one["rgb"].astype(np.float64) - other["rgb"])
    busy = grown(one["mask"] | other["mask"] | floors[0] | floors[1], 1)
    floor = change[lit & ~busy]
    silhouettes, shadows = outline_distances(one["mask"], other["mask"]), outline_distances(*floors)
    return {
        "silhouette_iou": overlap(one["mask"], other["mask"]),
        "silhouette_px": float(silhouettes.mean()),
        "silhouette_px_max": float(silhouettes.max()),
        "shadow_iou": overlap(*floors),
        "shadow_px": float(shadows.mean()) if shadows.size else 0.0,
        "shadow_px_max": float(shadows.max(initial=0.0)),
        "depth": float(np.abs(one["depth"] - other["depth"])[inside].max(initial=0.0)),
        "lit_floor_levels": float(np.median(floor)),
        "lit_floor_levels_95": float(np.quantile(floor, 0.95)),
        "object_levels": float(change[inside].mean()),
    }


def embree_passes(scene: Scene, size_px: int) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Embree's passes, and the floor that the spot lights."""
    renderer = get("embree")
    found = renderer.render(scene, size_px)
    unlit = renderer.render_rgb(dataclasses.replace(scene, spot=None), size_px)
    lit = (found.rgb > unlit).any(2) & ~found.mask
    return vars(found), lit


def figure_row(one: Passes, other: Passes) -> NDArray[np.uint8]:
    """Embree, Blender, what differs, outlines; side by side."""
    change = other["rgb"].astype(np.float64) - one["rgb"]
    differs = np.clip(128.0 + 4.0 * change, 0.0, 255.0).astype(np.uint8)
    drawn = other["rgb"].copy()
    drawn[outline(one["shadow"] & ~one["mask"])] = 0
    drawn[outline(one["mask"])] = 255
    gap = np.full((len(drawn), GAP_PX, 3), 255, np.uint8)
    return np.hstack([one["rgb"], gap, other["rgb"], gap, differs, gap, drawn])


def measure(python: str) -> dict[str, Any]:
    """Render all, compare, and draw a view of each mesh."""
    rows, pictures = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = meshes()
        for name, mesh in found.items():
            write_mesh(mesh, place / f"{name}.npz")
        blender = Process(BLENDER, python, place)
        for name, mesh in found.items():
            for number, scene in enumerate(views(mesh, VIEWS)):
                blender.ask(name, SIZE_PX, [number], keep=str(place / "kept.npz"))
                with np.load(place / "kept.npz", allow_pickle=False) as kept:
                    other = dict(kept)
                one, lit = embree_passes(scene, SIZE_PX)
                rows.append({"mesh": name, "view": number, **likeness(one, other, lit)})
                if number == len(pictures):  # another view of each mesh
                    pictures.append(figure_row(one, other))
        blender.end()
    gap = np.full((GAP_PX, pictures[0].shape[1], 3), 255, np.uint8)
    stacked = np.vstack([part for picture in pictures for part in (picture, gap)][:-1])
    Image.fromarray(stacked).quantize(256).save(FIGURE, optimize=True)
    return {"size_px": SIZE_PX, "blender": BLENDER.settings, "views": rows}


def show(results: dict[str, Any]) -> None:
    """Print the worst of every mesh in Markdown."""
    names = [name for name in results["views"][0] if name not in ("mesh", "view")]
    print("| mesh | " + " | ".join(names) + " |\n|" + "---|" * (1 + len(names)))
    for mesh in dict.fromkeys(row["mesh"] for row in results["views"]):
        rows = [row for row in results["views"] if row["mesh"] == mesh]
        worst = [(min if "iou" in name else max)(row[name] for row in rows) for name in names]
        print(f"| {mesh} | " + " | ".join(f"{value:.4g}" for value in worst) + " |")


def main() -> None:
    """Measure, write, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blender-python", help="an interpreter that has bpy")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    if not options.show:
        RESULTS.write_text(json.dumps(measure(options.blender_python), indent=1) + "\n")
    show(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
