"""Hello, world: render objects from nothing, read pairs with their rotation, measure a model.

    python examples/hello_world.py [FOLDER]

writes a data set, a picture of it (FOLDER/contact_sheet.jpg) and prints two errors: an encoder that
has learned nothing does not turn with the object; the axes of the object, as recorded, do.
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

import torch

from datasets3d import BuildConfig, ElementConvention, ProceduralMeshes, ThreeDIEBench

from datasets3d import TransformPairs, build  # isort: skip
from equivariant.actions import Vectors
from equivariant.groups import SO3
from equivariant.measure import pair_error
from equivariant.nn import ImageEncoderConfig


def main(folder: Path, *, views: int = 8, size_px: int = 64) -> tuple[float, float]:
    # 1. Generate: every view's rotation, floor hue and light are drawn by a law and recorded.
    meshes = ProceduralMeshes(instances=5, classes=["truck", "teapot", "chair"])
    build(meshes, folder, config=BuildConfig(views=views, size_px=size_px), progress=False)

    # 2. Read pairs: b shows g applied to what a shows. In the world's frame g acts on the left.
    convention = ElementConvention(frame="world")
    batch = next(TransformPairs(ThreeDIEBench(folder), convention=convention).stream(12))

    # 3. Measure: how far is an action, here 21 vectors that turn, from explaining the pairs?
    action = Vectors(SO3(), channels=21)
    encoder = ImageEncoderConfig(width=8).build().eval()
    with torch.no_grad():
        z_a, z_b = encoder(batch.a)[:, :63], encoder(batch.b)[:, :63]
    untrained = float(pair_error(action, z_a, z_b, batch.g).relative.mean())

    # What a perfect encoder could give: where the three axes of the object point in each view.
    axes_a, axes_b = (pose.mT.flatten(1).float() for pose in (batch.pose_a, batch.pose_b))
    axes = pair_error(Vectors(SO3(), channels=3), axes_a, axes_b, batch.g)
    return untrained, float(axes.relative.mean())


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp())
    errors = main(target)
    print(f"untrained encoder {errors[0]:.2f}, axes of objects {errors[1]:.0e}; data in {target}")
