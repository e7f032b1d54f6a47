"""Data sets of 3D objects whose transformations are known.

Names that work on tensors are imported when they are first used: the worker processes of a build
render and write files, and loading torch there would cost each of them seconds and memory.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datasets3d.build import BuildReport, build
from datasets3d.config import BuildConfig
from datasets3d.estimate import BuildEstimate, estimate
from datasets3d.latents import Law
from datasets3d.meshes import MeshFolder, ProceduralMeshes
from datasets3d.threediebench import ThreeDIEBench
from datasets3d.verify import verify

if TYPE_CHECKING:
    from datasets3d.elements import ElementConvention
    from datasets3d.molecular_graphs import MolecularGraph, MoleculeGraphs
    from datasets3d.molecule_files import read_isolated_atoms, read_molecules, read_rmd17, read_xyz
    from datasets3d.molecules import Molecules
    from datasets3d.pairs import TransformPairs
    from datasets3d.point_pairs import PointPairs
    from datasets3d.points import PointClouds

_MODULES_WITH_TENSORS = {
    "ElementConvention": "elements",
    "MolecularGraph": "molecular_graphs",
    "MoleculeGraphs": "molecular_graphs",
    "Molecules": "molecules",
    "PointClouds": "points",
    "PointPairs": "point_pairs",
    "TransformPairs": "pairs",
    "read_isolated_atoms": "molecule_files",
    "read_molecules": "molecule_files",
    "read_rmd17": "molecule_files",
    "read_xyz": "molecule_files",
}

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


def __getattr__(name: str) -> Any:
    module = _MODULES_WITH_TENSORS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
