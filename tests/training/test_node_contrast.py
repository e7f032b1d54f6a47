"""Rows drawn by the step, nodes compared by hand, and exact resume."""

from __future__ import annotations

from functools import partial
from itertools import islice

import pytest
import torch

from equivariant.errors import EquivariantError
from equivariant.losses import Side, preset
from equivariant.nn import (
    Graph,
    GraphEncoder,
    MetaPath,
    MetaPathEncoder,
    certified_margin,
    certified_margin_loss,
    drop_edges,
    margin_directions,
    mask_features,
    mesh_relations,
)
from equivariant.runs import RunFolder, write_json
from equivariant.training import FitConfig, NodeContrastLearner, RowStream, fit

X = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
GRAPH = Graph.nearest(X, 4)


def view(graph, x, *, generator):
    graph = drop_edges(graph, 0.3, generator=generator)
    return graph, mask_features(x, 0.2, generator=generator)


def learner(**settings):
    torch.manual_seed(1)
    model = GraphEncoder((5, 8, 4))
    settings = {"view": view, **settings}
    return NodeContrastLearner(model, GRAPH, X, preset("nt_xent").build(), **settings)


def certified():
    budget = torch.ones(30, dtype=torch.int64)
    return learner(certificate=0.5, budget=budget, head=torch.nn.Linear(4, 4))


def test_rows_depend_on_the_step_and_shares_join_to_the_batch():
    stream = RowStream({"x": X}, seed=3)
    batches = [b.tensors() for b in islice(stream.stream(8), 4)]
    later = next(stream.stream(8, start=3)).tensors()
    assert torch.equal(later["row"], batches[3]["row"])
    for batch in batches:
        assert torch.equal(batch["x"], X[batch["row"]])
        assert len(batch["row"].unique()) == 8
    assert not torch.equal(batches[0]["row"], batches[1]["row"])
    shares = [next(stream.stream(8, rank=r, world=2)).tensors()["row"] for r in range(2)]
    assert set(torch.cat(shares).tolist()) == set(batches[0]["row"].tolist())


def test_rows_of_one_group_as_often_as_the_group_is_large():
    within = torch.tensor([0] * 18 + [1] * 9 + [2] * 2 + [5])
    stream = RowStream({"x": X}, within=within)
    seen = torch.zeros(6)
    for batch in islice(stream.stream(8), 600):
        row = batch.tensors()["row"]
        groups = within[row].unique()
        assert len(groups) == 1 and len(row.unique()) == len(row) == min(
            8, int((within == groups).sum())
        )
        seen[groups] += 1
    torch.testing.assert_close(
        seen / 600, torch.tensor([18, 9, 2, 0, 0, 0]) / 29, atol=0.06, rtol=0
    )


def test_the_loss_by_hand():
    own = certified()
    own.generator = torch.Generator().manual_seed(7)
    row = torch.tensor([3, 9, 20, 4])
    total, terms = own(row=row)
    draws = torch.Generator().manual_seed(7)
    z = [own.model(x, graph) for graph, x in (view(GRAPH, X, generator=draws) for _ in range(2))]
    sides = [Side.of(own.head(rows[row]), id=row) for rows in z]
    plain = own.loss(a=sides[0], b=sides[1]).total
    budget = torch.ones(30, dtype=torch.int64)
    margin = partial(certified_margin, own.model, X, GRAPH, budget=budget, nodes=row)
    certain = sum(certified_margin_loss(margin(margin_directions(rows)[row])) for rows in z) / 2
    torch.testing.assert_close(total, 0.5 * plain + 0.5 * certain)
    torch.testing.assert_close(terms["certificate"], certain.detach())
    assert (total - plain).abs() > 1e-3  # the twin without the certificate


def test_the_other_view_is_trained():
    faces = torch.tensor([[i, i + 1, i + 2] for i in range(28)])
    edge, face = mesh_relations(faces, 30)
    paths = [MetaPath.there_and_back(edge), MetaPath.there_and_back(face)]
    features = {"edge": torch.randn(edge.sizes[1], 3), "face": torch.randn(28, 2)}

    class Fine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = MetaPathEncoder({"edge": 3, "face": 2}, 4)

        def forward(self):
            return self.encoder(features, paths)

    own = learner(view=None, other=Fine())
    own(row=torch.arange(10))[0].backward()
    assert all(p.grad is not None for p in own.parameters())
    z = own.model(X, GRAPH), own.other()
    sides = [Side.of(rows[:10], id=torch.arange(10)) for rows in z]
    torch.testing.assert_close(own(row=torch.arange(10))[0], own.loss(a=sides[0], b=sides[1]).total)


def run_at(path, config):
    path.mkdir()
    write_json(path / "config.json", config)
    return RunFolder(path)


@pytest.mark.parametrize("make", [learner, certified])
def test_resume_is_exact(tmp_path, make):
    config = FitConfig(steps=6, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=3)
    whole, parts = run_at(tmp_path / "whole", config), run_at(tmp_path / "parts", config)
    rows = RowStream({"x": X})
    fit(make(), rows, config, run=whole, progress=False)

    class Stops:
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for number, batch in enumerate(rows.stream(batch_size, start=start)):
                if start + number == 4:
                    raise RuntimeError("the power fails")
                yield batch

    with pytest.raises(RuntimeError, match="power"):
        fit(make(), Stops(), config, run=parts, progress=False)
    torch.manual_seed(5)
    fit(make(), rows, config, run=parts, progress=False)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.parametrize(
    "call",
    [
        lambda: learner(certificate=1.0), lambda: learner(certificate=0.5),
        lambda: RowStream({}), lambda: RowStream({"x": X, "y": X[:3]}),
        lambda: RowStream({"x": X}, within=torch.arange(30)),
        lambda: RowStream({"x": X}, within=torch.full((30,), -1)),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises(EquivariantError):
        call()
