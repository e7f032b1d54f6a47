"""Modules with a declaration are measured, judged and asserted without further argument."""

import numpy as np
import pytest
import torch
from e3nn import o3
from torch import nn
from torch.utils.data import DataLoader

from equivariant.actions import Declaration, Declares, ImageWarp, Points, Trivial, Vectors
from equivariant.actions.by_name import named_action
from equivariant.commands.main import main
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO2, SO3, BallSampler, HaarSampler, Semidirect
from equivariant.measure import (
    Verdict,
    declared,
    diagnose,
    equivariance_error,
    local_equivariance_error,
    numerical_floor,
    split_precision,
    worst_case,
)
from equivariant.nn import LieNetworkConfig
from equivariant.testing import ModelContract, assert_equivariant


def clouds(items=6, dtype=torch.float64):
    return torch.randn(items, 10, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)


class Center(nn.Module):
    """Twice the mean of a cloud, which turns with it; a twin whose declaration is wrong."""

    def __init__(self, *, lies=False, law=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.lies, self.law, self.asked = lies, law, []

    def forward(self, points):
        return self.weight * points.mean(1)

    def declaration(self, signal):
        self.asked.append(tuple(signal.shape))
        out = Trivial(3) if self.lies else Vectors(SO3())
        return Declaration(Points(SO3()), out, self.law)


ACTIONS = {"act_in": Points(SO3()), "act_out": Vectors(SO3())}


def test_a_declaration_stands_for_the_actions():
    module, x = Center().double(), clouds()
    assert isinstance(module, Declares) and not isinstance(nn.Linear(3, 3), Declares)
    report = equivariance_error(module, x, samples=4)
    given = equivariance_error(module, x, samples=4, **ACTIONS)
    assert report.value("worst") < 1e-12 and report.group == "SO3()"
    np.testing.assert_array_equal(report.radius, given.radius)
    assert report.value("worst") == given.value("worst")
    assert assert_equivariant(module, x).value("worst") < 1e-12
    assert diagnose(module, x).verdict is Verdict.EQUIVARIANT
    assert numerical_floor(module, x).value == numerical_floor(module, x, **ACTIONS).value
    assert float(local_equivariance_error(module, x).overall.lee.max()) < 1e-20
    assert float(worst_case(module, x, draws=8, starts=1, steps=2).errors.max()) < 1e-9
    split = split_precision(Center(), clouds(dtype=torch.float32), samples=4)
    assert split.true.value("worst") < 1e-12 < split.given.value("worst")


def test_a_wrong_declaration_is_measured_as_not_equivariant():
    module, x = Center(lies=True).double(), clouds()
    assert equivariance_error(module, x).value() > 0.3
    assert diagnose(module, x).verdict is Verdict.NOT_EQUIVARIANT
    assert float(local_equivariance_error(module, x).overall.lee.max()) > 1e-3
    with pytest.raises(AssertionError, match="not equivariant under SO3"):
        assert_equivariant(module, x)


def test_the_law_is_the_declaration_s_unless_one_is_given():
    law = BallSampler(SO3(), 0.1)
    module, x = Center(law=law).double(), clouds()
    report = equivariance_error(module, x)
    assert float(report.radius.max()) <= 0.1 and "half turn 0" not in report.special
    wide = equivariance_error(module, x, law=HaarSampler(SO3()))
    assert float(wide.radius.max()) > 1 and "half turn 0" in wide.special
    given = equivariance_error(module, x, **ACTIONS)  # whoever gives actions gives the law
    assert float(given.radius.max()) > 1
    assert float(diagnose(module, x).report.radius.max()) <= 0.1
    with pytest.raises(ConventionError, match="radius"):
        worst_case(module, x)
    assert float(worst_case(module, x, radius=0.1, draws=4, starts=1, steps=1).errors.max()) < 1e-9


def test_the_first_batch_of_an_iterator_is_looked_at_and_put_back():
    module, x = Center().double(), clouds(7)
    whole = equivariance_error(module, x, samples=3)
    for batches in (iter(x.split(3)), (part for part in x.split(3)), DataLoader(x, batch_size=3)):
        module.asked.clear()
        report = equivariance_error(module, batches, samples=3)
        assert report.tables[""].gap.shape == (7, 3) and module.asked == [(3, 10, 3)]
        np.testing.assert_array_equal(report.radius, whole.radius)
    with pytest.raises(ShapeError, match="at least one batch"):
        equivariance_error(module, iter(()))


def test_who_declares_nothing_or_half_is_told():
    x = clouds()
    with pytest.raises(ConventionError, match="a method declaration, irreps_in"):
        equivariance_error(nn.Linear(3, 3).double(), x)
    with pytest.raises(ConventionError, match="a method declaration"):
        diagnose(lambda p: p.mean(1), x)
    for measure in (equivariance_error, diagnose, assert_equivariant, worst_case, numerical_floor):
        for name, action in ACTIONS.items():
            other = ({*ACTIONS} - {name}).pop()
            with pytest.raises(ConventionError, match=f"no {other}"):
                measure(Center().double(), x, **{name: action})
    with pytest.raises(ConventionError, match="an input"):
        declared(Center())

    class Pair(Center):
        def declaration(self, signal):
            return Points(SO3()), Vectors(SO3())

    with pytest.raises(ConventionError, match=r"returns Declaration.*got tuple"):
        equivariance_error(Pair(), x)
    with pytest.raises(ConventionError, match="inputs of yours"):
        declared(Center(), x).draw(3)


def test_several_inputs_are_spread_over_the_declaration_too():
    class Gap(nn.Module):
        def forward(self, a, b):
            return (a - b).norm(dim=-1)

        def declaration(self, a, b):
            return Declaration((Points(SO3()), Points(SO3())), Trivial(a.shape[1]))

    x = (clouds(), clouds().flip(0))
    assert equivariance_error(Gap(), x).value("worst") < 1e-12
    assert declared(Gap(), x).act_out.dim == 10


@pytest.mark.parametrize("shared", [None, True])
def test_modules_of_e3nn_need_no_actions(shared):
    torch.manual_seed(0)
    if shared is None:
        layer, width = o3.Linear("2x0e + 2x1o", "1x0e + 3x1o"), 8
    else:  # weights that are drawn once and held, the same in single and double precision
        layer = o3.Linear("2x1o", "3x1o", internal_weights=False, shared_weights=shared)
        width = 6
    x = torch.randn(5, width)
    report = equivariance_error(layer, x)
    assert report.group == "O3()" and "inversion" in report.special
    assert report.value("worst") < 1e-5 and assert_equivariant(layer, x)
    assert diagnose(layer, x).verdict is Verdict.EQUIVARIANT
    assert split_precision(layer, x, samples=4).true.value("worst") < 1e-6
    layer.irreps_out = o3.Irreps([(n, (ir.l, -ir.p)) for n, ir in layer.irreps_out])
    assert equivariance_error(layer, x).special["inversion"][""] > 0.5


def pictures(side=20, items=3):
    named = named_action(f"image:1x{side}x{side}", SO2())
    waves = named.draw(items, torch.Generator().manual_seed(0))
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    return waves * torch.exp(-6 * (axis[:, None] ** 2 + axis**2))


def lie_network(samples=24):
    torch.manual_seed(0)
    config = LieNetworkConfig(SO2(), width=4, blocks=1, outputs=None, vectors=2, samples=samples)
    return config.build().double().eval()


def test_a_lie_network_needs_no_actions():
    network, x = lie_network(), pictures()
    report = equivariance_error(network, x, samples=4)
    assert report.group == str(Semidirect(SO2()))
    assert report.value() < 0.15  # pixels of a small picture
    by_hand = network.declaration(x)
    assert isinstance(by_hand.act_in, ImageWarp)
    again = equivariance_error(
        network, x, samples=4, act_in=by_hand.act_in, act_out=by_hand.act_out, law=by_hand.law
    )
    assert again.value() == report.value()

    class Reversed(nn.Module):  # what does not move is declared to, and the other way round
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images).flip(-1)

        def declaration(self, images):
            return self.network.declaration(images)

    assert equivariance_error(Reversed(), x, samples=4).value() > 2 * report.value()


class TestCenterByTheContract(ModelContract):
    def build(self):
        return Center()

    def inputs(self, items, generator):
        return torch.randn(items, 10, 3, generator=generator)


MODEL = """
import torch
from torch import nn
from equivariant.actions import Declaration, Points, Vectors
from equivariant.groups import SO3

class Center(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, points):
        return self.weight * points.mean(1)

    def declaration(self, points):
        return Declaration(Points(SO3()), Vectors(SO3()))
"""


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "center.py").write_text(MODEL)
    np.save("clouds.npy", clouds().numpy())
    words = ["measure", "--model", "center.py:Center", "--quiet", "--samples", "6"]
    assert main([*words, "--data", "clouds.npy", "--input", "declared"]) == 0
    said = capsys.readouterr().out
    assert "Equivariant up to rounding" in said and "turn x" in said
    assert main([*words, "--data", "clouds.npy", "--radius", "0.2", "--local", "off"]) == 0
    assert "Equivariant up to rounding" in capsys.readouterr().out
    assert main(words) == 1
    assert "--data" in capsys.readouterr().err
