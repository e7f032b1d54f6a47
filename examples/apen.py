"""From an articulated object to a segmented, certified cloud.

    python examples/apen.py

A network learns the parts of scissors and lamps near the middle of their joints' ranges, and is
asked about others at any state. More: docs/apen.md.
"""

import torch
from torch import Tensor

from datasets3d import ArticulatedClouds, ArticulatedMeshes, JointLaw
from equivariant.nn import APENConfig, APENSegmenter, Partition, layer_loss
from equivariant.workflows.measuring.pieces import PieceReport, measure_pieces

KINDS = ["lamp_arm", "scissors"]
CONFIG = APENConfig(cells=48, widths=(32, 64), sigmas=(0.1, 0.2), reach=0.7)


def states(things: ArticulatedClouds, law: JointLaw, seed: int) -> list[Tensor]:
    """Clouds at two states each, the parts of their points, and classes: the parts of each kind."""
    a, b = (things.in_states(4, law=law, seed=s) for s in (seed, seed + 1))
    classes = a.labels[:, None] * things.part_count + a.point_parts
    return [a.clouds.float(), b.clouds.float(), a.point_parts, classes]


def main(steps: int = 100, objects: int = 40) -> tuple[float, float, PieceReport]:
    source = ArticulatedMeshes(instances=objects, classes=KINDS, val_fraction=0.5)
    seen, unseen = (ArticulatedClouds(source, split=s, points=256) for s in ("train", "val"))
    clouds, _, parts, labels = states(seen, JointLaw(0.4, 0.6), seed=0)
    torch.manual_seed(0)
    model = APENSegmenter(len(KINDS) * seen.part_count, CONFIG).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        rows = torch.randint(len(clouds), (8,))
        known = Partition(parts[rows]) if step % 2 else None  # every second batch is told the parts
        prediction = model(clouds[rows], known)
        loss = layer_loss(prediction, labels[rows], clouds[rows], parts=parts[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    a, b, parts, labels = states(unseen, JointLaw(), seed=2)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))
    half = len(a) // 2  # of the unseen objects, half calibrate and half are asked about
    first, rest = order[:half], order[half:]
    model.eval().calibrate(a[first], b[first], parts[first], tolerance=0.2)
    with torch.no_grad():
        prediction = model(a[rest])
        told = model(a[rest], Partition(parts[rest]))
    right = [
        float((p.logits.argmax(-1) == labels[rest]).float().mean()) for p in (prediction, told)
    ]
    print(f"parts: {prediction.partition}, certificates: {prediction.certificate[:4].tolist()}")
    return right[0], right[1], measure_pieces(model, a[rest][:4], parts[rest][:4], samples=4)


if __name__ == "__main__":
    predicted, told, report = main()
    print(f"right: {predicted:.0%} of points, {told:.0%} if told the parts\n{report}")
