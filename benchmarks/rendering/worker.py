"""One engine in a process of its own, which renders what it is told and says how long it took.

    PYTHON -m benchmarks.rendering.worker ENGINE SETTINGS FOLDER

reads lines ``{"mesh": NAME, "size_px": 128, "views": [0, 1]}`` and answers each by a line with the
processor time of every picture, all threads together. With ``"keep": PATH`` the passes of the first
view are written as npz instead. Meshes are ``FOLDER/NAME.npz``. Imports nothing but numpy and the
renderers: it runs where Blender is.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.rendering.objects import read_mesh, views
from renderers import Renderer, Scene, get


def keep(renderer: Renderer, scene: Scene, size_px: int, path: Path) -> None:
    """Write the passes of one view."""
    found = renderer.render(scene, size_px)
    np.savez(
        path,
        rgb=found.rgb,
        depth=found.depth,
        normals=found.normals,
        mask=found.mask,
        shadow=found.shadow,
    )


def seconds(renderer: Renderer, scenes: list[Scene], size_px: int) -> list[float]:
    """Processor seconds of every picture."""
    found = []
    for scene in scenes:
        start = time.process_time()
        renderer.render_rgb(scene, size_px)
        found.append(time.process_time() - start)
    return found


def main() -> None:
    """Answer until the input ends."""
    name, settings, folder = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    renderer = get(name, **settings)
    scenes: dict[str, list[Scene]] = {}
    for line in sys.stdin:
        order = json.loads(line)
        mesh = order["mesh"]
        if mesh not in scenes:
            scenes[mesh] = views(read_mesh(folder / f"{mesh}.npz"), 64)
        wanted = [scenes[mesh][view] for view in order["views"]]
        if "keep" in order:
            keep(renderer, wanted[0], order["size_px"], Path(order["keep"]))
            answer: list[float] = []
        else:
            answer = seconds(renderer, wanted, order["size_px"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
