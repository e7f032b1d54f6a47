"""Data sets of 3D objects whose transformations are known."""

from datasets3d.build import BuildConfig, BuildEstimate, BuildReport, build, estimate
from datasets3d.elements import ElementConvention
from datasets3d.latents import Law
from datasets3d.meshes import ProceduralMeshes
from datasets3d.pairs import TransformPairs
from datasets3d.storage import verify
from datasets3d.threediebench import ThreeDIEBench

__all__ = [
    "BuildConfig",
    "BuildEstimate",
    "BuildReport",
    "ElementConvention",
    "Law",
    "ProceduralMeshes",
    "ThreeDIEBench",
    "TransformPairs",
    "build",
    "estimate",
    "verify",
]
