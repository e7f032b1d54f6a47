"""The passes that a build can write beside its pictures: names, files, units."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from equivariant.errors import ConventionError

PassName = Literal[
    "depth", "normals", "mask", "shadow", "coordinates", "faces", "parts", "rgba", "instances",
    "silhouettes", "shadows",
]  # fmt: skip
PASS_NAMES: tuple[PassName, ...] = get_args(PassName)


@dataclass(frozen=True)
class PassKind:
    """One pass of a view, and the file that keeps it.

    Args:
        suffix: "npz", one array under the name of the pass, compressed; or "png".
        dtype: Of the array that readers return.
        channels: Numbers of each pixel.
        meaning: Content, unit, and what stands where there is nothing.
        needs: What a renderer must do beyond every renderer's duty; empty where nothing.
    """

    suffix: Literal["npz", "png"]
    dtype: str
    channels: int
    meaning: str
    needs: Literal["", "faces", "alpha"] = ""


KINDS: dict[PassName, PassKind] = {
    "depth": PassKind(
        "npz", "float32", 1,
        "distance along the viewing axis of what the pixel's center sees, floor included, in "
        "units of the scene; infinite where nothing is seen",
    ),
    "normals": PassKind(
        "npz", "float32", 3,
        "unit normal in world coordinates on the side that the camera sees, floor included; zero "
        "where nothing is seen",
    ),
    "mask": PassKind("png", "bool", 1, "255 where the pixel's center sees the object, else 0"),
    "shadow": PassKind(
        "png", "bool", 1,
        "255 where floor or object lies inside the spot's cone and is hidden from it, else 0",
    ),
    "coordinates": PassKind(
        "npz", "float32", 3,
        "the point of the surface that the pixel's center sees, in coordinates of the object, of "
        "articulated ones at rest; NaN where the object is not seen",
    ),
    "faces": PassKind(
        "npz", "int32", 1,
        "index of the face that the pixel's center sees; -1 where the object is not seen",
        needs="faces",
    ),
    "parts": PassKind(
        "png", "uint8", 1,
        "number of the part that the pixel's center sees plus 1; 0 where the object is not seen",
        needs="faces",
    ),
    "rgba": PassKind(
        "png", "uint8", 4,
        "the object without floor: sRGB, and the share of the pixel that it covers as alpha, not "
        "multiplied",
        needs="alpha",
    ),
    "instances": PassKind(
        "png", "uint8", 1,
        "number of the object of a scene that the pixel's center sees, from 1; 0 where none is",
        needs="faces",
    ),
    "silhouettes": PassKind(
        "png", "uint8", 1,
        "what every object of a scene would cover without the others: bit k is object k + 1",
    ),
    "shadows": PassKind(
        "png", "uint8", 1,
        "bit k: floor or object lies inside the cone of light k + 1 and is hidden from it; the "
        "spot is light 1",
    ),
}  # fmt: skip

CAMERA_MEANING = (
    "camera_k.json: intrinsics for pixel centers at whole numbers, world_to_camera in OpenCV axes "
    "(x right, y down, z ahead), object_to_world; matrices act on columns"
)


def ordered_passes(names: Iterable[str]) -> tuple[PassName, ...]:
    """Some passes in one order, each once.

    Args:
        names: From ``PASS_NAMES``, in any order.

    Raises:
        ConventionError: A name is none of a pass.

    Example:
        >>> ordered_passes(["mask", "depth", "mask"])
        ('depth', 'mask')
    """
    wanted = set(names)
    unknown = sorted(wanted - set(PASS_NAMES))
    if unknown:
        raise ConventionError(
            expected=f"passes among {', '.join(PASS_NAMES)}", got=", ".join(map(repr, unknown)),
            argument="config.passes", advice="Leave them out for pictures alone.",
        )  # fmt: skip
    return tuple(name for name in PASS_NAMES if name in wanted)


def pass_file(name: PassName, view: int) -> str:
    """Name of the file of a pass.

    Example:
        >>> pass_file("depth", 3)
        'depth_3.npz'
    """
    return f"{name}_{view}.{KINDS[name].suffix}"


def camera_file(view: int) -> str:
    """Name of the file of a view's camera."""
    return f"camera_{view}.json"


def files_of_passes(names: Iterable[PassName], views: int) -> set[str]:
    """Names of all files that passes add to an object; none where there are no passes.

    Args:
        names: The passes.
        views: Views of every object.
    """
    found = {pass_file(name, view) for name in names for view in range(views)}
    return found | {camera_file(view) for view in range(views)} if found else set()


def is_of_passes(name: str) -> bool:
    """Whether a file has a name that some pass, or its camera, has in some view.

    Example:
        >>> is_of_passes("depth_12.npz"), is_of_passes("camera_0.json"), is_of_passes("depth.npz")
        (True, True, False)
    """
    kind, _, rest = name.partition("_")
    number, _, suffix = rest.partition(".")
    suffixes: dict[str, str] = {"camera": "json"}
    suffixes |= {pass_: what.suffix for pass_, what in KINDS.items()}
    return number.isdecimal() and suffixes.get(kind) == suffix


def conventions_of_passes(names: Sequence[PassName]) -> dict[str, str]:
    """What a manifest says of the passes; empty where there are none."""
    if not names:
        return {}
    said = {f"pass {name}": f"{pass_file(name, 0).replace('0', 'k')}: {KINDS[name].meaning}"
            for name in names}  # fmt: skip
    return said | {"cameras": CAMERA_MEANING}


def versions_of_passes(names: Sequence[PassName]) -> dict[str, str]:
    """Versions of what compresses the arrays of passes; empty where there are none."""
    arrays = any(KINDS[name].suffix == "npz" for name in names)
    return {"zlib": zlib.ZLIB_RUNTIME_VERSION} if arrays else {}


def recorded_passes(config: Mapping[str, Any]) -> tuple[PassName, ...]:
    """The passes of a set, from what its plan or manifest calls ``config``."""
    return ordered_passes(config.get("passes", ()))


def check_passes(
    names: Sequence[PassName],
    renderer: str,
    *,
    faces: bool,
    alpha: bool,
    parts: bool,
    scenes: bool = False,
) -> None:
    """Refuse passes that a renderer or a source cannot give.

    Args:
        names: The passes wanted.
        renderer: Name of the renderer, for the message.
        faces: Whether it names the faces that pixels see.
        alpha: Whether it renders the object alone with its coverage.
        parts: Whether the source's objects have parts.
        scenes: Whether its objects are scenes of several.

    Raises:
        ConventionError: Names the passes, and the renderer.

    Example:
        >>> check_passes(["depth", "faces"], "pyrender", faces=False, alpha=False, parts=False)
        Traceback (most recent call last):
        ...
        equivariant.errors.ConventionError: config.passes: expected passes that the renderer \
'pyrender' gives, got faces. Use "embree", or leave them out.
    """
    given = {"": True, "faces": faces, "alpha": alpha}
    lacking = [name for name in names if not given[KINDS[name].needs]]
    if lacking:
        raise ConventionError(
            expected=f"passes that the renderer {renderer!r} gives", got=", ".join(lacking),
            argument="config.passes", advice='Use "embree", or leave them out.',
        )  # fmt: skip
    if "parts" in names and not parts:
        raise ConventionError(
            expected="objects with parts, for the pass parts", got="rigid objects",
            argument="config.passes",
            advice="Build articulated objects (--articulated), or leave parts out.",
        )  # fmt: skip
    of_scenes = [name for name in names if name in ("instances", "silhouettes")]
    if of_scenes and not scenes:
        raise ConventionError(
            expected=f"scenes of several objects, for {', '.join(of_scenes)}", got="single objects",
            argument="config.passes",
            advice="Build scenes (--objects-per-scene), or leave them out: mask is that of one.",
        )  # fmt: skip
