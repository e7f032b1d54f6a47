"""Decompositions: forward-mode derivatives, narrow dtypes, and what is refused at the door."""

import jaxtyping
import pytest
import torch
from torch.func import hessian, jacfwd, jacrev, vmap

from equivariant.errors import ConventionError
from equivariant.groups import (
    GL,
    KAK,
    SL,
    Iwasawa,
    LogNormalSampler,
    Polar,
    TruncatedHaarSampler,
)

KINDS = [Polar(GL(2)), Polar(GL(3)), KAK(GL(2)), KAK(SL(3)), Iwasawa(GL(3), "NAK")]


@pytest.fixture
def unchecked():
    """No type checks: what users without the import hook see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def some(group, count=3, *, spread=0.3):
    generator = torch.Generator().manual_seed(0)
    c = spread * torch.randn(count, group.dim, dtype=torch.float64, generator=generator)
    return group.exp(c), c


def flat_factors(decomposition):
    group = decomposition.group
    return lambda c: torch.cat([f.flatten(-2) for f in decomposition.split(group.exp(c))], -1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("decomposition", KINDS, ids=str)
def test_forward_derivatives_are_the_backward_ones(decomposition):
    function = flat_factors(decomposition)
    _, c = some(decomposition.group)
    rows = vmap(jacfwd(function))(c)
    torch.testing.assert_close(rows[1], jacrev(function)(c[1]), rtol=0, atol=1e-12)
    step = 1e-6 * torch.ones_like(c[1])
    change = (function(c[1] + step) - function(c[1] - step)) / 2e-6
    torch.testing.assert_close(rows[1].sum(-1), change, rtol=0, atol=1e-7)
    at_identity = jacfwd(function)(torch.zeros_like(c[0]))
    assert bool(at_identity.isfinite().all())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("decomposition", [Polar(GL(3)), KAK(GL(3)), Polar(SL(2))], ids=str)
def test_second_derivatives_forward_over_backward(decomposition):
    function = flat_factors(decomposition)
    _, c = some(decomposition.group, 1)

    def number(c):
        return function(c).sin().sum()

    found = hessian(number)(c[0])
    step = 1e-5 * torch.eye(len(c[0]), dtype=c.dtype)
    slopes = [(jacrev(number)(c[0] + e) - jacrev(number)(c[0] - e)) / 2e-5 for e in step]
    torch.testing.assert_close(found, torch.stack(slopes), rtol=1e-5, atol=1e-6)
    x = c.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(function, (x,))


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("condition", [1e6, 1e7])
def test_elements_in_single_precision_stay_elements(n, condition):
    # det of such matrices in float32 has the wrong sign for a part of them
    generator = torch.Generator().manual_seed(1)
    k = torch.linalg.qr(torch.randn(2, 500, n, n, dtype=torch.float64, generator=generator))[0]
    values = torch.logspace(0, torch.tensor(condition).log10(), n, dtype=torch.float64)
    h = (k[0] * values) @ k[1]
    h[torch.linalg.det(h) < 0, :, 0] *= -1
    single = h.float()
    single = single[torch.linalg.det(single.double()) > 0]
    assert len(single) > 400
    if n == 3:
        product = torch.linalg.cross(single[:, 0], single[:, 1])
        assert bool(((product * single[:, 2]).sum(-1) <= 0).any())
    assert bool(GL(n).contains(single).all())
    for decomposition in (Polar(GL(n)), KAK(GL(n)), Iwasawa(GL(n))):
        merged = decomposition.merge(*decomposition.split(single))
        size = single.abs().amax((-2, -1), keepdim=True)
        torch.testing.assert_close(merged / size, single / size, rtol=0, atol=1e-6)
    unit = (h / torch.linalg.det(h)[:, None, None] ** (1 / n)).float()
    unit = unit[torch.linalg.det(unit.double()) > 0]
    assert bool(SL(n).contains(unit).all())
    assert not bool(SL(n).contains(torch.diag(torch.tensor([2.0, *[1.0] * (n - 1)]))))


def test_merge_is_wide_under_autocast():
    h, _ = some(GL(3))
    single = h.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        merged = Polar(GL(3)).merge(*Polar(GL(3)).split(single))
    assert merged.dtype == torch.float32
    torch.testing.assert_close(merged, single, rtol=0, atol=1e-6)


@pytest.mark.parametrize("decomposition", KINDS, ids=str)
def test_factors_in_another_order_have_no_density(decomposition):
    h, _ = some(decomposition.group, spread=1.0)
    factors = decomposition.split(h)
    assert bool(decomposition.log_density(*factors).isfinite().all())
    wrong = [factors[1], factors[0], *factors[2:]]
    if isinstance(decomposition, Iwasawa):  # A stands in the middle
        wrong = [factors[0], factors[2], factors[1]]
    with pytest.raises(ConventionError, match="positive"):
        decomposition.log_density(*wrong)
    for bad in (torch.nan, torch.inf, -1.0, 0.0):
        with pytest.raises(ConventionError, match="positive"):
            decomposition.log_density(*[bad * factor for factor in factors])


def test_densities_of_a_batch_that_is_empty_or_vectorized():
    h, _ = some(GL(3))
    factors = Polar(GL(3)).split(h)
    assert Polar(GL(3)).log_density(*[f[:0] for f in factors]).shape == (0,)
    found = vmap(Polar(GL(3)).log_density)(*factors)
    torch.testing.assert_close(found, Polar(GL(3)).log_density(*factors))


@pytest.mark.parametrize("decomposition", KINDS, ids=str)
def test_numbers_of_a_wrong_kind_are_refused(decomposition, unchecked):
    h, _ = some(decomposition.group)
    first, *others = decomposition.split(h)
    with pytest.raises(ConventionError, match="one floating-point dtype"):
        decomposition.merge(first.float(), *others)
    with pytest.raises(ConventionError, match="one floating-point dtype"):
        decomposition.merge(*[f.long() for f in (first, *others)])
    c = decomposition.coordinates(h)
    for bad in (c.long(), c.tolist()):  # whole numbers would be rounded: exp(1) to 2
        with pytest.raises(ConventionError, match="floating-point numbers"):
            decomposition.from_coordinates(bad)


@pytest.mark.parametrize("size", [2.0, 2.5, "2", 0, -1])
def test_sizes_are_whole_numbers(size, unchecked):
    for make in (GL, SL):
        with pytest.raises(ConventionError, match="whole number"):
            make(size)


@pytest.mark.parametrize("radius", ["0.4", 101.0, torch.inf, torch.nan, 0.0, -1.0])
def test_radii_are_numbers_that_do_not_overflow(radius, unchecked):
    for make in (TruncatedHaarSampler, LogNormalSampler):
        with pytest.raises(ConventionError, match="at most 100"):
            make(GL(3), radius)
    with pytest.raises(ConventionError, match="scale_radius"):
        TruncatedHaarSampler(GL(3), 0.4, scale_radius=radius or -1.0)
    generator = torch.Generator().manual_seed(0)
    for n in (2, 3):
        drawn = TruncatedHaarSampler(GL(n), 100.0).draw(20, generator=generator)
        assert bool(drawn.elements.isfinite().all())
