"""Images per second of the renderers, side by side on one core.

Every renderer draws the same scenes: an object of about 8,700 triangles with smooth normals in
the default scene, a random rotation per image, with the spot's shadow. Times are CPU seconds of
the process, median over the images, so that a busy machine disturbs them little; pyrender's
``LP_NUM_THREADS`` is set to 1. ``end_to_end`` is wall time of rendering 50 views of a new
object, its preparation included, and of encoding each as JPEG.

Run one process per OpenGL platform; what is not installed is left out with its reason:

    PYOPENGL_PLATFORM=egl python benchmarks/rendering.py --json egl.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "LP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from renderers import Mesh, Renderer, RendererError, Scene, Spot, get  # noqa: E402

VIEWS = 50


def torus(center: float, *, major: float, minor: float, steps: int) -> tuple[NDArray, ...]:
    """Vertices, faces and normals of a torus, moved along z."""
    turn = np.arange(steps) * 2 * np.pi / steps
    a, b = np.meshgrid(turn, turn, indexing="ij")
    out = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], 2)
    ring = np.stack([np.cos(a), np.sin(a), 0 * a], 2)
    vertices = (major * ring + minor * out + [0, 0, center]).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij")
    here, next_i = i * steps + j, (i + 1) % steps * steps + j
    here_j, both = i * steps + (j + 1) % steps, (i + 1) % steps * steps + (j + 1) % steps
    faces = np.concatenate(
        [np.stack(t, 2).reshape(-1, 3) for t in ((here, next_i, both), (here, both, here_j))]
    )
    return vertices, faces, out.reshape(-1, 3)


def benchmark_mesh() -> Mesh:
    """Two linked-looking tori, 8,712 triangles, radius about 0.5."""
    parts = [
        torus(-0.1, major=0.38, minor=0.09, steps=46),
        torus(0.15, major=0.2, minor=0.12, steps=47),
    ]
    offset = len(parts[0][0])
    faces = np.concatenate([parts[0][1], parts[1][1] + offset]).astype(np.int32)
    normals = np.concatenate([parts[0][2], parts[1][2]])
    colors = np.random.default_rng(0).integers(90, 220, (len(faces), 3)).astype(np.uint8)
    colors[:] = colors[0]
    return Mesh(
        np.concatenate([parts[0][0], parts[1][0]]),
        faces,
        normals[faces].astype(np.float32),
        face_colors=colors,
    )


def views(mesh: Mesh, count: int) -> list[Scene]:
    """The same scenes for everyone."""
    random = np.random.default_rng(1)
    scenes = []
    for _ in range(count):
        matrix, _ = np.linalg.qr(random.normal(size=(3, 3)))
        polar, turn = random.uniform(0, np.pi / 4), random.uniform(0, 2 * np.pi)
        x, y, z = (
            4 * np.sin(polar) * np.cos(turn),
            4 * np.sin(polar) * np.sin(turn),
            4 * np.cos(polar),
        )
        rotation = matrix * np.sign(np.linalg.det(matrix))
        scenes.append(Scene(mesh, rotation, spot=Spot(position=(float(x), float(y), float(z)))))
    return scenes


def frame_seconds(renderer: Renderer, scenes: list[Scene], size: int) -> float:
    """Median CPU seconds per image, after one to warm up."""
    renderer.render_rgb(scenes[0], size)
    times = []
    for scene in scenes:
        start = time.process_time()
        renderer.render_rgb(scene, size)
        times.append(time.process_time() - start)
    return statistics.median(times)


def end_to_end_seconds(renderer: Renderer, size: int) -> float:
    """Wall seconds per image for a new object, with preparation and JPEG."""
    import simplejpeg  # noqa: PLC0415 - only this measurement needs it

    scenes = views(benchmark_mesh(), VIEWS)
    start = time.perf_counter()
    for scene in scenes:
        image = np.ascontiguousarray(renderer.render_rgb(scene, size))
        simplejpeg.encode_jpeg(image, quality=95, colorsubsampling="444")
    return (time.perf_counter() - start) / VIEWS


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    candidates = {f"embree {n}x{n}": ("embree", {"samples_per_side": n}) for n in (3, 1, 2, 4)}
    candidates["pyrender"] = ("pyrender", {})
    scenes = views(benchmark_mesh(), options.views)
    results = []
    reference: dict[int, float] = {}
    print(f"{'renderer':<16}{'px':>5}{'ms/img':>9}{'img/s':>8}{'x slower':>10}{'end to end/s':>14}")
    for label, (name, settings) in candidates.items():
        try:
            renderer = get(name, **settings)
        except RendererError as reason:
            print(f"{label}: left out: {reason}", file=sys.stderr)
            continue
        title = f"{label} {getattr(renderer, 'platform', '')}".strip()
        for size in options.sizes:
            seconds = frame_seconds(renderer, scenes, size)
            whole = end_to_end_seconds(renderer, size)
            ratio = seconds / reference.setdefault(size, seconds)
            print(
                f"{title:<16}{size:>5}{1e3 * seconds:>9.2f}{1 / seconds:>8.0f}"
                f"{ratio:>10.2f}{1 / whole:>14.0f}"
            )
            results.append(
                {
                    "renderer": title,
                    "size_px": size,
                    "cpu_ms": 1e3 * seconds,
                    "ratio_to_embree_3x3": ratio,
                    "end_to_end_images_per_s": 1 / whole,
                }
            )
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
