"""The protocol of 3DIEBench on models whose scores are known."""

import pytest
import torch

from datasets3d import ThreeDIEBench
from equivariant.measure import ProbeConfig
from equivariant.recipes.evaluate_3diebench import EvaluationConfig, encode, evaluate
from equivariant.recipes.sie_3diebench import ModelConfig, build_learner, make_header, trained

CONFIG = EvaluationConfig(probe=ProbeConfig(epochs=1, hidden=8, min_steps=0), batch_size=12)


def fresh(data, **settings):
    config = ModelConfig(width=2, projector=(8, 8), irreps="2x1o", **settings)
    learner = build_learner(config, classes=len(data.label_names), seed=0)
    header = make_header(
        config, labels=tuple(data.label_names), channel_mean=(0.5,) * 3, channel_std=(0.2,) * 3,
        seed=0,
    )  # fmt: skip
    return trained(learner, config, header)


@pytest.mark.parametrize("method", ["sie", "exact"])
def test_a_dead_encoder_scores_as_chance(views, method):
    train, val = ThreeDIEBench(views, "train"), ThreeDIEBench(views, "val")
    model = fresh(train, method=method)
    with torch.no_grad():
        model.model.encoder.conv1.weight.zero_()
        for name, parameter in model.model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(0.5, 1.0)
    seen = [encode(model, data, CONFIG) for data in (train, val)]
    assert float(seen[0].z.std((0, 1)).max()) < 1e-5 < float(seen[0].z.abs().max())
    found = evaluate(model, *seen, CONFIG)
    ranks, error = found["retrieval"], found["pre"]
    assert ranks["mrr"] == pytest.approx(ranks["chance_mrr"])
    assert ranks["hits"] == pytest.approx(ranks["chance_hits"])
    q = val.rotations.reshape(-1, 3, 3)
    cosine = ((q[:, None] * q[None]).sum((2, 3)) - 1) / 2
    assert error["pre"] == pytest.approx(float(((1 - cosine) / 2).mean()), abs=1e-6)
