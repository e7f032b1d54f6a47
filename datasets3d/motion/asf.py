"""Skeletons in the Acclaim format (ASF): bones, their channels, and how they hang together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from datasets3d.motion.euler_angles import turn
from datasets3d.motion.numbered_lines import NumberedLines
from datasets3d.motion.skeleton import Skeleton
from equivariant.errors import ConventionError

INCH_M = 0.0254
_KNOWN = ("version", "name", "units", "documentation", "root", "bonedata", "hierarchy", "skin")
_CHANNELS = ("tx", "ty", "tz", "rx", "ry", "rz")


@dataclass(frozen=True, eq=False)
class AcclaimSkeleton:
    """A skeleton and what a file of its motion needs beside it.

    Attributes:
        skeleton: The bones, metres.
        degrees: Whether angles are in degrees, where the file of motion does not say.
        metres_per_unit: Metres of one unit of the two files.
        root_position_m: Where the root stands when its channels are zero, metres, shape (3,).
    """

    skeleton: Skeleton
    degrees: bool
    metres_per_unit: float
    root_position_m: Tensor


@dataclass
class _Bone:
    name: str
    direction: tuple[float, ...] = (0.0, 0.0, 0.0)
    length: float = 0.0
    axis: tuple[float, ...] = (0.0, 0.0, 0.0)
    order: str = "xyz"
    channels: tuple[str, ...] = ()
    given: set[str] = field(default_factory=set)


@dataclass
class _Contents:
    length_unit: float = 1.0
    degrees: bool = True
    root: _Bone = field(default_factory=lambda: _Bone("root"))
    position: tuple[float, ...] = (0.0, 0.0, 0.0)
    bones: dict[str, _Bone] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)


def read_skeleton(path: str | Path, *, unit_m: float = INCH_M) -> AcclaimSkeleton:
    """Read a skeleton of the Acclaim format.

    Lengths of the file are in ``unit_m`` divided by the number after ``length`` among its units:
    CMU's files have 0.45 there and mean inches, so metres = value · 0.0254 / 0.45.

    Args:
        path: The .asf file.
        unit_m: Metres of what the files count after that division; inches without it.

    Returns:
        The skeleton, bones in the order of their hierarchy from the root outwards.

    Raises:
        DataFormatError: The file is missing, cut off or malformed; the message has the line and
            what was expected there.
        ConventionError: ``unit_m`` is not positive.

    Source: Acclaim's formats as described by J. Lander, Working with Motion Capture File Formats
        (1998); CMU Graphics Lab Motion Capture Database.
    """
    if not 0.0 < unit_m < math.inf:
        raise ConventionError(
            expected="a positive number of metres", got=str(unit_m), argument="unit_m",
            advice="Inches are 0.0254 m.",
        )  # fmt: skip
    lines, found = NumberedLines(path), _Contents()
    seen = _read_sections(lines, found)
    for name in ("root", "bonedata", "hierarchy"):
        if name not in seen:
            lines.next(f"the section :{name}")
    order = _outwards(lines, found)
    bones = [found.root, *(found.bones[name] for name in order[1:])]
    metres = unit_m / found.length_unit
    offsets = torch.tensor(
        [[x * b.length for x in b.direction] for b in bones], dtype=torch.float64
    )
    axes = [
        turn(torch.tensor(b.axis, dtype=torch.float64), b.order, degrees=found.degrees)
        for b in bones
    ]
    skeleton = Skeleton(
        names=tuple(order),
        parents=tuple(order.index(found.parents[n]) if n != "root" else -1 for n in order),
        offsets_m=offsets * metres,
        axes=torch.stack(axes),
        channels=tuple(b.channels for b in bones),
        rotation_orders=tuple(b.order for b in bones),
    )
    root = torch.tensor(found.position, dtype=torch.float64) * metres
    return AcclaimSkeleton(skeleton, found.degrees, metres, root)


def _read_sections(lines: NumberedLines, found: _Contents) -> set[str]:
    seen: set[str] = set()
    while lines.peek() is not None:
        words = lines.next("a section")
        name = words[0][1:].lower()
        if words[0][0] != ":" or name not in _KNOWN:
            lines.refuse(f"a section, one of :{', :'.join(_KNOWN)}", repr(words[0][:40]))
        if name in seen:
            lines.refuse("every section once", f"a second :{name}")
        seen.add(name)
        if name == "units":
            _read_units(lines, found)
        elif name == "root":
            _read_root(lines, found)
        elif name == "bonedata":
            _read_bones(lines, found)
        elif name == "hierarchy":
            _read_hierarchy(lines, found)
        else:
            _pass_over(lines)
    return seen


def _within(lines: NumberedLines) -> bool:
    words = lines.peek()
    return words is not None and not words[0].startswith(":")


def _pass_over(lines: NumberedLines) -> None:
    while _within(lines):
        lines.next("text")


def _read_units(lines: NumberedLines, found: _Contents) -> None:
    while _within(lines):
        name, *words = lines.next("a unit")
        if name == "length":
            (found.length_unit,) = lines.floats(words, 1, "the unit of length")
            if found.length_unit <= 0.0:
                lines.refuse("a positive unit of length", words[0])
        elif name == "angle":
            if words not in (["deg"], ["rad"]):
                lines.refuse("angle deg or angle rad", f"angle {' '.join(words)[:40]}")
            found.degrees = words == ["deg"]


def _read_root(lines: NumberedLines, found: _Contents) -> None:
    root = found.root
    while _within(lines):
        name, *words = lines.next("a property of the root")
        if name == "order":
            root.channels = _channels(lines, words, _CHANNELS)
        elif name == "axis":
            root.order = _order(lines, words)
        elif name == "position":
            found.position = tuple(lines.floats(words, 3, "the position of the root"))
        elif name == "orientation":
            root.axis = tuple(lines.floats(words, 3, "the orientation of the root"))
        else:
            lines.refuse("order, axis, position or orientation", repr(name[:40]))


def _read_bones(lines: NumberedLines, found: _Contents) -> None:
    while _within(lines):
        if lines.next("begin") != ["begin"]:
            lines.refuse("begin, of a bone", "another line")
        bone = _read_bone(lines)
        if bone.name in found.bones or bone.name == "root":
            lines.refuse("bones of different names", f"{bone.name!r} a second time")
        found.bones[bone.name] = bone


def _read_bone(lines: NumberedLines) -> _Bone:
    bone = _Bone("")
    while True:
        name, *words = lines.next("a property of a bone, or end")
        if name == "end":
            break
        if name in bone.given:
            lines.refuse("every property of a bone once", f"a second {name}")
        bone.given.add(name)
        if name == "name":
            if len(words) != 1:
                lines.refuse("one word, the name of the bone", repr(" ".join(words)[:40]))
            bone.name = words[0]
        elif name == "direction":
            bone.direction = tuple(lines.floats(words, 3, "the direction of a bone"))
            if abs(math.hypot(*bone.direction) - 1.0) > 1e-3:
                lines.refuse("a direction of length 1", f"length {math.hypot(*bone.direction):.4g}")
        elif name == "length":
            (bone.length,) = lines.floats(words, 1, "the length of a bone")
            if bone.length < 0.0:
                lines.refuse("a length of at least 0", words[0])
        elif name == "axis":
            bone.axis = tuple(lines.floats(words[:3], 3, "the axis of a bone"))
            bone.order = _order(lines, words[3:])
        elif name == "dof":
            bone.channels = _channels(lines, words, _CHANNELS[3:])
        elif name == "limits":
            _pass_over_limits(lines)
        elif name not in ("id", "bodymass", "cofmass"):
            lines.refuse("a property of a bone, or end", repr(name[:40]))
    lacking = {"name", "direction", "length", "axis"} - bone.given
    if lacking:
        lines.refuse(f"the bone's {', '.join(sorted(lacking))} before its end", "end")
    return bone


def _pass_over_limits(lines: NumberedLines) -> None:
    """The other lines of limits, which begin with a bracket."""
    while (words := lines.peek()) is not None and words[0].startswith("("):
        lines.next("limits")


def _read_hierarchy(lines: NumberedLines, found: _Contents) -> None:
    if lines.next("begin") != ["begin"]:
        lines.refuse("begin, of the hierarchy", "another line")
    while (words := lines.next("a line of the hierarchy, or end")) != ["end"]:
        for name in words:
            if name != "root" and name not in found.bones:
                lines.refuse("names of bones", repr(name[:40]), "Define the bone in :bonedata.")
        for child in words[1:]:
            if child in found.parents or child == "root":
                lines.refuse("one parent for every bone but the root", f"another for {child!r}")
            found.parents[child] = words[0]


def _outwards(lines: NumberedLines, found: _Contents) -> list[str]:
    """Names from the root outwards, children of one bone in the order of the file."""
    children: dict[str, list[str]] = {}
    for child, parent in found.parents.items():
        children.setdefault(parent, []).append(child)
    order, waiting = [], ["root"]
    while waiting:
        name = waiting.pop()
        order.append(name)
        waiting.extend(reversed(children.get(name, [])))
    lost = sorted(set(found.bones) - set(order))
    if lost:
        lines.refuse("a hierarchy that reaches every bone", f"none for {', '.join(lost)[:80]}")
    return order


def _channels(lines: NumberedLines, words: list[str], allowed: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(word.lower() for word in words)
    if len(set(names)) != len(names) or not set(names) <= set(allowed):
        lines.refuse(f"different channels among {' '.join(allowed)}", repr(" ".join(words)[:40]))
    return names


def _order(lines: NumberedLines, words: list[str]) -> str:
    order = "".join(words).lower()
    if sorted(order) != ["x", "y", "z"]:
        lines.refuse("an order of rotations such as XYZ", repr(" ".join(words)[:40]))
    return order
