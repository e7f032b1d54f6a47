"""What Blender makes of a mesh file: its triangles, and a picture of its colors without light.

    PYTHON_WITH_BPY benchmarks/meshes/shown_by_blender.py FILE OUT

writes ``OUT/corners.npy``, shape (F, 3, 3), in the file's axes, and ``OUT/picture.png``, the colors
as Cycles shows them from +z, of the square that ``OUT/square.npy`` names: its middle and side.
Imports nothing of this package: it runs where Blender is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np

SIDE_PX = 256
SHADERS = ("BSDF_PRINCIPLED", "BSDF_DIFFUSE", "EMISSION", "BACKGROUND")
COLOR_INPUTS = ("Base Color", "Color", "Emission Color")


def load(path: Path) -> bool:
    """Import a file into an empty scene; says whether its up axis was taken for y."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    suffix = path.suffix.lower()
    if suffix in (".gltf", ".glb"):
        bpy.ops.import_scene.gltf(filepath=str(path))
        return True
    if suffix == ".obj":
        bpy.ops.wm.obj_import(filepath=str(path), forward_axis="Y", up_axis="Z")
    elif suffix == ".ply":
        bpy.ops.wm.ply_import(filepath=str(path))
    elif suffix == ".stl":
        bpy.ops.wm.stl_import(filepath=str(path))
    else:
        raise RuntimeError(f"no importer of {suffix}")
    return False


def triangles() -> np.ndarray:
    """Corners of all triangles of the scene as it is evaluated, shape (F, 3, 3)."""
    found = []
    graph = bpy.context.evaluated_depsgraph_get()
    for instance in graph.object_instances:
        if instance.object.type != "MESH":
            continue
        mesh = instance.object.to_mesh()
        mesh.calc_loop_triangles()
        points = np.array([vertex.co[:] for vertex in mesh.vertices]).reshape(-1, 3)
        faces = np.array([t.vertices[:] for t in mesh.loop_triangles], int).reshape(-1, 3)
        matrix = np.array(instance.matrix_world)
        found.append((points @ matrix[:3, :3].T + matrix[:3, 3])[faces])
        instance.object.to_mesh_clear()
    if not sum(map(len, found)):
        raise RuntimeError("nothing was imported")
    return np.concatenate(found)


def unlit() -> None:
    """Show base colors as they are; colors of vertices where there is no material, as Blender's
    solid view does."""
    for thing in bpy.data.objects:
        if thing.type != "MESH":
            continue
        colors = thing.data.color_attributes
        if not any(slot.material for slot in thing.material_slots):
            material = bpy.data.materials.new("bare")
            material.use_nodes = True
            tree = material.node_tree
            if len(colors):
                node = tree.nodes.new("ShaderNodeVertexColor")
                node.layer_name = colors[colors.render_color_index].name
                shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
                tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
            thing.data.materials.clear()
            thing.data.materials.append(material)
    for material in bpy.data.materials:
        if material.use_nodes:
            _emit(material.node_tree)


def _emit(tree: bpy.types.NodeTree) -> None:
    shaders = [
        node for node in tree.nodes
        if node.type in SHADERS and any(entry.name in COLOR_INPUTS for entry in node.inputs)
    ]  # fmt: skip
    output = next((n for n in tree.nodes if n.type == "OUTPUT_MATERIAL"), None)
    if not shaders or output is None:
        return
    entry = next(i for i in shaders[0].inputs if i.name in COLOR_INPUTS)
    emission = tree.nodes.new("ShaderNodeEmission")
    if entry.links:
        tree.links.new(entry.links[0].from_socket, emission.inputs["Color"])
    else:
        emission.inputs["Color"].default_value = entry.default_value
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])


def picture(corners: np.ndarray, out: Path, *, y_up: bool) -> None:
    """Render from the file's +z, and say of which square."""
    low, high = corners.min((0, 1)), corners.max((0, 1))
    middle, side = (low + high) / 2, float((high - low)[:2].max()) * 1.02
    np.save(out / "square.npy", np.array([middle[0], middle[1], side]))
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", side
    distance = float(high[2]) + 10.0
    if y_up:  # (x, y, z) of the file is (x, -z, y) here
        camera.location = (middle[0], -distance, middle[1])
        camera.rotation_euler = (np.pi / 2, 0.0, 0.0)
    else:
        camera.location = (middle[0], middle[1], distance)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples = "CPU", 1
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BLACKMAN_HARRIS", 0.01
    scene.render.resolution_x = scene.render.resolution_y = SIDE_PX
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(out / "picture.png")
    bpy.ops.render.render(write_still=True)


def main() -> None:
    """Import one file and write what it became."""
    path, out = Path(sys.argv[1]), Path(sys.argv[2])
    y_up = load(path)
    corners = triangles()
    if y_up:
        corners = np.stack([corners[..., 0], corners[..., 2], -corners[..., 1]], -1)
    np.save(out / "corners.npy", corners)
    unlit()
    picture(corners, out, y_up=y_up)


if __name__ == "__main__":
    main()
