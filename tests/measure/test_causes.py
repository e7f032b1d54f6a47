"""Planted faults by size, dtype and motion: the cause that is named, and those that are not."""

import math

import pytest
import torch
from torch import nn

from equivariant.actions import Points, Trivial, Vectors
from equivariant.groups import O3, SE3, SO3, NormalSampler, Product, Translation
from equivariant.measure import FunctionMotion, GraphMotion, Verdict, diagnose

SMOOTH = {
    "a smooth error that no precision removes",
    "an error within one rounding of bfloat16, in float64",
}
JUMPS, HALF_TURN = "the error jumps", "a half turn is worse than all else"


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def causes(diagnosis):
    return [finding.cause for finding in diagnosis.findings]


def smooth(q):
    """A vector that always points up."""
    return q.square().sum(-1).mean(1, keepdim=True) * torch.tensor([0.0, 0.0, 1.0]).to(q)


def kinked(q):
    return q.abs().mean(1)


def hard(q):
    """The highest point: another one after some turns."""
    return torch.take_along_dim(q, q[..., 2].argmax(1)[:, None, None], 1)[:, 0]


def mirrored(q):
    return torch.linalg.cross(q[:, 0].double(), q[:, 1].double()).to(q)


class Planted(nn.Module):
    """A sound map of a cloud plus a fault of a given size."""

    def __init__(self, fault, size, centred=True):
        super().__init__()
        self.fault, self.size, self.centred = fault, size, centred
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, p):
        q = p - p.mean(1, keepdim=True)
        sound = (q * q.square().sum(-1, keepdim=True)).mean(1)
        return self.weight * sound + self.size * self.fault(q if self.centred else p)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize(("fault", "known"), [(smooth, SMOOTH), (kinked, SMOOTH), (hard, {JUMPS})])
def test_smooth_breaks_and_jumps_are_told_apart(fault, known, size, dtype):
    model, x = Planted(fault, size).to(dtype), draw(6, 6, 3, dtype=dtype)
    found = diagnose(model, x, act_in=Points(SO3()), act_out=Vectors(SO3()), samples=6)
    assert found.verdict is Verdict.NOT_EQUIVARIANT
    assert set(causes(found)) <= known and causes(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-1, 1e-4])
def test_functions_in_low_precision_name_no_jump_that_they_cannot_see(dtype, size):
    x = draw(6, 6, 3, dtype=dtype)
    model = Planted(smooth, size).to(dtype)
    found = diagnose(lambda p: model(p), x, act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert JUMPS not in causes(found) and found.verdict is not Verdict.EQUIVARIANT


def functions(group):
    points, vectors = Points(group), Vectors(group)
    return (
        FunctionMotion(lambda g, x: points(g, x), group),
        FunctionMotion(lambda g, y: vectors(g, y), group),
    )


@pytest.mark.parametrize("size", [1e-1, 1e-4])
def test_the_same_by_functions_and_on_flat_graphs(size):
    act_in, act_out = functions(SO3())
    for fault, known in ((smooth, SMOOTH), (hard, {JUMPS})):
        model = Planted(fault, size).double()
        found = diagnose(model, draw(6, 6, 3), act_in=act_in, act_out=act_out, samples=6)
        assert set(causes(found)) <= known and causes(found)
        flat = {"pos": draw(6, 6, 3).flatten(0, 1), "batch": torch.arange(6).repeat_interleave(6)}
        graphs = diagnose(
            lambda d, f=model: {"v": f(d["pos"].reshape(6, 6, 3)), "batch": d["batch"]}, flat,
            act_in=GraphMotion(nodes={"pos": Points(SO3())}),
            act_out=GraphMotion(graphs={"v": Vectors(SO3())}), samples=6,
        )  # fmt: skip
        assert set(causes(graphs)) <= known and causes(graphs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-1, 1e-4])
def test_translations_and_reflections_alone(size, dtype):
    x = draw(6, 6, 3, dtype=dtype)
    moved = Planted(lambda p: p.mean(1), size, centred=False).to(dtype)
    found = diagnose(moved, x, act_in=Points(SE3()), act_out=Vectors(SE3()), samples=6)
    assert causes(found) == ["translations alone break it"]
    handed = diagnose(
        Planted(mirrored, size).to(dtype), x, act_in=Points(O3()), act_out=Vectors(O3()), samples=6
    )
    assert causes(handed) == ["reflections alone break it"]


def test_one_question_for_each_factor_of_a_product():
    group = Product(SO3(), Translation(1), O3())
    x = (draw(5, 4, 3), draw(5, 1, seed=1), draw(5, 4, 3, seed=2))

    def move(g, z):
        r, t, s = group.split(g)
        return z[0] @ r.mT, z[1] + t[..., :1, 1], z[2] @ s.mT

    moves = FunctionMotion(move, group)
    turns = FunctionMotion(lambda g, y: y @ group.split(g)[0].mT, group)
    mean = lambda a: a.mean(1)  # noqa: E731

    def says(f):
        found = diagnose(f, x, act_in=moves, act_out=turns, samples=6)
        return found.verdict, causes(found)

    broken = Verdict.NOT_EQUIVARIANT
    assert says(lambda a, t, b: mean(a)) == (Verdict.EQUIVARIANT, [])
    assert says(lambda a, t, b: mean(a) * (2 + t.sin())) == (broken, ["factor 1 alone breaks it"])
    assert says(lambda a, t, b: mean(a) + 0.1 * kinked(a)) == (broken, ["factor 0 alone breaks it"])
    assert says(lambda a, t, b: mean(a) * (1 + mirrored(b).mul(b[:, 2]).sum(1, True))) == (
        broken, ["factor 2 alone breaks it", "reflections of factor 2 alone break it"]
    )  # fmt: skip
    assert "factor 0 alone breaks it" not in says(lambda a, t, b: mean(a) + kinked(b))[1]


def test_a_half_turn_is_compared_with_what_is_like_it():
    """Errors that grow with the angle are largest at half turns, and are no fault of theirs."""
    x, claim = draw(6, 6, 3), {"act_in": Points(SO3()), "act_out": Vectors(SO3())}
    near = NormalSampler(SO3(), 0.02)  # elements drawn near the identity, half turns looked at
    for size in (1e-1, 1e-4):
        found = diagnose(Planted(smooth, size).double(), x, **claim, law=near)
        assert max(e[""] for e in found.report.special.values()) > 20 * found.report.value()
        assert HALF_TURN not in causes(found)

    def heavy(q):  # one item in twelve is far worse than the mean
        return smooth(q) * (q.square().sum((1, 2)) > 20)[:, None]

    many = diagnose(Planted(heavy, 0.3).double(), draw(24, 6, 3), **claim, samples=6)
    assert many.verdict is Verdict.NOT_EQUIVARIANT and HALF_TURN not in causes(many)


def test_maps_that_write_into_their_input_are_not_called_random():
    def inside(p):
        p *= 2.0
        return p.mean(1) + 0.1 * kinked(p)

    found = diagnose(inside, draw(6, 6, 3), act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert found.verdict is Verdict.NOT_EQUIVARIANT and set(causes(found)) <= SMOOTH


def test_noise_is_called_noise_and_nothing_else():
    def noisy(q):
        return torch.randn(len(q), 3).to(q)

    for dtype, size in ((torch.float64, 1e-5), (torch.float32, 1e-2), (torch.bfloat16, 1e-3)):
        model, x = Planted(noisy, size).to(dtype), draw(6, 6, 3, dtype=dtype)
        found = diagnose(model, x, act_in=Points(SO3()), act_out=Vectors(SO3()), samples=6)
        assert found.verdict is Verdict.RANDOM and causes(found) == ["the map is random"]


def test_a_map_that_remembers_is_no_action_that_moves():
    """What counts its calls differs at the identity as everywhere."""
    calls = []

    def counting(p):
        calls.append(p)
        return p.norm(dim=-1).mean(1, keepdim=True) + 0.1 * len(calls)

    found = diagnose(counting, draw(6, 6, 3), act_in=Points(SO3()), act_out=Trivial(1), samples=6)
    assert found.verdict in (Verdict.RANDOM, Verdict.NOT_EQUIVARIANT)
    assert math.isfinite(found.floor.value) and "a half turn" not in str(found)
