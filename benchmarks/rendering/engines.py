"""The engines that are compared, each in a process and an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LP_NUM_THREADS"), "1"
)


class Engine(NamedTuple):
    """What is started: a label, the renderer's name, its settings, OpenGL's platform.

    ``python`` says which interpreter has it: "embree", "pyrender" or "blender".
    """

    label: str
    name: str
    settings: dict[str, Any]
    platform: str = ""


ENGINES = (
    Engine("embree 3x3", "embree", {"samples_per_side": 3}),
    Engine("embree 2x2", "embree", {"samples_per_side": 2}),
    Engine("embree 1x1", "embree", {"samples_per_side": 1}),
    Engine("pyrender EGL", "pyrender", {}, "egl"),
    Engine("pyrender OSMesa", "pyrender", {}, "osmesa"),
    Engine(
        "Blender Cycles",
        "blender",
        {"samples": 100, "bounces": 3, "denoise": True, "noise_threshold": 0.01},
    ),
)


class Process:
    """A worker that renders for as long as it is kept.

    Args:
        engine: What to start.
        python: The interpreter that has it.
        folder: Where the meshes are.
    """

    def __init__(self, engine: Engine, python: str, folder: Path) -> None:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        changes = ONE_THREAD | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if engine.platform:
            changes["PYOPENGL_PLATFORM"] = engine.platform
        self.engine = engine
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.rendering.worker", engine.name,
             json.dumps(engine.settings), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | changes,
        )  # fmt: skip

    def ask(self, mesh: str, size_px: int, views: Sequence[int], **more: str) -> list[float]:
        """Processor seconds of every picture."""
        assert self._process.stdin and self._process.stdout
        order = {"mesh": mesh, "size_px": size_px, "views": list(views), **more}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.engine.label}: the worker ended with {self._process.wait()}")
        return list(json.loads(answer))

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
