"""The meter on maps whose error is known, in every structure that it accepts."""

import gc
import json
import math

import numpy as np
import pytest
import torch
from e3nn import o3
from e3nn.o3 import spherical_harmonics
from e3nn.util.test import equivariance_error as e3nn_equivariance_error
from torch import nn

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SE3, SO2, SO3, Sampler, Weighted
from equivariant.measure import (
    METRICS,
    FunctionMotion,
    GraphMotion,
    TreeMotion,
    equivariance_error,
)
from equivariant.testing import assert_equivariant

ZERO = 1e-12  # the floor of float64 for the small maps here


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


class Recorded(Sampler):
    """A law that keeps what was drawn, sample by sample."""

    def __init__(self, group):
        self.group, self.drawn = group, []

    def draw(self, *batch, generator):
        elements = self.group.sample(*batch, generator=generator)
        self.drawn.append(elements)
        return Weighted(elements, torch.ones(batch, dtype=torch.float64))


def test_known_maps_are_exact():
    cloud = draw(3, 20, 3)
    points = Points(SO3())
    report = assert_equivariant(
        lambda p: p.mean(1, keepdim=True), cloud, act_in=points, act_out=points
    )
    assert list(report.special) == ["identity", *(f"half turn {k}" for k in range(3))]
    assert report.special["identity"][""] == 0.0
    invariant = lambda p: torch.cdist(p, p).flatten(1)  # noqa: E731
    assert_equivariant(invariant, cloud, act_in=points, act_out=Trivial(400), tolerance=1e-6)

    def quadrupole(v):  # the traceless square of a vector
        return torch.cat([v, spherical_harmonics(2, v, normalize=False)], -1)

    report = assert_equivariant(
        quadrupole, draw(6, 3), act_in=Vectors(O3()), act_out=IrrepsAction("1x1o + 1x2e", O3())
    )
    assert "inversion" in report.special


def test_closed_form_of_a_linear_map_draw_by_draw():
    """For f(x) = W x the two ways differ by (W R - R W) x exactly."""
    w, x = draw(3, 3), draw(4, 3, seed=1)
    law, action = Recorded(SO3()), Vectors(SO3())
    report = equivariance_error(
        lambda v: v @ w.T, x, act_in=action, act_out=action, samples=5, law=law
    )
    for i in range(4):
        for s in range(5):
            g = law.drawn[i][s]
            left, right = w @ g @ x[i], g @ w @ x[i]
            expected = (left - right).norm() / right.norm()
            found = report.errors("relative_to_right")[i, s]
            torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-10)
            torch.testing.assert_close(
                report.radius[i, s], SO3().distance(SO3().identity(), g), atol=1e-12, rtol=0
            )


def test_closed_form_of_the_mean_square():
    """Haar g and isotropic x: E|e|² = 2 |W - PW|², where PW = tr(W)/3 is the Schur projection."""
    w, x = draw(3, 3) + torch.eye(3), draw(4000, 3, seed=1)
    action = Vectors(SO3())
    report = equivariance_error(lambda v: v @ w.T, x, act_in=action, act_out=action, samples=8)
    mean = report.table().difference.mean(1)
    expected = 2 * (w - w.trace() / 3 * torch.eye(3)).square().sum()
    assert abs(mean.mean() - expected) < 4 * mean.std() / math.sqrt(len(mean))
    wrong = 2 * w.square().sum()
    assert abs(mean.mean() - wrong) > 4 * mean.std() / math.sqrt(len(mean))


def test_agrees_with_e3nn_about_its_modules():
    torch.manual_seed(0)
    linear = o3.Linear("4x0e + 3x1o + 2x2e", "2x0e + 5x1o + 1x2e").double()
    broken = nn.Linear(linear.irreps_in.dim, linear.irreps_out.dim, bias=False).double()
    x = draw(1, linear.irreps_in.dim)
    act_in, act_out = (IrrepsAction(i, O3()) for i in (linear.irreps_in, linear.irreps_out))
    for module, exact in ((linear, True), (broken, False)):
        theirs = e3nn_equivariance_error(
            module, args_in=[x], irreps_in=[linear.irreps_in], irreps_out=[linear.irreps_out],
            ntrials=20, do_translation=False,
        )  # fmt: skip
        largest = max(float(value.max()) for value in theirs.values())
        report = equivariance_error(
            module, x, act_in=act_in, act_out=act_out, samples=40, generator=source()
        )
        assert (largest < 1e-9) == (report.value("e3nn") < 1e-9) == exact
        if not exact:  # the largest of forty draws of the same law, twice
            assert 0.5 < report.value("e3nn") / largest < 2


def test_trees_functions_and_flat_graphs_are_one_measurement():
    """A molecule as a tree, by a function, and as flat nodes gives the same numbers."""
    x, species = draw(4, 5, 3), torch.arange(20).reshape(4, 5) % 3
    charge = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    law = {name: Recorded(SE3()) for name in ("tree", "graph")}
    points = Points(SE3())

    def energy_and_forces(positions, kinds):
        d = (positions[:, :, None] - positions[:, None]) + 1e-3  # a planted fault
        q = charge[kinds]
        pull = torch.exp(-d.square().sum(-1)) * (q[:, :, None] * q[:, None])
        return {"energy": pull.sum((1, 2))[:, None], "forces": (pull[..., None] * d).sum(2)}

    def flat(data):
        out = energy_and_forces(data["pos"].reshape(4, 5, 3), data["z"].reshape(4, 5))
        return {"energy": out["energy"], "forces": out["forces"].flatten(0, 1),
                "batch": data["batch"]}  # fmt: skip

    tree = equivariance_error(
        energy_and_forces, (x, species), act_in=(points, None),
        act_out={"energy": Trivial(1), "forces": Vectors(SE3())}, law=law["tree"], samples=6,
    )  # fmt: skip
    batch = torch.arange(4).repeat_interleave(5)
    graph = equivariance_error(
        flat, {"pos": x.flatten(0, 1), "z": species.flatten(), "batch": batch},
        act_in=GraphMotion(nodes={"pos": points}),
        act_out=GraphMotion(nodes={"forces": Vectors(SE3())}, graphs={"energy": Trivial(1)}),
        law=law["graph"], samples=6,
    )  # fmt: skip
    for output in ("energy", "forces"):
        for name in ("relative", "max", "absolute", "escnn", "remul_1"):
            torch.testing.assert_close(
                METRICS[name].values(tree.table(output)),
                METRICS[name].values(graph.table(output)), atol=1e-12, rtol=1e-9,
            )  # fmt: skip
    assert tree.value(output="forces") > 1e-4
    with pytest.raises(ConventionError, match="outputs"):
        tree.value()


def test_functions_move_what_has_no_action():
    x = draw(6, 2)
    turn = FunctionMotion(lambda g, z: z @ g.mT, SO2())
    report = equivariance_error(
        lambda z: z * z.norm(dim=-1, keepdim=True), x, act_in=turn, act_out=turn
    )
    assert report.table().crossed and report.value("worst") < ZERO
    # in a plain function the group must be named
    with pytest.raises(ConventionError, match="group"):
        equivariance_error(torch.sin, x, act_in=lambda g, z: z, act_out=lambda g, z: z)


def test_batches_do_not_change_the_numbers():
    x, action = draw(12, 3), Vectors(SO3())
    options = {"act_in": action, "act_out": action, "samples": 5}
    whole = equivariance_error(torch.sin, x, **options, generator=source(3))
    parts = equivariance_error(torch.sin, iter(x.split(5)), **options, generator=source(3))
    again = equivariance_error(torch.sin, x, **options, generator=source(3))
    other = equivariance_error(torch.sin, x, **options, generator=source(4))
    for name in ("relative", "normalized_mse", "remul_1"):
        one, many = (METRICS[name].values(r.table()) for r in (whole, parts))
        torch.testing.assert_close(one, many, atol=1e-13, rtol=1e-12)
    assert torch.equal(whole.errors(), again.errors())
    assert not torch.equal(whole.errors(), other.errors())
    prefix = equivariance_error(
        torch.sin, x, act_in=action, act_out=action, samples=3, generator=source(3)
    )
    assert torch.equal(prefix.errors(), whole.errors()[:, :3])


def test_a_target_stops_early_and_only_when_it_is_met():
    x, action = draw(200, 3), Vectors(SO3())
    loose = equivariance_error(
        torch.sin, x, act_in=action, act_out=action, samples=512, target=0.07
    )
    assert loose.errors().shape[1] < 512 and loose.estimate().half_width < 0.07
    tight = equivariance_error(torch.sin, x, act_in=action, act_out=action, samples=16, target=1e-9)
    assert tight.errors().shape[1] == 16 and tight.looks > 1
    stream = (draw(20, 3, seed=k) for k in range(1000))
    many = equivariance_error(
        torch.sin, stream, act_in=action, act_out=action, samples=4, target=0.03
    )
    assert 20 < many.errors().shape[0] < 20_000 and many.estimate().half_width < 0.03


def test_random_maps_are_found_out():
    cloud, points = draw(2, 10, 3), Points(SE3())
    noisy = nn.Dropout(0.5)
    report = equivariance_error(noisy, cloud, act_in=points, act_out=points)
    assert report.repeat[""] > 0.1
    with pytest.raises(AssertionError, match="deterministic"):
        assert_equivariant(noisy, cloud, act_in=points, act_out=points)


def test_broken_maps_and_wrong_calls_are_refused():
    cloud, points = draw(2, 10, 3), Points(SE3())
    shifted = lambda p: p.mean(1, keepdim=True)  # noqa: E731
    assert_equivariant(shifted, cloud, act_in=points, act_out=points)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(torch.sin, cloud, act_in=points, act_out=points)
    with pytest.raises(AssertionError, match="not equivariant"):  # a transposed rotation
        assert_equivariant(
            shifted, cloud, act_in=points, group=SE3(),
            act_out=FunctionMotion(
                lambda g, p: points(SE3().inverse(g), p), SE3(), batched=True
            ),
        )  # fmt: skip
    with pytest.raises(ConventionError, match="one group"):
        equivariance_error(shifted, cloud, act_in=points, act_out=Points(SO3()))
    with pytest.raises(ShapeError, match="vectors"):
        equivariance_error(shifted, cloud, act_in=points, act_out=Trivial(5))
    with pytest.raises(ShapeError, match="batch axis"):
        equivariance_error(shifted, cloud[0], act_in=points, act_out=points)
    with pytest.raises(ShapeError, match="at least one item"):
        equivariance_error(shifted, cloud[:0], act_in=points, act_out=points)
    with pytest.raises(ShapeError, match="at least one batch"):
        equivariance_error(shifted, iter([]), act_in=points, act_out=points)
    with pytest.raises(ConventionError, match="samples"):
        equivariance_error(shifted, cloud, act_in=points, act_out=points, samples=0)
    with pytest.raises(ConventionError, match="actions"):
        TreeMotion((None, None))
    zero = equivariance_error(lambda p: 0 * p[:, 0], cloud, act_in=points, act_out=Vectors(SE3()))
    assert zero.value("worst") == 0.0 == zero.value("absolute")


def test_one_item_speaks_for_itself_only():
    x, action = draw(1, 3), Vectors(SO3())
    report = equivariance_error(torch.sin, x, act_in=action, act_out=action, samples=50)
    estimate = report.estimate()
    assert estimate.conditional and estimate.low < estimate.value < estimate.high
    assert math.isnan(report.value("normalized_mse"))


def test_gradients_inside_the_map_need_one_word():
    """Forces as gradients of an energy."""
    x, points = draw(3, 4, 3), Points(SE3())

    def forces(p):
        p = p.detach().requires_grad_()
        energy = torch.pdist(p[0]).sum() + torch.pdist(p[1]).sum() + torch.pdist(p[2]).sum()
        return -torch.autograd.grad(energy, p)[0]

    report = equivariance_error(
        forces, x, act_in=points, act_out=Vectors(SE3()), differentiates=True, samples=4
    )
    assert report.value("worst") < ZERO


@pytest.mark.exhaustive
def test_nothing_is_kept_of_outputs():
    """The tensors alive while the map runs do not grow with the number of elements."""
    x, action, alive = draw(8, 3), Vectors(SO3()), []

    def big(v):
        found = [t for t in gc.get_objects() if type(t) is torch.Tensor]
        alive.append(sum(t.numel() for t in found if t.numel() > 5000))
        return v.repeat(1, 3000).sin()

    wide = Vectors(SO3(), channels=3000)
    equivariance_error(big, x, act_in=action, act_out=wide, samples=10)
    assert alive[-1] <= alive[7]  # after the second drawn element
    kept = []

    def hoarding(v):
        kept.append(big(v))
        return kept[-1]

    alive.clear()
    equivariance_error(hoarding, x, act_in=action, act_out=wide, samples=10)
    assert alive[-1] > alive[7]


def test_curves_rise_from_the_identity():
    x, action = draw(64, 3), Vectors(SO3())
    report = equivariance_error(torch.sin, x, act_in=action, act_out=action, samples=32)
    curve = report.curve(bins=4)
    assert curve is not None and len(curve.radius) == 4
    assert np.all(np.diff(curve.radius) > 0)
    assert curve.estimates[0].value < curve.estimates[-1].value
    assert all(e.low <= e.value <= e.high for e in curve.estimates)


def test_paired_comparison_sees_what_two_intervals_do_not():
    x, action = draw(40, 3), Vectors(SO3())
    slightly_worse = lambda v: torch.sin(1.02 * v)  # noqa: E731
    options = {"act_in": action, "act_out": action, "samples": 8}
    a = equivariance_error(torch.sin, x, **options)
    b = equivariance_error(slightly_worse, x, **options)
    first, second = a.estimate(), b.estimate()
    assert first.high > second.low  # the two intervals overlap
    compared = b.compare(a)
    assert compared.p_value < 1e-3 and compared.difference.low > 0 and compared.ratio > 1
    assert a.compare(a).p_value == 1.0
    with pytest.raises(ConventionError, match="same"):
        a.compare(equivariance_error(torch.sin, x, **options, generator=source(9)))


def test_reports_are_written_whole(tmp_path):
    x, action = draw(5, 3), Vectors(SO3())
    report = equivariance_error(
        torch.sin, x, act_in=action, act_out=action, samples=6, orbit_variance=True
    )
    report.save(tmp_path / "equivariance.json")
    read = json.loads((tmp_path / "equivariance.json").read_text())
    numbers = read["outputs"]["output"]["metrics"]
    assert set(METRICS) - set(numbers) == {
        "flip_rate", "label_consistency", "kl", "total_variation", "margin_change",
    }  # fmt: skip
    assert numbers["relative"]["value"] == pytest.approx(report.value())
    assert read["calls"] == 1 + 1 + 4 + 6
    assert "relative" in str(report)
