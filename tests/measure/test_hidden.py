"""Derivatives that forward mode loses without a word: noticed, named, and found otherwise."""

import numpy as np
import pytest
import torch
from force_fields import PairForceField, graphs
from torch import nn

from equivariant.actions import Points, Trivial, Vectors
from equivariant.groups import SE3, SO3
from equivariant.measure import (
    GraphMotion,
    discover_symmetries,
    local_equivariance_error,
    worst_case,
)
from equivariant.measure.error.caveats import Concern
from equivariant.measure.local.hidden_steps import hiding_steps


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


HIDING = {
    "detach": lambda f: lambda x: f(x.detach()),
    "NumPy": lambda f: lambda x: f(torch.from_numpy(np.array(x.numpy()))),
    "inference mode": torch.inference_mode(),
    "data": lambda f: lambda x: f(x.data),
    "tolist": lambda f: lambda x: f(torch.tensor(x.tolist(), dtype=x.dtype)),
}


@pytest.mark.parametrize("step", HIDING)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_hidden_inputs_are_named_and_measured_all_the_same(step, dtype):
    claim = {"act_in": Points(SO3()), "act_out": Vectors(SO3())}
    cloud = draw(4, 5, 3).to(dtype)
    sound = lambda p: p.mean(1) * p.square().sum((1, 2))[:, None]  # noqa: E731
    hidden = local_equivariance_error(HIDING[step](sound), cloud, **claim)
    unit = torch.finfo(dtype).eps ** 0.8  # of differences
    assert hidden.overall.lee.max() < (30 * unit) ** 2 * hidden.overall.scale
    assert hidden.method == "differences" and hidden.disagreement > 0.9
    (caveat,) = hidden.caveats
    assert caveat.concern == Concern.HIDDEN and step in caveat.text and "100 %" in str(hidden)
    assert len(discover_symmetries(hidden).eigenvalues) == 3

    broken = lambda p: (0.1 * p).mean(1).sin() + p.mean(1) / 9  # noqa: E731
    honest = local_equivariance_error(broken, cloud, **claim)
    found = local_equivariance_error(HIDING[step](broken), cloud, **claim)
    torch.testing.assert_close(found.overall.gram, honest.overall.gram, rtol=1e-3, atol=1e-3)
    assert not honest.caveats and honest.method == "forward" and found.caveats


def test_half_of_a_derivative():
    x = draw(6, 3)
    claim = {"act_in": Vectors(SO3()), "act_out": Vectors(SO3())}
    half = local_equivariance_error(lambda x: x + 0.01 * x.detach(), x, **claim)
    assert half.method == "differences" and "1 %" in str(half)
    assert half.overall.lee.max() < 1e-20
    asked = local_equivariance_error(torch.Tensor.detach, x, method="differences", **claim)
    assert asked.method == "differences" and not asked.caveats


def test_frozen_weights_and_invariant_maps_raise_no_alarm():
    x, layer = draw(6, 3), nn.Linear(3, 3, dtype=torch.float64)
    claim = {"act_in": Vectors(SO3()), "act_out": Vectors(SO3())}
    f = lambda x: x * layer.weight.detach().norm()  # noqa: E731
    assert not local_equivariance_error(f, x, **claim).caveats
    frozen = local_equivariance_error(torch.no_grad()(torch.sin), x, **claim)
    assert not frozen.caveats and frozen.overall.lee.min() > 0
    claim["act_out"] = Trivial(1)
    lengths = lambda x: x.detach().norm(dim=1)  # noqa: E731
    assert not local_equivariance_error(lengths, x, **claim).caveats


def test_jumps_and_randomness_are_no_derivative():
    x = draw(6, 3)
    claim = {"act_in": Vectors(SO3()), "act_out": Vectors(SO3())}
    generator = torch.Generator().manual_seed(0)
    noise = lambda x: x + torch.randn(x.shape, generator=generator, dtype=x.dtype)  # noqa: E731
    report = local_equivariance_error(noise, x, **claim)
    assert [c.concern for c in report.caveats] == [Concern.ROUGH]
    assert report.method == "forward"


def test_a_force_field_that_detaches():
    x, group = graphs(), SE3()
    claim = {
        "act_in": GraphMotion(nodes={"positions": Points(group)}, edges={"shifts": Vectors(group)}),
        "act_out": GraphMotion(nodes={"forces": Vectors(group)}, index=x["batch"]),
    }
    sound = local_equivariance_error(PairForceField(detach=True), x, **claim)
    assert sound.overall.lee.max() < 1e-18 and "detach" in str(sound.caveats[0])
    honest = local_equivariance_error(PairForceField(broken=True), x, **claim)
    found = local_equivariance_error(PairForceField(broken=True, detach=True), x, **claim)
    torch.testing.assert_close(found.overall.gram, honest.overall.gram, rtol=1e-6, atol=1e-8)


def test_the_worst_case_climbs_without_forward_mode():
    x = draw(4, 3)
    claim = {"act_in": Vectors(SO3()), "act_out": Vectors(SO3())}
    search = {"draws": 4, "starts": 1, "steps": 6}
    hidden = worst_case(lambda x: x.detach().abs(), x, **claim, **search)
    honest = worst_case(torch.abs, x, **claim, **search)
    torch.testing.assert_close(hidden.errors, honest.errors, rtol=1e-6, atol=1e-9)
    assert (hidden.method, honest.method) == ("differences", "forward")
    assert hidden.errors.max() > hidden.drawn.max()


def test_steps_of_a_map():
    f = lambda x: torch.tensor([x.sum().item()]) + torch.as_tensor(np.asarray(x))  # noqa: E731
    assert hiding_steps(f, torch.ones(2)) == ("NumPy", "item")
    assert hiding_steps(torch.sin, torch.ones(2)) == ()
