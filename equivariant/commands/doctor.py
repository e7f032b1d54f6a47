"""equivariant doctor"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

import renderers
from datasets3d import ProceduralMeshes, ViewLaw
from equivariant.commands.terminal import say
from equivariant.runs import environment


@dataclass(frozen=True)
class Doctor:
    """Say what works here: versions, devices, renderers, and how fast they are.

    Args:
        size: Side of the test images in pixels.
    """

    size: int = 128

    def __call__(self) -> None:
        say("versions")
        for name, version in sorted(environment().items()):
            say(f"  {name:18} {version}")
        say("devices")
        say(f"  {'cpu':18} {os.cpu_count()} cores, {torch.get_num_threads()} threads")
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        say(f"  {'cuda':18} {', '.join(gpus) or 'none'}")
        say("renderers")
        for name, state in renderers.available().items():
            say(f"  {name:18} {state}")
        say(f"  {'embree, one core':18} {self.rate():.0f} images per second at {self.size} px")

    def rate(self) -> float:
        """Images per second of the default renderer, after it has compiled."""
        source, law = ProceduralMeshes(instances=1, classes=["truck"]), ViewLaw()
        mesh, renderer = source.load(source.entries()[0]), renderers.get("embree")
        scenes = [law.scene(mesh, law.sample(0, "truck", view=view)) for view in range(50)]
        renderer.render_rgb(scenes[0], self.size)
        started = time.perf_counter()
        for scene in scenes:
            renderer.render_rgb(scene, self.size)
        return len(scenes) / (time.perf_counter() - started)
