"""Draw what moves in pieces: ten kinds of objects in two states, rooms, and the part of each pixel.

python examples/pieces.py [pieces.png]
"""

import sys

import numpy as np
from PIL import Image

from datasets3d import ArticulatedMeshes, make_rooms
from datasets3d.bodies.body import part_colors
from datasets3d.rooms.room_clouds import corner_cameras
from renderers import get
from renderers.scene import Ambient, Camera, Floor, Scene, Spot

CAMERA = Camera(position=(1.5, 1.0, 1.2), target=(0.0, 0.0, 0.05), field_of_view_rad=0.7)
GREY = Floor(height=-0.75, color=(0.82, 0.82, 0.85))


def show(mesh, face_parts, size_px, *, camera, floor):
    """A picture above the parts that its pixels show."""
    spot = Spot(position=(0.4, 0.4, 4.0), color=(0.9, 0.9, 0.9), cone_rad=2.0)
    scene = Scene(mesh, camera=camera, floor=floor, spot=spot, ambient=Ambient(0.6))
    image = get("embree").render(scene, size_px)
    parts = np.where(image.faces >= 0, face_parts[image.faces], -1)
    colors = np.concatenate((part_colors(9), [[255, 255, 255]])).astype(np.uint8)
    return np.concatenate((image.rgb, colors[parts]))


def main(path="pieces.png", *, size_px=120):
    """Write the picture; returns the elements that take each object from state to state."""
    source, columns, elements = ArticulatedMeshes(instances=1, seed=4), [], {}
    for entry in source.entries():
        thing, states = source.object(entry), [source.state(entry, draw) for draw in (0, 1)]
        shown = [
            show(thing.posed(state), thing.face_parts, size_px, camera=CAMERA, floor=GREY)
            for state in states
        ]
        columns.append(np.concatenate(shown))
        elements[entry.label] = thing.transform(*states)
    rooms = [
        show(room.mesh(room.arrangement(draw)), room.surface[2], size_px,
             camera=corner_cameras(room)[0], floor=None)
        for room in make_rooms(len(columns) // 2, seed=2)
        for draw in (0, 1)
    ]  # fmt: skip
    sheet = np.concatenate((np.concatenate(columns, 1), np.concatenate(rooms, 1)))
    Image.fromarray(sheet).quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    return elements


if __name__ == "__main__":
    for name, g in main(*sys.argv[1:]).items():
        print(f"{name}: an element of SE3 for each of {len(g) // 4} parts, g of shape {g.shape}")
