"""Objects: folders of mesh files, procedural shapes, and variants of either.

Names are imported when they are first used: objects that are made need no readers of files.
"""

from typing import TYPE_CHECKING

from datasets3d.names_on_demand import names_on_demand

if TYPE_CHECKING:
    from datasets3d.meshes.articulated import ArticulatedMeshes, ArticulatedObject, JointLaw
    from datasets3d.meshes.folder import MeshFolder, read_mesh
    from datasets3d.meshes.formats.limits import ReadingLimits
    from datasets3d.meshes.formats.mesh_warning import MeshWarning
    from datasets3d.meshes.procedural import ProceduralMeshes
    from datasets3d.meshes.source import MeshEntry, MeshSource
    from datasets3d.meshes.variants import Variants

_MODULES = {
    "ArticulatedMeshes": "articulated",
    "ArticulatedObject": "articulated",
    "JointLaw": "articulated",
    "MeshEntry": "source",
    "MeshFolder": "folder",
    "MeshSource": "source",
    "MeshWarning": "formats.mesh_warning",
    "ProceduralMeshes": "procedural",
    "ReadingLimits": "formats.limits",
    "Variants": "variants",
    "read_mesh": "folder",
}

__all__ = [
    "ArticulatedMeshes",
    "ArticulatedObject",
    "JointLaw",
    "MeshEntry",
    "MeshFolder",
    "MeshSource",
    "MeshWarning",
    "ProceduralMeshes",
    "ReadingLimits",
    "Variants",
    "read_mesh",
]

__getattr__, __dir__ = names_on_demand(__name__, _MODULES)
