"""Data sets of 3D objects whose transformations are known.

Names are imported when they are first used: the worker processes of a build render and write
files, and loading torch, or readers of files that are not there, would cost each of them seconds.
"""

from typing import TYPE_CHECKING

from datasets3d.names_on_demand import names_on_demand

if TYPE_CHECKING:
    from datasets3d.bodies.body import Body
    from datasets3d.bodies.body_clouds import body_clouds
    from datasets3d.bodies.registrations import Registrations
    from datasets3d.bodies.splits import split_frames
    from datasets3d.bodies.subjects import synthetic_subjects
    from datasets3d.clouds.articulated_clouds import ArticulatedClouds
    from datasets3d.clouds.labelled_clouds import LabelledClouds
    from datasets3d.clouds.piece_clouds import PieceClouds
    from datasets3d.clouds.surface_points import PointClouds
    from datasets3d.clouds.transformed_clouds import TransformedClouds, transformed_clouds
    from datasets3d.digits.affnist import read_affnist
    from datasets3d.digits.digit_pairs import DigitPairs
    from datasets3d.digits.digits import Digits
    from datasets3d.digits.homography import HomographyLaw
    from datasets3d.digits.idx import read_mnist
    from datasets3d.digits.laws import AffNistLaw, RotationLaw, TruncatedHaarLaw, WideAffineLaw
    from datasets3d.digits.transformed import TransformedDigits, transformed_digits
    from datasets3d.exports.export import ExportReport, export
    from datasets3d.exports.turntable import TurntableConfig, write_turntable
    from datasets3d.meshes.articulated import ArticulatedMeshes, JointLaw
    from datasets3d.meshes.folder import MeshFolder
    from datasets3d.meshes.procedural import ProceduralMeshes
    from datasets3d.modalities.parameters import ParameterCode, decoded_rotation
    from datasets3d.modalities.view_cloud import DepthCloud, ViewCloud, read_depth_cloud
    from datasets3d.modalities.view_cloud_pairs import ViewCloudPairs
    from datasets3d.modalities.view_clouds import ViewClouds
    from datasets3d.modalities.view_triples import TripleBatch, ViewTriples
    from datasets3d.molecules.files import read_isolated_atoms, read_molecules, read_rmd17, read_xyz
    from datasets3d.molecules.graphs import MolecularGraph, MoleculeGraphs
    from datasets3d.molecules.molecules import Molecules
    from datasets3d.motion.folder import read_motions, split_motions
    from datasets3d.motion.motion import RecordedMotion, read_motion
    from datasets3d.motion.skeleton import Skeleton
    from datasets3d.motion.windows import MotionWindows, motion_windows
    from datasets3d.pairs.articulated_pairs import ArticulatedPairs
    from datasets3d.pairs.articulated_views import ArticulatedViews
    from datasets3d.pairs.cloud_pairs import PointPairs
    from datasets3d.pairs.elements import ElementConvention
    from datasets3d.pairs.piece_pairs import PiecePairs
    from datasets3d.pairs.shape_pairs import ShapePairs
    from datasets3d.pairs.threediebench import ThreeDIEBench
    from datasets3d.pairs.view_pairs import TransformPairs
    from datasets3d.pairs.view_stream import ViewBatch, ViewStream
    from datasets3d.rooms.room import Room, make_rooms
    from datasets3d.rooms.room_clouds import room_clouds, scan_room
    from datasets3d.rooms.scanned_scenes import read_dynlab, read_multibody
    from datasets3d.scenes.arrangement_law import ArrangementLaw
    from datasets3d.scenes.scene_meshes import SceneMeshes
    from datasets3d.scenes.scene_pairs import SceneInstances, ScenePairs
    from datasets3d.scenes.scene_views import SceneViews
    from datasets3d.sequences.view_sequences import SequenceBatch, ViewSequences
    from datasets3d.suites.suite import build_suite, estimate_suite, suite_laws
    from datasets3d.views.build import BuildReport, build
    from datasets3d.views.config import BuildConfig
    from datasets3d.views.engines import Limits
    from datasets3d.views.estimate import BuildEstimate, estimate
    from datasets3d.views.factors.base import Factor
    from datasets3d.views.factors.cameras import CameraOrbit, FocalLength
    from datasets3d.views.factors.further_lights import FurtherLights
    from datasets3d.views.factors.lights import AmbientLight, SpotEnergy
    from datasets3d.views.factors.paths import ObjectPath
    from datasets3d.views.factors.placement import ObjectScale, ObjectTranslation
    from datasets3d.views.latents import ViewLaw
    from datasets3d.views.passes.background import Backgrounds, over
    from datasets3d.views.passes.camera import ViewCamera, camera_of, read_camera
    from datasets3d.views.passes.files import read_pass
    from datasets3d.views.passes.flow import ViewFlow, read_flow
    from datasets3d.views.passes.sheet import write_pass_sheet
    from datasets3d.views.shards.read import ShardReader
    from datasets3d.views.shards.rebuild import rebuild_index
    from datasets3d.views.shards.write import ShardSize
    from datasets3d.views.upkeep.repair import RepairReport, repair
    from datasets3d.views.upkeep.verify import verify

_MODULES = {
    "AffNistLaw": "digits.laws",
    "AmbientLight": "views.factors.lights",
    "ArrangementLaw": "scenes.arrangement_law",
    "ArticulatedClouds": "clouds.articulated_clouds",
    "ArticulatedMeshes": "meshes.articulated",
    "ArticulatedPairs": "pairs.articulated_pairs",
    "ArticulatedViews": "pairs.articulated_views",
    "Backgrounds": "views.passes.background",
    "Body": "bodies.body",
    "BuildConfig": "views.config",
    "BuildEstimate": "views.estimate",
    "BuildReport": "views.build",
    "CameraOrbit": "views.factors.cameras",
    "DepthCloud": "modalities.view_cloud",
    "DigitPairs": "digits.digit_pairs",
    "Digits": "digits.digits",
    "ElementConvention": "pairs.elements",
    "ExportReport": "exports.export",
    "Factor": "views.factors.base",
    "FocalLength": "views.factors.cameras",
    "FurtherLights": "views.factors.further_lights",
    "HomographyLaw": "digits.homography",
    "JointLaw": "meshes.articulated",
    "LabelledClouds": "clouds.labelled_clouds",
    "Limits": "views.engines",
    "MeshFolder": "meshes.folder",
    "MolecularGraph": "molecules.graphs",
    "MoleculeGraphs": "molecules.graphs",
    "Molecules": "molecules.molecules",
    "MotionWindows": "motion.windows",
    "ObjectPath": "views.factors.paths",
    "ObjectScale": "views.factors.placement",
    "ObjectTranslation": "views.factors.placement",
    "ParameterCode": "modalities.parameters",
    "PieceClouds": "clouds.piece_clouds",
    "PiecePairs": "pairs.piece_pairs",
    "PointClouds": "clouds.surface_points",
    "PointPairs": "pairs.cloud_pairs",
    "ProceduralMeshes": "meshes.procedural",
    "RecordedMotion": "motion.motion",
    "Registrations": "bodies.registrations",
    "RepairReport": "views.upkeep.repair",
    "Room": "rooms.room",
    "RotationLaw": "digits.laws",
    "SceneInstances": "scenes.scene_pairs",
    "SceneMeshes": "scenes.scene_meshes",
    "ScenePairs": "scenes.scene_pairs",
    "SceneViews": "scenes.scene_views",
    "SequenceBatch": "sequences.view_sequences",
    "ShapePairs": "pairs.shape_pairs",
    "ShardReader": "views.shards.read",
    "ShardSize": "views.shards.write",
    "Skeleton": "motion.skeleton",
    "SpotEnergy": "views.factors.lights",
    "ThreeDIEBench": "pairs.threediebench",
    "TransformPairs": "pairs.view_pairs",
    "TransformedClouds": "clouds.transformed_clouds",
    "TransformedDigits": "digits.transformed",
    "TripleBatch": "modalities.view_triples",
    "TruncatedHaarLaw": "digits.laws",
    "TurntableConfig": "exports.turntable",
    "ViewBatch": "pairs.view_stream",
    "ViewCamera": "views.passes.camera",
    "ViewCloud": "modalities.view_cloud",
    "ViewCloudPairs": "modalities.view_cloud_pairs",
    "ViewClouds": "modalities.view_clouds",
    "ViewFlow": "views.passes.flow",
    "ViewLaw": "views.latents",
    "ViewSequences": "sequences.view_sequences",
    "ViewStream": "pairs.view_stream",
    "ViewTriples": "modalities.view_triples",
    "WideAffineLaw": "digits.laws",
    "body_clouds": "bodies.body_clouds",
    "build": "views.build",
    "build_suite": "suites.suite",
    "camera_of": "views.passes.camera",
    "decoded_rotation": "modalities.parameters",
    "estimate": "views.estimate",
    "estimate_suite": "suites.suite",
    "export": "exports.export",
    "make_rooms": "rooms.room",
    "motion_windows": "motion.windows",
    "over": "views.passes.background",
    "read_affnist": "digits.affnist",
    "read_camera": "views.passes.camera",
    "read_depth_cloud": "modalities.view_cloud",
    "read_dynlab": "rooms.scanned_scenes",
    "read_flow": "views.passes.flow",
    "read_isolated_atoms": "molecules.files",
    "read_mnist": "digits.idx",
    "read_molecules": "molecules.files",
    "read_motion": "motion.motion",
    "read_motions": "motion.folder",
    "read_multibody": "rooms.scanned_scenes",
    "read_pass": "views.passes.files",
    "read_rmd17": "molecules.files",
    "read_xyz": "molecules.files",
    "rebuild_index": "views.shards.rebuild",
    "repair": "views.upkeep.repair",
    "room_clouds": "rooms.room_clouds",
    "scan_room": "rooms.room_clouds",
    "split_frames": "bodies.splits",
    "split_motions": "motion.folder",
    "suite_laws": "suites.suite",
    "synthetic_subjects": "bodies.subjects",
    "transformed_clouds": "clouds.transformed_clouds",
    "transformed_digits": "digits.transformed",
    "verify": "views.upkeep.verify",
    "write_pass_sheet": "views.passes.sheet",
    "write_turntable": "exports.turntable",
}

__all__ = [
    "AffNistLaw",
    "AmbientLight",
    "ArrangementLaw",
    "ArticulatedClouds",
    "ArticulatedMeshes",
    "ArticulatedPairs",
    "ArticulatedViews",
    "Backgrounds",
    "Body",
    "BuildConfig",
    "BuildEstimate",
    "BuildReport",
    "CameraOrbit",
    "DepthCloud",
    "DigitPairs",
    "Digits",
    "ElementConvention",
    "ExportReport",
    "Factor",
    "FocalLength",
    "FurtherLights",
    "HomographyLaw",
    "JointLaw",
    "LabelledClouds",
    "Limits",
    "MeshFolder",
    "MolecularGraph",
    "MoleculeGraphs",
    "Molecules",
    "MotionWindows",
    "ObjectPath",
    "ObjectScale",
    "ObjectTranslation",
    "ParameterCode",
    "PieceClouds",
    "PiecePairs",
    "PointClouds",
    "PointPairs",
    "ProceduralMeshes",
    "RecordedMotion",
    "Registrations",
    "RepairReport",
    "Room",
    "RotationLaw",
    "SceneInstances",
    "SceneMeshes",
    "ScenePairs",
    "SceneViews",
    "SequenceBatch",
    "ShapePairs",
    "ShardReader",
    "ShardSize",
    "Skeleton",
    "SpotEnergy",
    "ThreeDIEBench",
    "TransformPairs",
    "TransformedClouds",
    "TransformedDigits",
    "TripleBatch",
    "TruncatedHaarLaw",
    "TurntableConfig",
    "ViewBatch",
    "ViewCamera",
    "ViewCloud",
    "ViewCloudPairs",
    "ViewClouds",
    "ViewFlow",
    "ViewLaw",
    "ViewSequences",
    "ViewStream",
    "ViewTriples",
    "WideAffineLaw",
    "body_clouds",
    "build",
    "build_suite",
    "camera_of",
    "decoded_rotation",
    "estimate",
    "estimate_suite",
    "export",
    "make_rooms",
    "motion_windows",
    "over",
    "read_affnist",
    "read_camera",
    "read_depth_cloud",
    "read_dynlab",
    "read_flow",
    "read_isolated_atoms",
    "read_mnist",
    "read_molecules",
    "read_motion",
    "read_motions",
    "read_multibody",
    "read_pass",
    "read_rmd17",
    "read_xyz",
    "rebuild_index",
    "repair",
    "room_clouds",
    "scan_room",
    "split_frames",
    "split_motions",
    "suite_laws",
    "synthetic_subjects",
    "transformed_clouds",
    "transformed_digits",
    "verify",
    "write_pass_sheet",
    "write_turntable",
]


__getattr__, __dir__ = names_on_demand(__name__, _MODULES, renamed={"Law": "ViewLaw"})
