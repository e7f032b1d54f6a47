"""Parts of articulated objects: trained with joints at one end of their ranges, tested elsewhere.

    python -m benchmarks.apen.generalization --out FOLDER --seeds 0 1
    python -m benchmarks.apen.generalization --out FOLDER --collect    # into results, and a table

Every run has a file in the folder, and is skipped where it exists. All methods have 41 to 47
thousand weights, the same clouds, steps, batches and rate of Adam (half a cosine), and none is
augmented. Objects are instances of four kinds, 60 for training and 60 unseen ones; of the clouds of
these half calibrate certificates and half are tested. Classes are the parts of each kind. Test laws
are shares of the range of every joint ("0.0-0.2" is that of training), and "free": each part turned
about its centroid by an element of Haar measure, and shifted by normal numbers of deviation 0.2.

"iou": mean over classes of intersection over union, on all points of the test clouds. "change":
mean over points of |p - p'|₂, p and p' the probabilities of a cloud at the law of training and of
the same object at the law of the test: 0 for a network that ignores motions of parts. APEN only,
calibrated at each law: "certificate", the bound on the probability that the change of a cloud
exceeds 0.2, and "exceeded", how many did; "bound", which the change should exceed in at most one
cloud of ten, and "below", how many did not; "affected", the share of points that Corollary 3 does
not call safe. "APEN, told" knows the parts, in training and test; "APEN" is told them in every
second step of training and never afterwards.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from benchmarks.lie.study import mean_and_spread
from datasets3d import ArticulatedClouds, ArticulatedMeshes, JointLaw
from equivariant.groups import SO3
from equivariant.nn import (
    APENConfig,
    APENSegmenter,
    FrameAverage,
    Partition,
    PointEncoderConfig,
    PointSegmenter,
    VectorNeuronEncoderConfig,
    layer_loss,
)
from equivariant.nn.apen import affected_points
from equivariant.runs import environment, read_json, write_json

RESULTS = Path(__file__).parents[1] / "results" / "apen" / "generalization.json"
CONFIG = APENConfig(cells=48, widths=(32, 40, 52), sigmas=(0.1, 0.2, 0.3), reach=0.7, hidden=64)
SETTINGS = {
    "kinds": ["excavator", "lamp_arm", "laptop", "scissors"], "instances": 30, "points": 256,
    "states": 6, "test_states": 2, "steps": 300, "batch": 8, "rate": 5e-3, "tolerance": 0.2,
    "level": 0.9, "trained": [0.0, 0.2],
    "config": repr(CONFIG),
}  # fmt: skip
LAWS = ("0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1.0", "free")
METHODS = ("APEN", "APEN, told", "PointNet", "DGCNN", "PointNet, frames", "vector neurons")


def network(method, classes):
    """A segmenter with fresh weights."""
    if method.startswith("APEN"):
        return APENSegmenter(classes, CONFIG)
    if method == "DGCNN":
        encoder = PointEncoderConfig("dgcnn", width=16, dim=80, neighbors=16).build()
    elif method == "vector neurons":
        encoder = VectorNeuronEncoderConfig(
            width=12, channels=32, neighbors=10, norm="layer", invariant=True, dim=96
        ).build()
    else:
        encoder = PointEncoderConfig("pointnet", width=48, dim=96).build()
    model = PointSegmenter(encoder, classes, hidden=64)
    return FrameAverage(model, SO3()) if method.endswith("frames") else model


class Objects:
    """Clouds of all splits and laws."""

    def __init__(self):
        source = ArticulatedMeshes(
            instances=SETTINGS["instances"], classes=SETTINGS["kinds"], val_fraction=0.5
        )
        self.seen, self.unseen = (
            ArticulatedClouds(source, split=s, points=SETTINGS["points"]) for s in ("train", "val")
        )
        self.parts_per_kind = max(self.seen.part_count, self.unseen.part_count)
        self.classes = len(SETTINGS["kinds"]) * self.parts_per_kind

    def train(self):
        """Clouds, parts and classes that are learned from."""
        law = JointLaw(*SETTINGS["trained"])
        return self._arrays(self.seen.in_states(SETTINGS["states"], law=law, seed=0))

    def test(self, law):
        """Unseen objects at the law of training and at another: both clouds, parts, classes."""
        trained = JointLaw(*SETTINGS["trained"])
        a = self.unseen.in_states(SETTINGS["test_states"], law=trained, seed=1)
        before, parts, classes = self._arrays(a)
        if law == "free":
            return before, freely_moved(before, parts, seed=2), parts, classes
        other = JointLaw(*map(float, law.split("-")))
        b = self.unseen.in_states(SETTINGS["test_states"], law=other, seed=2)
        return before, b.clouds.float(), parts, classes

    def _arrays(self, pieces):
        parts = pieces.point_parts
        return pieces.clouds.float(), parts, pieces.labels[:, None] * self.parts_per_kind + parts


def freely_moved(clouds, parts, *, seed):
    """Every part turned about its centroid, and shifted."""
    generator = torch.Generator().manual_seed(seed)
    cells = Partition(parts)
    turn = SO3().sample(cells.cells, generator=generator).to(clouds)
    shift = 0.2 * torch.randn(cells.cells, 3, generator=generator)
    center = cells.means(clouds)
    turned = torch.einsum("bnij,bnj->bni", cells.gather(turn), clouds - center)
    return turned + center + cells.gather(shift)


def logits_of(model, clouds, known):
    """Logits and, of APEN, the prediction."""
    if not isinstance(model, APENSegmenter):
        return model(clouds), None
    found = model(clouds, known)
    return found.logits, found


def trained(method, objects, seed):
    """A trained segmenter in evaluation mode."""
    torch.manual_seed(seed)
    model = network(method, objects.classes).train()
    clouds, parts, classes = objects.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS["rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SETTINGS["steps"])
    order = torch.Generator().manual_seed(seed)
    for step in range(SETTINGS["steps"]):
        rows = torch.randint(len(clouds), (SETTINGS["batch"],), generator=order)
        told = method == "APEN, told" or (method == "APEN" and step % 2 == 1)
        known = Partition(parts[rows]) if told else None
        logits, prediction = logits_of(model, clouds[rows], known)
        if prediction is None:
            loss = cross_entropy(logits.flatten(0, 1), classes[rows].flatten())
        else:
            loss = layer_loss(prediction, classes[rows], clouds[rows], parts=parts[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), float(loss.detach())


@torch.no_grad()
def tested(method, model, objects, law):
    """All numbers at one law."""
    before, after, parts, classes = objects.test(law)
    order = torch.randperm(len(before), generator=torch.Generator().manual_seed(3))
    first, rest = order.chunk(2)
    if method == "APEN":
        model.calibrate(
            before[first], after[first], parts[first], tolerance=SETTINGS["tolerance"],
            level=SETTINGS["level"],
        )  # fmt: skip
    before, after, parts, classes = (v[rest] for v in (before, after, parts, classes))
    known = Partition(parts) if method == "APEN, told" else None
    (a, first_found), (b, found) = (logits_of(model, x, known) for x in (before, after))
    change = (a.softmax(-1) - b.softmax(-1)).norm(dim=-1).mean(1)
    record = {
        "iou": mean_iou(b.argmax(-1), classes),
        "right": float((b.argmax(-1) == classes).double().mean()),
        "change": float(change.mean()),
    }
    if method == "APEN":
        bound = first_found.bound
        affected = affected_points(first_found.partitions, found.partitions, Partition(parts))
        record |= {
            "certificate": float(first_found.certificate.mean()),
            "exceeded": float((change > SETTINGS["tolerance"]).double().mean()),
            "bound": float(bound.change.mean()),
            "below": float((change <= bound.change).double().mean()),
            "affected": float(affected.double().mean()),
            "cells": float(found.partition.counts.double().mean()),
            "parts": float(Partition(parts).counts.double().mean()),
        }
    return record


def mean_iou(predicted, classes):
    """Mean over the classes that are there or predicted."""
    found = []
    for k in range(int(torch.maximum(predicted, classes).max()) + 1):
        both = ((predicted == k) & (classes == k)).sum()
        either = ((predicted == k) | (classes == k)).sum()
        if either:
            found.append(float(both / either))
    return sum(found) / len(found)


def run(folder, seeds, methods):
    """Run what has no file yet."""
    torch.set_num_threads(1)
    settings = folder / "settings.json"
    if settings.exists() and read_json(settings) != SETTINGS:
        raise SystemExit(f"{settings} has other settings: choose another folder")
    write_json(settings, SETTINGS)
    objects = Objects()
    for seed in seeds:
        for method in methods:
            path = folder / f"{method.replace(', ', '-').replace(' ', '-')}-{seed}.json"
            if path.exists():
                continue
            start = time.perf_counter()
            model, loss = trained(method, objects, seed)
            record = {
                "method": method, "seed": seed, "loss": loss,
                "weights": sum(p.numel() for p in model.parameters()),
                "seconds": time.perf_counter() - start,
                "laws": {law: tested(method, model, objects, law) for law in LAWS},
                "environment": environment(),
            }  # fmt: skip
            write_json(path, record)
            print(method, seed, f"{record['seconds']:.0f} s", {
                law: round(found["iou"], 3) for law, found in record["laws"].items()
            }, flush=True)  # fmt: skip


def collect(folder):
    """Mean and spread over seeds of everything, written among the results."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*-*.json")):
        record = read_json(path)
        found[record["method"]].append(record)
    rows = []
    for method in (m for m in METHODS if m in found):
        records = found[method]
        laws = {
            law: {
                name: mean_and_spread([r["laws"][law][name] for r in records])
                for name in records[0]["laws"][law]
            }
            for law in LAWS
        }
        rows.append(
            {
                "method": method, "weights": records[0]["weights"],
                "seeds": [r["seed"] for r in records], "laws": laws,
                "seconds": mean_and_spread([r["seconds"] for r in records]),
            }
        )  # fmt: skip
    result = {"settings": SETTINGS, "rows": rows, "environment": environment()}
    write_json(RESULTS, result)
    return result


def print_table(result):
    """Markdown."""
    for name, digits in (("iou", 1), ("change", 3)):
        print(f"\n| {name} | weights | seeds | " + " | ".join(LAWS) + " |")
        print("|---" + "|--:" * (2 + len(LAWS)) + "|")
        for row in result["rows"]:
            cells = [said(row["laws"][law][name], digits) for law in LAWS]
            head = f"| {row['method']} | {row['weights']:,} | {len(row['seeds'])} | "
            print(head + " | ".join(cells) + " |")
    for row in result["rows"]:
        if row["method"] == "APEN":
            print("\n| APEN | " + " | ".join(LAWS) + " |\n|---" + "|--:" * len(LAWS) + "|")
            for name in ("certificate", "exceeded", "bound", "below", "affected", "cells", "parts"):
                cells = [said(row["laws"][law][name], 2) for law in LAWS]
                print(f"| {name} | " + " | ".join(cells) + " |")


def said(number, digits):
    """Mean ± deviation; IoU in percent."""
    scale = 100 if digits == 1 else 1
    spread = "" if number["std"] is None else f" ± {scale * number['std']:.{digits}f}"
    return f"{scale * number['mean']:.{digits}f}{spread}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--collect", action="store_true", help="sum up what is there")
    options = parser.parse_args()
    if not options.collect:
        run(options.out, options.seeds, options.methods)
    print_table(collect(options.out))
