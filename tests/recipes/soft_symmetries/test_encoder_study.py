"""The study of an encoder's middle map: its actions, its gains, and that it runs."""

import pytest
import torch

from benchmarks.soft.encoder import GROUP, QuarterTurns, main, quarters, summary
from equivariant.runs import read_json

SHUFFLE = torch.randperm(64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shuffle", [None, SHUFFLE])
def test_quarter_turns_are_a_representation(shuffle):
    action = QuarterTurns(2, 8, shuffle=shuffle)
    x = torch.randn(5, 2, 8, 8)
    draws = torch.Generator().manual_seed(0)
    g, h = (quarters(5, draws, still=True) for _ in range(2))
    assert torch.equal(action(g, action(h, x)), action(GROUP.compose(g, h), x))
    assert torch.equal(action(GROUP.inverse(g), action(g, x)), x)


def test_the_right_action_turns_pictures_and_the_wrong_one_does_not():
    x = torch.randn(4, 2, 8, 8)
    g = quarters(4, torch.Generator().manual_seed(0), still=False)
    steps = GROUP.log(g).div(torch.pi / 2).round().long().remainder(4).squeeze(-1)
    turned = torch.stack([one.rot90(int(k), (1, 2)) for one, k in zip(x, steps, strict=True)])
    assert torch.equal(QuarterTurns(2, 8)(g, x), turned)
    assert not torch.equal(QuarterTurns(2, 8, shuffle=SHUFFLE)(g, x), turned)


def test_gains_are_paired_by_seed():
    def row(arm, seed, value):
        middle = {"turns": 0.1, "scrambled": 1.0}
        return {"method": "sie", "arm": arm, "seed": seed, "accuracy": value, "middle": middle,
                "accuracy_turned": 0.5, "rotation_r2": 0.0, "seconds": 1.0}  # fmt: skip

    rows = [row("none", s, 0.1 * s) for s in range(3)]
    rows += [row("turns 1", s, 0.1 * s + 0.02 + 0.001 * s) for s in range(3)]
    gain = summary(rows)["sie | turns 1"]["gain"]
    assert gain["accuracy"]["mean"] == pytest.approx(0.021)
    assert gain["accuracy"]["verdict"] == "gain" and gain["rotation_r2"]["verdict"] == "unclear"


@pytest.mark.exhaustive
def test_the_study_runs_and_goes_on(tmp_path, capsys):
    few = ["--instances", "5", "--views", "2", "--steps", "2", "--batch", "8", "--probe-steps", "2",
           "--seeds", "0", "--methods", "simclr", "--results", str(tmp_path)]  # fmt: skip
    main(["--out", str(tmp_path / "runs"), *few, "--arms", "none", "turns 1"])
    assert capsys.readouterr().out.count("simclr_") == 2
    main(["--out", str(tmp_path / "runs"), *few, "--arms", "none", "scrambled 1"])
    assert capsys.readouterr().out.count("simclr_") == 1
    found = read_json(tmp_path / "encoder.json")
    assert len(found["rows"]) == 3 and set(found["methods"]) == {
        "simclr | none", "simclr | turns 1", "simclr | scrambled 1"
    }  # fmt: skip
