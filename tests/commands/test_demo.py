"""The demo as a smoke test: few steps make everything else tiny, unless it is given."""

import json

from datasets3d import ThreeDIEBench
from equivariant.commands.demo import demo
from equivariant.commands.main import main
from equivariant.recipes.sie_3diebench.demo import SMOKE_STEPS, DemoConfig, smoke_study


def test_few_steps_are_a_smoke_test_of_the_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["demo", "--steps", "2", "--methods", "random", "exact", "--size-px", "16"]
    words += ["--workers", "1", "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "smoke test" in said and "Page: runs/demo-smoke/report.html" in said
    out = tmp_path / "runs" / "demo-smoke"
    assert "<script" not in (out / "report.html").read_text()
    data = ThreeDIEBench(out / "data", "train")
    assert data.views == smoke_study(2).views and len(data) < 100
    settings = json.loads((out / "runs" / "exact-seed0" / "config.json").read_text())
    assert settings["recipe"] == "sie" and settings["fit"]["steps"] == 2
    assert main(words) == 0  # goes on where it stopped: nothing is left to do
    assert "smoke test" in capsys.readouterr().out


def test_what_is_given_beside_few_steps_holds():
    command = demo(["--steps", "5", "--views", "8", "--instances", "400", "--out", "here"])
    assert (command.study.views, command.study.instances) == (8, DemoConfig().instances)
    assert command.study.batch_size == smoke_study(5).batch_size and str(command.out) == "here"
    whole = demo(["--steps", str(SMOKE_STEPS), "--quiet"])
    assert whole.study == DemoConfig(steps=SMOKE_STEPS) and str(whole.out) == "runs/demo"
