"""Every method of the recipe against loops that are written out, and through training."""

import json

import pytest
import torch
from safetensors.torch import load_file
from sie_references import (
    align,
    covariance,
    fresh,
    half_variance,
    nt_xent,
    pairs_of_views,
)
from torch.nn.functional import normalize

from datasets3d import ThreeDIEBench
from equivariant.commands.grammar.train_recipe import parse
from equivariant.commands.main import main
from equivariant.errors import ConventionError
from equivariant.groups import SO3, Spin3
from equivariant.measure import ProbeConfig
from equivariant.nn import Hypernetwork, MLPPredictor
from equivariant.recipes import RECIPES
from equivariant.recipes.sie_3diebench.methods import METHODS
from equivariant.recipes.sie_3diebench.models import ModelConfig, build_learner
from equivariant.recipes.sie_3diebench.open_run import is_published
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig, encode, evaluate
from equivariant.training.learners.averaged_teacher import AveragedTeacherLearner

CONFIG = EvaluationConfig(probe=ProbeConfig(epochs=1, hidden=8, min_steps=0), batch_size=12)
MOVING = [name for name, entry in METHODS.items() if entry.moves != "nothing"]


def embedded(method, **settings):
    """A learner, embeddings of both views, elements, and embeddings moved by its own action."""
    config = ModelConfig(method=method, width=2, projector=(8, 8), irreps="2x1o", **settings)
    learner = build_learner(config, classes=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    dim = learner.objective.action.dim
    z_a, z_b = torch.randn(2, 6, dim, generator=generator)
    q = normalize(torch.randn(6, 4, generator=generator), dim=-1)
    g = config.convention.group.from_quaternion_xyzw(q)
    with torch.no_grad():
        moved = learner.objective.action(g, z_a)
        return learner.objective(z_a, z_b, g).total, z_a, z_b, moved


def test_vicreg_with_half_aligned():
    total, a, b, _ = embedded("vicreg_part")
    expected = 10 * align(a[:, :4], b[:, :4]) + 10 * (half_variance(a) + half_variance(b))
    torch.testing.assert_close(total, expected + covariance(a) + covariance(b))


@pytest.mark.parametrize("predictor", ["hypernetwork", "deep", "mlp"])
def test_only_equivariance(predictor):
    total, a, b, moved = embedded("only_equivariance", predictor=predictor)
    spread = half_variance(a) + half_variance(b) + half_variance(moved)
    expected = 10 * align(moved, b) + 10 * spread + covariance(a) + covariance(b)
    torch.testing.assert_close(total, expected)


def test_only_equivariance_by_contrast():
    total, _, b, moved = embedded("sen")
    torch.testing.assert_close(total, nt_xent(moved, b), rtol=1e-4, atol=1e-5)


def test_equimod_with_terms_of_vicreg():
    total, a, b, moved = embedded("equimod_vicreg")
    expected = 0.0
    for half in (slice(0, 8), slice(8, 16)):
        expected += 10 * align(moved[:, half], b[:, half])
        expected += 10 * (half_variance(a[:, half]) + half_variance(b[:, half]))
        expected += covariance(a[:, half]) + covariance(b[:, half])
    torch.testing.assert_close(total, expected)


def test_sie_with_and_without_the_variance_of_predictions():
    total, a, b, moved = embedded("sie", moved_variance=False)
    expected = 10 * align(a[:, :4], b[:, :4]) + 4.5 * align(moved[:, 4:], b[:, 4:])
    expected += 10 * (half_variance(a) + half_variance(b)) + covariance(a) + covariance(b)
    torch.testing.assert_close(total, expected)
    whole, *_ = embedded("sie")
    torch.testing.assert_close(whole, expected + 10 * half_variance(moved[:, 4:]))


@torch.no_grad()
def test_augself_names_the_element_from_both_representations(views):
    config = ModelConfig(method="augself", width=2, projector=(8, 8))
    learner = build_learner(config, classes=2, seed=0)
    batch = pairs_of_views(views, config, 6)
    total, terms = learner(**batch)
    y_a, y_b = learner.model.represent(batch["a"]), learner.model.represent(batch["b"])
    plain = nt_xent(learner.model.embed(y_a), learner.model.embed(y_b))
    q = Spin3.quaternion_xyzw(batch["g"])  # signed, as the published targets
    error = (learner.head(torch.cat([y_a, y_b], 1)) - q).square().mean()
    torch.testing.assert_close(total, plain + error, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["named_element"], error)
    assert learner.head[-1].out_features == 4
    both = build_learner(
        ModelConfig(method="augself", width=2, projector=(8, 8), elements="rotation+color"),
        classes=2, seed=0,
    )  # fmt: skip
    assert both.head[-1].out_features == 6


@pytest.mark.parametrize("method", ["byol", "conditional_byol"])
def test_byol_predicts_an_average_that_follows(views, method):
    config = ModelConfig(method=method, width=2, projector=(8, 8))
    learner = build_learner(config, classes=2, seed=0)
    batch = pairs_of_views(views, config, 6)
    with torch.no_grad():  # another teacher, so that following shows
        for p in learner.teacher.parameters():
            p.add_(0.1)
    before = [p.clone() for p in learner.teacher.parameters()]
    total, _ = learner(**batch)
    a, b, g = (batch[name] for name in "abg")
    inverse = learner.group.inverse(g)
    expected = 0.0
    for x, other, element in ((a, b, g), (b, a, inverse)):
        p = normalize(learner.predictor(element, learner.model(x)), dim=1)
        t = normalize(learner.teacher(other), dim=1)
        expected = expected + (p - t).square().sum(1).mean()
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)
    total.backward()
    assert all(p.grad is None for p in learner.teacher.parameters())
    assert all(p.grad is not None for p in learner.predictor.parameters())
    for old, new in zip(before, learner.teacher.parameters(), strict=True):
        assert torch.equal(old, new)  # nothing was learned yet
    learner(**batch)
    for old, new, own in zip(before, learner.teacher.parameters(), learner.model.parameters(),
                             strict=True):  # fmt: skip
        torch.testing.assert_close(new, 0.99 * old + 0.01 * own)
    learner.eval()
    learner(**batch)
    assert all(
        torch.equal(x, y)
        for x, y in zip(learner.teacher.parameters(), learner.teacher.parameters(), strict=True)
    )
    seen = learner.predictor.network[0].in_features
    assert seen == (8 if method == "byol" else 12)
    with pytest.raises(ConventionError, match="decay"):
        AveragedTeacherLearner(learner.model, learner.predictor, SO3(), decay=1.0)


def test_a_perceptron_reads_element_then_vector():
    predict = MLPPredictor(Spin3(), 5, layers=2, hidden=7)
    q = normalize(torch.randn(3, 4), dim=1)
    g, z = Spin3.from_quaternion_xyzw(q), torch.randn(3, 5)
    first, _, last = predict.network
    by_hand = last(first(torch.cat([q, z], 1)).clamp(min=0))
    torch.testing.assert_close(predict(g, z), by_hand)
    torch.testing.assert_close(predict(g[:1], z.expand(2, 3, 5))[1, :1], by_hand[:1])
    with pytest.raises(ConventionError, match="linear"):
        predict.matrix(g)
    for settings in ({"layers": 0}, {"hidden": 0}):
        with pytest.raises(ConventionError, match="at least 1"):
            MLPPredictor(Spin3(), 5, **settings)


def test_a_deep_hypernetwork_writes_a_matrix_from_two_small_layers():
    action = Hypernetwork(Spin3(), 5, deep=True)
    q = normalize(torch.randn(3, 4), dim=1)
    g, z = Spin3.from_quaternion_xyzw(q), torch.randn(3, 5)
    a, b = action.before[0].weight, action.before[2].weight
    c = ((q @ a.T).clamp(min=0) @ b.T).clamp(min=0)
    expected = torch.einsum("nk,kij,nj->ni", c, action.weight, z)
    torch.testing.assert_close(action(g, z), expected)
    torch.testing.assert_close((action.matrix(g) @ z[:, :, None]).squeeze(-1), expected)
    assert {tuple(p.shape) for p in action.parameters()} == {(4, 5, 5), (4, 4)}


@pytest.mark.parametrize("method", MOVING)
def test_methods_with_an_action_are_measured_by_it(views, method):
    train, val = ThreeDIEBench(views, "train"), ThreeDIEBench(views, "val")
    model = fresh(train, method=method)
    found = evaluate(model, *(encode(model, data, CONFIG) for data in (train, val)), CONFIG)
    assert 0 < found["retrieval"]["mrr"] <= 1 and "composition" in found["action"]


@pytest.mark.parametrize("method", ["vicreg_part", "augself", "byol", "simclr"])
def test_methods_without_are_not(views, method):
    train, val = ThreeDIEBench(views, "train"), ThreeDIEBench(views, "val")
    model = fresh(train, method=method)
    found = evaluate(model, *(encode(model, data, CONFIG) for data in (train, val)), CONFIG)
    assert "retrieval" not in found and found["title"] == METHODS[method].title


WORDS = ["--model.width", "2", "--model.projector", "8", "8", "--fit.steps", "3",
         "--fit.batch-size", "4", "--fit.accelerator", "cpu"]  # fmt: skip


@pytest.mark.parametrize("method", ["conditional_byol", "augself", "only_equivariance"])
def test_commands(views, tmp_path, method, capsys):
    words = ["train", "sie", str(views), "--runs", str(tmp_path), "--model.method", method, *WORDS]
    assert main(words) == 0
    (run,) = tmp_path.glob(f"{method}/*")
    heads = ["--probe.epochs", "1", "--probe.min-steps", "0"]
    assert main(["evaluate", str(run), *heads]) == 0
    measures = json.loads((run / "measures.json").read_text())
    assert measures["title"] == METHODS[method].title
    assert ("retrieval" in measures) == (method != "augself")
    assert main(["measure", str(run)]) == 0
    assert main(["report", str(run), *heads]) == 0
    assert "<script" not in (run / "report.html").read_text()


def test_settings_that_do_not_go_together_are_refused(unchecked):
    for settings in ({"method": "sei"}, {"predictor": "none"}, {"predictor_layers": 0},
                     {"predictor": "mlp", "gain": 1.0}):  # fmt: skip
        with pytest.raises(ConventionError, match="expected"):
            ModelConfig(**settings)
    assert ModelConfig(predictor="mlp").title == "SIE, quaternion-conditioned, mlp predictor"
    assert "variance" in ModelConfig(moved_variance=False).title


def test_presets_stand_for_settings_that_words_override(views, tmp_path, capsys):
    words = ["train", "sie", str(views), "--preset", "small", "--runs", str(tmp_path)]
    assert main([*words, "--model.method", "vicreg", *WORDS]) == 0
    (run,) = tmp_path.glob("vicreg/*")
    kept = json.loads((run / "config.json").read_text())
    assert kept["model"]["conditioning"] == "matrix" and kept["model"]["gain"] == 1
    assert kept["model"]["width"] == 2 and kept["fit"]["steps"] == 3
    for wrong in (["--preset", "tiny"], ["--preset=small", "--resume", str(run)]):
        assert main(["train", "sie", str(views), *wrong]) == 1
        assert "presets published, small" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "sie", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--preset published: --model.topology sie" in said


def test_the_published_preset_is_the_published_run():
    command = parse(RECIPES["sie"], ["data", "--preset", "published"])
    assert is_published(command.settings())


@pytest.mark.parametrize("method", ["conditional_byol", "augself"])
def test_interrupted_runs_have_the_same_weights(views, tmp_path, method):
    words = ["train", "sie", str(views), "--model.method", method, *WORDS]
    assert main([*words, "--fit.steps", "4", "--runs", str(tmp_path / "whole")]) == 0
    assert main([*words, "--fit.steps", "2", "--runs", str(tmp_path / "parts")]) == 0
    whole, parts = (next((tmp_path / kind / method).iterdir()) for kind in ("whole", "parts"))
    assert main(["train", "--resume", str(parts), "--fit.steps", "4"]) == 0
    expected, found = (load_file(run / "checkpoints" / "last.safetensors")
                       for run in (whole, parts))  # fmt: skip
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
