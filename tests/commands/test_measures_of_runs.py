"""Numbers belong to weights, data and settings; what stands against them is said at the door."""

import json
import shutil
from dataclasses import replace

import pytest
from test_force_field_commands import SMALL, write
from test_going_on import OPTIONS, rendered, train

from datasets3d import ThreeDIEBench
from datasets3d.pairs import memory
from datasets3d.pairs.memory import InsufficientMemoryError, available_memory, check_memory
from equivariant.commands.main import main
from equivariant.errors import ConventionError
from equivariant.measure import ProbeConfig
from equivariant.recipes.sie_3diebench import demo
from equivariant.recipes.sie_3diebench.demo import DemoConfig, run_demo
from equivariant.recipes.sie_3diebench.experiment import SieExperiment, make_pairs
from equivariant.recipes.sie_3diebench.models import ModelConfig
from equivariant.recipes.sie_3diebench.open_run import is_published, open_run, titles_of
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.runs import RunFolder
from equivariant.training import FitConfig

PROBE = ["--probe.epochs", "1", "--probe.hidden", "4", "--probe.min-steps", "0"]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("views") / "set")


@pytest.fixture(scope="module")
def evaluated(views, tmp_path_factory):
    run = train(views, tmp_path_factory.mktemp("runs"))
    assert main(["evaluate", str(run), *PROBE]) == 0
    return run


@pytest.fixture
def run(evaluated, tmp_path):
    return shutil.copytree(evaluated, tmp_path / "run")


def measures(run):
    return json.loads((run / "measures.json").read_text())


def mark(run):
    """A number that no evaluation gives: it stays where measures are kept."""
    found = measures(run)
    found["parts"]["all"]["classification"]["top1"] = 0.4321
    (run / "measures.json").write_text(json.dumps(found))


def report(*runs, options=()):
    return main(["report", *map(str, runs), *PROBE, *options])


def test_a_report_keeps_measures_of_the_same_weights_data_and_settings(run):
    mark(run)
    assert report(run, options=["--batch-size", "7"]) == 0
    page = (run / "report.html").read_text()
    assert "43.2 %" in page
    prints = measures(run)["fingerprint"]
    assert prints["weights"] in page and all(value in page for value in prints["data"].values())


def test_the_page_of_an_action_says_of_which_weights_it_is(run):
    assert main(["measure", str(run), "--evaluation.pairs-per-object", "3"]) == 0
    found = json.loads((run / "equivariance.json").read_text())["fingerprint"]
    assert found["weights"] == measures(run)["fingerprint"]["weights"]
    assert found["data"] == measures(run)["fingerprint"]["data"]
    assert found["settings"]["pairs_per_object"] == 3
    assert found["weights"] in (run / "equivariance.html").read_text()


def other_settings(run, views):
    return ["--probe.epochs", "2"]


def other_weights(run, views):
    assert main(["train", "sie", "--resume", str(run), "--quiet", "--fit.steps", "5"]) == 0
    return []


def older_file(run, views):
    found = measures(run)
    del found["fingerprint"]
    (run / "measures.json").write_text(json.dumps(found))
    return []


@pytest.mark.parametrize("change", [other_settings, other_weights, older_file])
def test_a_report_measures_again_what_is_of_others(run, views, change):
    mark(run)
    options = change(run, views)
    assert report(run, options=options) == 0
    assert "43.2 %" not in (run / "report.html").read_text()
    assert measures(run)["parts"]["all"]["classification"]["top1"] != 0.4321


def test_runs_of_one_method_are_named_apart(run, views, tmp_path, capsys):
    second = train(views, tmp_path / "second", "--seed", "1", "--fit.learning-rate", "0.01")
    assert report(run, second) == 0
    page = (run / "report.html").read_text()
    for seed, rate in ((0, 0.001), (1, 0.01)):
        assert f"SimCLR, invariant (learning_rate {rate}, seed {seed})" in page
    copy = shutil.copytree(run, tmp_path / "copy")
    opened = [open_run(RunFolder(path)) for path in (run, copy, second)]
    names = titles_of(opened)
    assert len(set(names)) == 3 and names[0].endswith(", run") and names[1].endswith(", copy")
    assert report(run, run) == 1
    assert "every run once" in capsys.readouterr().err


def test_runs_on_several_data_sets_or_sizes_are_refused(run, views, tmp_path, capsys):
    other = train(rendered(tmp_path / "other", seed=1), tmp_path / "runs")
    smaller = train(views, tmp_path / "smaller", "--size", "4")
    for foreign in (other, smaller):
        assert report(run, foreign) == 1
        said = capsys.readouterr().err
        assert "one data set" in said and str(foreign) in said
    assert not (run / "report.html").exists()


def test_moved_data_are_named_and_others_refused(run, views, tmp_path, capsys):
    moved = shutil.copytree(views, tmp_path / "moved")
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**settings, "data": str(tmp_path / "gone")}))
    verbs = (["evaluate", str(run), *PROBE], ["report", str(run), *PROBE], ["measure", str(run)])
    other = rendered(tmp_path / "other", seed=1)
    for words in verbs:
        assert main(words) == 1
        assert "--data NEW_PLACE" in capsys.readouterr().err
        assert main([*words, "--data", str(other)]) == 1
        assert "fingerprint" in capsys.readouterr().err
        assert main([*words, "--data", str(moved)]) == 0


def test_missing_objects_are_counted_and_said_once(run, views, tmp_path, capsys):
    holed = shutil.copytree(views, tmp_path / "holed")
    for split in ("train", "val"):
        shutil.rmtree(holed / ThreeDIEBench(holed, split).object_ids[0])
    listed = len(ThreeDIEBench(views, "train"))
    made = train(holed, tmp_path / "runs")
    said = capsys.readouterr().out
    assert said.count("are missing") == 1
    assert f"1 of {listed} objects listed in train_images.npy are missing" in said
    assert main(["evaluate", str(made), *PROBE]) == 0
    assert capsys.readouterr().out.count("are missing") == 2  # of each split
    second = train(holed, tmp_path / "second", "--seed", "1")
    capsys.readouterr()
    assert report(made, second) == 0
    assert capsys.readouterr().out.count("are missing") == 2
    train(views, tmp_path / "whole")
    assert "are missing" not in capsys.readouterr().out


def test_a_batch_larger_than_the_data_names_its_option(views, tmp_path, capsys):
    objects = len(ThreeDIEBench(views, "train"))
    size = ["--fit.batch-size", str(objects + 1)]
    words = [str(views), "--runs", str(tmp_path), *OPTIONS]
    assert main(["train", "sie", *words, *size, "--quiet"]) == 1
    assert f"--fit.batch-size {objects} or less" in capsys.readouterr().err
    random = ["--model.method", "random", *size, "--quiet"]
    assert main(["train", "sie", "--fit.batch-size", "4", *words, *random]) == 0
    words = ["demo", "--out", str(tmp_path / "demo"), "--instances", "5", "--views", "2",
             "--size-px", "8", "--workers", "1", "--batch-size", "99", "--quiet"]  # fmt: skip
    assert main(words) == 1
    assert "Pass --batch-size 64 or less" in capsys.readouterr().err


def test_views_that_do_not_fit_into_memory_name_the_option(views, tmp_path, monkeypatch, capsys):
    data = ThreeDIEBench(views, "train")
    needed = len(data) * data.views * 8 * 8 * 3
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    words = ["train", "sie", str(views), "--runs", str(tmp_path), *OPTIONS, "--quiet"]
    assert main(words) == 1
    assert "--stream" in capsys.readouterr().err
    assert main([*words, "--stream"]) == 0
    assert main([*words, "--size", "4"]) == 0
    with pytest.raises(InsufficientMemoryError, match="in_memory=False"):
        data.load_images()
    with pytest.raises(InsufficientMemoryError, match="--stream"):
        make_pairs(SieExperiment(views))
    monkeypatch.setattr(memory, "available_memory", lambda: needed)
    assert main(words) == 0


def test_available_memory_is_the_least_that_is_said(tmp_path, monkeypatch):
    for name, text in {"memory.max": "5000\n", "memory.current": "3000\n",
                       "memory.stat": "anon 7\ninactive_file 500\n"}.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:       2 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "absent")
    assert available_memory() == 2048
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert available_memory() == 2048
    (tmp_path / "meminfo").write_text("MemAvailable: 3 kB\n")
    assert available_memory() == 2500
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() == 3072
    (tmp_path / "meminfo").unlink()
    assert available_memory() > 0  # the pages that are free
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    check_memory(1 << 60, what="all there is")


def test_as_published_is_said_of_published_settings_alone(evaluated, monkeypatch):
    assert all("as published" not in ModelConfig(method=m).title for m in ("sie", "exact"))
    model = ModelConfig(topology="sie")
    fit = FitConfig(steps=82000, batch_size=1024, log_every=7, devices=8)
    published = SieExperiment(evaluated, model, fit, seed=3)
    assert is_published(published)
    for other in (
        replace(published, size_px=128),
        replace(published, fit=replace(fit, steps=600)),
        replace(published, fit=replace(fit, batch_size=512)),
        replace(published, fit=replace(fit, learning_rate=1e-4)),
        *(replace(published, model=replace(model, **change)) for change in (
            {"topology": "standard"}, {"width": 16}, {"projector": (256, 256, 256)},
            {"conditioning": "matrix"}, {"gain": 1.0}, {"method": "vicreg"},
        )),
    ):  # fmt: skip
        assert not is_published(other)
    # Published settings on other data are not the published run.
    opened = replace(open_run(RunFolder(evaluated)), experiment=published)
    assert opened.title == "SimCLR, invariant"


def test_force_field_measures_are_added(tmp_path, capsys):
    data, a, b = (write(tmp_path / f"{n}.xyz", 8, k) for k, n in enumerate(("train", "a", "b")))
    words = ["train", "force-field", str(data), *SMALL, "--runs", str(tmp_path / "runs"), "--steps",
             "1", "--minutes", "0", "--validation", "2", "--tests", str(a)]  # fmt: skip
    assert main(words) == 0
    (run,) = (tmp_path / "runs").glob("*/*")
    first = measures(run)
    assert set(first) == {"a"}
    assert main(["evaluate", str(run), str(b)]) == 0
    both = measures(run)
    assert both["a"] == first["a"] and set(both) == {"a", "b"}
    write(a, 4, 5)
    assert main(["evaluate", str(run), str(a)]) == 0
    again = measures(run)
    assert again["a"]["molecules"] == 4 and again["b"] == both["b"]
    assert again["a"]["file_digest"] != first["a"]["file_digest"]
    more = ["train", "force-field", "--resume", str(run), "--quiet", "--steps"]
    assert main([*more, "2"]) == 0  # its test files are those that it was started with
    assert set(measures(run)) == {"a"}
    assert main([*more, "3", "--tests"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), str(b)]) == 0
    assert set(measures(run)) == {"b"}
    assert "of other weights: a" in capsys.readouterr().out


def test_a_demo_with_other_settings_is_refused_or_measured_again(views, tmp_path, monkeypatch):
    def small(self):
        probe = ProbeConfig(epochs=self.probe_epochs, hidden=4, min_steps=0)
        return EvaluationConfig(probe=probe)

    def copied(folder, config, *, progress):
        shutil.copytree(views, folder, dirs_exist_ok=True)

    monkeypatch.setattr(DemoConfig, "evaluation", property(small))
    monkeypatch.setattr(demo, "build_data", copied)
    config = DemoConfig(instances=5, views=3, size_px=8, steps=1, batch_size=8, width=2,
                        methods=("simclr",), probe_epochs=1, workers=1)  # fmt: skip
    out = tmp_path / "demo"

    def table(config):
        return run_demo(out, config, say=lambda _: None, progress=False).table.text()

    first = table(config)
    run = out / "runs" / "simclr-seed0"
    mark(run)
    assert "43.2 %" in table(config)  # what is done is kept
    second = table(replace(config, probe_epochs=2))
    assert "43.2 %" not in second
    assert measures(run)["fingerprint"]["settings"]["probe"]["epochs"] == 2
    assert table(config) == first
    for change in ({"steps": 2}, {"width": 4}, {"batch_size": 4}):
        with pytest.raises(ConventionError, match=r"instead of .*--out"):
            table(replace(config, **change))
