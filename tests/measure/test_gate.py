"""What is not finite, constant, written into or ill-conditioned is said and never passes."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from equivariant.actions import Points, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SE3, SO3
from equivariant.measure import (
    METRICS,
    Concern,
    FunctionMotion,
    GraphMotion,
    Verdict,
    diagnose,
    equivariance_error,
    local_equivariance_error,
    numerical_floor,
    split_precision,
    worst_case,
)
from equivariant.measure.error.state_changes import modules_behind
from equivariant.measure.error.table import compare, power_of_two, relative_error
from equivariant.report.equivariance import findings_section, lines_of
from equivariant.testing import ModelContract, assert_equivariant


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


CLOUD = draw(8, 6, 3)
CLAIM = {"act_in": Points(SO3()), "act_out": Vectors(SO3())}


def centre(p):
    return p.mean(1)


def one_item(p):
    y = centre(p).clone()
    y[3] = math.nan
    return y


def at_moved_only(p):
    """Fails where the first point is low, which is so at no input but at some elements."""
    y = centre(p).clone()
    y[p[:, 0, 2] < -1.9] = math.inf
    return y


NOT_FINITE = {
    "all NaN": (lambda p: centre(p) * math.nan, "all 8 items"),
    "all infinite": (lambda p: centre(p) * math.inf, "all 8 items"),
    "one item": (one_item, r"1 of 8 items \(3\)"),
    "one entry of all": (lambda p: centre(p) / torch.tensor([1.0, 1.0, 0.0]), "all 8 items"),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_outputs_that_are_not_finite_never_pass(name):
    f, where = NOT_FINITE[name]
    report = equivariance_error(f, CLOUD, **CLAIM, samples=4)
    assert not report.finite and report.caveats[0].concern is Concern.OUTPUT
    for metric in ("relative", "worst", "max", "emlp", "escnn", "normalized_mse", "remul_1"):
        assert math.isnan(report.value(metric)), metric
    assert math.isnan(report.estimate().low) and math.isnan(report.quantile(0.5))
    diagnosis = diagnose(f, CLOUD, **CLAIM, report=report)
    assert diagnosis.verdict is Verdict.NOT_FINITE and not diagnosis.findings
    assert "items" in lines_of([findings_section(diagnosis)])
    with pytest.raises(AssertionError, match=where):
        assert_equivariant(f, CLOUD, **CLAIM, samples=4)
    with pytest.raises(ConventionError, match=where):
        local_equivariance_error(f, CLOUD, **CLAIM)
    with pytest.raises(ConventionError, match=where):
        worst_case(f, CLOUD, **CLAIM, draws=2, starts=1, steps=1)


def test_elements_at_which_outputs_are_not_finite_are_named():
    cloud = CLOUD.clone()
    cloud[:, 0] = torch.tensor([0.0, 0.0, 2.0])
    report = equivariance_error(at_moved_only, cloud, **CLAIM)
    said = [str(caveat) for caveat in report.caveats]
    assert any("moved by the half turn 0, at all 8 items" in text for text in said)
    assert any("drawn elements" in text and "[[" in text for text in said)
    assert not report.finite
    assert float(report.worst[""][2, 2]) < -0.95  # one that turns the point down
    with pytest.raises(AssertionError, match="half turn"):
        assert_equivariant(at_moved_only, cloud, **CLAIM)


def test_inputs_that_are_not_finite_never_pass():
    x = CLOUD.clone()
    x[2, 0, 0] = math.nan
    forgiving = lambda p: p.nan_to_num().mean(1)  # noqa: E731
    assert diagnose(forgiving, x, **CLAIM).verdict is Verdict.NOT_FINITE
    with pytest.raises(AssertionError, match=r"1 of 8 items \(2\)"):
        assert_equivariant(forgiving, x, **CLAIM)
    with pytest.raises(ConventionError, match="finite inputs"):
        local_equivariance_error(forgiving, x, **CLAIM)
    padded = (CLOUD, torch.full((8, 2), -math.inf))  # a mask that is added: not moved, not asked
    masked = lambda p, m: p.mean(1) + 0 * m.exp().sum()  # noqa: E731
    assert equivariance_error(masked, padded, act_in=(Points(SO3()), None),
                              act_out=Vectors(SO3())).finite  # fmt: skip


def test_flat_graphs_name_graphs():
    batch = torch.arange(8).repeat_interleave(6)
    x = {"pos": CLOUD.flatten(0, 1), "batch": batch}
    broken = x["pos"].clone()
    broken[13] = math.nan
    f = lambda d: {"pos": d["pos"] * 1.0, "batch": d["batch"]}  # noqa: E731
    motion = GraphMotion(nodes={"pos": Points(SE3())})
    report = equivariance_error(f, {**x, "pos": broken}, act_in=motion, act_out=motion, samples=2)
    assert "1 of 8 items (2)" in str(report.caveats[0]) and not report.finite


@pytest.mark.parametrize("scale", [1e-200, 1e-300, 1e200, 1e307])
def test_norms_at_which_squares_overflow_or_underflow(scale):
    claim = {**CLAIM, "samples": 4}
    plain = lambda p: p.abs().mean(1)  # noqa: E731
    report, scaled = (
        equivariance_error(f, CLOUD, **claim) for f in (plain, lambda p: p.abs().mean(1) * scale)
    )
    for name in ("relative", "worst", "per", "emlp", "normalized_mse", "relative_to_right"):
        assert scaled.value(name) == pytest.approx(report.value(name), rel=1e-9), name
    assert scaled.value("max") == pytest.approx(scale * report.value("max"), rel=1e-9)
    assert diagnose(lambda p: p.abs().mean(1) * scale, CLOUD, **CLAIM).verdict is (
        Verdict.NOT_EQUIVARIANT
    )
    sound = diagnose(lambda p: centre(p) * scale, CLOUD, **CLAIM)
    assert sound.verdict is Verdict.EQUIVARIANT


def test_scaled_norms_are_numpys():
    a, b = draw(5, 3, 2), draw(5, 3, 2, seed=1)
    a[4] = b[4] = 0.0
    rows = torch.tensor([0, 0, 1, 2, 3])
    for scale in (1.0, 1e-180, 1e180):
        numbers = compare(scale * a, scale * b, mask=None, item_of_row=rows, items=4)
        for item in range(4):
            left, right = (z[rows == item].numpy() for z in (a, b))
            gap, both = np.linalg.norm(left - right), np.linalg.norm(left) + np.linalg.norm(right)
            expected = 2 * gap / both if both else 0.0
            assert float(relative_error(numbers)[item]) == pytest.approx(expected, rel=1e-12)
            assert float(numbers["gap"][item]) == pytest.approx(scale * gap, rel=1e-12)
    sizes = torch.tensor([0.0, 1.0, 1.5, 5e-324, 1.7e308, math.nan, math.inf], dtype=torch.float64)
    assert power_of_two(sizes).tolist() == [1.0, 1.0, 1.0, 5e-324, 2.0**1023, 1.0, 1.0]


def test_constant_outputs_get_a_word():
    zero = diagnose(lambda p: 0 * centre(p), CLOUD, **CLAIM)
    assert [c.concern for c in zero.caveats] == [Concern.CONSTANT]
    with pytest.warns(UserWarning, match="zero for all items"):
        assert_equivariant(lambda p: 0 * centre(p), CLOUD, **CLAIM)
    invariant = {"act_in": Points(SO3()), "act_out": Trivial(1)}
    fixed = lambda p: 0 * p.sum((1, 2))[:, None] + 2.5  # noqa: E731
    assert "ignores the input" in str(equivariance_error(fixed, CLOUD, **invariant).caveats[0])
    norms = lambda p: p.square().sum((1, 2))[:, None]  # noqa: E731
    assert not equivariance_error(norms, CLOUD, **invariant).caveats
    # the same input eight times says nothing about the map
    assert not equivariance_error(norms, CLOUD[:1].expand(8, 6, 3), **invariant).caveats
    # and an equivariant map may give all items the same
    same = lambda p: (p[:, 1] - p[:, 0]) / (p[:, 1] - p[:, 0]).norm(dim=1, keepdim=True)  # noqa: E731
    poles = CLOUD.clone()
    poles[:, 1] = poles[:, 0] + torch.tensor([0.0, 0.0, 1.0])
    assert not equivariance_error(same, poles, **CLAIM).caveats


def centring(p):
    p -= p.mean(1, keepdim=True)
    return p[:, 0] * 1.0


def test_inputs_that_a_map_writes_into_stay_as_they_were():
    x = draw(4, 5, 3)
    before = x.clone()
    diagnosis = diagnose(centring, x, act_in=Points(SE3()), act_out=Vectors(SE3()))
    assert torch.equal(x, before)
    assert diagnosis.verdict is Verdict.EQUIVARIANT and not diagnosis.findings
    assert [c.concern for c in diagnosis.caveats] == [Concern.ALTERED]
    with pytest.warns(UserWarning, match="writes into x"):
        assert_equivariant(centring, x, act_in=Points(SE3()), act_out=Vectors(SE3()))
    local_equivariance_error(centring, x, act_in=Points(SE3()), act_out=Vectors(SE3()))
    numerical_floor(centring, x, act_in=Points(SE3()), act_out=Vectors(SE3()))
    assert torch.equal(x, before)

    def tree(d):
        d["charge"].mul_(2)
        return d["pos"].mean(1) * 1.0

    given = {"pos": x, "charge": torch.ones(4)}
    report = equivariance_error(
        tree, given, act_in={"pos": Points(SO3())}, act_out=Vectors(SO3()), samples=2
    )
    assert "'charge'" in str(report.caveats[0]) and bool((given["charge"] == 1).all())
    still = FunctionMotion(lambda g, z: z, SO3())  # hands on the very tensor it gets
    equivariance_error(centring, x, act_in=still, act_out=still, samples=2)
    assert torch.equal(x, before)


def test_statistics_that_change_are_said_and_put_back():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(18)).double()
    x, claim = draw(8, 6, 3), {"act_in": Points(SO3()), "act_out": Trivial(18)}
    norm, wrapped = model[1], lambda p: model(p)
    for measure in (equivariance_error, diagnose):
        for f in (model, wrapped, model.forward):
            found = measure(f, x, **claim)
            assert Concern.STATE in [c.concern for c in found.caveats], f
            assert bool((norm.running_mean == 0).all()) and int(norm.num_batches_tracked) == 0
    model.eval()
    assert not equivariance_error(model, x, **claim).caveats
    numerical_floor(model.train(), x, **claim)
    split_precision(model.float(), x.float(), **claim, samples=2)
    assert int(norm.num_batches_tracked) == 0


def test_modules_are_found_behind_functions():
    model = nn.Linear(2, 2)

    class Held:
        def __init__(self):
            self.net = model

        def __call__(self, x):
            return self.net(x)

        def run(self, x, net=model):
            return net(x)

    for f in (model, model.forward, lambda x: model(x), partial(model), Held(), Held().run):
        assert modules_behind(f) == [model], f
    assert modules_behind(torch.sin) == []


def lattice():
    """Points of a cubic lattice: many neighbours at one distance."""
    axis = torch.arange(3.0, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis, axis)[None].repeat(3, 1, 1)


def nearest(p, k=4):
    """A sum over the k nearest neighbours of each point, in a frame-free way."""
    d = torch.cdist(p, p, compute_mode="donot_use_mm_for_euclid_dist")
    away = p[:, None] - p[:, :, None]
    index = d.topk(k + 1, largest=False).indices[..., 1:]
    return torch.take_along_dim(away, index[..., None], 2).sum(2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ties_and_cancelling_sums_are_left_undecided(dtype):
    points = Points(SO3())
    tied = diagnose(nearest, lattice().to(dtype), act_in=points, act_out=points)
    assert tied.floor.rounding > 1e-2
    assert tied.verdict is Verdict.ROUNDING
    sound = diagnose(nearest, draw(3, 27, 3, dtype=dtype), act_in=points, act_out=points)
    assert sound.verdict is Verdict.EQUIVARIANT

    def total_force(p):
        away = p[:, None] - p[:, :, None]
        return (away * torch.exp(-away.square().sum(-1, keepdim=True))).sum((1, 2))

    total = diagnose(total_force, draw(6, 9, 3, dtype=dtype), **CLAIM)
    assert total.verdict is Verdict.ROUNDING
    assert Concern.CANCELLATION in [c.concern for c in total.caveats]

    class Sum(nn.Module):
        def forward(self, p):
            return total_force(p)

    assert diagnose(Sum(), draw(6, 9, 3, dtype=dtype), **CLAIM).verdict is Verdict.ROUNDING


def test_one_hopeless_output_does_not_hide_another():
    def both(p):
        away = p[:, None] - p[:, :, None]
        return {"total": away.sum((1, 2)), "mean": p.mean(1) + 1e-4 * p.abs().mean(1)}

    out = {"total": Vectors(SO3()), "mean": Vectors(SO3())}
    found = diagnose(both, CLOUD, act_in=Points(SO3()), act_out=out)
    assert found.verdict is Verdict.NOT_EQUIVARIANT and found.output == "mean"


class Sound(ModelContract):
    act_in, act_out = Points(SO3()), Vectors(SO3())

    def build(self):
        return centre

    def inputs(self, items, generator):
        return torch.randn(items, 6, 3, generator=generator, dtype=torch.float64)


class TestSound(Sound):
    pass


@pytest.mark.parametrize(
    ("f", "test"),
    [
        (lambda p: centre(p) * math.nan, "test_equivariance_in_float64"),
        (lambda p: centre(p) * math.nan, "test_items_do_not_see_one_another"),
        (lambda p: centre(p) * math.inf, "test_two_evaluations_agree"),
        (centring, "test_inputs_are_left_alone"),
        (nn.BatchNorm1d(6), "test_buffers_are_left_alone"),
    ],
)
def test_the_contract_refuses(f, test):
    contract = Sound()
    contract.build = lambda: f
    if isinstance(f, nn.Module):  # a model that insists on training
        f.eval = lambda: f
    with pytest.raises(AssertionError):
        getattr(contract, test)()


def test_every_metric_of_nothing_finite_is_not_a_number():
    report = equivariance_error(
        lambda p: centre(p) * math.nan, CLOUD, act_in=Points(SO3()), act_out=Trivial(3),
        logits=True, orbit_variance=True,
    )  # fmt: skip
    for name in METRICS:
        assert math.isnan(report.value(name)), name
