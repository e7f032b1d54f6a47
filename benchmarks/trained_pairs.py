"""A ResNet on rendered pairs, for ``equivariance.py``: untrained, and trained on pairs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trained_models import Budget

from datasets3d import BuildConfig, ProceduralMeshes, ThreeDIEBench, TransformPairs, ViewLaw, build
from equivariant.actions import Action
from equivariant.measure import Estimate, estimate_mean, pair_error
from equivariant.nn import SplitModel
from equivariant.recipes.sie_3diebench.experiment import SieExperiment, make_pairs, train
from equivariant.recipes.sie_3diebench.models import ModelConfig, Trained, build_learner
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, PairLearner

VIEWS, SIZE, PAIRS = 8, 32, 4
IRREPS = "32x1o"
METHODS = {
    "exact": ModelConfig("exact", width=8, projector=(128, 128, 128), irreps=IRREPS),
    "sie": ModelConfig(
        "sie", width=8, projector=(128, 128, 128), conditioning="matrix", gain=1.0
    ),
}  # fmt: skip


def rendered_pairs(budget: Budget) -> Iterator[dict[str, Any]]:
    """Rows of held-out pairs: the error of the action, of none, and of unrelated pictures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        build(
            ProceduralMeshes(instances=budget.objects), root, workers=1, progress=False,
            config=BuildConfig(views=VIEWS, size_px=SIZE, law=ViewLaw(field_of_view_rad=0.42)),
        )  # fmt: skip
        for method, config in METHODS.items():
            fit = FitConfig(budget.pair_steps, 64, accelerator="cpu", log_every=50)
            experiment = SieExperiment(root, config, fit)
            pairs = make_pairs(experiment)
            learner = build_learner(config, classes=16, seed=0).eval()
            assert isinstance(learner, PairLearner)
            fresh: Any = learner.objective.action
            yield _row(f"ResNet, {method}, untrained", learner.model, fresh, pairs)
            start = time.perf_counter()
            trained = train(
                experiment, RunFolder(Path(folder) / method), pairs=pairs, progress=False
            )
            seconds = time.perf_counter() - start
            yield {**_trained_row(method, trained, pairs), "train_seconds": seconds}


def _trained_row(method: str, trained: Trained, pairs: TransformPairs) -> dict[str, Any]:
    return _row(f"ResNet, {method}, trained", trained.model, trained.action, pairs)


@torch.no_grad()
def _row(name: str, model: Any, action: Any, pairs: TransformPairs) -> dict[str, Any]:
    assert isinstance(model, SplitModel)
    held_out = ThreeDIEBench(pairs.dataset.root, "val")
    views = TransformPairs(
        held_out, convention=pairs.convention, mean=pairs.mean, std=pairs.std
    )  # fmt: skip
    # Pair-major: the next row, with which unrelated vectors are paired, shows another object.
    rows = held_out.fixed_pairs(PAIRS).reshape(-1, PAIRS, 3).transpose(1, 0, 2).reshape(-1, 3)
    batch = views.batch(rows)
    start = time.perf_counter()
    z_a, z_b = model(batch.a), model(batch.b)
    inside = time.perf_counter() - start
    turning = _moving_part(action)
    found = pair_error(turning, z_a[:, -turning.dim :], z_b[:, -turning.dim :], batch.g)
    still = z_a.shape[1] - turning.dim
    invariant = 2 * (z_a - z_b)[:, :still].norm(dim=1)
    invariant = invariant / (z_a[:, :still].norm(dim=1) + z_b[:, :still].norm(dim=1))
    return {
        "model": name, "dtype": "float32", "objects": len(held_out), "pairs_per_object": PAIRS,
        "relative": _clustered(found.relative), "unmoved": _clustered(found.unmoved),
        "unrelated": _clustered(found.shuffled), "cosine": _clustered(found.cosine),
        "invariant_part": _clustered(invariant.double()),
        "worst": float(found.relative.max()), "seconds": time.perf_counter() - start,
        "seconds_in_map": inside,
    }  # fmt: skip


def _moving_part(action: Any) -> Action:
    """The part of a split action that moves: its last."""
    part: Action = list(action.parts)[-1]
    return part


def _clustered(values: Tensor) -> Estimate:
    """Mean over pairs, whose interval counts objects."""
    return estimate_mean(values.reshape(PAIRS, -1).T)
