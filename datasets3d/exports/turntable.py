"""A look at one object from all sides: it turns once about the vertical, without end."""

from __future__ import annotations

import io
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from datasets3d.views.latents import ViewLaw
from datasets3d.views.storage import writing
from equivariant.errors import ConventionError
from equivariant.runs import write_atomically
from renderers import get
from renderers.scene import Mesh

GIF = ".gif"
SHORTEST_MS = 20  # what viewers still show as it is


@dataclass(frozen=True)
class TurntableConfig:
    """How an object is shown.

    Args:
        frames: In one turn, at least 2; frame k is turned by 2π k / frames.
        size_px: Side of the pictures, at least 1.
        seconds: Of one turn, positive; GIFs keep hundredths, at least 2 for a frame.
        field_of_view_rad: Of the camera, in (0, π).
        floor_hue: Turns, in [0, 1].
        renderer: Name of the renderer.

    Raises:
        ConventionError: A setting is out of its range.
    """

    frames: int = 48
    size_px: int = 256
    seconds: float = 4.0
    field_of_view_rad: float = math.radians(30.0)
    floor_hue: float = 0.1
    renderer: str = "embree"

    def __post_init__(self) -> None:
        fine = {
            "frames": self.frames >= 2,
            "size_px": self.size_px >= 1,
            "seconds": 0.0 < self.seconds < math.inf,
            "field_of_view_rad": 0.0 < self.field_of_view_rad < math.pi,
            "floor_hue": 0.0 <= self.floor_hue <= 1.0,
        }
        for name, holds in fine.items():
            if not holds:
                raise ConventionError(
                    expected="a value in its range", got=repr(getattr(self, name)),
                    argument=f"config.{name}", advice="See the documentation of TurntableConfig.",
                )  # fmt: skip

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """Turn of every frame about the vertical, shape (frames,); the next would be the first."""
        return 2.0 * np.pi * np.arange(self.frames) / self.frames


def turntable_frames(mesh: Mesh, config: TurntableConfig) -> Iterator[NDArray[np.uint8]]:
    """The pictures of one turn, one after the other.

    Args:
        mesh: As ``read_mesh`` normalizes it.
        config: How.

    Yields:
        sRGB, shape (size, size, 3), uint8.

    Raises:
        RendererError: The renderer is unknown or missing here.
    """
    renderer = get(config.renderer)
    law = ViewLaw(field_of_view_rad=config.field_of_view_rad)
    for angle in config.angles_rad.tolist():
        latent = np.array([0.0, 0.0, angle, config.floor_hue, 0.5, 0.8, 0.12])
        yield renderer.render_rgb(law.scene(mesh, latent), config.size_px)


def write_turntable(
    mesh: Mesh, out: Path | str, config: TurntableConfig | None = None, *, progress: bool = True
) -> Path:
    """Write a GIF that loops, or a folder of PNGs ``frame_000.png``, ..., whole or not at all.

    A GIF has one palette of 256 colors for all frames, so that colors stand still; a folder has
    all colors.

    Args:
        mesh: As ``read_mesh`` normalizes it.
        out: A path that ends in ``.gif``, or a folder that is empty or not there yet.
        config: How; None takes the defaults.
        progress: Show a bar on stderr.

    Returns:
        ``out``.

    Raises:
        ConventionError: ``out`` has another suffix, or something is in the folder.
        RendererError: The renderer is unknown or missing here.
        StorageError: The place is read-only or full.

    Example:
        >>> import tempfile
        >>> from datasets3d.meshes import ProceduralMeshes
        >>> source = ProceduralMeshes(instances=1, classes=["teapot"])
        >>> out = Path(tempfile.mkdtemp()) / "teapot.gif"
        >>> config = TurntableConfig(frames=4, size_px=16)
        >>> _ = write_turntable(source.load(source.entries()[0]), out, config, progress=False)
        >>> with Image.open(out) as picture:
        ...     picture.n_frames, picture.info["loop"]
        (4, 0)
    """
    out, config = Path(out), config or TurntableConfig()
    there = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if out.suffix.lower() not in (GIF, "") or (out.suffix == "" and there):
        raise ConventionError(
            expected="a path that ends in .gif, or a folder that is empty or not there",
            got=str(out), argument="out", advice="A folder gets one PNG for each frame.",
        )  # fmt: skip
    frames = tqdm(
        turntable_frames(mesh, config), total=config.frames, desc="turning", unit="img",
        disable=not progress,
    )  # fmt: skip
    if out.suffix:
        write_atomically(out, _gif(list(frames), config))
        return out
    partial = out.parent / f".{out.name}.partial-{uuid.uuid4().hex}"
    with writing(out):
        try:
            partial.mkdir(parents=True)
            for number, frame in enumerate(frames):
                Image.fromarray(frame).save(partial / f"frame_{number:03d}.png")
            if out.is_dir():
                out.rmdir()
            os.replace(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return out


def _gif(frames: list[NDArray[np.uint8]], config: TurntableConfig) -> bytes:
    every = frames[:: max(1, len(frames) // 8)]
    palette = Image.fromarray(np.concatenate(every)).quantize(256)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        for frame in frames
    ]
    hundredths = round(100.0 * config.seconds / config.frames)
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, format="GIF", save_all=True, append_images=pictures[1:], loop=0,
        duration=max(SHORTEST_MS, 10 * hundredths), optimize=False,
    )  # fmt: skip
    return buffer.getvalue()
