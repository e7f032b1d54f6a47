"""Rules of the strengths by hand, levels and their verdicts, and a symmetry that is found."""

import math

import pytest
import torch
from torch import nn

from equivariant.actions import Tensors
from equivariant.errors import ConventionError
from equivariant.groups import O2, O3, Embedded, Scaling
from equivariant.regularizers import (
    Fixed,
    OneShot,
    PrimalDual,
    Smooth,
    SoftEquivariance,
    ValidationDriven,
    discovered_levels,
)
from equivariant.regularizers.levels import levels_of_tables

AXES = {"xy": Embedded(O2(), 3, (0, 1)), "yz": Embedded(O2(), 3, (1, 2)),
        "xz": Embedded(O2(), 3, (0, 2))}  # fmt: skip


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_the_one_shot_rule_by_hand():
    rule = OneShot([10.0, 10.0, 0.0], at=5, power=3.0, window=4, warm_up=1)
    rule.start(layers=2, groups=3)
    smallest = [math.inf] * 3
    for step in range(1, 9):
        now = table([1.0 / step, 2.0, 0.1], [0.5 / step, 1.0, 0.2])
        rule.update(now)
        if 2 < step <= 5 and any(a < b for a, b in zip(now.sum(0).tolist(), smallest, strict=True)):
            smallest = now.sum(0).tolist()
        if step < 5:
            assert rule.values.tolist() == [10.0, 10.0, 0.0]
        else:  # once, and never again; a group without strength is no yardstick
            ratio = smallest[1] / smallest[0]
            assert rule.values.tolist() == pytest.approx([10.0, 10.0 / ratio**3, 0.0])


def test_equal_penalties_change_no_strengths():
    for rule in (OneShot(3.0, at=2, window=2, warm_up=0), Smooth(3.0, warm_up=0)):
        rule.start(layers=2, groups=2)
        for _ in range(4):
            rule.update(table([0.5, 0.5], [1.0, 1.0]))
        assert rule.values.tolist() == [3.0, 3.0]
    # Far below rounding two penalties are equal too: no division by zero.
    rule = OneShot(3.0, at=1, window=1, warm_up=0)
    rule.start(layers=1, groups=2)
    rule.update(table([0.0, 0.0]))
    assert rule.values.tolist() == [3.0, 3.0]


def test_smooth_strengths_average_logarithms():
    rule = Smooth(2.0, power=1.0, decay=0.5, warm_up=1)
    rule.start(layers=1, groups=2)
    rule.update(table([1.0, 1.0]))
    assert rule.values.tolist() == [2.0, 2.0]
    rule.update(table([1.0, 4.0]))
    assert rule.values.tolist() == pytest.approx([2.0, 1.0])  # exp of the mean log of 1 and 4 is 2


def test_multipliers_rise_until_slack_or_tolerance_meets_them():
    hard = PrimalDual(rate=0.1, tolerance=0.5, sharpness=2.0)
    hard.start(layers=1, groups=2)
    for step in range(1, 6):
        hard.update(table([1.5, 0.1]))
        assert hard.multipliers.tolist() == pytest.approx([0.1 * step, 0.0])
        assert hard.values.tolist() == pytest.approx([0.1 * step + 2.0, 0.0])
    soft = PrimalDual(rate=0.5, slack_cost=4.0, per_layer=True)
    soft.start(layers=2, groups=1)
    for _ in range(200):
        soft.update(table([1.0], [0.25]))
    assert soft.multipliers.flatten().tolist() == pytest.approx([4.0, 1.0])  # μ = cost · violation
    assert soft.values.shape == (2, 1)


def test_states_go_on():
    for rule in (Fixed(2.0), OneShot(1.0, at=3, window=3, warm_up=0), Smooth(1.0, warm_up=0),
                 PrimalDual()):  # fmt: skip
        rule.start(layers=1, groups=2)
        rule.update(table([1.0, 2.0]))
        saved = rule.state()
        ends = []
        for _ in range(2):
            rule.restore(saved)
            for _ in range(3):
                rule.update(table([1.0, 3.0]))
            ends.append(rule.values.clone())
        assert torch.equal(*ends)


def test_strengths_that_follow_validation():
    """A linear task about z: asking for the right symmetry is rewarded, for scale it is not."""
    torch.manual_seed(0)
    vector = Tensors(O3(), 1)
    model = nn.Linear(3, 3, bias=False).double()
    target = torch.diag(torch.tensor([1.0, 1.0, 3.0])).double()
    term = SoftEquivariance(
        model, {"xy": AXES["xy"], "yz": AXES["yz"]}, representations={"": (vector, vector)},
        strengths=ValidationDriven(0.1, rate=0.1),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    y = x @ target.T + 0.5 * torch.randn(4, 3, generator=generator, dtype=torch.float64)
    fresh = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    for _ in range(100):
        optimizer.zero_grad()
        ((model(x) - y).square().mean() + term()).backward()
        optimizer.step()
        cosines = term.validate((model(fresh) - fresh @ target.T).square().mean())
    assert cosines.shape == (2,)
    assert float(term.strengths.values[0]) > 0.3
    assert float(term.strengths.values[0]) > 5 * float(term.strengths.values[1])
    with pytest.raises(ConventionError, match="ValidationDriven"):
        SoftEquivariance(
            model, AXES, representations={"": (vector, vector)}
        ).validate(model(x).sum())  # fmt: skip


def test_verdicts_and_intervals():
    tables = [table([1e-4, 0.5, 0.02, math.nan], [2e-4, 0.4, 0.003, math.nan])]
    found = levels_of_tables(tables, list("abcd"), tolerance=0.01, confidence=0.95)
    assert [row.verdict for row in found.rows] == ["holds", "broken", "unclear", "empty"]
    assert found["a"].level == pytest.approx(1.5e-4)
    assert found["b"].ratio == pytest.approx(0.45 / 1.5e-4)
    assert found.held == ("a",)
    assert found.ordered == ("a", "c", "b")
    assert "demands nothing" in str(found)
    assert "broken, 45 %" in str(found)
    assert found.as_dict()["c"]["verdict"] == "unclear"
    seeds = [table([level]) for level in (1e-3, 4e-3, 2e-3)]
    over = levels_of_tables(seeds, ["a"], tolerance=0.01, confidence=0.95)["a"]
    logs = torch.tensor([1e-3, 4e-3, 2e-3]).double().log()
    reach = 4.302653 * float(logs.std()) / 3**0.5  # Student, two degrees of freedom
    assert over.level == pytest.approx(2e-3)
    assert over.high == pytest.approx(2e-3 * math.exp(reach), rel=1e-5)
    assert over.verdict == "unclear"
    small = levels_of_tables([table([1e-9]), table([1e-8])], ["a"], tolerance=0.01, confidence=0.95)
    assert small["a"].low <= small["a"].level <= small["a"].high
    with pytest.raises(ConventionError, match="tolerance"):
        levels_of_tables([], ["a"], tolerance=0.01, confidence=0.95)
    with pytest.raises(KeyError):
        found["e"]


@pytest.mark.parametrize("penalty", ["projection", "scale_free"])
def test_a_linear_task_says_which_symmetry_it_has(penalty):
    """y = diag(1, 1, 1 + ε) x: about z only; the other two are broken in the order of ε."""
    vector, found = Tensors(O3(), 1), {}
    for stretch in (0.0, 0.3, 0.9):
        terms = []
        for seed in range(3):
            torch.manual_seed(seed)
            model = nn.Linear(3, 3, bias=False).double()
            term = SoftEquivariance(
                model, AXES, representations={"": (vector, vector)}, penalty=penalty,
                strengths=OneShot(0.5, at=120, window=60, warm_up=10),
            )  # fmt: skip
            terms.append(term)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
            target = torch.diag(torch.tensor([1.0, 1.0, 1.0 + stretch])).double()
            for _ in range(240):
                x = torch.randn(32, 3).double()
                optimizer.zero_grad()
                ((model(x) - x @ target.T).square().mean() + term()).backward()
                optimizer.step()
        found[stretch] = discovered_levels(terms, tolerance=1e-3)
    assert set(found[0.0].held) == set(AXES)
    for stretch in (0.3, 0.9):
        assert found[stretch].held == ("xy",)
        assert found[stretch]["yz"].verdict == "broken"
    assert found[0.9]["yz"].level > 2 * found[0.3]["yz"].level
    with pytest.raises(ConventionError, match="same candidates"):
        discovered_levels([terms[0], SoftEquivariance(
            model, {"s": Scaling(3)}, representations={"": (vector, vector)})])  # fmt: skip


def test_refusals_of_rules():
    for build in (lambda: OneShot(1.0, at=0), lambda: OneShot(1.0, at=1, window=5, warm_up=5),
                  lambda: Smooth(1.0, decay=1.0), lambda: PrimalDual(rate=0.0),
                  lambda: ValidationDriven(1.0, bounds=(1.0, 0.5)),
                  lambda: Fixed([1.0, 2.0]).start(1, 3),
                  lambda: Fixed(-1.0).start(1, 3)):  # fmt: skip
        with pytest.raises(ConventionError, match="expected"):
            build()
