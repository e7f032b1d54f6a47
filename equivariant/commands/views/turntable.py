"""equivariant turntable"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from datasets3d.exports.turntable import TurntableConfig, write_turntable
from datasets3d.meshes import read_mesh
from equivariant.commands.terminal import say

_KNOWN = TurntableConfig()


@dataclass(frozen=True)
class Turntable:
    """Look at a mesh from all sides: a GIF that loops, or a folder of PNGs.

    The mesh is read and normalized as in a build, and turns once about the vertical:

        equivariant turntable chair.glb --out chair.gif
        equivariant turntable chair.glb --out frames --frames 120 --size 512

    A GIF has 256 colors; frames in a folder have all, and any program makes a film of them.

    Args:
        mesh: OBJ, GLB, glTF, OFF, PLY or STL.
        out: A path that ends in .gif, or a folder that is empty or not there yet.
        up: Axis that points up in the file.
        frames: In one turn, evenly spread; the last leads to the first.
        size: Side of the square pictures in pixels.
        seconds: Of one turn.
        field_of_view_deg: Opening angle of the camera; smaller shows the object larger.
        floor_hue: Color of the floor, 0 to 1.
        renderer: embree needs nothing else; pyrender and blender are extras.
        quiet: Show no progress bar.
    """

    mesh: Annotated[Path, tyro.conf.Positional]
    out: Path
    up: Literal["x", "y", "z"] = "y"
    frames: int = _KNOWN.frames
    size: int = _KNOWN.size_px
    seconds: float = _KNOWN.seconds
    field_of_view_deg: float = round(math.degrees(_KNOWN.field_of_view_rad), 6)
    floor_hue: float = _KNOWN.floor_hue
    renderer: str = _KNOWN.renderer
    quiet: bool = False

    def __call__(self) -> None:
        config = TurntableConfig(
            frames=self.frames, size_px=self.size, seconds=self.seconds,
            field_of_view_rad=math.radians(self.field_of_view_deg), floor_hue=self.floor_hue,
            renderer=self.renderer,
        )  # fmt: skip
        mesh = read_mesh(self.mesh, up=self.up)
        write_turntable(mesh, self.out, config, progress=not self.quiet)
        say(f"{self.frames} frames in {self.out}")
