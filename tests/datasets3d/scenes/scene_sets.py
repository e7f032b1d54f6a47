"""Two sets of scenes: on the floor with one scale, and floating with drawn scales."""

from __future__ import annotations

from datasets3d import ArrangementLaw, BuildConfig, ProceduralMeshes, SceneMeshes

OBJECTS = ProceduralMeshes(instances=4, classes=["chair", "teapot", "truck"], val_fraction=0.5)
STANDING = SceneMeshes(OBJECTS, scenes=2, objects=3, val_fraction=0.5)
FLOATING = SceneMeshes(
    OBJECTS, scenes=1, objects=4, val_fraction=0.0,
    arrangement=ArrangementLaw("floating", scale=(0.4, 0.7), spread=0.5),
)  # fmt: skip
PASSES = ("depth", "mask", "coordinates", "instances", "silhouettes")
CONFIG = BuildConfig(views=3, size_px=48, passes=PASSES)
