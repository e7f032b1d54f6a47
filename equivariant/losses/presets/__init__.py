"""Named objectives, as data: read them, change their settings, make your own."""

from equivariant.losses.presets import dense as dense
from equivariant.losses.presets import equivariant as equivariant
from equivariant.losses.presets import margins as margins
from equivariant.losses.presets import modal_prototypes as modal_prototypes
from equivariant.losses.presets import modalities as modalities
from equivariant.losses.presets import prototypes as prototypes
from equivariant.losses.presets import redundancy as redundancy
from equivariant.losses.presets import softmax as softmax
from equivariant.losses.presets import spaces as spaces
from equivariant.losses.presets import supervised as supervised
from equivariant.losses.presets import synthesis as synthesis
from equivariant.losses.presets import temperature as temperature
from equivariant.losses.presets import weights as weights
from equivariant.losses.presets.preset import PRESETS, Preset, listed, preset

__all__ = ["PRESETS", "Preset", "listed", "preset"]
