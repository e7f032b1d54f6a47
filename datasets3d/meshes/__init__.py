"""Objects: folders of mesh files, procedural shapes, and variants of either."""

from datasets3d.meshes.articulated import ArticulatedMeshes, ArticulatedObject, JointLaw
from datasets3d.meshes.folder import MeshFolder, read_mesh
from datasets3d.meshes.formats.mesh_warning import MeshWarning
from datasets3d.meshes.procedural import ProceduralMeshes
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.meshes.variants import Variants

__all__ = [
    "ArticulatedMeshes",
    "ArticulatedObject",
    "JointLaw",
    "MeshEntry",
    "MeshFolder",
    "MeshSource",
    "MeshWarning",
    "ProceduralMeshes",
    "Variants",
    "read_mesh",
]
