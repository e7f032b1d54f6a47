"""glTF 2.0 and GLB: geometry and base colors of the default scene, or a refusal by name."""

from datasets3d.meshes.formats.gltf.scene import read_gltf

__all__ = ["read_gltf"]
