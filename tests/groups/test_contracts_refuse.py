"""Broken twins of groups, each refused by the method of the contract that is about its fault."""

import math

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.groups import E3, O2, O3, SE3, SO2, SO3, Product, Translation
from equivariant.testing import GroupContract
from equivariant.testing.invariant_law import invariance_scores, refusal_bound


class _SkewLog(SO3):
    """θ / (2 sin θ) (R - Rᵀ): zero at half turns."""

    def log(self, g):
        skew = 0.5 * (g - g.mT)
        v = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
        square = v.square().sum(-1)
        sine = torch.where(square > 1e-30, square, 1.0).sqrt()
        cosine = (g.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
        factor = torch.where(square > 1e-30, torch.atan2(sine, cosine) / sine, 1.0)
        return factor[..., None] * v


class _ArcsineLog(SO2):
    """Right up to quarter turns, zero at half turns."""

    def log(self, g):
        return torch.asin(g[..., 1, 0].clamp(-1, 1))[..., None]


class _ArccosineLog(SO2):
    """Right, with slopes that are infinite at half turns."""

    def log(self, g):
        sign = torch.where(g[..., 1, 0] < 0, -1.0, 1.0)
        return (sign * torch.arccos(g[..., 0, 0]))[..., None]


class _Refusing(SO2):
    """No logarithm at half turns, though the group is compact."""

    def log(self, g):

        if bool((g[..., 0, 0] < -1 + 1e-14).any()):
            raise ConventionError(expected="no half turn", got="one", argument="g", advice="-")
        return super().log(g)


class _SignlessQR(SO3):
    def draw(self, batch, *, generator, scale=1.0):
        q, _ = torch.linalg.qr(torch.rand(*batch, 3, 3, generator=generator, dtype=torch.float64))
        return q * torch.linalg.det(q)[..., None, None]


class _UniformEuler(SO3):
    def draw(self, batch, *, generator, scale=1.0):
        angles = 2 * math.pi * torch.rand(3, *batch, 1, generator=generator, dtype=torch.float64)
        x, z = torch.eye(3, dtype=torch.float64)[[0, 2]]
        return self.exp(angles[0] * z) @ self.exp(angles[1] * x) @ self.exp(angles[2] * z)


class _UniformAngle(SE3):
    def draw(self, batch, *, generator, scale=1.0):
        g = super().draw(batch, generator=generator, scale=scale)
        axis = torch.randn(*batch, 3, generator=generator, dtype=torch.float64)
        angle = math.pi * torch.rand(*batch, 1, generator=generator, dtype=torch.float64)
        turns = angle * axis / axis.norm(dim=-1, keepdim=True)
        rotation = SO3().exp(turns)
        top = torch.cat([rotation, g[..., :3, 3:]], -1)
        return torch.cat([top, g[..., 3:, :]], -2)


class _QuarterTurns(SO2):
    """First and second moments are those of Haar measure."""

    def draw(self, batch, *, generator, scale=1.0):
        count = torch.randint(4, (*batch, 1), generator=generator).double()
        return self.exp(0.5 * math.pi * count)


class _NeverReflected(O3):
    def draw(self, batch, *, generator, scale=1.0):
        return SO3().draw(batch, generator=generator)


class _Constant(SO3):
    def draw(self, batch, *, generator, scale=1.0):
        return self.identity(*batch)


class _OwnSeed(SO3):
    def draw(self, batch, *, generator, scale=1.0):
        return super().draw(batch, generator=torch.Generator().manual_seed(3))


class _NeverShifted(Translation):
    def draw(self, batch, *, generator, scale=1.0):
        return self.identity(*batch)


class _NoElements(SO3):
    def draw(self, batch, *, generator, scale=1.0):
        return torch.randn(*batch, 3, 3, generator=generator, dtype=torch.float64)


class _DoubleExp(SO3):
    def exp(self, coordinates):
        return super().exp(coordinates.double())


class _SingleLog(SO3):
    def log(self, g):
        return super().log(g.float()).to(g.dtype)


class _DoubleProject(O2):
    def project(self, matrix):
        return super().project(matrix).double()


class _DoubleSample(SE3):
    def sample(self, *batch, generator, dtype=torch.float64, device="cpu", scale=1.0):
        return super().sample(*batch, generator=generator, scale=scale)


class _ItemLog(SO2):
    def log(self, g):
        return super().log(g) * (1.0 if g.detach().abs().max().item() < 10 else 2.0)


class _LoopedInverse(SO3):
    def inverse(self, g):
        return g.mT if bool((g == g).all()) else g


class _ThroughNumPy(SO2):
    """A projection whose numbers leave torch on the way."""

    def project(self, matrix):
        return torch.as_tensor(super().project(matrix).detach().numpy())


class _SeriesByBranch(SO2):
    """A branch on whether the batch is near zero; right in eager mode."""

    def exp(self, coordinates):
        if float(coordinates.detach().abs().max()) < 1e-3:
            return super().exp(coordinates) * 1.0
        return super().exp(coordinates)


class _OtherWhenTraced(SO2):
    """Traces, to a graph that computes something else."""

    def adjoint(self, g):
        factor = 2.0 if torch._C._len_torch_dispatch_stack() else 1.0
        return factor * super().adjoint(g)


BROKEN = [
    (_SkewLog, "test_log_at_half_turns", "close"),
    (_ArcsineLog, "test_log_at_half_turns", "close"),
    (_ArccosineLog, "test_log_at_half_turns", "gradients"),
    (_Refusing, "test_log_at_half_turns", "refuses"),
    (_SignlessQR, "test_draws_follow_haar_measure", "not Haar"),
    (_UniformEuler, "test_draws_follow_haar_measure", "not Haar"),
    (_UniformAngle, "test_draws_follow_haar_measure", "not Haar"),
    (_QuarterTurns, "test_draws_follow_haar_measure", "not Haar"),
    (_NeverReflected, "test_draws_follow_haar_measure", "not Haar"),
    (_Constant, "test_draws_follow_haar_measure", "not Haar"),
    (_Constant, "test_draws_differ", "the same"),
    (_OwnSeed, "test_draws_differ", "generator"),
    (lambda: _NeverShifted(2), "test_draws_differ", "the same"),
    (_NoElements, "test_draws_differ", "no elements"),
    (_DoubleExp, "test_dtypes_are_kept", "exp of torch.float32 returns torch.float64"),
    (_DoubleProject, "test_dtypes_are_kept", "project of torch.float32 returns"),
    (_DoubleSample, "test_dtypes_are_kept", "sample of torch.float32 returns"),
    (_ItemLog, "test_vmap_is_a_loop", "item"),
    (_LoopedInverse, "test_vmap_is_a_loop", "data-dependent"),
    (_ThroughNumPy, "test_vmap_is_a_loop", "storage|numpy"),
    (_SeriesByBranch, "test_traces_hold_elsewhere", "data-dependent|item"),
    (_ThroughNumPy, "test_traces_hold_elsewhere", "storage|numpy"),
    (_OtherWhenTraced, "test_traces_hold_elsewhere", "close"),
]


def contract_of(group):
    contract = GroupContract()
    contract.group = group
    return contract


def run(contract, check):
    generator = torch.Generator().manual_seed(0)
    if check == "test_dtypes_are_kept":
        contract.test_dtypes_are_kept(torch.float32, generator)
    elif check == "test_log_at_half_turns":
        contract.test_log_at_half_turns()
    else:
        getattr(contract, check)(generator)


@pytest.mark.parametrize(("broken", "check", "reason"), BROKEN)
def test_the_contract_refuses(broken, check, reason):
    with pytest.raises((AssertionError, RuntimeError), match=reason):
        run(contract_of(broken()), check)


def test_single_precision_inside_is_refused():
    with pytest.raises(AssertionError, match="close"):
        contract_of(_SingleLog()).test_log_undoes_exp((5,), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("group", [SO2(), O3(), Product(SO3(), SO2()), E3()])
def test_right_draws_pass_at_every_seed(group):
    """The largest of some thousand scores stays below its bound: no false alarm in ten seeds."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        contract_of(group).test_draws_follow_haar_measure(generator)


def test_scores_are_standard_normal_for_haar_draws_and_grow_with_the_root_of_their_number():
    group, generator = SO3(), torch.Generator().manual_seed(1)
    h = group.sample(4, generator=generator)
    scores = invariance_scores(group.sample(2048, generator=generator), h)
    assert 0.5 < float(scores.square().mean()) < 1.6
    largest = [
        float(invariance_scores(_UniformEuler().sample(n, generator=generator), h).max())
        for n in (1024, 4096)
    ]
    assert 1.5 < largest[1] / largest[0] < 2.7
    assert refusal_bound(1000) > refusal_bound(10) > 4.5
