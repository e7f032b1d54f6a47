"""Shares of a loss by closed forms, spectra of polynomials and harmonics, and broken twins."""

import pytest
import torch
from e3nn.o3 import spherical_harmonics
from torch import nn

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3, SO2, SO3, Embedded, Octahedral
from equivariant.measure import irrep_spectrum, symmetry_loss_share


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_share_of_a_linear_map():
    """f = A x under SO(3): the mean is (tr A / 3) x, the rest is spread over the sphere."""
    x = normal(400, 3)
    A = torch.diag(torch.tensor([1.0, 1.0, 2.5])).double()
    vector = Vectors(SO3())
    found = symmetry_loss_share(lambda x: x @ A.T, x, x, act_in=vector, act_out=vector, samples=200)
    mean = A.trace() / 3
    rest = A - mean * torch.eye(3)
    size = x.square().sum(1).mean()
    variance = rest.square().sum() / 3 * size  # E over directions of |rest u|²
    kept = (mean - 1).square() * size
    assert found.symmetrized == pytest.approx(float(kept), rel=0.05)
    assert found.loss == pytest.approx(float(kept + variance), rel=0.03)
    expected = float(variance / (kept + variance))
    assert found.share.low - 0.02 <= expected <= found.share.high + 0.02
    assert "broken symmetry" in str(found)


def test_shares_of_finite_groups_do_not_depend_on_the_number_of_samples():
    """The correction of the squared error: two samples say on average what many say."""
    x, A = normal(4000, 3), normal(3, 3, seed=1)
    vector = Vectors(Octahedral())
    few, many = (
        symmetry_loss_share(lambda x: x @ A.T, x, 0 * x, act_in=vector, act_out=vector, samples=n)
        for n in (2, 60)
    )
    assert few.share.value == pytest.approx(many.share.value, abs=0.03)
    equivariant = symmetry_loss_share(
        lambda x: 2 * x, x[:50], x[:50], act_in=vector, act_out=vector, samples=4
    )
    assert abs(equivariant.share.value) < 1e-12


def test_other_convex_losses():
    x = normal(200, 3)
    y = x.norm(dim=1, keepdim=True)
    absolute = {"loss": lambda a, b: (a - b).abs().sum(-1), "act_out": Trivial(1)}
    broken = symmetry_loss_share(
        lambda x: x.norm(dim=1, keepdim=True) + x[:, :1], x, y, act_in=Vectors(SO3()), **absolute
    )
    assert broken.share.value > 0.5  # |x_1| goes to nearly zero when averaged
    assert 0 <= broken.share.low <= broken.share.value <= broken.share.high


def test_refusals_of_shares():
    x = normal(4, 3)
    vector = Vectors(SO3())
    with pytest.raises(ConventionError, match="compact"):
        symmetry_loss_share(lambda x: x, x, x, act_in=Vectors(SE3()), act_out=Vectors(SE3()))
    with pytest.raises(ConventionError, match="samples"):
        symmetry_loss_share(lambda x: x, x, x, act_in=vector, act_out=vector, samples=1)
    with pytest.raises(ShapeError, match="predictions"):
        symmetry_loss_share(lambda x: x[:, :1], x, x, act_in=vector, act_out=vector)
    with pytest.raises(ShapeError, match="targets"):
        symmetry_loss_share(lambda x: x, x, x[:2], act_in=vector, act_out=vector)


@pytest.mark.parametrize("degree", range(5))
def test_harmonics_have_one_degree(degree):
    x = normal(4, 3)
    found = irrep_spectrum(
        lambda x: spherical_harmonics(degree, x, normalize=False), x, Vectors(SO3()), degrees=4
    )
    expected = torch.zeros(5).double()
    expected[degree] = 1
    torch.testing.assert_close(found.shares, expected, atol=1e-10, rtol=0)
    assert found.beyond < 1e-9
    assert f"degree {degree}: 100.0" in str(found)


def test_frequencies_of_a_plane():
    """x² = |x|²/2 + |x|² cos 2θ / 2: frequencies 0 and 2, in the ratio of their squares."""
    x = normal(5, 2)
    found = irrep_spectrum(lambda x: x[:, :1].square(), x, Vectors(SO2()), degrees=3)
    expected = torch.tensor([0.25, 0.0, 0.125, 0.0]).double() / 0.375
    torch.testing.assert_close(found.shares, expected, atol=1e-10, rtol=0)
    about_z = Embedded(SO2(), 3, (0, 1))
    space = torch.cat([x, torch.zeros(5, 1).double()], 1)
    again = irrep_spectrum(lambda x: x[:, :1].square(), space, Vectors(about_z), degrees=3)
    torch.testing.assert_close(again.shares, expected, atol=1e-10, rtol=0)


def test_layers_inside_of_a_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8, bias=False), nn.Tanh(), nn.Linear(8, 2)).double()
    x = normal(3, 3)
    first = irrep_spectrum(model, x, Vectors(SO3()), degrees=3, layer=model[0])
    torch.testing.assert_close(first.shares[1], torch.tensor(1.0).double())
    second = irrep_spectrum(model, x, Vectors(SO3()), degrees=3, layer=model[1], exact=9)
    assert 0.5 < float(second.shares[1]) < 1  # tanh is odd: degrees 1 and 3
    assert float(second.shares[0]) < 1e-6
    assert float(second.shares[3]) > 1e-4
    assert not model[1]._forward_hooks
    torch.testing.assert_close(float(second.shares.sum()) + second.beyond, 1.0, atol=1e-9, rtol=0)


def test_degrees_beyond_are_said_to_be():
    found = irrep_spectrum(
        lambda x: spherical_harmonics(5, x, normalize=False), normal(3, 3), Vectors(SO3()),
        degrees=2, exact=6,
    )  # fmt: skip
    assert float(found.shares.max()) < 1e-9
    assert found.beyond == pytest.approx(1.0)


def test_refusals_of_spectra():
    x = normal(3, 3)
    for build in (lambda: irrep_spectrum(lambda x: x, x, Vectors(SE3())),
                  lambda: irrep_spectrum(lambda x: x, x, Vectors(SO3()), degrees=-1),
                  lambda: irrep_spectrum(lambda x: x, x, Vectors(SO3()), degrees=0,
                                         layer=nn.Linear(1, 1))):  # fmt: skip
        with pytest.raises(ConventionError, match="expected"):
            build()
    with pytest.raises(ShapeError, match="inputs"):
        irrep_spectrum(lambda x: x, x[:1], Vectors(SO3()))
    with pytest.raises(ShapeError, match="features"):
        irrep_spectrum(lambda x: x[:2], x, Vectors(SO3()), degrees=0, exact=1)
