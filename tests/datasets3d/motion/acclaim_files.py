"""A small skeleton and motion in Acclaim's format, and a slow second reader of such files."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

ASF = """# a leg and an arm
:version 1.10
:name TEST
:units
  mass 1.0
  length 0.45
  angle {angle}
:documentation
   anything at all
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 1 2 3
   orientation {a10} {a20} {a30}
:bonedata
  begin
     id 1
     name hip
     direction 0.6 -0.8 0
     length 2.5
     axis 0 0 0 XYZ
  end
  begin
     id 2
     name shin
     direction 0 -1 0
     length 7.25
     axis {a20} {a30} {a40} XYZ
     dof rx ry rz
     limits (-160.0 20.0)
            (-70.0 70.0)
            (-60.0 70.0)
  end
  begin
     id 3
     name arm
     direction 0 0.6 0.8
     length 3
     axis {a30} {a10} {a20} ZXY
     dof rz rx
  end
  begin
     id 4
     name foot
     direction 0 0 1
     length 1.5
     axis {a10} 0 0 XYZ
     dof rx
  end
:hierarchy
  begin
    root arm hip
    hip shin
    shin foot
  end
"""

AMC = """#!OML:ASF somewhere
:FULLY-SPECIFIED
:{ANGLE}
7
root 4 17 -21 {a10} {a20} {a30}
shin {a30} {a10} {a40}
arm {a20} {a40}
foot {a40}
8
root 4.5 17.5 -20 {a20} {a20} {a40}
arm {a10} {a20}
foot {a10}
shin {a20} {a40} {a10}
"""


def texts(*, degrees=True, header=True):
    """The two files, their angles in degrees or in radians."""
    angles = {f"a{a}": repr(float(a) if degrees else math.radians(a)) for a in (10, 20, 30, 40)}
    asf = ASF.format(angle="deg" if degrees else "rad", **angles)
    amc = AMC.format(ANGLE="DEGREES" if degrees else "RADIANS", **angles)
    return asf, amc if header else "\n".join(amc.split("\n")[3:])


def slow_positions(asf, amc, *, degrees=True):
    """Joints of every frame by recursion over bones with SciPy's rotations: frames of {name: x}."""
    root, bones, children = _slow_skeleton(asf)
    metres = 2.54 / 100.0 / 0.45

    def rotation(angles, order):
        # lower case letters: about axes of space, the first letter first
        ordered = [angles["xyz".index(letter)] for letter in order.lower()]
        return Rotation.from_euler(order.lower(), ordered, degrees=degrees)

    def place(name, numbers, start, above, found):
        bone = root if name == "root" else bones[name]
        values = dict(zip(bone["dof"], numbers.get(name, []), strict=True))
        C = rotation(bone["axis"], bone["order"])
        M = rotation([values.get(key, 0.0) for key in ("rx", "ry", "rz")], bone["order"])
        R = above * C * M * C.inv()
        if name == "root":
            moved = [values["tx"], values["ty"], values["tz"]]
            end = metres * (np.array(moved) + np.array(bone["position"]))
        else:
            end = start + metres * bone["length"] * R.apply(bone["direction"])
        found[name] = end
        for child in children.get(name, []):
            place(child, numbers, end, R, found)
        return found

    return [place("root", numbers, None, Rotation.identity(), {}) for numbers in _slow_frames(amc)]


def _slow_skeleton(text):
    sections = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[0].startswith(":"):
            current = sections.setdefault(words[0], [])
        elif words and not words[0].startswith("#"):
            current.append(words)
    root = {"dof": [], "order": "XYZ", "axis": [0.0] * 3, "position": [0.0] * 3}
    for name, *words in sections[":root"]:
        if name == "order":
            root["dof"] = [word.lower() for word in words]
        elif name == "axis":
            root["order"] = words[0]
        else:
            key = "axis" if name == "orientation" else "position"
            root[key] = [float(word) for word in words]
    bones = {}
    for name, *words in sections[":bonedata"]:
        if name == "begin":
            bone = {"dof": []}
        elif name == "end":
            bones[bone["name"]] = bone
        elif name == "name":
            bone["name"] = words[0]
        elif name == "direction":
            bone["direction"] = [float(word) for word in words]
        elif name == "length":
            bone["length"] = float(words[0])
        elif name == "axis":
            bone["axis"], bone["order"] = [float(word) for word in words[:3]], words[3]
        elif name == "dof":
            bone["dof"] = words
    children = {words[0]: words[1:] for words in sections[":hierarchy"] if len(words) > 1}
    return root, bones, children


def _slow_frames(text):
    frames = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
        elif words and words[0][0] not in ":#":
            frames[-1][words[0]] = [float(word) for word in words[1:]]
    return frames
