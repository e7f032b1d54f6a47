"""Data sets of 3D objects whose transformations are known."""

from datasets3d.build import BuildReport, build
from datasets3d.config import BuildConfig
from datasets3d.elements import ElementConvention
from datasets3d.estimate import BuildEstimate, estimate
from datasets3d.latents import Law
from datasets3d.meshes import MeshFolder, ProceduralMeshes
from datasets3d.molecular_graphs import MolecularGraph, MoleculeGraphs
from datasets3d.molecule_files import read_isolated_atoms, read_molecules, read_rmd17, read_xyz
from datasets3d.molecules import Molecules
from datasets3d.pairs import TransformPairs
from datasets3d.point_pairs import PointPairs
from datasets3d.points import PointClouds
from datasets3d.threediebench import ThreeDIEBench
from datasets3d.verify import verify

__all__ = [
    "BuildConfig",
    "BuildEstimate",
    "BuildReport",
    "ElementConvention",
    "Law",
    "MeshFolder",
    "MolecularGraph",
    "MoleculeGraphs",
    "Molecules",
    "PointClouds",
    "PointPairs",
    "ProceduralMeshes",
    "ThreeDIEBench",
    "TransformPairs",
    "build",
    "estimate",
    "read_isolated_atoms",
    "read_molecules",
    "read_rmd17",
    "read_xyz",
    "verify",
]
