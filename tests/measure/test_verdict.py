"""A verdict from single draws as well as from the mean, and no verdict from rounding."""

import pytest
import torch
from torch import nn

from equivariant.actions import Points, Trivial, Vectors
from equivariant.groups import SE3, SO3, NormalSampler
from equivariant.measure import Verdict, diagnose


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def folded(p):
    """Breaks rotations at every element."""
    return (p - p.mean(1, keepdim=True)).abs().mean(1)


@pytest.mark.parametrize("group", [SE3(), SO3()])
@pytest.mark.parametrize("items", [1, 2, 3, 5])
def test_few_items_decide_where_every_draw_is_wrong(group, items):
    claim = {"act_in": Points(group), "act_out": Vectors(group)}
    for law in (None, NormalSampler(group, 0.5)):
        found = diagnose(folded, draw(items, 8, 3), **claim, law=law, samples=8)
        assert found.verdict is Verdict.NOT_EQUIVARIANT, law
        estimate = found.report.estimate()
        assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 2.0
    sound = diagnose(lambda p: p[:, 0] - p.mean(1), draw(items, 8, 3), **claim, samples=4)
    assert sound.verdict is Verdict.EQUIVARIANT and not sound.findings


def test_one_rare_draw_is_a_counterexample():
    """Wrong for one item of forty, and there at a third of the elements."""
    x = draw(40, 5, 3)
    marked = x.square().sum((1, 2)).max()

    def rare(p):
        y = p.mean(1)
        chosen = ((p.square().sum((1, 2)) - marked).abs() < 1e-9) & (p[:, 0, 2] > 0.3)
        return torch.where(chosen[:, None], -y, y)

    found = diagnose(rare, x, act_in=Points(SO3()), act_out=Vectors(SO3()), samples=8)
    assert found.report.quantile(0.9) < 1e-12 < 1.9 < found.report.value("worst")
    assert found.verdict is Verdict.NOT_EQUIVARIANT


def test_draws_at_which_rounding_explodes_prove_nothing():
    """z / |z|³ at outputs that nearly vanish: sound, and ill-conditioned for one item."""
    x = draw(12, 5, 3)
    x[3] -= (1 - 1e-11) * x[3].mean(0)

    def field(p):
        z = p.mean(1)
        return z / z.norm(dim=1, keepdim=True)

    found = diagnose(field, x, act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert found.report.value("worst") > 1e-7  # thousands of floors
    assert found.verdict in (Verdict.EQUIVARIANT, Verdict.UNDECIDED)
    wrong = lambda p: field(p) + 1e-3 * folded(p)  # noqa: E731
    broken = diagnose(wrong, x, act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert broken.verdict is Verdict.NOT_EQUIVARIANT


class Scaled(nn.Module):
    """A sound map plus a fault of a given size, in weights of a given dtype."""

    def __init__(self, size, dtype):
        super().__init__()
        self.size = nn.Parameter(torch.tensor(size, dtype=dtype))

    def forward(self, p):
        z = torch.tensor([0.0, 0.0, 1.0], dtype=p.dtype)
        return p.mean(1) + self.size * p.norm(dim=-1).mean(1, keepdim=True) * z


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("size", [0.0, 1e-5, 1e-3, 1e-1])
def test_the_verdict_never_contradicts_the_error_in_float64(dtype, size):
    x = draw(6, 5, 3, dtype=dtype)
    found = diagnose(Scaled(size, dtype), x, act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert found.true is not None
    assert found.verdict is (Verdict.NOT_EQUIVARIANT if size else Verdict.EQUIVARIANT)
    assert found.true.value < 1e-14 if not size else found.true.value > size / 10


class Casting(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.layer = how, nn.Linear(3, 3, bias=False)

    def forward(self, p):
        z = p.mean(1)
        if self.how == "fails" and p.dtype == torch.float64:
            raise ValueError("single precision only")
        if self.how == "asserts":
            assert p.dtype == torch.float32
        if self.how == "moved" and bool(((p[:, 0, 0] - self.first).abs() > 1e-3).any()):
            assert p.dtype == torch.float32, "too late"
        if self.how == "casts":
            z = z.float()
        if self.how == "inside":
            z = (z.float() * 1.1).to(p)
        return z * self.layer.weight.norm()


@pytest.mark.parametrize(
    ("how", "said"),
    [("fails", "ValueError: single precision only"), ("asserts", "AssertionError"),
     ("moved", "at moved inputs with AssertionError: too late"), ("casts", "returns float32"),
     ("inside", "less than float64 inside")],
)  # fmt: skip
def test_copies_in_float64_that_fail_are_said(how, said):
    model, x = Casting(how), draw(6, 5, 3, dtype=torch.float32)
    model.first = x[:, 0, 0]
    found = diagnose(model, x, act_in=Points(SO3()), act_out=Vectors(SO3()))
    assert any(said in str(caveat) for caveat in found.caveats)
    assert found.true is None and found.verdict is Verdict.EQUIVARIANT


def test_outputs_are_judged_each_by_itself():
    def two(p):
        return {"a": p.square().sum((1, 2))[:, None], "b": p[:, :1, 0] + 0.0}

    out = {"a": Trivial(1), "b": Trivial(1)}
    found = diagnose(two, draw(2, 5, 3), act_in=Points(SO3()), act_out=out)
    assert found.verdict is Verdict.NOT_EQUIVARIANT and found.output == "b"
