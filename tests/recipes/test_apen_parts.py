"""The recipe for parts of bodies: batches, scores by hand, a run from command to measurement."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from datasets3d.clouds.piece_clouds import PieceClouds
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import SE3
from equivariant.nn import APENSegmenter, Partition
from equivariant.pairs import PairBatch
from equivariant.recipes.apen_parts.body_sets import PiecePairs, drawn_pairs, fingerprint
from equivariant.recipes.apen_parts.settings import PartExperiment, PartNetwork, restore_experiment
from equivariant.recipes.apen_parts.training import PartLearner, load_trained, scores
from equivariant.runs import RunFolder

NETWORK = PartNetwork(cells=8, widths=(8,), sigmas=(0.2,), hidden=8)
SMALL = [
    "--subjects", "38", "--every", "10", "--bodies", "2", "--points", "64", "--steps", "2",
    "--batch-size", "4", "--probe-every", "0", "--checkpoint-every", "1", "--cells", "8",
    "--widths", "8", "--sigmas", "0.2", "--hidden", "8", "--split", "random frames",
]  # fmt: skip


def pieces(states=5):
    """Two objects of two parts, each in some states."""
    draw = torch.Generator().manual_seed(0)
    rest = torch.randn(2, 20, 3, generator=draw, dtype=torch.float64)
    owners = torch.arange(2).repeat_interleave(states)
    elements = SE3().sample(4 * states, generator=draw).unflatten(0, (2 * states, 2))
    parts = (torch.arange(20) // 10).expand(2, -1)
    return PieceClouds(rest, parts, owners, elements, owners, ("a", "b"))


def test_pairs_show_two_states_of_one_sample():
    made = pieces()
    batch = next(iter(PiecePairs(made, seed=3).stream(10)))
    assert sorted(batch.object_id.tolist()) == [0] * 5 + [1] * 5
    action = made.action(torch.zeros(10, dtype=torch.int64))
    torch.testing.assert_close(action(batch.g, batch.a), batch.b, atol=1e-4, rtol=0)
    again = next(iter(PiecePairs(made, seed=3).stream(10)))
    assert torch.equal(again.b, batch.b)
    assert not torch.equal(batch.a, batch.b)
    assert len(drawn_pairs(made, 4, seed=0).a) == 4
    assert fingerprint(made) != fingerprint(made[:5])


class Labels(torch.nn.Module):
    """Gives every point of part 0, and the first three of part 1, the label 0."""

    def forward(self, x):
        label = (torch.arange(20) >= 13).long().expand(len(x), -1)
        return {"logits": torch.nn.functional.one_hot(label, 2).double()}


def test_scores_by_hand():
    found = scores(Labels(), drawn_pairs(pieces(), 10, seed=0))
    assert found["right"] == pytest.approx(17 / 20)
    assert found["iou"] == pytest.approx((10 / 13 + 7 / 10) / 2)


@pytest.mark.parametrize("told", [0.0, 1.0])
def test_a_share_of_the_steps_is_told_the_parts(told, monkeypatch):
    seen = []
    forward = APENSegmenter.forward

    def watched(self, clouds, known=None):
        seen.append(known)
        return forward(self, clouds, known)

    monkeypatch.setattr(APENSegmenter, "forward", watched)
    learner = PartLearner(APENSegmenter(14, NETWORK.config()), told=told, votes=1.0)
    batch = drawn_pairs(pieces(), 4, seed=0)
    loss, shown = learner(**PairBatch.tensors(batch))
    assert loss.requires_grad
    assert list(shown) == (["right_told"] if told else ["right"])
    assert (seen[0] == Partition(batch.parts)) if told else seen[0] is None


def test_from_the_command_to_the_measurement(real_data, tmp_path, capsys):
    motions = real_data / "cmu_mocap"
    if not motions.is_dir():
        pytest.skip(f"no recorded motions at {motions}")
    assert main(["train", "apen", str(motions), *SMALL, "--runs", str(tmp_path)]) == 0
    (run,) = tmp_path.glob("*/*")
    experiment = restore_experiment(RunFolder(run))
    assert experiment.network == NETWORK
    assert main(["evaluate", str(run), "--clouds", "6"]) == 0
    found = json.loads((run / "measures.json").read_text())
    assert 0 <= found["test"]["iou"] <= found["test"]["right"] + 0.5
    assert 0 <= found["certificate"]["exceeded"] <= 1
    model, header = load_trained(RunFolder(run).weights)
    assert model.classes == 14
    assert header["seed"] == 0
    capsys.readouterr()
    other = ["--subjects", "07"]
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(settings | {"subjects": other[1:]}))
    assert main(["evaluate", str(run), "--clouds", "6"]) == 1
    assert "trained on" in capsys.readouterr().err
    (run / "config.json").write_text("{}")
    with pytest.raises(DataFormatError, match="settings"):
        restore_experiment(RunFolder(run))


def test_refusals(tmp_path):
    settings = PartExperiment(tmp_path)
    for wrong in ({"told": 1.5}, {"votes": -1.0}, {"points": 0}):
        with pytest.raises(ConventionError, match="experiment"):
            replace(settings, **wrong)
