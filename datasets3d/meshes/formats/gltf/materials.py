"""Base colors of glTF's materials: factor, picture, and where on the picture a vertex lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets3d.meshes.formats.absent_files import OUTSIDE, OutsideError
from datasets3d.meshes.formats.gltf.document import Document, Json
from datasets3d.meshes.surfaces.atlas import Wrap
from datasets3d.meshes.surfaces.pictures import PARTLY, is_partly_seen, opened, texels

WRAPS: Final[dict[int, Wrap]] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
GLOSSY: Final = "KHR_materials_pbrSpecularGlossiness"
TRANSPARENT: Final = "transparency is ignored"
MODES: Final = ("OPAQUE", "MASK", "BLEND")


@dataclass(frozen=True, eq=False)
class Look:
    """What a material says of color.

    Args:
        factor: Linear, shape (3,), in [0, 1].
        image: sRGB texture times the factor, or None.
        image_key: Equal for equal images.
        wrap: How the image goes on.
        coordinates: Which TEXCOORD it takes.
        transform: Of the coordinates, homogeneous, shape (3, 3), v downwards.
        blends: Whether colors of vertices may be transparent too.
        invisible: Whether nothing of it is seen.
    """

    factor: NDArray[np.float64]
    image: NDArray[np.uint8] | None = None
    image_key: str = ""
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    coordinates: int = 0
    transform: NDArray[np.float64] | None = None
    blends: bool = False
    invisible: bool = False


class Materials:
    """The materials of a document, each prepared once.

    Args:
        document: Where they stand.
        notes: Receives what is not shown.
    """

    def __init__(self, document: Document, notes: list[str]) -> None:
        self._document, self._notes = document, notes
        self._known: dict[int, Look] = {}

    def look(self, number: int) -> Look:
        """The look of a material.

        Raises:
            ValueError: It is not one, or its picture is damaged or in KTX2 alone.
        """
        if number not in self._known:
            self._known[number] = self._look(self._document.entry("materials", number))
        return self._known[number]

    def _look(self, material: Json) -> Look:
        base = material.get("pbrMetallicRoughness", {})
        names = ("baseColorFactor", "baseColorTexture")
        if GLOSSY in material.get("extensions", {}):
            base, names = material["extensions"][GLOSSY], ("diffuseFactor", "diffuseTexture")
        color = np.array(base.get(names[0], (1.0, 1.0, 1.0, 1.0)), np.float64)
        if color.shape != (4,) or not np.isfinite(color).all():
            raise ValueError(f"a {names[0]} that is not four numbers")
        factor = np.clip(color[:3], 0.0, 1.0)
        if any(np.array(material.get("emissiveFactor", (0.0,))) > 0.0):
            self._note("emitted light is ignored")
        place = base.get(names[1])
        picture = None if place is None else self._picture(place["index"])
        blends = material.get("alphaMode", "OPAQUE") != "OPAQUE"
        cutoff = self._cutoff(material, float(color[3]), None if picture is None else picture[0])
        if cutoff is not None and cutoff > 255.0:
            return Look(factor, invisible=True)
        if place is None or picture is None:
            return Look(factor, blends=blends)
        image, key = texels(picture[0], factor, cutoff=cutoff)
        transform = place.get("extensions", {}).get("KHR_texture_transform", {})
        return Look(
            factor, image, key, picture[1],
            coordinates=transform.get("texCoord", place.get("texCoord", 0)),
            transform=_matrix(transform) if transform else None, blends=blends,
        )  # fmt: skip

    def _cutoff(self, material: Json, opacity: float, picture: Image.Image | None) -> float | None:
        """The opacity of the picture, in [0, 255], from which on there is something; None for 0.

        With the mode MASK it is 255 alphaCutoff / opacity; with BLEND what is not seen at all is a
        hole, and what is seen partly is noted.
        """
        mode = material.get("alphaMode", "OPAQUE")
        if mode not in MODES:
            self._note(f"an alphaMode {mode!r}, which is not known: shown as opaque")
        if mode == "MASK":
            least = material.get("alphaCutoff", 0.5)
            if type(least) not in (int, float) or not np.isfinite(least):
                raise ValueError(f"an alphaCutoff {least!r} that is not a number")
            if least <= 0.0:
                return None
            return 255.0 * least / opacity if opacity > 0.0 else np.inf
        if mode != "BLEND":
            return None
        if opacity <= 0.0:
            return np.inf
        if opacity < 1.0 or (picture is not None and is_partly_seen(picture)):
            self._note(PARTLY)
        return 1.0

    def _picture(self, number: int) -> tuple[Image.Image, tuple[Wrap, Wrap]] | None:
        """A texture's picture and wrapping; None where its file is missing."""
        texture = self._document.entry("textures", number)
        extensions = texture.get("extensions", {})
        source = extensions.get("EXT_texture_webp", {}).get("source", texture.get("source"))
        if source is None:
            if "KHR_texture_basisu" in extensions:
                raise ValueError("a texture in KTX2 alone (KHR_texture_basisu), which is not read")
            self._note("a texture without a picture: the material's color is shown")
            return None
        entry = self._document.entry("images", source)
        try:
            data = (
                self._document.view(entry["bufferView"]) if "bufferView" in entry
                else self._document.resource(entry["uri"])
            )  # fmt: skip
        except OSError as error:
            why = OUTSIDE if isinstance(error, OutsideError) else "was not found"
            self._note(f"texture {entry['uri']!r} {why}: the material's color is shown")
            return None
        sampler = texture.get("sampler")
        entry = {} if sampler is None else self._document.entry("samplers", sampler)
        wrap = WRAPS[entry.get("wrapS", 10497)], WRAPS[entry.get("wrapT", 10497)]
        return opened(data), wrap

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _matrix(transform: Json) -> NDArray[np.float64]:
    """KHR_texture_transform: u ↦ offset + R(rotation) (scale u), v downwards."""
    angle = float(transform.get("rotation", 0.0))
    cosine, sine = np.cos(angle), np.sin(angle)
    scale: Any = np.array(transform.get("scale", (1.0, 1.0)), np.float64)
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[cosine, sine], [-sine, cosine]]) * scale
    matrix[:2, 2] = transform.get("offset", (0.0, 0.0))
    return matrix
