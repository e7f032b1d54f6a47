"""The protocol of 3DIEBench on models whose scores are known."""

import pytest
import torch
from sie_references import fresh, nt_xent

from datasets3d import ThreeDIEBench
from equivariant.groups import Spin3
from equivariant.losses import Objective, preset
from equivariant.measure import ProbeConfig
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig, encode, evaluate

CONFIG = EvaluationConfig(probe=ProbeConfig(epochs=1, hidden=8, min_steps=0), batch_size=12)


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


@torch.no_grad()
def test_both_heads_of_equimod_see_the_whole_representation(views):
    data = ThreeDIEBench(views, "train")
    model, split = fresh(data, method="equimod"), fresh(data, method="equimod_split")
    y = torch.rand(6, model.model.encoder.dim, generator=torch.Generator().manual_seed(0))
    for half in (slice(0, 8), slice(8, 16)):
        changed = y.clone()
        changed[:, half] += 1.0
        moved = (model.model.embed(changed) - model.model.embed(y)).abs().amax(0)
        assert moved.shape == (16,) and float(moved.view(2, 8).amax(1).min()) > 1e-3
        moved = (split.model.embed(changed) - split.model.embed(y)).abs().amax(0).view(2, 4)
        assert (moved.amax(1) == 0).tolist() == [half.start == 8, half.start == 0]
    assert [s.dim for s in model.action.summands] == [8, 8]
    assert set(model.model.slices) == {"all"}


@torch.no_grad()
def test_equimod_is_nt_xent_of_both_heads_by_loops(views):
    """2N rows, 2N - 1 candidates each; the second head's first views moved by the action."""
    model = fresh(ThreeDIEBench(views, "train"), method="equimod")
    generator = torch.Generator().manual_seed(0)
    z_a, z_b = torch.randn(2, 5, 16, generator=generator)
    q = torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=-1)
    g = model.config.convention.group.from_quaternion_xyzw(q)
    value = Objective(preset("equimod").plan, model.action)(z_a, z_b, g)
    head = model.action.summands[1]
    matrix = sum(q[:, k, None, None] * w for k, w in enumerate(_columns(head, 8)))
    by_hand = (matrix @ z_a[:, 8:, None]).squeeze(-1)
    expected = nt_xent(z_a[:, :8], z_b[:, :8]) + nt_xent(by_hand, z_b[:, 8:])
    torch.testing.assert_close(value.total, expected, rtol=1e-4, atol=1e-5)
    one_way = Objective(preset("equimod_split").plan, model.action)(z_a, z_b, g)
    assert abs(float(one_way.total - expected)) > 0.1


def _columns(head, dim):
    """The four matrices of a hypernetwork that is linear in the quaternion."""
    for q in torch.eye(4):
        g = Spin3.from_quaternion_xyzw(q)
        yield torch.stack([head(g[None], e[None])[0] for e in torch.eye(dim)], 1)
