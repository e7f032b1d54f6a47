"""A fault at half turns alone is seen under every group that has them, and under laws."""

import pytest
import torch

from equivariant.actions import Points, Vectors
from equivariant.groups import (
    GL,
    O3,
    SE3,
    SO3,
    BallSampler,
    Elements,
    NormalSampler,
    Permutation,
    Product,
)
from equivariant.measure import FunctionMotion, Verdict, diagnose, equivariance_error
from equivariant.testing import assert_equivariant


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def frames(items=4):
    """Clouds that begin with the standard frame about a corner."""
    corner = torch.eye(3, dtype=torch.float64).expand(items, 3, 3)
    return torch.cat([torch.zeros(items, 1, 3).double(), corner, draw(items, 2, 3)], 1)


def blunt_log(r):
    """θ/(2 sin θ) (R - Rᵀ): zero at a half turn, as in some libraries."""
    v = torch.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
                     r[..., 1, 0] - r[..., 0, 1]], -1) / 2  # fmt: skip
    s, c = v.norm(dim=-1, keepdim=True), ((r.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)[..., None]
    angle = torch.atan2(s, c)
    return torch.where(s < 1e-6, torch.zeros_like(v), angle / s.clamp(min=1e-12) * v)


def through(log):
    """The first axis of the frame, read through its rotation vector."""
    return lambda p: SO3().exp(log((p[:, 1:4] - p[:, :1]).mT))[:, :, 0]


@pytest.mark.parametrize("group", [SO3(), SE3(), O3()])
def test_a_logarithm_that_fails_at_half_turns(group):
    x, claim = frames(), {"act_in": Points(group), "act_out": Vectors(group)}
    if group == O3():  # a map of proper frames: mirrors are no frames, half turns count
        claim["law"] = NormalSampler(O3(), 1.0)
    sound = diagnose(through(SO3().log), x, **claim)
    assert sound.verdict is Verdict.EQUIVARIANT and not sound.findings
    broken = diagnose(through(blunt_log), x, **claim)
    assert broken.verdict is Verdict.NOT_EQUIVARIANT
    assert [f.cause for f in broken.findings] == ["a half turn is worse than all else"]
    with pytest.raises(AssertionError, match="half turn"):
        assert_equivariant(through(blunt_log), x, **claim)


def test_every_factor_of_a_product_turns_half_round():
    group = Product(SO3(), SO3())
    x = frames()

    def moved(g, pair):
        first, second = group.split(g)
        return tuple(p @ r.mT for p, r in zip(pair, (first, second), strict=True))

    motion = FunctionMotion(moved, group)
    out = FunctionMotion(lambda g, y: y @ group.split(g)[1].mT, group)
    for log, verdict in ((SO3().log, Verdict.EQUIVARIANT), (blunt_log, Verdict.NOT_EQUIVARIANT)):
        second = through(log)
        found = diagnose(lambda a, b, f=second: f(b), (x, x), act_in=motion, act_out=out)
        assert found.verdict is verdict
    assert found.report.special["half turn 1 of factor 1"][""] > 1.0
    assert found.report.special["half turn 1 of factor 0"][""] < 1e-12


def test_a_law_of_ones_own_is_no_hiding_place():
    x, claim = frames(), {"act_in": Points(SE3()), "act_out": Vectors(SE3())}
    wide = diagnose(through(blunt_log), x, **claim, law=NormalSampler(SE3(), 0.5))
    assert wide.verdict is Verdict.NOT_EQUIVARIANT
    # laws that hold no half turn are about other elements
    near = diagnose(through(blunt_log), x, **claim, law=BallSampler(SE3(), 1.0))
    assert near.verdict is Verdict.EQUIVARIANT
    thirds = SO3().exp(torch.tensor([[0.0, 0.0, 2 * torch.pi / 3]], dtype=torch.float64))
    claim = {"act_in": Points(SO3()), "act_out": Vectors(SO3())}
    few = diagnose(through(blunt_log), x, **claim, law=Elements(SO3(), thirds))
    assert few.verdict is Verdict.EQUIVARIANT


def test_other_groups_name_their_own():
    plane = draw(5, 6, 2)
    linear = FunctionMotion(lambda g, p: p @ g.mT, GL(2))
    report = equivariance_error(lambda p: p.mean(1), plane, act_in=linear, act_out=linear)
    assert list(report.special) == ["identity", "half turn 01"]
    rows = FunctionMotion(lambda g, p: g @ p, Permutation(6))
    still = FunctionMotion(lambda g, y: y, Permutation(6))
    swapped = diagnose(lambda p: p[:, 0] - p[:, 1], plane, act_in=rows, act_out=still)
    assert swapped.report.special["swap"][""] == pytest.approx(2.0)


def test_special_elements_are_looked_at_in_every_batch():
    """Only the last batch holds the frames at which the logarithm fails."""
    other = frames() @ SO3().exp(torch.tensor([0.3, 0.2, 0.1]).double()).mT
    claim = {"act_in": Points(SO3()), "act_out": Vectors(SO3())}
    whole = equivariance_error(through(blunt_log), iter([other, frames()]), **claim, samples=4)
    assert max(found[""] for found in whole.special.values()) > 1.0
    alone = equivariance_error(through(blunt_log), other, **claim, samples=4)
    assert max(found[""] for found in alone.special.values()) < 1e-12
