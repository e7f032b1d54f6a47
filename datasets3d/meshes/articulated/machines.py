"""Designs of things with arms, wheels and fingers.

Front is +x, left is +y, up is +z. Numbers in the first argument of a solid choose its color.
"""

from __future__ import annotations

import math

from datasets3d.meshes.articulated.parts_assembly import PartsAssembly

Y, Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
X = (1.0, 0.0, 0.0)


def lamp_arm(a: PartsAssembly) -> None:
    """A lamp on a weighted foot: a swivel, a lower and an upper arm, a shade with a switch."""
    foot, low, high = a.draw(0.22, 0.3), a.draw(0.5, 0.75), a.draw(0.45, 0.7)
    a.base("foot")
    a.rod(0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.08), radius=foot)
    a.box(1, (0.6 * foot, 0.3 * foot, 0.1), (0.1, 0.16, 0.06))
    a.hinge("swivel", on="foot", point=(0.0, 0.0, 0.0), axis=Z, low=-1.5, high=1.5)
    a.rod(2, (0.0, 0.0, 0.08), (0.0, 0.0, 0.2), radius=0.06)
    a.box(2, (-0.02, 0.07, 0.2), (0.12, 0.04, 0.14))
    elbow = (0.15, 0.0, 0.22 + low)
    a.hinge("lower arm", on="swivel", point=(0.0, 0.0, 0.22), axis=Y, low=-0.7, high=0.7)
    a.rod(3, (0.0, 0.0, 0.22), elbow, radius=0.035)
    a.rod(4, (-0.08, -0.04, 0.3), (elbow[0] - 0.08, -0.04, elbow[2]), radius=0.015)
    a.hinge("upper arm", on="lower arm", point=elbow, axis=Y, low=-0.6, high=a.draw(0.8, 1.2))
    tip = (elbow[0] + high, 0.0, elbow[2] + 0.15)
    a.rod(5, elbow, tip, radius=0.032)
    a.ball(4, elbow, (0.11, 0.16, 0.11))
    a.hinge("shade", on="upper arm", point=tip, axis=Y, low=-0.9, high=0.9)
    wide = a.draw(0.14, 0.2)
    a.rod(6, tip, (tip[0] + 0.08, 0.0, tip[2] - 0.3), radius=0.07, end_radius=wide)
    a.ball(7, (tip[0] + 0.1, 0.0, tip[2] - 0.3), (1.2 * wide, 1.2 * wide, 0.12))
    a.box(1, (tip[0] - 0.02, 0.08, tip[2] - 0.02), (0.06, 0.06, 0.1))


def wheel(a: PartsAssembly) -> None:
    """A wheel of five spokes in a fork on a stand, with a crank and a pedal on it."""
    radius, width = a.draw(0.42, 0.55), a.draw(0.08, 0.12)
    hub = radius + a.draw(0.2, 0.3)
    fork = width / 2 + 0.12
    a.base("stand")
    a.box(0, (0.05, 0.0, -0.04), (a.draw(0.6, 0.8), 0.7, 0.08))
    for side in (-1.0, 1.0):
        a.box(1, (0.0, side * fork, hub / 2), (0.14, 0.05, hub), taper=(0.6, 1.0))
    a.box(1, (-0.25, -fork, 0.25), (0.5, 0.05, 0.06), turn=(0.0, -0.8, 0.0))
    a.hinge("wheel", on="stand", point=(0.0, 0.0, hub), axis=Y, low=-math.pi, high=math.pi)
    a.rod(2, (0.0, -fork - 0.06, hub), (0.0, fork + 0.14, hub), radius=0.04)
    spokes, sides = 5, 15
    for k in range(spokes):
        angle = 2 * math.pi * k / spokes
        rim = (0.97 * radius * math.cos(angle), 0.0, hub + 0.97 * radius * math.sin(angle))
        a.rod(3 if k else 6, (0.0, 0.0, hub), rim, radius=0.022 if k else 0.045)
    for k in range(sides):
        angle, size = 2 * math.pi * (k + 0.5) / sides, 2 * radius * math.tan(math.pi / sides)
        center = (radius * math.cos(angle), 0.0, hub + radius * math.sin(angle))
        a.box(4, center, (0.08, width, 1.1 * size), turn=(0.0, -angle, 0.0))
    crank, out = a.draw(0.16, 0.24), fork + 0.12
    a.box(5, (0.0, out, hub + crank / 2), (0.06, 0.04, crank + 0.06))
    pedal = (0.0, out, hub + crank)
    a.hinge("pedal", on="wheel", point=pedal, axis=Y, low=-math.pi, high=math.pi)
    a.rod(6, (0.0, out, hub + crank), (0.0, out + 0.24, hub + crank), radius=0.025)
    a.box(7, (0.02, out + 0.14, hub + crank), (0.18, 0.16, 0.05), taper=(0.7, 1.0))


def robot_arm(a: PartsAssembly) -> None:
    """A pedestal, a turning column, shoulder, elbow, a rolling wrist and a plate of two prongs."""
    upper, fore = a.draw(0.5, 0.7), a.draw(0.4, 0.55)
    a.base("pedestal")
    a.box(0, (0.0, 0.0, 0.05), (0.5, 0.44, 0.1))
    a.rod(1, (0.0, 0.0, 0.1), (0.0, 0.0, 0.22), radius=0.18, end_radius=0.15)
    a.box(1, (-0.26, 0.1, 0.14), (0.1, 0.14, 0.12))
    a.hinge("column", on="pedestal", point=(0.0, 0.0, 0.0), axis=Z, low=-2.0, high=2.0)
    a.rod(2, (0.0, 0.0, 0.22), (0.0, 0.0, 0.42), radius=0.13)
    shoulder = (0.06, 0.0, 0.48)
    a.rod(2, (0.06, -0.16, 0.48), (0.06, 0.2, 0.48), radius=0.1)
    a.hinge("upper arm", on="column", point=shoulder, axis=Y, low=-0.9, high=0.9)
    elbow = (0.16, 0.0, 0.48 + upper)
    a.box(3, (0.11, 0.02, 0.48 + upper / 2), (0.16, 0.14, upper), taper=(0.7, 0.8), shift=0.3)
    a.rod(4, (0.16, -0.12, elbow[2]), (0.16, 0.15, elbow[2]), radius=0.085)
    a.hinge("forearm", on="upper arm", point=elbow, axis=Y, low=-1.2, high=1.2)
    a.box(5, (0.16 + fore / 2, 0.0, elbow[2] + 0.02), (fore, 0.12, 0.14), taper=(0.95, 0.7))
    a.ball(5, (0.05, 0.0, elbow[2] + 0.06), (0.24, 0.18, 0.2))
    wrist = (0.16 + fore, 0.0, elbow[2] + 0.02)
    a.hinge("wrist", on="forearm", point=wrist, axis=X, low=-math.pi, high=math.pi)
    a.rod(6, wrist, (wrist[0] + 0.12, 0.0, wrist[2]), radius=0.06)
    a.box(6, (wrist[0] + 0.12, 0.0, wrist[2]), (0.04, 0.3, 0.1))
    a.hinge("hand", on="wrist", point=(wrist[0] + 0.15, 0.0, wrist[2]), axis=Y, low=-1.0, high=1.0)
    a.box(7, (wrist[0] + 0.25, 0.1, wrist[2]), (0.22, 0.04, 0.06))
    a.box(7, (wrist[0] + 0.21, -0.1, wrist[2]), (0.14, 0.05, 0.08))
    a.rod(4, (wrist[0] + 0.15, -0.14, wrist[2]), (wrist[0] + 0.15, 0.14, wrist[2]), radius=0.03)


def gripper(a: PartsAssembly) -> None:
    """A palm with two fingers that slide and a thumb that turns."""
    wide, long = a.draw(0.6, 0.8), a.draw(0.4, 0.6)
    a.base("palm")
    a.box(0, (0.0, 0.0, 0.0), (0.3, wide, 0.2))
    a.rod(1, (-0.4, 0.0, 0.0), (-0.15, 0.0, 0.0), radius=0.11, end_radius=0.14)
    a.box(2, (0.0, 0.25 * wide, 0.13), (0.2, 0.25, 0.06), taper=(0.7, 0.8))
    reach = a.draw(0.3, 0.38) * wide
    for name, side, color in (("left finger", 1.0, 3), ("right finger", -1.0, 4)):
        a.slide(name, on="palm", axis=(0.0, -side, 0.0), high=reach)
        y = side * 0.42 * wide
        a.box(color, (0.19, y, 0.0), (0.08, 0.14, 0.16))
        a.box(color, (0.23 + long / 2, y + side * 0.02, 0.0), (long, 0.08, 0.12), taper=(1.0, 0.8))
        a.box(5, (0.18 + long, y - side * 0.035, 0.0), (0.12, 0.05, 0.1 if side > 0 else 0.16))
    root = (0.12, 0.0, 0.14)
    a.hinge("thumb", on="palm", point=root, axis=Y, low=-0.8, high=a.draw(0.5, 0.9))
    a.rod(6, (0.12, -0.09, 0.14), (0.12, 0.07, 0.14), radius=0.05)
    a.box(7, (0.12 + 0.35 * long, -0.01, 0.22), (0.7 * long, 0.09, 0.07), turn=(0.0, -0.35, 0.0))


def excavator(a: PartsAssembly) -> None:
    """Tracks, a cab that turns with a counterweight, boom, stick and bucket."""
    track = a.draw(0.7, 0.9)
    a.base("tracks")
    for side in (-1.0, 1.0):
        a.box(0, (0.0, side * 0.28, 0.1), (track, 0.16, 0.2), taper=(0.85, 1.0))
    a.box(1, (0.0, 0.0, 0.14), (0.4, 0.42, 0.1))
    a.box(1, (track / 2, 0.0, 0.1), (0.05, 0.8, 0.16))
    a.hinge("cab", on="tracks", point=(0.0, 0.0, 0.0), axis=Z, low=-math.pi, high=math.pi)
    a.rod(2, (0.0, 0.0, 0.18), (0.0, 0.0, 0.26), radius=0.16)
    a.box(3, (-0.05, 0.0, 0.32), (0.65, 0.55, 0.14))
    a.box(4, (0.1, 0.16, 0.54), (0.28, 0.22, 0.32), taper=(0.8, 0.9))
    a.box(2, (-0.3, 0.0, 0.46), (0.18, 0.5, 0.18))
    foot, top = (0.24, -0.08, 0.38), (0.24 + a.draw(0.4, 0.55), -0.08, a.draw(0.8, 1.0))
    a.hinge("boom", on="cab", point=foot, axis=Y, low=-0.5, high=0.5)
    a.rod(5, foot, top, radius=0.06, end_radius=0.045)
    a.rod(6, (foot[0] + 0.1, 0.0, 0.42), ((foot[0] + top[0]) / 2 + 0.06, -0.02, 0.66), radius=0.02)
    a.hinge("stick", on="boom", point=top, axis=Y, low=-0.6, high=0.8)
    end = (top[0] + a.draw(0.3, 0.4), -0.08, top[2] - a.draw(0.25, 0.4))
    a.rod(7, (top[0] - 0.1, -0.08, top[2] + 0.06), end, radius=0.045, end_radius=0.035)
    a.hinge("bucket", on="stick", point=end, axis=Y, low=-0.8, high=1.2)
    wide = a.draw(0.2, 0.3)
    a.box(4, (end[0] + 0.02, -0.08, end[2] - 0.1), (0.05, wide, 0.2), turn=(0.0, 0.3, 0.0))
    a.box(4, (end[0] + 0.08, -0.08, end[2] - 0.19), (0.2, wide, 0.04), turn=(0.0, 0.2, 0.0))
    a.wedge(2, (end[0] + 0.2, -0.08 - wide / 4, end[2] - 0.2), (0.08, 0.05, 0.05))
