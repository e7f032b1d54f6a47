"""Sixteen kinds of objects, each put together so that no rotation but the identity keeps it.

Front is +x, left is +y, up is +z. Numbers in the first argument of a part choose its color; each
design uses its own few of the eight colors of a palette that knows nothing of the design.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from datasets3d.meshes.solids import Assembly

UP = math.pi / 2


def airplane(a: Assembly) -> None:
    """A fuselage, swept wings of unequal length, tail, and one engine under the left wing."""
    length, height = a.draw(0.9, 1.2), a.draw(0.24, 0.32)
    left, right, sweep = a.draw(0.75, 0.95), a.draw(0.4, 0.55), a.draw(0.1, 0.5)
    a.ball(0, (0.0, 0.0, 0.0), (2 * length, 0.3, height))
    a.box(1, (-0.1, left / 2, 0.02), (0.4, left, 0.08), turn=(0.0, 0.0, sweep))
    a.box(1, (-0.1, -right / 2, 0.02), (0.4, right, 0.08), turn=(0.0, 0.0, -sweep))
    fin = a.draw(0.45, 0.7)
    a.box(2, (-0.8 * length, 0.0, fin / 2), (0.4, 0.08, fin), taper=(0.6, 0.8), shift=-0.3)
    a.box(3, (-0.85 * length, -0.18, 0.08), (0.28, 0.5, 0.06))
    engine = a.draw(0.1, 0.15)
    a.rod(4, (-0.2, 0.5 * left, -0.14), (0.3, 0.5 * left, -0.14), radius=engine)
    a.ball(5, (0.45 * length, 0.0, 0.12), (0.4, 0.2, 0.2))


def axe(a: Assembly) -> None:
    """A haft, a broad blade to the front, a bent pick to the back, a guard to the left."""
    haft, blade, lift = a.draw(1.3, 1.7), a.draw(0.5, 0.7), a.draw(0.45, 0.6)
    thick, lean = a.draw(0.06, 0.09), a.draw(0.1, 0.3)
    a.rod(0, (-lean, 0.0, -haft / 2), (lean, 0.0, haft / 2), radius=thick)
    a.box(
        1,
        (0.15 + blade / 2, 0.0, lift),
        (a.draw(0.4, 0.55), 0.2, blade),
        taper=(1.8, 0.15),
        turn=(0.0, UP, 0.0),
    )
    point = (-a.draw(0.45, 0.65), 0.15, lift - a.draw(0.1, 0.3))
    a.rod(2, (0.1, 0.0, lift), point, radius=0.13, end_radius=0.02)
    a.box(3, (0.0, a.draw(0.25, 0.35), -0.1), (0.16, 0.6, 0.3), taper=(1.0, 0.6))
    a.ball(4, (-lean, 0.0, -haft / 2), (0.35, 0.25, 0.3))
    a.rod(5, (-lean, 0.0, -0.5 * haft), (a.draw(0.3, 0.45), -0.25, -0.6 * haft), radius=0.06)


def cactus(a: Assembly) -> None:
    """A trunk in a box, a high arm to the front, a low one to the left, a flower on one side."""
    height, thick = a.draw(1.2, 1.5), a.draw(0.14, 0.19)
    a.box(0, (0.1, 0.0, 0.2), (a.draw(0.8, 1.0), a.draw(0.5, 0.65), 0.4), taper=(1.2, 1.2))
    a.rod(1, (0.0, 0.0, 0.3), (0.0, 0.0, height), radius=thick)
    a.ball(1, (0.0, 0.0, height), (2 * thick, 2 * thick, 2 * thick))
    reach, high = a.draw(0.6, 0.8), a.draw(0.8, 0.95)
    a.rod(2, (0.0, 0.0, high), (reach, 0.0, high), radius=0.13)
    a.rod(2, (reach, 0.0, high - 0.1), (reach, 0.0, high + a.draw(0.4, 0.65)), radius=0.14)
    reach, low = a.draw(0.45, 0.65), a.draw(0.55, 0.7)
    a.rod(3, (0.0, 0.0, low), (0.0, reach, low), radius=0.11)
    a.rod(3, (0.0, reach, low - 0.1), (0.0, reach, low + 0.3), radius=0.12)
    a.ball(4, (0.0, -thick, height - a.draw(0.0, 0.2)), (0.3, 0.3, 0.25))


def cannon(a: Assembly) -> None:
    """A raised barrel on a carriage with a large left and a small right wheel, and a trail."""
    rise, length = a.draw(0.2, 0.5), a.draw(1.1, 1.4)
    tip = (length * math.cos(rise), 0.0, 0.35 + length * math.sin(rise))
    a.rod(0, (-0.3, 0.0, 0.2), tip, radius=a.draw(0.2, 0.26), end_radius=0.14)
    a.box(1, (-0.3, 0.0, 0.0), (a.draw(0.9, 1.1), 0.4, 0.25), taper=(0.8, 0.9))
    wheel = a.draw(0.42, 0.5)
    a.rod(2, (0.0, 0.24, 0.0), (0.0, 0.42, 0.0), radius=wheel)
    a.rod(3, (0.0, -0.24, -0.1), (0.0, -0.36, -0.1), radius=0.6 * wheel)
    a.box(4, (-a.draw(0.9, 1.1), -0.1, -0.2), (0.9, 0.16, 0.14), turn=(0.0, -0.3, 0.15))
    a.box(5, (0.25, 0.65, -0.25), (0.35, 0.3, a.draw(0.3, 0.45)))


def chair(a: Assembly) -> None:
    """Seat, back, four legs, one armrest with a writing board on the left."""
    width, depth, leg = a.draw(0.75, 0.95), a.draw(0.75, 0.95), a.draw(0.5, 0.7)
    back = a.draw(0.7, 1.0)
    a.box(0, (0.0, 0.0, 0.0), (depth, width, 0.14))
    lean = a.draw(0.0, 0.2)
    a.box(1, (-depth / 2 - 0.3 * lean, 0.0, back / 2), (0.12, width, back), turn=(0.0, -lean, 0.0))
    for x in (-0.42, 0.42):
        for y in (-0.42, 0.42):
            a.rod(2, (x * depth, y * width, 0.0), (x * depth, y * width, -leg), radius=0.06)
    arm = a.draw(0.28, 0.4)
    a.box(3, (0.25 * depth, width / 2, arm / 2), (0.1, 0.1, arm))
    a.box(4, (0.15, width / 2 + 0.05, arm), (a.draw(0.7, 0.95), a.draw(0.28, 0.4), 0.09))


def desk(a: Assembly) -> None:
    """A table with drawers on the right, a panel on the left, a screen and a lamp off center."""
    width, depth, height = a.draw(1.5, 1.9), a.draw(0.65, 0.85), a.draw(0.65, 0.8)
    a.box(0, (0.0, 0.0, height), (depth, width, 0.1))
    chest = a.draw(0.4, 0.55)
    a.box(1, (0.0, -width / 2 + chest / 2 + 0.04, height / 2), (0.9 * depth, chest, height))
    a.box(2, (0.0, width / 2 - 0.05, height / 2), (0.8 * depth, 0.08, height))
    screen, tall = a.draw(0.55, 0.75), a.draw(0.4, 0.55)
    a.box(3, (-0.1, -0.15, height + tall / 2 + 0.15), (0.08, screen, tall), turn=(0.0, 0.0, 0.2))
    a.rod(4, (-0.15, -0.15, height), (-0.15, -0.15, height + 0.3), radius=0.06)
    a.rod(5, (0.0, 0.38 * width, height), (0.0, 0.38 * width, height + 0.35), radius=0.05)
    a.rod(
        6,
        (0.0, 0.38 * width, height + 0.5),
        (0.1, 0.38 * width, height + 0.3),
        radius=0.06,
        end_radius=0.2,
    )


def dog(a: Assembly) -> None:
    """A body on four legs, the left forepaw raised, the head turned, the tail up."""
    length, height, leg = a.draw(1.0, 1.3), a.draw(0.35, 0.5), a.draw(0.4, 0.6)
    a.ball(0, (0.0, 0.0, 0.0), (length, 0.42, height))
    neck = (0.5 * length, 0.05, a.draw(0.3, 0.45))
    a.rod(1, (0.33 * length, 0.0, 0.05), neck, radius=0.15, end_radius=0.12)
    a.ball(2, neck, (0.42, 0.34, 0.34))
    a.box(
        3,
        (neck[0] + 0.24, 0.16, neck[2] - 0.04),
        (a.draw(0.25, 0.4), 0.18, 0.16),
        turn=(0.0, 0.0, 0.5),
    )
    a.box(4, (neck[0] - 0.06, 0.15, neck[2] + 0.2), (0.1, 0.12, 0.25))
    a.box(4, (neck[0] - 0.06, -0.1, neck[2] + 0.2), (0.1, 0.12, 0.25))
    for x, y in ((-0.35, 0.14), (-0.35, -0.14), (0.33, -0.14)):
        a.rod(5, (x * length, y, 0.0), (x * length, y, -leg), radius=0.09)
    a.rod(5, (0.3 * length, 0.14, -0.1), (0.3 * length + 0.35, 0.24, -0.28), radius=0.09)
    a.rod(
        6, (-0.45 * length, 0.0, 0.1), (-0.45 * length - 0.2, -0.2, a.draw(0.45, 0.65)), radius=0.07
    )


def drill(a: Assembly) -> None:
    """A motor, a bit, a grip with its battery, and a side handle on the left."""
    body, thick, bit = a.draw(0.7, 0.95), a.draw(0.18, 0.24), a.draw(0.5, 0.75)
    a.rod(0, (-body / 2, 0.0, 0.0), (body / 2, 0.0, 0.0), radius=thick)
    a.rod(1, (body / 2, 0.0, 0.0), (body / 2 + 0.18, 0.0, 0.0), radius=0.75 * thick, end_radius=0.1)
    a.rod(2, (body / 2 + 0.1, 0.0, 0.0), (body / 2 + bit, 0.0, 0.0), radius=0.07, end_radius=0.03)
    grip, tilt = a.draw(0.5, 0.65), a.draw(0.05, 0.3)
    a.box(
        3,
        (-0.25 * body - 0.5 * grip * tilt, 0.0, -0.1 - grip / 2),
        (0.26, 0.2, grip),
        turn=(0.0, tilt, 0.0),
    )
    a.box(4, (-0.2 * body - grip * tilt, 0.0, -0.2 - grip), (a.draw(0.45, 0.6), 0.34, 0.24))
    side = a.draw(0.45, 0.6)
    a.rod(5, (0.4 * body, 0.0, 0.0), (0.4 * body, side, 0.0), radius=0.08)
    a.ball(5, (0.4 * body, side, 0.0), (0.22, 0.16, 0.22))


def helicopter(a: Assembly) -> None:
    """A cabin, a boom, a two-bladed rotor at a slant, a tail rotor and one float."""
    cabin, boom = a.draw(0.85, 1.05), a.draw(0.8, 1.0)
    a.ball(0, (0.0, 0.0, 0.0), (cabin, 0.6, a.draw(0.55, 0.7)))
    a.rod(1, (-0.3, 0.0, 0.1), (-0.3 - boom, 0.0, 0.25), radius=0.13, end_radius=0.06)
    a.rod(2, (0.0, 0.0, 0.2), (0.0, 0.0, 0.5), radius=0.07)
    a.box(3, (0.1, 0.1, 0.5), (a.draw(1.3, 1.7), 0.16, 0.06), turn=(0.0, 0.0, a.draw(0.5, 0.9)))
    a.rod(4, (-0.3 - boom, 0.05, 0.3), (-0.3 - boom, 0.14, 0.3), radius=a.draw(0.22, 0.32))
    a.ball(5, (0.05, 0.35, -0.42), (a.draw(0.9, 1.2), 0.2, 0.2))
    a.box(6, (0.4 * cabin, -0.05, 0.08), (0.25, 0.35, 0.25))


def house(a: Assembly) -> None:
    """Walls, a gable roof, a chimney at one corner, a lower annex and a porch."""
    length, width, wall = a.draw(1.0, 1.3), a.draw(0.7, 0.9), a.draw(0.5, 0.7)
    roof = a.draw(0.35, 0.55)
    a.box(0, (0.0, 0.0, wall / 2), (length, width, wall))
    a.wedge(1, (0.0, 0.0, wall + roof / 2), (1.12 * length, 1.2 * width, roof))
    tall = a.draw(0.45, 0.65)
    a.box(2, (0.32 * length, 0.25 * width, wall + tall / 2 + 0.1), (0.18, 0.18, tall))
    annex = a.draw(0.45, 0.65)
    a.box(
        3, (-0.2 * length, width / 2 + annex / 2, 0.2), (0.5 * length, annex, 0.4), taper=(1.0, 0.8)
    )
    a.box(4, (length / 2 + 0.02, -0.15 * width, 0.2), (0.08, 0.22, 0.4))
    a.box(5, (length / 2 + 0.18, -0.15 * width, 0.42), (0.38, a.draw(0.35, 0.5), 0.07))


def lamp(a: Assembly) -> None:
    """A desk lamp: a foot, two arms that leave the plane, a shade and a switch box."""
    a.box(0, (0.1, 0.05, 0.0), (a.draw(0.6, 0.8), a.draw(0.4, 0.5), 0.12), taper=(0.9, 0.9))
    low = a.draw(0.7, 0.9)
    elbow = (-a.draw(0.3, 0.5), 0.0, low)
    a.rod(1, (0.0, 0.0, 0.0), elbow, radius=0.08)
    head = (a.draw(0.2, 0.4), a.draw(0.2, 0.4), low + a.draw(0.35, 0.5))
    a.ball(2, elbow, (0.26, 0.26, 0.26))
    a.rod(3, elbow, head, radius=0.07)
    down = (head[0] + 0.3, head[1] + 0.1, head[2] - a.draw(0.3, 0.4))
    a.rod(
        4, (head[0] - 0.05, head[1], head[2] + 0.05), down, radius=0.1, end_radius=a.draw(0.3, 0.4)
    )
    a.ball(5, down, (0.32, 0.32, 0.32))
    a.box(6, (0.2, -0.25, 0.12), (0.28, 0.3, a.draw(0.2, 0.35)))


def microscope(a: Assembly) -> None:
    """A foot, an arm bent over a stage, a slanted tube, and a large knob on the left."""
    a.box(0, (0.1, 0.0, 0.0), (a.draw(0.8, 1.0), a.draw(0.5, 0.65), 0.16), taper=(0.8, 0.9))
    post, lean = a.draw(0.85, 1.05), a.draw(0.2, 0.4)
    a.box(1, (-0.25, 0.0, post / 2), (0.22, 0.24, post))
    top = (0.15, 0.0, post - 0.1)
    eye = (top[0] - lean - 0.3, 0.0, post + a.draw(0.4, 0.55))
    a.rod(2, (0.3, 0.0, 0.45), top, radius=0.09, end_radius=0.15)
    a.rod(3, top, eye, radius=0.14, end_radius=0.11)
    a.box(4, (0.2, -0.06, a.draw(0.3, 0.4)), (0.65, 0.6, 0.08))
    a.rod(5, (-0.25, 0.1, 0.35), (-0.25, a.draw(0.35, 0.45), 0.35), radius=a.draw(0.17, 0.24))
    a.box(6, (0.3, -0.42, 0.15), (0.3, 0.3, 0.28))


def sailboat(a: Assembly) -> None:
    """A hull with its bow ahead, a mast, a sail swung to the left, a cabin and a rudder."""
    length, beam = a.draw(1.3, 1.7), a.draw(0.45, 0.6)
    a.box(0, (0.0, 0.0, 0.0), (length, beam, 0.3), taper=(1.25, 1.2), shift=0.12)
    mast = a.draw(1.2, 1.5)
    a.rod(1, (0.2, 0.0, 0.0), (0.2, 0.0, mast), radius=0.06)
    boom, swing = a.draw(0.7, 0.9), a.draw(0.4, 0.8)
    x, y = 0.2 - 0.5 * boom * math.cos(swing), 0.5 * boom * math.sin(swing)
    a.box(
        2,
        (x, y, 0.35 + 0.4 * mast),
        (boom, 0.07, 0.75 * mast),
        taper=(0.12, 1.0),
        shift=0.44,
        turn=(0.0, 0.0, -swing),
    )
    a.box(3, (-0.35 * length, -0.06, 0.26), (a.draw(0.3, 0.45), 0.6 * beam, 0.28))
    a.box(4, (-0.6 * length, 0.0, -0.15), (0.2, 0.08, 0.45))
    a.ball(5, (0.3 * length, -0.5 * beam, 0.1), (0.4, 0.22, 0.22))


def staircase(a: Assembly) -> None:
    """Four steps, a rail with posts on the left, a column at the top, a planter below."""
    width, tread, rise = a.draw(0.7, 0.95), a.draw(0.3, 0.4), a.draw(0.2, 0.28)
    for step in range(4):
        high = rise * (step + 1)
        a.box(step % 2, (-tread * step, 0.0, high / 2), (tread, width, high))
    side = width / 2 - 0.05
    rail = 4 * rise + a.draw(0.35, 0.5)
    a.rod(2, (0.0, side, rise), (0.0, side, rise + 0.45), radius=0.06)
    a.rod(3, (0.1, side, rise + 0.35), (-3 * tread, side, rail), radius=0.07)
    a.rod(4, (-3 * tread, side, 0.0), (-3 * tread, side, rail + 0.1), radius=0.11)
    a.box(5, (0.1, -width / 2 - 0.2, 0.2), (0.4, 0.4, a.draw(0.35, 0.5)), taper=(1.3, 1.3))


def teapot(a: Assembly) -> None:
    """A long body, a spout ahead, a handle on the left, a lid with its knob off center."""
    length, width, height = a.draw(1.0, 1.2), a.draw(0.6, 0.75), a.draw(0.6, 0.8)
    a.ball(0, (0.0, 0.0, 0.0), (length, width, height))
    reach = a.draw(0.35, 0.5)
    tip = (0.45 * length + reach, 0.0, a.draw(0.3, 0.45))
    a.rod(1, (0.35 * length, 0.0, -0.08), tip, radius=0.16, end_radius=0.07)
    grip = a.draw(0.5, 0.65)
    a.arc(
        2, (-0.1, 0.45 * width, 0.0), (grip, 0.4, 1.1 * grip), thickness=0.22, turn=(-UP, UP, 0.0)
    )
    a.rod(3, (-0.15, 0.0, 0.38 * height), (-0.15, 0.0, 0.6 * height), radius=a.draw(0.2, 0.27))
    a.ball(4, (-0.15, 0.0, 0.62 * height + 0.05), (0.2, 0.2, 0.22))
    a.box(5, (-0.05, 0.0, -0.5 * height), (0.6 * length, 0.7 * width, 0.14))


def truck(a: Assembly) -> None:
    """A cab ahead, a flat bed with a load at the back right, a crane leaning out to the left."""
    length, width, cab = a.draw(1.4, 1.8), a.draw(0.55, 0.7), a.draw(0.5, 0.7)
    a.box(0, (0.0, 0.0, 0.0), (length, width, 0.16))
    a.box(1, (length / 2 - 0.2, 0.0, cab / 2), (0.45, width, cab), taper=(0.75, 0.9), shift=-0.1)
    load = a.draw(0.25, 0.4)
    a.box(2, (-0.3 * length, -0.1 * width, load / 2 + 0.08), (0.5 * length, 0.7 * width, load))
    root, reach = (0.08, 0.25 * width, 0.0), a.draw(0.5, 0.7)
    a.rod(3, root, (0.08, 0.25 * width, 0.55), radius=0.09)
    a.rod(4, (0.08, 0.25 * width, 0.5), (-0.2, 0.25 * width + reach, 0.85), radius=0.07)
    wheel = a.draw(0.16, 0.22)
    for x in (-0.32, 0.34):
        for y in (-0.5, 0.5):
            a.rod(
                5,
                (x * length, y * width - 0.07, -0.1),
                (x * length, y * width + 0.07, -0.1),
                radius=wheel,
            )
    a.ball(6, (-0.2, 0.25 * width + reach, 0.8), (0.2, 0.2, 0.26))


DESIGNS: dict[str, Callable[[Assembly], None]] = {
    design.__name__: design
    for design in (
        airplane, axe, cactus, cannon, chair, desk, dog, drill, helicopter, house, lamp,
        microscope, sailboat, staircase, teapot, truck,
    )
}  # fmt: skip
