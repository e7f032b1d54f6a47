"""Quarter turns asked of an image encoder's middle map: do rendered views gain by them?

    python -m benchmarks.soft.encoder --out runs/soft_encoder

A plain convolutional network learns from pairs of rendered views (SimCLR, or SIE), and a term
compares the map after its second stage on a picture and on the picture turned about the camera's
axis. Ways of training: without the term; with it at two weights; with a wrong action, quarter
turns conjugated by a fixed shuffle of pixels, which are a representation of the same group and no
symmetry of a convolution; and without it on pairs turned together, which sees the same pictures
and is asked nothing. Every training is one JSON file under --out and is skipped where that
exists; several processes can share a folder with different --seeds or --methods. Whenever one
ends, benchmarks/results/soft/encoder.json (or another --name) is written from what is there.
The longer trainings of encoder_long.json:

    python -m benchmarks.soft.encoder --out runs/soft_encoder_long --name encoder_long \\
        --methods simclr --arms none "turns 0.1" seen --instances 80 --steps 1200 --batch 64 \\
        --rate 1e-3 --seeds 0 1 2 3
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402
from scipy.special import stdtrit  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.functional import avg_pool2d  # noqa: E402

from benchmarks.mechanisms.training import Run, train  # noqa: E402
from datasets3d import (  # noqa: E402
    BuildConfig,
    ProceduralMeshes,
    ThreeDIEBench,
    TransformPairs,
    ViewLaw,
    build,
)
from equivariant.actions import Action  # noqa: E402
from equivariant.groups import (  # noqa: E402
    SO2,
    relative_quaternion_xyzw_of_angles,
)
from equivariant.measure import (  # noqa: E402
    Features,
    ProbeConfig,
    linear_probe,
    rotation_probe,
)
from equivariant.nn.images.conv_net import ConvNetConfig  # noqa: E402
from equivariant.recipes.sie_3diebench.models import ModelConfig, build_learner  # noqa: E402
from equivariant.regularizers import FeatureTap  # noqa: E402
from equivariant.runs import environment, read_json, write_json  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "soft"
SIZE_PX, WIDTHS = 32, (16, 32, 64)
ARMS = {
    "none": ("none", 0.0), "turns 0.1": ("turns", 0.1), "turns 1": ("turns", 1.0),
    "scrambled 1": ("scrambled", 1.0), "seen": ("seen", 0.0),
}  # fmt: skip
METHODS = ("simclr", "sie")
METRICS = ("accuracy", "accuracy_turned", "rotation_r2")
GROUP = SO2()


class QuarterTurns(Action):
    """Quarter turns of square maps, exactly; of shuffled pixels where a shuffle is given.

    With one they are the wrong action: shuffled back, turned, shuffled.
    """

    event_dim = 3

    def __init__(self, channels: int, side: int, *, shuffle: Tensor | None = None) -> None:
        super().__init__(GROUP, channels)
        self.side = side
        pixels = torch.arange(side * side)
        source = torch.stack([pixels.view(side, side).rot90(k).flatten() for k in range(4)])
        if shuffle is not None:
            source = shuffle[source[:, shuffle.argsort()]]
        self.source = source

    def forward(self, g: Tensor, z: Tensor) -> Tensor:
        steps = GROUP.log(g).div(torch.pi / 2).round().long().remainder(4).squeeze(-1)
        source = self.source[steps].unsqueeze(-2).expand(*z.shape[:-2], -1)
        turned: Tensor = z.flatten(-2).gather(-1, source).unflatten(-1, (self.side, self.side))
        return turned


def actions() -> tuple[QuarterTurns, QuarterTurns, QuarterTurns]:
    """On pictures, on the middle map, and the wrong one on the middle map."""
    side = SIZE_PX // 2
    shuffle = torch.randperm(side * side, generator=torch.Generator().manual_seed(0))
    return (
        QuarterTurns(3, SIZE_PX), QuarterTurns(WIDTHS[1], side),
        QuarterTurns(WIDTHS[1], side, shuffle=shuffle),
    )  # fmt: skip


def middle_map(encoder: Any, x: Tensor) -> Tensor:
    """The map after the second stage, and no more."""
    found: Tensor = encoder.stages[1](avg_pool2d(encoder.stages[0](x), 2, ceil_mode=True))
    return found


def quarters(count: int, generator: torch.Generator, *, still: bool) -> Tensor:
    """Random quarter turns, shape (count, 2, 2); the identity among them or not."""
    steps = torch.randint(0 if still else 1, 4, (count, 1), generator=generator)
    return GROUP.exp(steps * (torch.pi / 2)).round().float()


def learn(
    method: str, arm: str, seed: int, pairs: TransformPairs, options: argparse.Namespace
) -> tuple[Any, float]:
    """The learner, trained, and seconds of the processor."""
    config = ModelConfig(
        method=method, width=WIDTHS[-1] // 8, projector=(128, 128, 128),  # type: ignore[arg-type]
        conditioning="matrix", gain=1.0 if method == "sie" else 0.0,
    )  # fmt: skip
    learner: Any = build_learner(config, classes=len(pairs.dataset.label_names), seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner.model.encoder = ConvNetConfig(WIDTHS, channels=3, norm="layer").build()
    kind, weight = ARMS[arm]
    pictures, right, wrong = actions()
    encoder, stream = learner.model.encoder, pairs.stream(options.batch)
    draws = torch.Generator().manual_seed(seed)
    tap = FeatureTap(encoder.stages[1], wrong if kind == "scrambled" else right)

    def loss() -> Tensor:
        batch = next(stream)
        a, b = batch.a, batch.b
        g = quarters(len(a), draws, still=kind == "seen")
        if kind == "seen":
            a, b = pictures(g, a), pictures(g, b)
        total: Tensor = learner(a, b, batch.g, object_id=batch.object_id)[0]
        if weight:
            middle_map(encoder, pictures(g, b))
            total = total + weight * tap(g)
        return total

    learner.train()
    started = time.process_time()
    train([learner], loss, Run(seed=seed, rate=options.rate, steps=options.steps))
    tap.close()
    return learner, time.process_time() - started


def run(method: str, arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one encoder and say what its middle map and its representation know."""
    splits = [ThreeDIEBench(options.data, split) for split in ("train", "val")]
    pairs = TransformPairs(splits[0], seed=seed, pairs_per_object=4)
    learner, seconds = learn(method, arm, seed, pairs, options)
    encoder = learner.model.encoder.eval()
    pictures, right, wrong = actions()
    draws = torch.Generator().manual_seed(1000 + seed)
    features, turned = [], None
    for split in splits:
        views = torch.from_numpy(split.load_images()).flatten(0, 1).float() / 255
        shift, scale = (torch.tensor(x).view(3, 1, 1) for x in (pairs.mean, pairs.std))
        x, shape = (views - shift) / scale, (len(split), split.views)
        labels = torch.from_numpy(split.labels)
        with torch.no_grad():
            features.append(Features(encoder(x).unflatten(0, shape), labels))
            if split is splits[1]:
                moved = pictures(quarters(len(x), draws, still=True), x)
                turned = Features(encoder(moved).unflatten(0, shape), labels)
                errors = middle_errors(encoder, x[::4], pictures, (right, wrong), draws)
    heads = ProbeConfig(epochs=20, hidden=128, min_steps=options.probe_steps, seed=seed)
    classes = len(splits[0].label_names)
    upright = linear_probe(*features, classes=classes, config=heads)
    rotation = rotation_probe(
        *features, train_target=relative(splits[0]), val_target=relative(splits[1]),
        val_pairs=torch.from_numpy(splits[1].fixed_pairs(4)).long(), config=heads,
    )  # fmt: skip
    return {
        "method": method, "arm": arm, "seed": seed, "seconds": seconds, "steps": options.steps,
        "batch": options.batch, "views": [len(split) * split.views for split in splits],
        "accuracy": upright.top1,
        "accuracy_turned": linear_probe(
            features[0], turned, classes=classes, config=heads  # type: ignore[arg-type]
        ).top1,
        "rotation_r2": rotation.score.r2, "middle": errors,
    }  # fmt: skip


def middle_errors(
    encoder: Any, x: Tensor, pictures: Action, asked: tuple[Action, Action], draws: Any
) -> dict[str, float]:
    """The term of held-out views, for the right action and the wrong one."""
    g = quarters(len(x), draws, still=False)
    found = {}
    for name, action in zip(("turns", "scrambled"), asked, strict=True):
        with FeatureTap(encoder.stages[1], action) as tap:
            middle_map(encoder, x), middle_map(encoder, pictures(g, x))
            found[name] = float(tap(g))
    return found


def relative(split: ThreeDIEBench) -> Any:
    """Relative quaternions of pairs of views."""
    angles = torch.from_numpy(split.latents[..., :3].copy())
    return lambda o, i, j: relative_quaternion_xyzw_of_angles(angles[o, i], angles[o, j]).float()


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and what each way gains over none, seed by seed."""
    found: dict[str, Any] = {}
    for method in METHODS:
        for arm in ARMS:
            own = {row["seed"]: row for row in rows if (row["method"], row["arm"]) == (method, arm)}
            base = {
                row["seed"]: row for row in rows if (row["method"], row["arm"]) == (method, "none")
            }
            if not own:
                continue
            entry: dict[str, Any] = {"seeds": len(own)}
            for name in (*METRICS, "seconds"):
                entry[name] = _spread([row[name] for row in own.values()])
            for name in ("turns", "scrambled"):
                entry[f"middle_{name}"] = mean(row["middle"][name] for row in own.values())
            both = sorted(set(own) & set(base))
            if arm != "none" and len(both) > 1:
                entry["gain"] = {
                    name: _gain([own[s][name] - base[s][name] for s in both]) for name in METRICS
                }
            found[f"{method} | {arm}"] = entry
    return found


def _spread(values: list[float]) -> dict[str, float | None]:
    return {"mean": mean(values), "deviation": stdev(values) if len(values) > 1 else None}


def _gain(differences: list[float]) -> dict[str, float | str]:
    """Mean difference with Student's 95 % interval; the verdict is read off the interval."""
    count = len(differences)
    reach = stdev(differences) / count**0.5 * float(stdtrit(count - 1, 0.975))
    middle = mean(differences)
    verdict = "unclear" if abs(middle) <= reach else "gain" if middle > 0 else "loss"
    return {"mean": middle, "low": middle - reach, "high": middle + reach, "verdict": verdict}


def prepare(data: Path, instances: int, views: int) -> None:
    """Render the set, if it is not there."""
    config = BuildConfig(views=views, size_px=SIZE_PX, law=ViewLaw(field_of_view_rad=0.42))
    build(ProceduralMeshes(instances=instances), data, config=config, workers=1, progress=False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soft.encoder", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings' files")
    parser.add_argument("--data", type=Path, help="rendered set; made there if it is missing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM")
    parser.add_argument("--instances", type=int, default=40, help="objects of each of 16 classes")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--probe-steps", type=int, default=600)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    parser.add_argument("--name", default="encoder", help="of the JSON file")
    options = parser.parse_args(arguments)
    options.data = options.data or options.out / "data"
    torch.set_num_threads(1)
    prepare(options.data, options.instances, options.views)
    for seed in options.seeds:
        for method in options.methods:
            for arm in options.arms:
                path = options.out / f"{method}_{arm.replace(' ', '_')}_{seed}.json"
                if path.is_file():
                    continue
                found = run(method, arm, seed, options)
                write_json(path, found)
                print(path.stem, {name: round(found[name], 4) for name in METRICS},
                      found["middle"], f"{found['seconds']:.0f} s", flush=True)  # fmt: skip
                rows = [read_json(one) for one in sorted(options.out.glob("s*_*.json"))]
                write_json(options.results / f"{options.name}.json", {
                    "environment": environment(), "objects": 16 * options.instances,
                    "size_px": SIZE_PX, "widths": WIDTHS, "rows": rows, "methods": summary(rows),
                })  # fmt: skip


if __name__ == "__main__":
    main()
