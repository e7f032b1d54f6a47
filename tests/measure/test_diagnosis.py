"""Planted faults: each must be found, named, and absent from the sound twin."""

import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from torch import nn

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import O3, SE3, SO3, Elements
from equivariant.measure import Verdict, diagnose, numerical_floor, split_precision


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def causes(diagnosis):
    return [finding.cause for finding in diagnosis.findings]


class Distances(nn.Module):
    """Invariant features of a cloud, with the usual places for faults."""

    def __init__(self, norm=False, limit=None):
        super().__init__()
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.limit = limit
        self.mix = nn.Linear(8, 4)

    def forward(self, p):
        d = torch.cdist(p, p)
        kept = d < 1.5
        if self.limit is not None:  # a sound rule keeps the nearest, a faulty one the lowest
            rank = (p[..., 2] if self.limit == "lowest" else d.sum(-1)).argsort(-1).argsort(-1)
            kept = kept & (rank < 8)[:, None]
        radial = torch.stack([torch.exp(-((d - k / 4) ** 2)) * kept for k in range(8)], -1)
        return self.mix(self.norm(radial.sum((1, 2))))


def test_batch_norm_in_training_mode():
    torch.manual_seed(0)
    model, cloud = Distances(norm=True).double(), draw(8, 12, 3)
    turned = Points(SO3())
    uncentred = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36)).double()
    model.train()
    diagnosis = diagnose(
        uncentred, cloud, act_in=turned, act_out=Trivial(36)
    )  # elements differ between items: statistics mix them
    assert diagnosis.verdict is Verdict.NOT_EQUIVARIANT
    assert causes(diagnosis)[:2] == [
        "layers are in training mode", "items of a batch influence one another",
    ]  # fmt: skip
    sound = diagnose(model.eval(), cloud, act_in=turned, act_out=Trivial(4))
    assert sound.verdict is Verdict.EQUIVARIANT and not sound.findings


def test_a_transposed_rotation():
    cloud = draw(6, 10, 3)
    frames = lambda p: p.mean(1) + 0.1 * p.pow(2).sum(-1, keepdim=True).mul(p).mean(1)  # noqa: E731
    sound = diagnose(frames, cloud, act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert sound.verdict is Verdict.EQUIVARIANT

    class Transposed(Points):
        def forward(self, g, z):
            return super().forward(g.mT, z)

    diagnosis = diagnose(frames, cloud, act_in=Transposed(SO3()), act_out=Vectors(SO3()))
    assert diagnosis.verdict is Verdict.NOT_EQUIVARIANT
    assert causes(diagnosis) == ["outputs turn the other way"]


def test_a_neighbour_limit_that_picks_other_edges():
    torch.manual_seed(0)
    cloud = draw(12, 9, 3)
    faulty, sound = Distances(limit="lowest").double(), Distances(limit="nearest").double()
    kept = diagnose(sound, cloud, act_in=Points(SO3()), act_out=Trivial(4))
    assert kept.verdict is Verdict.EQUIVARIANT
    diagnosis = diagnose(faulty, cloud, act_in=Points(SO3()), act_out=Trivial(4))
    assert diagnosis.verdict is Verdict.NOT_EQUIVARIANT
    assert causes(diagnosis) == ["the error jumps"]


def test_an_undersized_quadrature_grid():
    """e3nn's activation on a grid of the sphere: too coarse, fine, and with float32 tables."""
    irreps = o3.Irreps("1x0e + 1x1o + 1x2e")
    action, x = IrrepsAction(irreps, SO3()), draw(16, irreps.dim)
    layers = {}
    torch.set_default_dtype(torch.float64)
    try:
        for points in ((6, 5), (20, 21)):
            layers[points] = enn.S2Activation(irreps, torch.square, points, lmax_out=2)
    finally:
        torch.set_default_dtype(torch.float32)
    rounded = enn.S2Activation(irreps, torch.square, (20, 21), lmax_out=2).double()
    coarse, fine, single = (
        diagnose(layer, x, act_in=action, act_out=action)
        for layer in (layers[6, 5], layers[20, 21], rounded)
    )
    assert coarse.verdict is Verdict.NOT_EQUIVARIANT and coarse.report.value() > 0.1
    assert causes(coarse) == ["a smooth error that no precision removes"]
    assert fine.verdict is Verdict.EQUIVARIANT
    assert causes(single) == ["an error of the size of single precision, in float64"]


def test_randomness_parity_translations_invariance():
    cloud = draw(6, 10, 3)
    dropped = nn.Dropout(0.5)
    random = diagnose(dropped, cloud, act_in=Points(SO3()), act_out=Points(SO3()))
    assert random.verdict is Verdict.RANDOM and "the map is random" in causes(random)

    def chirality(p):
        a, b, c = p[:, 0] - p[:, 1], p[:, 2] - p[:, 3], p[:, 4] - p[:, 5]
        return (torch.linalg.cross(a, b) * c).sum(-1, keepdim=True)

    handed = diagnose(chirality, cloud, act_in=Points(O3()), act_out=Trivial(1))
    assert causes(handed) == ["reflections alone break it"]
    absolute = diagnose(
        lambda p: p.square().sum((1, 2))[:, None], cloud, act_in=Points(SE3()), act_out=Trivial(1)
    )
    assert causes(absolute) == ["translations alone break it"]
    still = diagnose(
        lambda p: torch.cdist(p, p)[:, 0, 1:4], cloud, act_in=Points(SO3()), act_out=Vectors(SO3())
    )
    assert "outputs hardly turn" in causes(still)
    assert "not equivariant" in str(still)


def test_questions_that_say_nothing_are_not_asked():
    """Which way an invariant output turns; small elements under a law that has none."""
    x, warpless = draw(6, 10, 3), Points(SO3())
    lopsided = diagnose(lambda p: p[..., 0].sum(1, True), x, act_in=warpless, act_out=Trivial(1))
    assert causes(lopsided) == ["a smooth error that no precision removes"]
    turns = Elements(SO3(), SO3().exp(torch.pi / 2 * torch.eye(3, dtype=torch.float64)))
    ruled = diagnose(
        lambda p: p[..., 0].sum(1, True), x, act_in=warpless, act_out=Trivial(1), law=turns
    )
    assert ruled.verdict is Verdict.NOT_EQUIVARIANT and causes(ruled) == []


def test_a_few_items_leave_it_undecided():
    x, action = draw(3, 3), Vectors(SO3())
    rare = lambda v: torch.where(v[:, :1] > 1.9, 0.0, v)  # noqa: E731
    diagnosis = diagnose(rare, x, act_in=action, act_out=action)
    assert diagnosis.verdict in (Verdict.UNDECIDED, Verdict.NOT_EQUIVARIANT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision_is_split_into_error_and_rounding(dtype):
    torch.manual_seed(0)
    sound, x = o3.Linear("4x1o", "4x1o").to(dtype), draw(20, 12, dtype=dtype)
    action = IrrepsAction("4x1o", O3())
    unit = torch.finfo(dtype).eps
    split = split_precision(sound, x, act_in=action, act_out=action)
    assert split.true.value() < 1e-12 < 0.01 * unit < split.given.value() < 10 * unit
    assert split.rounding[""].difference.low > 0
    broken = nn.Linear(12, 12).to(dtype)
    split = split_precision(broken, x, act_in=action, act_out=action)
    assert abs(split.rounding[""].difference.value) < 0.05 * split.true.value()
    with pytest.raises(ConventionError, match="float64"):
        split_precision(broken, x.double(), act_in=action, act_out=action)


class Cancelling(nn.Module):
    """Loses all but two digits in bfloat16; sound, or with wrong weights."""

    def __init__(self, wrong):
        super().__init__()
        torch.manual_seed(0)
        weight = torch.eye(12) + (0.05 * torch.randn(12, 12) if wrong else 0.0)
        self.weight = nn.Parameter(weight)

    def forward(self, v):
        return (v @ self.weight.T + 8.0) - 8.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_hides_no_error_and_invents_none(dtype):
    x, action = draw(40, 12, dtype=dtype), IrrepsAction("4x1o", O3())
    wrong, sound = (
        diagnose(Cancelling(kind).to(dtype), x, act_in=action, act_out=action)
        for kind in (True, False)
    )
    assert wrong.verdict is Verdict.NOT_EQUIVARIANT and wrong.true.low > 0.05
    assert sound.verdict is Verdict.EQUIVARIANT and sound.true.value < 1e-12
    if dtype == torch.bfloat16:  # rounding alone would allow no verdict
        assert wrong.floor.value > 0.01 and sound.report.value() > 0.01
    assert "in float64" in str(wrong)


def test_the_floor_is_the_rounding_of_the_map():
    torch.manual_seed(0)
    x, action = draw(20, 12, dtype=torch.float32), IrrepsAction("4x1o", O3())
    linear = o3.Linear("4x1o", "4x1o")
    floor = numerical_floor(linear, x, act_in=action, act_out=action)
    assert floor.reference is None
    assert 1e-7 < floor.value < 1e-5

    def cancels(v):  # loses three digits: its floor is higher
        return (v + 1000.0) - 1000.0

    worse = numerical_floor(nn.Sequential(linear), x, act_in=action, act_out=action)
    assert worse.value == floor.value
    ill = numerical_floor(
        lambda v: torch.sin(1e4 * v), x, act_in=action, act_out=action
    )  # a unit of rounding of x matters
    assert ill.value > 50 * floor.value
    assert diagnose(cancels, x, act_in=action, act_out=action).verdict is Verdict.NOT_EQUIVARIANT
