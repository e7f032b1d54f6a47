"""Digits under affine maps from the command line: training, resuming, measures, pages."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from scipy.stats import binom

from datasets3d.digits import AffNistLaw, DigitPairs, TruncatedHaarLaw, write_idx
from equivariant.actions import Vectors
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import GL, SL, Affine
from equivariant.measure import equivariance_error, estimate_proportion
from equivariant.nn import LieNetwork, SplitModel
from equivariant.recipes.lie_affnist.digit_sets import (
    CLEAN,
    LabelledPictures,
    labelled,
    open_digits,
    set_laws,
)
from equivariant.recipes.lie_affnist.evaluation import EvaluationConfig, LinearHeads, evaluate
from equivariant.recipes.lie_affnist.models import TrainedDigits, build_network, load_trained
from equivariant.recipes.lie_affnist.settings import (
    DigitExperiment,
    DigitNetwork,
    plane_law,
    restore_experiment,
)
from equivariant.runs import RunFolder
from equivariant.training import read_metrics

TINY = ["--width", "4", "--blocks", "1", "--samples", "3", "--vectors", "2", "--projector", "4",
        "--cnn-widths", "4", "4", "--size", "28", "--batch-size", "4", "--steps", "5",
        "--checkpoint-every", "2", "--log-every", "1", "--probe-every", "4", "--probed", "8",
        "--validation", "12", "--warmup-steps", "1", "--accelerator", "cpu", "--quiet"]  # fmt: skip
KINDS = {
    "supervised": ["--group", "sl2"],
    "contrastive": ["--objective", "contrastive", "--group", "rotation", "--law", "haar-gl2"],
    "plain": ["--model", "cnn", "--augment"],
    "plain pairs": ["--model", "cnn", "--objective", "contrastive"],
}
WEIGHTS = "checkpoints/last.safetensors"


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """Bars and hooks of ten kinds: 40 to learn from, 12 held out, 16 to test on."""
    folder, draw = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for part, count in (("train", 52), ("t10k", 16)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[8:20, 11 + label // 5 : 15] = 200
            image[8 + 2 * (label % 5) :, 15:20][:3] = 250
            image[draw.integers(8, 20), draw.integers(9, 20)] = 90
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


def trained(mnist, runs, *options, status=0):
    assert main(["train", "lie", str(mnist), *TINY, *options, "--runs", str(runs)]) == status
    return max(runs.glob("*/*"), key=lambda path: path.stat().st_mtime) if status == 0 else None


@pytest.fixture(scope="module")
def finished(mnist, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return {name: trained(mnist, runs / name, *options) for name, options in KINDS.items()}


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished["supervised"], tmp_path / "run")


def refused(capsys, *words):
    assert main(list(map(str, words))) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_is_the_uninterrupted_one_bit_for_bit(
    mnist, finished, tmp_path, monkeypatch, kind
):
    original = DigitPairs.stream

    def stopping(self, batch_size, **options):
        for step, batch in enumerate(original(self, batch_size, **options)):
            if step == 2:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    torch.manual_seed(99)  # whatever was drawn before
    with monkeypatch.context() as patch:
        patch.setattr(DigitPairs, "stream", stopping)
        trained(mnist, tmp_path, *KINDS[kind], status=143)
    (parts,) = tmp_path.glob("*/*")
    torch.manual_seed(7)
    assert main(["train", "lie", "--resume", str(parts), "--quiet"]) == 0
    for name in (WEIGHTS, "resume.safetensors"):
        assert (parts / name).read_bytes() == (finished[kind] / name).read_bytes()
    steps = [m["step"] for m in read_metrics(parts / "metrics.jsonl") if "total" in m]
    assert steps == [1, 2, 3, 4, 5]


def test_other_seeds_train_other_weights_and_elements(mnist, finished, tmp_path):
    other = trained(mnist, tmp_path, *KINDS["supervised"], "--seed", "1")
    assert (other / WEIGHTS).read_bytes() != (finished["supervised"] / WEIGHTS).read_bytes()
    network = load_trained(RunFolder(other).weights).encoder.train()
    torch.manual_seed(0)
    first, second = network.draw(3), network.draw(3)
    assert not torch.equal(first.elements, second.elements)
    torch.manual_seed(0)
    assert torch.equal(network.draw(3).elements, first.elements)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_come_back(finished, kind):
    run = RunFolder(finished[kind])
    config = restore_experiment(run)
    assert config.fit.steps == 5 and config.size_px == 28 and config.network.projector == (4,)
    assert run.path.parent.name == config.run_name
    model = load_trained(run.weights).model
    assert isinstance(model, SplitModel) == (config.objective == "contrastive")
    assert not model.training


def test_what_is_learned_from(mnist, finished):
    config = restore_experiment(RunFolder(finished["supervised"]))
    few, more = (open_digits(config, "train", count=count) for count in (5, 20))
    rows = {picture.tobytes() for picture in more.images}
    assert all(picture.tobytes() in rows for picture in few.images)
    metrics = read_metrics(RunFolder(finished["contrastive"]).metrics)
    (probe,) = [m for m in metrics if "probe/top1_moved" in m]
    assert probe["step"] == 4 and {"probe/top1_centred", "probe/linear_r2_moved"} <= probe.keys()
    assert "probe/linear_r2_centred" not in probe  # all matrices are the same there


def test_evaluation_counts_what_a_loop_counts(mnist, run, capsys):
    assert (
        main(["evaluate", str(run), "--samples", "3", "5", "--radii", "0.3", "--digits", "9"]) == 0
    )
    said = capsys.readouterr().out
    assert "Haar SL(2), radius 0.3" in said
    measures = json.loads((run / "measures.json").read_text())
    assert len(measures["accuracy"]) == 6 and measures["linear_part"] == measures["pairs"] == []
    network = load_trained(RunFolder(run).weights).encoder
    test = open_digits(restore_experiment(RunFolder(run)), "test", count=9, seed=0)
    laws = {CLEAN: None, "affNIST-style": AffNistLaw(),
            "Haar SL(2), radius 0.3": TruncatedHaarLaw("sl2", 0.3)}  # fmt: skip
    for row in measures["accuracy"]:
        pictures = labelled(test, laws[row["set"]], seed=0)
        with torch.no_grad():
            right = sum(
                int(network(image[None], samples=row["samples"]).argmax()) == int(label)
                for image, label in zip(pictures.images, pictures.labels, strict=True)
            )
        assert (row["right"], row["total"], row["value"]) == (right, 9, right / 9)
        assert row["low"] <= right / 9 <= row["high"]
    before = measures["fingerprint"]
    assert main(["evaluate", str(run), "--samples", "3", "--digits", "5", "--batch-size", "2"]) == 0
    after = json.loads((run / "measures.json").read_text())["fingerprint"]
    assert after["weights"] == before["weights"] and after["data"]["test"] != before["data"]["test"]
    assert "batch_size" not in after["settings"] and after["settings"]["digits"] == 5


def test_representations_are_probed_and_their_vectors_compared(finished, tmp_path, capsys):
    run = shutil.copytree(finished["contrastive"], tmp_path / "run")
    words = ["--samples", "3", "--radii", "0.3", "--digits", "0", "--probe-digits", "30"]
    assert main(["evaluate", str(run), *words]) == 0
    said = capsys.readouterr().out
    assert "law of training, haar-gl2" in said and "unmoved" in said
    measures = json.loads((run / "measures.json").read_text())
    parts = {(row["set"], row["part"]) for row in measures["accuracy"]}
    assert len(parts) == 12 and {row["set"] for row in measures["pairs"]} == {
        "affNIST-style", "Haar SL(2), radius 0.3", "law of training, haar-gl2"
    }  # fmt: skip
    assert all(row["r2"] < 1 and row["set"] != CLEAN for row in measures["linear_part"])


class Moments(torch.nn.Module):
    """An encoder whose vectors move exactly: the digit's 10 classes, and two fixed vectors."""

    def __init__(self, pictures):
        super().__init__()
        self.table = {picture.numpy().tobytes(): k for k, picture in enumerate(pictures.images)}
        self.pictures, self.scale = pictures, torch.nn.Parameter(torch.ones(()))

    def forward(self, images):
        rows = [self.table[image.numpy().tobytes()] for image in images]
        one = torch.nn.functional.one_hot(self.pictures.labels[rows], 10).float()
        g = torch.eye(3).repeat(len(rows), 1, 1)
        g[:, :2, :2] = self.pictures.linear[rows].float()
        still = torch.tensor([1.0, 0.5, -0.3, 0.8]).expand(len(rows), 4)
        return torch.cat([one, Vectors(Affine(2), 2)(g, still)], -1) * self.scale


def test_exact_vectors_are_found_exact_and_broken_ones_are_not(mnist):
    config = DigitExperiment(mnist, size_px=28, validation=12)
    test = open_digits(config, "test")
    laws = set_laws(config, [0.3])
    sets = {name: labelled(test, law, seed=0) for name, law in laws.items()}
    seen = labelled(open_digits(config, "train"), AffNistLaw(), seed=5)
    every = [*sets.values(), seen]
    known = LabelledPictures(*(torch.cat([getattr(s, f) for s in every]) for f in
                               ("images", "labels", "linear")))  # fmt: skip
    shape = DigitNetwork(model="cnn", width=10, vectors=2)

    def found(encoder):
        model = build_network(shape, contrastive=True).eval()
        model.encoder = encoder
        return evaluate(TrainedDigits(model, shape), sets, EvaluationConfig(), seen=seen)

    exact = found(Moments(known))
    for row in exact["accuracy"]:
        assert row["samples"] is None
        assert (row["value"] == 1.0) if row["part"] != "vectors" else (row["value"] < 0.6)
    for row in exact["linear_part"]:
        assert (row["r2"] > 0.999) if row["part"] != "invariant" else (row["r2"] < 0.2)
    assert all(row["moved"] < 1e-6 < 1e-2 < row["unmoved"] for row in exact["pairs"])

    class Flipped(Moments):
        def forward(self, images):
            y = super().forward(images)
            return torch.cat([y[:, :10], y[:, [11, 10, 13, 12]]], -1)  # x and y exchanged

    assert all(row["moved"] > 0.05 for row in found(Flipped(known))["pairs"])


def test_heads_are_ridge_regressions_on_rows_of_their_own():
    source = torch.Generator().manual_seed(0)
    y = torch.randn(200, 6, generator=source, dtype=torch.float64)
    labels = (y[:, 0] > 0).long() + 2 * (y[:, 1] > 0).long()
    linear = (y @ torch.randn(6, 4, generator=source, dtype=torch.float64) + 1).unflatten(1, (2, 2))
    classes, found = LinearHeads.fit(3 * y + 7, labels, linear)(3 * y + 7)
    one = torch.nn.functional.one_hot(labels, 10).double()
    design = torch.cat([y, torch.ones(200, 1, dtype=torch.float64)], 1)
    slow = design @ torch.linalg.lstsq(design, one).solution
    assert torch.allclose(classes, slow, atol=2e-2)
    assert torch.allclose(found, linear.flatten(1), atol=1e-3)


def test_measuring_is_by_the_declaration(finished, tmp_path, capsys):
    run = shutil.copytree(finished["contrastive"], tmp_path / "run")
    words = ["--samples", "2", "4", "--digits", "3", "--elements", "2"]
    assert main(["measure", str(run), *words]) == 0
    assert "N = 4: vectors" in capsys.readouterr().out
    found = json.loads((run / "equivariance.json").read_text())
    assert [(p["label"], p["output"]) for p in found["curve"]] == [
        (f"N = {n}", part) for n in (2, 4) for part in ("invariant", "vectors")
    ]
    assert found["fingerprint"]["settings"]["elements"] == 2
    network = load_trained(RunFolder(run).weights).encoder
    images = open_digits(restore_experiment(RunFolder(run)), "test", count=3, seed=0).pictures()
    d = network.declaration(images)
    inner = equivariance_error(
        lambda x: network(x, samples=4)[:, :4], images, act_in=d.act_in,
        act_out=d.act_out.summands[0], law=d.law, samples=2,
    )  # fmt: skip
    assert found["curve"][2]["value"] == pytest.approx(inner.value(), rel=1e-6)
    page = (run / "equivariance.html").read_text()
    assert "<svg" in page and found["fingerprint"]["weights"] in page and "<script" not in page


@pytest.mark.parametrize("contrastive", [False, True])
def test_a_plain_network_is_asked_about_the_motions_of_a_lie_network(contrastive):
    images = torch.rand(2, 1, 28, 28)
    plain, lie = (
        TrainedDigits(build_network(shape, contrastive=contrastive).eval(), shape)
        for shape in (DigitNetwork(model=model, group="e2", width=4) for model in ("cnn", "lie"))
    )
    before = torch.random.get_rng_state()
    asked = [t.with_samples(n).declaration(images) for t, n in ((plain, None), (lie, 3))]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert asked[0].law == asked[1].law and asked[0].act_in.group == asked[1].act_in.group
    assert isinstance(lie.encoder, LieNetwork) and not isinstance(plain.encoder, LieNetwork)
    report = equivariance_error(plain.with_samples(None).eval(), images, samples=2)
    assert report.outputs == (["invariant", "vectors"] if contrastive else [""])


def test_the_page_of_several_runs(finished, tmp_path, capsys):
    runs = {name: shutil.copytree(made, tmp_path / name) for name, made in finished.items()}
    lie, plain, pairs = (runs[name] for name in ("supervised", "plain", "contrastive"))
    options = ["--samples", "3", "--radii", "0.3", "--digits", "16", "--probe-digits", "20"]
    assert "Make them first: equivariant evaluate" in refused(capsys, "report", lie)
    for run in (lie, plain, pairs):
        assert main(["evaluate", str(run), *options]) == 0
    assert main(["report", str(lie), str(plain), str(pairs)]) == 0
    page = (lie / "report.html").read_text()
    assert "plain network, augmented" in page and "rotation, contrastive" in page
    assert "Equivariance of the trained networks" not in page and "held out" in page
    for run in (lie, plain):
        words = ["--samples", "2", "3", "--digits", "2", "--elements", "2"]
        assert main(["measure", str(run), *words]) == 0
    assert main(["report", str(lie), str(plain), "--out", str(tmp_path / "page.html")]) == 0
    assert "Equivariance of the trained networks" in (tmp_path / "page.html").read_text()
    assert main(["evaluate", str(plain), *options, "--digits", "5"]) == 0
    assert "same test digits" in refused(capsys, "report", lie, plain)
    assert "every run once" in refused(capsys, "report", lie, lie)
    shutil.copy(plain / WEIGHTS, lie / WEIGHTS)
    assert "of other weights" in refused(capsys, "report", lie)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "41"], "batches of at most 40 digits"),
        (["--count", "41"], "1 to 40 digits"), (["--count", "-1"], "0 digits means all"),
        (["--validation", "52"], "at most 0 digits"), (["--size", "29"], "side of 28 pixels"),
        (["--objective", "contrastive", "--augment"], "Pairs are transformed"),
        (["--vectors", "0"], "at least one vector"), (["--stride", "3"], "multiples of the stride"),
        (["--law", "haar-sl2", "--law-radius", "0"], "radius"),
    ],
)  # fmt: skip
def test_wrong_settings_are_explained(mnist, tmp_path, capsys, options, message):
    said = refused(capsys, "train", "lie", mnist, *TINY, *options, "--runs", tmp_path)
    assert message in said and "Traceback" not in said


def test_wrong_numbers_are_refused_in_python():
    with pytest.raises(ConventionError, match="samples"):
        EvaluationConfig(samples=())
    with pytest.raises(ConventionError, match="device"):
        shape = DigitNetwork(model="cnn")
        model = TrainedDigits(build_network(shape, contrastive=False), shape)
        evaluate(model, {}, EvaluationConfig(device="nowhere"))


@pytest.mark.parametrize(
    ("name", "group"), [("affnist", None), ("wide", None), ("rotation", None), ("haar-sl2", SL(2)),
                        ("haar-gl2", GL(2))],
)  # fmt: skip
def test_laws_by_name(name, group):
    law = plane_law(name, 0.3)
    corners = np.zeros((9, 1, 2))
    g = torch.from_numpy(law.sample(0, np.arange(9), corners=corners))[:, :2, :2]
    assert bool((torch.linalg.det(g) > 0).all())
    if name == "rotation":
        assert torch.allclose(g @ g.mT, torch.eye(2, dtype=g.dtype).expand(9, 2, 2))
    if group is not None:
        assert law.radius == 0.3 and bool(group.contains(g).all())


def test_data_that_moved_or_changed_are_noticed(mnist, run, tmp_path, capsys):
    config = json.loads((run / "config.json").read_text())
    moved = shutil.copytree(mnist, tmp_path / "moved")
    (run / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    quick = ["--samples", "2", "--digits", "2"]
    assert "--data NEW_PLACE" in refused(capsys, "evaluate", run, *quick)
    assert main(["evaluate", str(run), *quick, "--data", str(moved)]) == 0
    write_idx(moved / "train-labels-idx1-ubyte.gz", np.zeros(52, np.uint8))
    assert "trained on" in refused(capsys, "measure", run, *quick, "--data", moved)
    assert "at least one digit" in refused(capsys, "measure", run, "--elements", "0")
    other = json.loads((run / "config.json").read_text())
    del other["network"]
    (run / "config.json").write_text(json.dumps(other))
    with pytest.raises(DataFormatError, match="run on digits"):
        restore_experiment(RunFolder(run))


@pytest.mark.parametrize(("right", "total"), [(0, 7), (3, 7), (7, 7), (1, 1), (950, 1000)])
def test_intervals_of_shares_are_those_whose_tails_are_half_of_what_is_left(right, total):
    found = estimate_proportion(right, total, confidence=0.9)
    assert found.value == right / total
    low = binom.sf(right - 1, total, found.low) if right else 0.05
    high = binom.cdf(right, total, found.high) if right < total else 0.05
    assert low == pytest.approx(0.05, rel=1e-6) and high == pytest.approx(0.05, rel=1e-6)
    assert (found.low == 0.0) == (right == 0) and (found.high == 1.0) == (right == total)


@pytest.mark.parametrize("numbers", [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9), (1, 2, 1.0)])
def test_impossible_shares_are_refused(numbers):
    with pytest.raises(ConventionError, match="right <= total"):
        estimate_proportion(*numbers[:2], confidence=numbers[2])
