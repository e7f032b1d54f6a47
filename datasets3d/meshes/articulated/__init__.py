"""Objects of rigid parts with hinges and slides, and the laws of their states."""

from datasets3d.meshes.articulated.articulated_meshes import ArticulatedMeshes
from datasets3d.meshes.articulated.articulated_object import ArticulatedObject
from datasets3d.meshes.articulated.joint_law import JointLaw
from datasets3d.meshes.articulated.mechanism import Joint, Mechanism
from datasets3d.meshes.articulated.moved_mesh import moved_mesh

__all__ = [
    "ArticulatedMeshes",
    "ArticulatedObject",
    "Joint",
    "JointLaw",
    "Mechanism",
    "moved_mesh",
]
