"""Objects: folders of mesh files, procedural shapes, and variants of either."""

from datasets3d.meshes.procedural import ProceduralMeshes
from datasets3d.meshes.source import MeshEntry, MeshSource

__all__ = ["MeshEntry", "MeshSource", "ProceduralMeshes"]
