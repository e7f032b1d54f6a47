"""Flat graphs: what can be declared, in which shapes and containers, and force fields on them."""

import copy

import numpy as np
import pytest
import torch
from force_fields import PairForceField, Record, graphs

from equivariant.actions import CartesianTensors, Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3, SO2, SO3, Translation
from equivariant.measure import (
    GraphMotion,
    TreeMotion,
    Verdict,
    attribute,
    diagnose,
    equivariance_error,
    local_equivariance_error,
    numerical_floor,
    split_precision,
    worst_case,
)
from equivariant.measure.motions.motion import Substituted, as_motion
from equivariant.tree import fresh, leaves, rebuild, widened

GROUP = SE3()
BEFORE = GraphMotion(nodes={"positions": Points(GROUP)}, edges={"shifts": Vectors(GROUP)})


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def after(x, **graphs):
    return GraphMotion(
        nodes={"forces": Vectors(GROUP)},
        graphs={"energy": Trivial(1), "stress": CartesianTensors(GROUP), **graphs},
        index=x["batch"],
    )


@pytest.mark.parametrize("group", [SO3(), SE3()], ids=str)
@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (lambda v: v.abs(), "smooth"),
        (lambda v: v[:, [1, 0, 2]], ""),
        (lambda v: torch.ones_like(v), "outputs hardly turn"),
    ],
)
def test_diagnose_answers_about_nodes(group, broken, cause):
    index = torch.arange(6).repeat_interleave(5)
    x = {"pos": draw(30, 3), "batch": index}

    def centred(d):
        means = torch.zeros(6, 3, dtype=torch.float64).index_add(0, index, d["pos"]) / 5
        return d["pos"] - means[index]

    claim = {
        "act_in": GraphMotion(nodes={"pos": Points(group)}),
        "act_out": GraphMotion(nodes={"v": Vectors(group)}),
    }
    sound = diagnose(lambda d: {"v": centred(d), "batch": index}, x, **claim)
    assert sound.verdict == Verdict.EQUIVARIANT
    found = diagnose(lambda d: {"v": broken(centred(d)), "batch": index}, x, **claim)
    assert found.verdict == Verdict.NOT_EQUIVARIANT
    assert found.findings and any(cause in finding.cause for finding in found.findings)


def test_diagnose_sees_node_vectors_that_turn_back():
    x = {"pos": draw(8, 2), "batch": torch.arange(4).repeat_interleave(2)}
    mirror = torch.tensor([1.0, -1.0], dtype=torch.float64)
    found = diagnose(
        lambda d: d["pos"] * mirror, x,
        act_in=GraphMotion(nodes={"pos": Vectors(SO2())}),
        act_out=GraphMotion(nodes={"": Vectors(SO2())}, index=x["batch"]),
    )  # fmt: skip
    assert "outputs turn the other way" in [finding.cause for finding in found.findings]


def test_other_elements_keep_rows_and_masks():
    motion = GraphMotion(nodes={"v": Vectors(SO3())})
    y = {"v": draw(5, 3), "batch": torch.tensor([0, 0, 1, 1, 1])}
    g = SO3().sample(2, generator=torch.Generator().manual_seed(0))
    back = Substituted(motion, SO3().inverse)
    torch.testing.assert_close(back.move(g, motion.move(g, y))["v"], y["v"])
    assert back.items(y) == 2 and torch.equal(back.parts(y)["v"].item_of_row, y["batch"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_force_field_written_with_autograd(dtype):
    x = graphs(dtype=dtype)
    kept = copy.deepcopy(x)
    claim = {"act_in": BEFORE, "act_out": after(x)}
    sound, broken = (PairForceField(broken=b).to(dtype) for b in (False, True))
    unit = torch.finfo(dtype).eps
    good = diagnose(sound, x, samples=4, differentiates=True, **claim)
    assert good.verdict == Verdict.EQUIVARIANT and (dtype == torch.float64 or good.true)
    bad = diagnose(broken, x, samples=4, differentiates=True, **claim)
    assert bad.verdict == Verdict.NOT_EQUIVARIANT
    assert numerical_floor(sound, x, differentiates=True, **claim).value < 1e3 * unit
    local = local_equivariance_error(sound, x, **claim)
    assert local.overall.lee.max() < 1e4 * unit**2 * local.overall.scale and not local.caveats
    wrong = local_equivariance_error(broken, x, **claim)
    assert wrong.overall.lee.max() > 1e-3 * wrong.overall.scale and wrong.method == "forward"
    search = {"radius": 2.0, "draws": 3, "starts": 1, "steps": 2}
    assert worst_case(sound, x, **claim, **search).errors.max() < 1e3 * unit
    climbed = worst_case(broken, x, **claim, **search)
    assert climbed.errors.max() > climbed.drawn.max() > 0.1
    assert all(torch.equal(x[name], kept[name]) for name in x)


def test_a_force_field_needs_its_graph_said():
    x = graphs()
    with pytest.raises(ConventionError, match="differentiates=True"):
        diagnose(PairForceField(), x, act_in=BEFORE, act_out=after(x))


def test_precision_and_layers_of_a_force_field():
    class Layered(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = PairForceField(broken=True)

        def forward(self, x):
            return self.inner(x)

    x = graphs(dtype=torch.float32)
    claim = {"act_in": BEFORE, "act_out": after(x)}
    model = Layered().float()
    split = split_precision(model, x, samples=2, differentiates=True, **claim)
    assert split.true.value(output="forces") > 0.01
    for place in ({"direction": torch.eye(6)[1]}, {"element": GROUP.exp(torch.ones(1, 6))[0]}):
        blame = attribute(model, x, act_of={"inner": claim["act_out"]}, **claim, **place)
        assert blame.shares["inner"] > 0.999 and blame.residual < 1e-6


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
def test_energies_of_any_shape(shape):
    x = graphs()
    energy = lambda d: {"e": PairForceField()(d)["energy"].reshape(shape)}  # noqa: E731
    report = equivariance_error(
        energy, x, act_in=BEFORE, act_out=GraphMotion(graphs={"e": Trivial(1)}, index=x["batch"]),
        samples=2, differentiates=True,
    )  # fmt: skip
    assert report.value("worst") < 1e-13
    dense = equivariance_error(
        lambda p: p.square().sum((1, 2)), draw(4, 5, 3), act_in=Points(SO3()), act_out=Trivial(1),
        samples=2,
    )  # fmt: skip
    assert dense.value("worst") < 1e-13


@pytest.mark.parametrize("stacked", [False, True])
def test_cells_and_edges_move_as_their_vectors(stacked):
    g = GROUP.sample(2, generator=torch.Generator().manual_seed(3))
    cell, edges = draw(2, 3, 3), draw(4, 3, seed=1)
    x = {
        "cell": cell.reshape(6, 3) if stacked else cell, "edges": edges,
        "edge_index": torch.tensor([[0, 1, 2, 2], [1, 0, 3, 2]]),
        "batch": torch.tensor([0, 0, 1, 1]),
    }  # fmt: skip
    motion = GraphMotion(graphs={"cell": Vectors(GROUP, 3)}, edges={"edges": Vectors(GROUP)})
    moved = motion.move(g, x)
    turn = g[:, :3, :3]
    expected = torch.stack([torch.stack([turn[k] @ row for row in cell[k]]) for k in range(2)])
    torch.testing.assert_close(moved["cell"].reshape(2, 3, 3), expected)
    rows = torch.stack([turn[k] @ v for k, v in zip((0, 0, 1, 1), edges, strict=True)])
    torch.testing.assert_close(moved["edges"], rows)
    assert moved["cell"].shape == x["cell"].shape and motion.items(x) == 2
    one = GraphMotion(
        graphs={"cell": Vectors(GROUP, 3)}, edges={"edges": Vectors(GROUP)}, index=None
    )
    alone = one.move(g[:1], {"cell": cell[0], "edges": edges})
    torch.testing.assert_close(alone["cell"], expected[0])
    torch.testing.assert_close(alone["edges"], edges @ turn[0].T)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("group", "d"), [(SE3(), 3), (SO2(), 2), (Translation(2), 2)])
def test_cartesian_tensors_turn_by_every_index(rank, group, d):
    action = CartesianTensors(group, rank, channels=2)
    g = group.sample(4, generator=torch.Generator().manual_seed(rank))
    z = draw(4, action.dim)
    expected = z.reshape(4, 2, *(d,) * rank)
    for axis in range(2, 2 + rank):
        expected = torch.stack(
            [torch.tensordot(g[k, :d, :d], expected[k].movedim(axis - 1, 0), 1).movedim(0, axis - 1)
             for k in range(4)]
        )  # fmt: skip
    torch.testing.assert_close(action(g, z), expected.flatten(1))
    torch.testing.assert_close(action(g, z), (action.matrix(g) @ z.unsqueeze(-1)).squeeze(-1))
    assert action.orthogonal and f"rank={rank}" in repr(action)


def test_stress_of_wrong_handedness_is_caught_and_bad_ranks_refused():
    x = graphs()
    turned = lambda d: {"s": PairForceField()(d)["stress"][:, [1, 0, 2]]}  # noqa: E731
    motion = GraphMotion(graphs={"s": CartesianTensors(GROUP)}, index=x["batch"])
    report = equivariance_error(
        turned, x, act_in=BEFORE, act_out=motion, samples=2, differentiates=True
    )
    assert report.value() > 0.1
    dense = TreeMotion({"s": CartesianTensors(SO3())})
    g = SO3().exp(torch.tensor([[0.0, 0.0, 1.0]]))
    s = draw(1, 3, 3)
    turn = g[0].double()
    torch.testing.assert_close(dense.move(g, {"s": s})["s"][0], turn @ s[0] @ turn.T)
    with pytest.raises(ConventionError, match="rank"):
        CartesianTensors(SO3(), 0)


@pytest.mark.parametrize("as_property", [False, True])
def test_records_keep_their_kind(as_property):
    kind = type("Other", (Record,), {"keys": property(Record.keys)}) if as_property else Record
    x = kind(**graphs(), names=["a", "b"], nothing=None)
    before = dict(x._store)
    model = PairForceField()
    f = lambda d: Record(**model({k: getattr(d, k) for k in before}))  # noqa: E731
    found = diagnose(f, x, act_in=BEFORE, act_out=after(before), differentiates=True, samples=2)
    assert found.verdict == Verdict.EQUIVARIANT
    assert all(x._store[name] is value for name, value in before.items())
    local = local_equivariance_error(f, x, act_in=BEFORE, act_out=after(before))
    assert local.overall.lee.max() < 1e-20
    assert leaves(x)["names.1"] == "b" and type(fresh(x)) is kind


def test_records_with_attributes_and_mappings_of_other_kinds():
    class Plain:
        def __init__(self, **values):
            self.__dict__.update(values)

        keys = lambda self: list(self.__dict__)  # noqa: E731
        __getitem__ = lambda self, key: self.__dict__[key]  # noqa: E731

    class Attributes(dict):
        __getattr__ = dict.__getitem__

    for kind in (Plain, Attributes):
        x = kind(pos=torch.ones(2, 3), z=1)
        wide = widened(x)
        assert type(wide) is kind and wide.pos.dtype == torch.float64 and wide.z == 1
        assert x.pos.dtype == torch.float32

    class Shared(Record):
        __copy__ = lambda self: self  # noqa: E731

    with pytest.raises(ConventionError, match="without changing it"):
        fresh(Shared(pos=torch.ones(2)))
    assert rebuild({"a": np.ones(2)}, lambda name, leaf: name) == {"a": "a"}


def test_numpy_dictionaries_as_ase_makes_them():
    x = {
        "positions": draw(4, 3).numpy(), "numbers": np.array([1, 1, 8, 6]),
        "cell": draw(3, 3, seed=1).numpy(), "pbc": np.array([True, True, False]),
    }  # fmt: skip
    kept = copy.deepcopy(x)

    def sound(atoms):
        p, cell = atoms["positions"], atoms["cell"]
        assert isinstance(p, np.ndarray) and p.dtype == np.float64
        weights = atoms["numbers"][:, None] / atoms["numbers"].sum()
        return {"v": p - (weights * p).sum(0), "volume": abs(np.linalg.det(cell))}

    group = SE3()
    claim = {
        "act_in": GraphMotion(
            nodes={"positions": Points(group)}, graphs={"cell": Vectors(group, 3)}, index=None
        ),
        "act_out": GraphMotion(nodes={"v": Vectors(group)}, index=None),
    }
    good = diagnose(sound, x, samples=4, **claim)
    assert good.verdict == Verdict.EQUIVARIANT
    bad = diagnose(lambda a: {"v": np.abs(sound(a)["v"])}, x, samples=4, **claim)
    assert bad.verdict == Verdict.NOT_EQUIVARIANT
    local = local_equivariance_error(sound, x, **claim)
    assert local.method == "differences" and local.overall.lee.max() < 1e-18
    assert all(np.array_equal(x[name], kept[name]) for name in x)


def test_outputs_as_tuples_and_single_arrays():
    x = graphs()
    model = PairForceField()
    two = lambda d: tuple(model(d)[k] for k in ("energy", "forces"))  # noqa: E731
    motion = GraphMotion(
        graphs={"0": Trivial(1)}, nodes={"1": Vectors(GROUP)}, index=x["batch"]
    )  # fmt: skip
    report = equivariance_error(
        two, x, act_in=BEFORE, act_out=motion, samples=2, differentiates=True
    )
    assert report.value("worst", output="1") < 1e-12 and report.value(output="0") < 1e-13


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": {"shifts": Vectors(GROUP)}}, "edge_index"),
        ({"nodes": {"shifts": Vectors(GROUP)}}, "One row per node"),
        ({"graphs": {"positions": Trivial(1)}}, "One row per graph"),
        ({"nodes": {"missing": Vectors(GROUP)}}, "index=None for a single graph"),
        ({"edges": {"cells": Vectors(GROUP)}, "edge_index": "ends"}, "do not move"),
        ({"edges": {"shifts": Vectors(GROUP)}, "edge_index": torch.zeros(12, 2)}, r"\(2, edges\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    x = graphs()
    x["ends"] = x.pop("edge_index")
    x["cells"] = torch.zeros(len(x["ends"][0]), 3, dtype=torch.int64)
    with pytest.raises(ShapeError, match=message):
        GraphMotion(**change).parts(x)


def test_motions_of_plain_arrays():
    motion = as_motion(Vectors(SO3()))
    moved = motion.move(SO3().identity(), np.ones((2, 3)))
    assert isinstance(moved, np.ndarray)
