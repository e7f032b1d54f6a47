"""What is rendered, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from datasets3d.views.latents import ViewLaw
from datasets3d.views.passes.kinds import PassName, ordered_passes
from datasets3d.views.storage import ChannelOrder
from equivariant.errors import ConventionError


@dataclass(frozen=True)
class BuildConfig:
    """Everything that determines the bytes of a data set, except the meshes.

    Args:
        views: Views of every object, at least 1; 3DIEBench has 50.
        size_px: Side of the square images in pixels, at least 1; 3DIEBench has 256.
        seed: Of the whole data set, at least 0. A view depends on the seed, the object's name
            and its own index alone.
        law: What varies from view to view, and how.
        renderer: Name of the renderer; "embree" needs nothing but pip.
        samples_per_side: Anti-aliasing of embree: this many samples squared on each pixel at
            an edge; 1 for none.
        quality: Of the JPEG files, 1 to 100.
        channel_order: "rgb" writes true colors; "bgr" exchanges red and blue on disk, as the
            published images probably do. Readers of ours undo it.
        val_fraction: Share of objects held out where the source does not say, in [0, 1].
        split_by: "object" draws a split for each class and id; "id" for each id alone, so that
            a mesh listed under two classes, as some of ShapeNet are, stays on one side.
        passes: What is written of every view beside its picture, in any order: "depth",
            "normals", "mask", "shadow", "coordinates", "faces", "parts" (articulated objects),
            "rgba"; with any of them the camera, too. See :func:`datasets3d.read_pass`.

    Raises:
        ConventionError: A setting is out of its range.
    """

    views: int = 50
    size_px: int = 128
    seed: int = 0
    law: ViewLaw = field(default_factory=ViewLaw)
    renderer: str = "embree"
    samples_per_side: int = 3
    quality: int = 95
    channel_order: ChannelOrder = "rgb"
    val_fraction: float = 0.2
    split_by: Literal["object", "id"] = "object"
    passes: tuple[PassName, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", ordered_passes(self.passes))
        fine = {
            "views": self.views >= 1,
            "size_px": self.size_px >= 1,
            "seed": self.seed >= 0,
            "samples_per_side": self.samples_per_side >= 1,
            "quality": 1 <= self.quality <= 100,
            "channel_order": self.channel_order in ("rgb", "bgr"),
            "val_fraction": 0.0 <= self.val_fraction <= 1.0,
            "split_by": self.split_by in ("object", "id"),
        }
        for name, holds in fine.items():
            if not holds:
                raise ConventionError(
                    expected="a value in its range", got=repr(getattr(self, name)),
                    argument=f"config.{name}", advice="See the documentation of BuildConfig.",
                )  # fmt: skip
