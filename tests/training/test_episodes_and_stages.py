"""Looks at all data, vocabularies and stages: when they happen, by hand, and exact resume."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn
from torch.nn.functional import normalize

from equivariant.errors import EquivariantError
from equivariant.losses import Pairs, Side, contrast, k_means, preset
from equivariant.losses.prototypes.centroids import centroids
from equivariant.runs import RunFolder, write_json
from equivariant.training import (
    BagOfWordsLearner,
    EpisodeLearner,
    FitConfig,
    RowStream,
    StagedModel,
    composed,
    fit,
    fit_stages,
    load_weights,
)
from equivariant.training.learners.pairs import Learner
from equivariant.training.resume.randomness import step_generator

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
CLOUDS = torch.randn(24, 9, 3, generator=torch.Generator().manual_seed(1))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def look(model, generator):
    z = normalize(model(X), dim=1)
    cluster = k_means(z, 5, generator=generator, rounds=3)
    return {"cluster": cluster, "mean": centroids(z, cluster, 5).mean}


def loss(model, batch, found, generator):
    z = Side.of(model(batch["x"]), cluster=found["cluster"][batch["row"]])
    means = Side.of(found["mean"], cluster=torch.arange(5))
    return contrast(z, means, Pairs.same("cluster")).mean()


def episodic(every=2):
    return EpisodeLearner(network(), look, loss, every=every)


class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.local, self.last = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, clouds):
        return self.last(self.local(clouds).relu().amax(1))


def bags(**settings):
    torch.manual_seed(0)
    settings = {"words": 16, "decay": 0.9, **settings}
    return BagOfWordsLearner(
        Places(), lambda teacher, x: teacher.local(x), dim=4, width=5, **settings
    )


def test_looks_happen_at_the_start_of_episodes_in_evaluation_mode():
    modes, seen = [], []

    def watched(model, generator):
        modes.append(model.training)
        return look(model, generator)

    def watching(model, batch, found, generator):
        seen.append((model.training, found["mean"].clone()))
        return loss(model, batch, found, generator)

    learner = EpisodeLearner(network(), watched, watching, every=3)
    assert modes == [False]  # the first, for the shapes
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.5)
    rows = RowStream({"x": X}).stream(10)
    for step in range(7):
        learner.generator = torch.Generator().manual_seed(step)
        before = len(modes)
        if step % 3 == 0:  # the first was taken by the constructor
            expected = look(learner.model.eval(), torch.Generator().manual_seed(step))
            learner.train()
        optimizer.zero_grad()
        learner(**next(rows).tensors())[0].backward()
        optimizer.step()
        assert len(modes) - before == (step in (3, 6))
        torch.testing.assert_close(seen[-1][1], expected["mean"])
    assert not any(modes) and all(mode for mode, _ in seen)
    twin = look(learner.model.eval(), torch.Generator().manual_seed(6))  # a look every step
    assert (twin["mean"] - learner.found()["mean"]).abs().max() > 1e-3
    learner.eval()(**next(rows).tensors())
    assert int(learner.done) == 7  # evaluation does not count


def test_the_first_look_is_taken_once_and_again_of_other_weights():
    def watched(model, generator):
        looks.append(generator.initial_seed())
        return look(model, generator)

    batch = next(RowStream({"x": X}).stream(10)).tensors()
    for change, seen in ((False, [0]), (True, [0, 4])):
        looks = []
        learner = EpisodeLearner(network(), watched, loss, every=2)
        if change:  # weights that are loaded after the learner was made
            learner.model.load_state_dict(network(1).state_dict())
        learner.generator = torch.Generator().manual_seed(4)
        learner(**batch)
        learner(**batch)
        assert looks == seen
        expected = look(network(int(change)).eval(), torch.Generator().manual_seed(seen[-1]))
        torch.testing.assert_close(learner.found()["mean"], expected["mean"])


def test_the_vocabulary_is_a_queue_of_past_features():
    learner = bags(words=16)
    rows = RowStream({"x": CLOUDS}).stream(6)
    batches = [next(rows).tensors() for _ in range(5)]
    pushed = []
    for step, batch in enumerate(batches):
        learner.generator = torch.Generator().manual_seed(step)
        before = learner.vocabulary.rows().z.clone()
        learner(**batch)
        local = learner.teacher.local(batch["x"]).detach()
        after = learner.vocabulary.rows().z
        new = after[-6:]
        for row, features in zip(new, local, strict=True):  # one place of each example
            assert float((features - row).norm(dim=1).min()) < 1e-6
        pushed.append(new)
        if step:
            torch.testing.assert_close(after, torch.cat([before, new])[-16:])
    assert len(learner.vocabulary) == 16
    still = bags(words=12, online=False)
    for batch in batches:
        still(**batch)
    full = still.vocabulary.rows().z.clone()
    still(**batches[0])
    assert torch.equal(still.vocabulary.rows().z, full)
    moved = learner.vocabulary.rows().z.clone()
    learner(**batches[0])  # the twin that is online moves
    assert not torch.equal(learner.vocabulary.rows().z, moved)
    moved = learner.eval().vocabulary.rows().z.clone()
    learner(**batches[1])
    assert torch.equal(learner.vocabulary.rows().z, moved)


def test_bags_are_those_of_the_preset():
    learner = bags(decay=None, words=30)
    batch = next(RowStream({"x": CLOUDS}).stream(6)).tensors()
    learner(**batch)
    words = learner.vocabulary.rows().z.clone()
    torch.manual_seed(0)
    twin = bags(decay=None, words=30)
    twin.load_state_dict(learner.state_dict())
    value = learner(**batch)[0]
    features = twin.teacher.local(batch["x"])
    student = Side.of(twin.model(batch["x"]), features=features)
    torch.testing.assert_close(value, twin.loss(a=student, words=words).total)


def run_at(path, config):
    path.mkdir()
    write_json(path / "config.json", config)
    return RunFolder(path)


class Stops:
    """The power fails at a step."""

    def __init__(self, rows, step):
        self.rows, self.step = rows, step

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        for number, batch in enumerate(self.rows.stream(batch_size, start=start)):
            if start + number == self.step:
                raise RuntimeError("the power fails")
            yield batch


@pytest.mark.parametrize("case", ["episode", "words"])
def test_resume_is_exact_within_an_episode(tmp_path, case):
    make, x = (lambda: episodic(4), X) if case == "episode" else (bags, CLOUDS)
    config = FitConfig(steps=9, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=3)
    whole, parts = run_at(tmp_path / "whole", config), run_at(tmp_path / "parts", config)
    rows = RowStream({"x": x})
    fit(make(), rows, config, run=whole, progress=False)
    with pytest.raises(RuntimeError, match="power"):
        fit(make(), Stops(rows, 7), config, run=parts, progress=False)
    torch.manual_seed(5)
    fit(make(), rows, config, run=parts, progress=False)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


class Contrasting(Learner):
    """NT-Xent of noisy copies."""

    def __init__(self, stage):
        super().__init__(network(stage))
        self.loss = preset("nt_xent").build()
        self.seen = []

    def forward(self, x, row, **unused):
        self.seen.append(row)
        noise = torch.randn((2, *x.shape), generator=self.generator)
        value = self.loss(*(self.model(x + 0.1 * n) for n in noise))
        return value.total, value.terms


CONFIG = FitConfig(steps=5, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=2)


def staged(folder, make=Contrasting, stages=3):
    return fit_stages(
        make, {"x": X}, CONFIG, folder=folder, embed=lambda model, fields: model(fields["x"]),
        stages=stages, clusters=3, progress=False,
    )  # fmt: skip


def test_stages_contrast_within_cells_of_all_before(tmp_path):
    learners = []

    def make(stage):
        learners.append(Contrasting(stage))
        return learners[-1]

    model = staged(tmp_path / "run", make)
    cells = []
    cell = torch.zeros(40, dtype=torch.int64)
    for learner in learners:
        for row in learner.seen:
            assert len(cell[row].unique()) == 1
        z = normalize(learner.model(X), dim=1).detach()
        found = k_means(z, 3, generator=step_generator(0, len(cells)))
        cells.append(found)
        codes = torch.stack(cells, 1).tolist()  # cells by loops
        cell = torch.tensor([sorted(codes).index(code) for code in codes])
    crossing = sum(len(cells[1][row].unique()) > 1 for row in learners[1].seen)
    assert crossing > 0  # within the cells of earlier stages only, not of the own one
    z = model(X)
    assert z.shape == (40, 12)
    torch.testing.assert_close(z[:, 4:8], normalize(learners[1].model(X), dim=1))


def test_stages_go_on_exactly(tmp_path):
    staged(tmp_path / "whole")

    class Failing(Contrasting):
        def __init__(self, stage):
            super().__init__(stage)
            self.stage, self.calls = stage, 0

        def forward(self, **batch):
            self.calls += 1
            if self.stage == 1 and self.calls == 4:
                raise RuntimeError("the power fails")
            return super().forward(**batch)

    with pytest.raises(RuntimeError, match="power"):
        staged(tmp_path / "parts", Failing)
    torch.manual_seed(9)
    staged(tmp_path / "parts")
    for stage in range(3):
        whole, parts = (tmp_path / n / f"stage_{stage}" for n in ("whole", "parts"))
        weights = [RunFolder(path).weights for path in (whole, parts)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    load_weights(weights[0], Contrasting(7))


def test_composed_by_pairs():
    a, b = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([3, 4, 3, 3, 3])
    cell = composed(a, b)
    for i in range(5):
        for j in range(5):
            assert (cell[i] == cell[j]) == ((a[i] == a[j]) and (b[i] == b[j]))
    assert torch.equal(composed(b, b) == composed(b, b)[0], b == 3)  # a label with itself: no news


@pytest.mark.parametrize(
    "call",
    [
        lambda path: episodic(0), lambda path: staged(path, stages=0),
        lambda path: EpisodeLearner(network(), lambda m, g: {}, loss, every=2),
        lambda path: bags(words=0), lambda path: bags()(y=CLOUDS),
        lambda path: bags(teacher_sees="x")(x=CLOUDS[:, :, None]),
        lambda path: composed(torch.zeros(3).long(), torch.zeros(2).long()),
    ],
)  # fmt: skip
def test_refusals(call, tmp_path):
    with pytest.raises((EquivariantError, TypeCheckError)):
        call(tmp_path)


def test_a_look_keeps_its_shapes():
    sizes = iter([5, 4])

    def shrinking(model, generator):
        return {"mean": torch.zeros(next(sizes), 4)}

    learner = EpisodeLearner(network(), shrinking, lambda m, b, f, g: f["mean"].sum(), every=1)
    learner(x=X)
    with pytest.raises(EquivariantError, match="mean"):
        learner(x=X)


def test_a_staged_model_has_rows_of_length_one_for_each_stage():
    z = StagedModel([network(0).eval(), network(1).eval()])(X)
    torch.testing.assert_close(z.unflatten(1, (2, 4)).norm(dim=2), torch.ones(40, 2))
