"""Blender's data made from ours: triangles, materials, textures, skies. Engine of ``blender``.

Every function takes the module bpy, which the renderer imports where it is installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers.color import decoding_table
from renderers.scene import Ambient

FLOOR_REACH = 200.0
PAINT = "paint"  # the name "color" is taken: Cycles finds nothing under it


def triangles(
    bpy: Any,
    corners: NDArray[np.float64],
    normals: NDArray[np.float32],
    colors: NDArray[np.float32],
) -> Any:
    """A Blender mesh of loose triangles, each of shape (F, 3, 3); no two share a vertex."""
    count = len(corners)
    surface = bpy.data.meshes.new("surface")
    surface.vertices.add(3 * count)
    surface.vertices.foreach_set("co", corners.astype(np.float32).ravel())
    surface.loops.add(3 * count)
    surface.loops.foreach_set("vertex_index", np.arange(3 * count, dtype=np.int32))
    surface.polygons.add(count)
    surface.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    surface.update(calc_edges=True)
    opaque = np.concatenate([colors, np.ones((count, 3, 1), np.float32)], 2)
    painted = surface.color_attributes.new(PAINT, "FLOAT_COLOR", "CORNER")
    painted.data.foreach_set("color", opaque.astype(np.float32).ravel())
    shaded = surface.attributes.new("custom_normal", "FLOAT_VECTOR", "CORNER")
    shaded.data.foreach_set("vector", normals.astype(np.float32).ravel())
    return surface


def floor_mesh(bpy: Any) -> Any:
    """A large square at height 0, white until it is painted."""
    square = FLOOR_REACH * np.array(
        [[[-1.0, -1, 0], [1, -1, 0], [1, 1, 0]], [[-1, -1, 0], [1, 1, 0], [-1, 1, 0]]]
    )
    upward = np.tile(np.array([0, 0, 1], np.float32), (2, 3, 1))
    surface = triangles(bpy, square, upward, np.ones((2, 3, 3), np.float32))
    surface.materials.append(painted_material(bpy))
    return surface


def painted_material(bpy: Any, image: Any = None) -> Any:
    """A diffuse material in the corners' colors, multiplied by an image's where there is one."""
    material, nodes, links = _empty_material(bpy)
    diffuse, color = nodes.new("ShaderNodeBsdfDiffuse"), nodes.new("ShaderNodeAttribute")
    color.attribute_name = PAINT
    shown = color.outputs["Color"]
    if image is not None:
        texture, product = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeVectorMath")
        texture.image, texture.extension, texture.interpolation = image, "REPEAT", "Linear"
        product.operation = "MULTIPLY"
        links.new(shown, product.inputs[0])
        links.new(texture.outputs["Color"], product.inputs[1])
        shown = product.outputs["Vector"]
    links.new(shown, diffuse.inputs["Color"])
    links.new(diffuse.outputs[0], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return material


def flat_material(bpy: Any) -> Any:
    """A white material that is lit by the triangles' own normals."""
    material, nodes, links = _empty_material(bpy)
    diffuse, geometry = nodes.new("ShaderNodeBsdfDiffuse"), nodes.new("ShaderNodeNewGeometry")
    diffuse.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    links.new(geometry.outputs["True Normal"], diffuse.inputs["Normal"])
    links.new(diffuse.outputs[0], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return material


def _empty_material(bpy: Any) -> tuple[Any, Any, Any]:
    material = bpy.data.materials.new("surface")
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material, material.node_tree.nodes, material.node_tree.links


def linear_texture(bpy: Any, texture: NDArray[np.uint8]) -> Any:
    """An image in linear light, so that filtering mixes light; Blender's row 0 is at the bottom."""
    height, width = texture.shape[:2]
    image = bpy.data.images.new("texture", width, height, float_buffer=True, is_data=True)
    linear = np.ones((height, width, 4), np.float32)
    linear[..., :3] = decoding_table()[texture[::-1]]
    image.pixels.foreach_set(linear.ravel())
    image.update()
    return image


def _empty_world(bpy: Any, name: str) -> Any:
    world = bpy.data.worlds.new(name)
    if world.node_tree is None:
        world.use_nodes = True
    world.node_tree.nodes.clear()
    world.cycles_visibility.camera = False
    return world


def night(bpy: Any) -> Any:
    """A world without light."""
    return _empty_world(bpy, "night")


def two_tone_sky(bpy: Any) -> tuple[Any, Any]:
    """A sky of one radiance above the horizon and another below; and the node that holds both."""
    world = _empty_world(bpy, "sky")
    nodes, links = world.node_tree.nodes, world.node_tree.links
    place, split = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeSeparateXYZ")
    above, tones = nodes.new("ShaderNodeMath"), nodes.new("ShaderNodeMath")
    above.operation, tones.operation = "GREATER_THAN", "MULTIPLY_ADD"
    above.inputs[1].default_value = 0.0
    background = nodes.new("ShaderNodeBackground")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    links.new(place.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Z"], above.inputs[0])
    links.new(above.outputs[0], tones.inputs[0])
    links.new(tones.outputs[0], background.inputs["Strength"])
    links.new(background.outputs[0], nodes.new("ShaderNodeOutputWorld").inputs["Surface"])
    return world, tones


def set_sky(tones: Any, ambient: Ambient) -> None:
    """Radiances u above and v below light a normal n by (u + v) / 2 + (u - v) / 2 * n_z."""
    lower = ambient.level * (1.0 - 2.0 * ambient.sky)
    tones.inputs[1].default_value = ambient.level - lower
    tones.inputs[2].default_value = lower
