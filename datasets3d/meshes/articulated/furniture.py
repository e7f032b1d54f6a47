"""Designs of things with lids, doors and drawers.

Front is +x, left is +y, up is +z; everything is drawn closed, which is the state of rest. Numbers
in the first argument of a solid choose its color.
"""

from __future__ import annotations

import math
from itertools import pairwise

from datasets3d.meshes.articulated.parts_assembly import PartsAssembly

Y, Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
X = (1.0, 0.0, 0.0)
THICK = 0.05


def drawer(a: PartsAssembly) -> None:
    """A chest of three drawers of different heights, one foot missing on the right."""
    deep, wide = a.draw(0.6, 0.9), a.draw(0.7, 1.1)
    heights = [a.draw(0.18, 0.3) for _ in range(3)]
    tall = sum(heights) + 4 * THICK
    a.base("carcass")
    for side in (-1.0, 1.0):
        a.box(0, (0.0, side * (wide + THICK) / 2, tall / 2), (deep, THICK, tall))
    a.box(0, (0.0, 0.0, THICK / 2), (deep, wide, THICK))
    a.box(1, (0.0, 0.0, tall - THICK / 2), (deep * 1.1, wide * 1.12, THICK))
    a.box(0, (-deep / 2 + THICK / 2, 0.0, tall / 2), (THICK, wide, tall - 2 * THICK))
    a.box(1, (deep / 3, wide / 2, -0.06), (0.1, 0.1, 0.12))
    a.box(1, (-deep / 3, 0.0, -0.06), (0.1, wide, 0.12))
    knob, floor = a.draw(0.15, 0.35) * wide, THICK
    for k, height in enumerate(heights):
        a.slide(f"drawer {k + 1}", on="carcass", axis=X, high=a.draw(0.6, 0.85) * deep)
        inner, middle = deep - 2 * THICK, floor + height / 2
        a.box(2 + k, (deep / 2 - THICK / 2, 0.0, middle), (THICK, 0.96 * wide, 0.94 * height))
        a.box(5, (0.0, 0.0, floor + 0.1 * height), (inner, 0.9 * wide, 0.03))
        for side in (-1.0, 1.0):
            a.box(5, (0.0, side * 0.45 * wide, middle - 0.1 * height), (inner, 0.03, 0.65 * height))
        a.box(5, (-inner / 2 + 0.02, 0.0, middle - 0.1 * height), (0.03, 0.87 * wide, 0.6 * height))
        a.rod(6, (deep / 2, knob, middle), (deep / 2 + 0.08, knob, middle), radius=0.035)
        floor += height + THICK


def door(a: PartsAssembly) -> None:
    """A frame beside a piece of wall, a leaf with two panels, a handle on the leaf."""
    wide, tall = a.draw(0.6, 0.8), a.draw(1.3, 1.6)
    post, wall = a.draw(0.07, 0.1), a.draw(0.25, 0.5)
    a.base("frame")
    for side in (-1.0, 1.0):
        a.box(0, (0.0, side * (wide + post) / 2, tall / 2), (0.14, post, tall))
    a.box(0, (0.0, 0.0, tall + post / 2), (0.14, wide + 2 * post, post))
    a.box(1, (0.0, wide / 2 + post + wall / 2, tall / 2), (0.1, wall, tall + post))
    a.box(1, (0.1, 0.0, -0.03), (0.5, wide + 2 * post, 0.06))
    hinge = (0.05, wide / 2, 0.0)
    a.hinge("leaf", on="frame", point=hinge, axis=(0.0, 0.0, 1.0), high=a.draw(1.4, 2.2))
    a.box(2, (0.03, 0.0, 0.5 * tall), (0.05, 0.97 * wide, 0.97 * tall))
    panel = a.draw(0.3, 0.45) * tall
    a.box(3, (0.06, 0.0, 0.05 * tall + panel / 2), (0.03, 0.7 * wide, panel))
    a.box(3, (0.06, 0.0, 0.8 * tall), (0.03, 0.7 * wide, 0.22 * tall))
    height, reach = 0.52 * tall + 0.05, a.draw(0.16, 0.24)
    grip = -0.4 * wide
    a.hinge("handle", on="leaf", point=(0.0, grip, height), axis=X, low=-0.2, high=a.draw(0.7, 1.0))
    a.rod(4, (-0.08, grip, height), (0.16, grip, height), radius=0.03)
    a.box(5, (0.15, grip + reach / 2, height), (0.04, reach, 0.05), taper=(0.8, 0.9))


def laptop(a: PartsAssembly) -> None:
    """A base with keys and a pad, a lid with a screen and a camera off its middle."""
    deep, wide, thin = a.draw(0.65, 0.8), a.draw(0.9, 1.15), a.draw(0.05, 0.08)
    a.base("base")
    a.box(0, (0.0, 0.0, 0.0), (deep, wide, thin))
    rows = 4
    for row in range(rows):
        x = -0.35 * deep + 0.13 * deep * row
        a.box(1, (x, 0.02 * row, thin / 2 + 0.01), (0.1 * deep, 0.85 * wide - 0.05 * row, 0.025))
    a.box(2, (0.32 * deep, 0.08 * wide, thin / 2 + 0.005), (0.2 * deep, 0.3 * wide, 0.02))
    top = thin / 2 + 0.045
    back = (-deep / 2, 0.0, top)
    a.hinge("lid", on="base", point=back, axis=(0.0, -1.0, 0.0), high=a.draw(2.0, 2.6))
    a.box(3, (0.0, 0.0, top), (deep, wide, 0.04))
    a.box(4, (0.02, 0.0, top - 0.021), (0.8 * deep, 0.9 * wide, 0.012))
    a.ball(5, (0.44 * deep, 0.12 * wide, top - 0.02), (0.04, 0.05, 0.03))
    a.rod(6, (-deep / 2, -0.3 * wide, top), (-deep / 2, 0.4 * wide, top), radius=0.025)


def chest(a: PartsAssembly) -> None:
    """A box with a round lid, a clasp on the lid, a tray that lifts out."""
    deep, wide, tall = a.draw(0.5, 0.7), a.draw(0.8, 1.1), a.draw(0.4, 0.6)
    a.base("box")
    a.box(0, (0.0, 0.0, THICK / 2), (deep, wide, THICK))
    for side in (-1.0, 1.0):
        a.box(0, (side * (deep - THICK) / 2, 0.0, tall / 2), (THICK, wide, tall))
        a.box(1, (0.0, side * (wide - THICK) / 2, tall / 2), (deep - 2 * THICK, THICK, tall))
    a.rod(2, (0.0, wide / 2, 0.7 * tall), (0.0, wide / 2 + 0.12, 0.7 * tall), radius=0.05)
    edge = (-deep / 2, 0.0, tall)
    a.hinge("lid", on="box", point=edge, axis=(0.0, -1.0, 0.0), high=a.draw(1.3, 2.0))
    a.box(3, (0.0, 0.0, tall + 0.04), (deep, wide, 0.08))
    a.box(4, (0.0, 0.0, tall + 0.13), (0.8 * deep, wide, 0.12), taper=(0.5, 0.95))
    front = (deep / 2 + 0.02, 0.1 * wide, tall + 0.06)
    a.hinge("clasp", on="lid", point=front, axis=(0.0, -1.0, 0.0), low=-0.1, high=a.draw(1.0, 1.8))
    a.box(5, (deep / 2 + 0.03, 0.1 * wide, tall - 0.04), (0.04, 0.12, 0.2), taper=(1.0, 1.4))
    a.slide("tray", on="box", axis=Z, high=a.draw(0.4, 0.7))
    lift, inner = 0.45 * tall, (deep - 3 * THICK, wide - 3 * THICK)
    a.box(6, (0.0, 0.0, lift), (*inner, 0.04))
    a.box(6, (0.0, 0.12 * wide, lift + 0.1), (inner[0], 0.04, 0.16))
    a.box(6, (0.0, -0.3 * wide, lift + 0.06), (inner[0], 0.04, 0.08))


def scissors(a: PartsAssembly) -> None:
    """Two blades that cross at a pin, a large and a small ring to hold them."""
    blade, handle = a.draw(0.7, 0.95), a.draw(0.5, 0.65)
    broad, half = a.draw(0.09, 0.13), a.draw(0.08, 0.14)
    for k, (name, side) in enumerate((("first half", 1.0), ("second half", -1.0))):
        height = -0.026 + 0.052 * k
        if k == 0:
            a.base(name)
        else:
            a.hinge(name, on="first half", point=(0.0, 0.0, 0.0), axis=Z, low=-0.1,
                    high=a.draw(0.9, 1.3))  # fmt: skip
        lean = side * half
        a.box(2 * k, (blade / 2, side * 0.25 * broad, height), (blade, broad, 0.05),
              taper=(0.9, 0.9), turn=(0.0, 0.0, 0.12 * side))  # fmt: skip
        # blades cross at the pin, so each handle lies on the other side
        a.rod(2 * k + 1, (0.02, 0.0, height), (-0.5 * handle, -lean - side * 0.02, height),
              radius=0.026)  # fmt: skip
        radius = a.draw(0.12, 0.15) if k == 0 else a.draw(0.18, 0.22)
        center = (-0.5 * handle - 0.9 * radius, -lean - side * 0.75 * radius)
        _ring(a, 2 * k + 1, center, radius, height)
    a.rod(6, (0.0, 0.0, -0.08), (0.0, 0.0, 0.09), radius=0.035)


def _ring(
    a: PartsAssembly, color: int, center: tuple[float, float], radius: float, height: float
) -> None:
    """A ring of eight rods, slightly oval."""
    corners = [
        (center[0] + 1.25 * radius * math.cos(t), center[1] + radius * math.sin(t), height)
        for t in (k * math.pi / 4 for k in range(9))
    ]
    for start, end in pairwise(corners):
        a.rod(color, start, end, radius=0.026)
