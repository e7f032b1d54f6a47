"""Which matrices are elements; what is none is refused; vectorized and in half precision."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from equivariant.errors import ConventionError
from equivariant.groups import (
    E2,
    E3,
    GL,
    O2,
    O3,
    SE2,
    SE3,
    SL,
    SO2,
    SO3,
    Affine,
    Lorentz,
    Permutation,
    Product,
    ScaledRotations,
    Semidirect,
    Sim,
    Spin3,
    Translation,
    rotation_angle,
)

GROUPS = [
    SO2(), SO3(), O3(), SE3(), Spin3(), Translation(2), GL(3), Affine(2), Permutation(4),
    Product(SO3(), Translation(1)), O2(), SE2(), E2(), E3(), Sim(2), Sim(3), Lorentz(),
    SL(2), SL(3), ScaledRotations(2), Semidirect(SL(2)), Semidirect(O2()),
]  # fmt: skip


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_elements_are_contained_and_others_are_not(group):
    g = group.sample(6, generator=torch.Generator().manual_seed(0))
    assert group.contains(g).tolist() == [True] * 6
    assert group.contains(g.float()).all() and group.contains(g.bfloat16()).all()
    g[1, 0, 0] = torch.nan
    g[2] = 0.0
    g[3, :, 0] = -g[3, :, 0] if group == GL(3) else 2.0 * g[3, :, 0] + 0.5
    expected = [True, False, False, group == Affine(2) and False, True, True]
    assert group.contains(g).tolist() == expected
    assert bool(group.contains(g[0] + 1e-3, tolerance=1e-1))


@pytest.mark.parametrize("group", [SO2(), SO3(), O3(), SE3(), Spin3(), Product(SO3(), SO2())])
def test_logarithms_and_distances_refuse_what_is_no_element(group):
    wrong = 1.5 * group.identity(2)
    for refused in (
        lambda: group.log(wrong),
        lambda: group.distance(wrong, group.identity(2)),
        lambda: group.distance(group.identity(2), wrong),
    ):
        with pytest.raises(ConventionError, match="none"):
            refused()


def test_more_that_is_refused():
    with pytest.raises(ConventionError, match="elements of SO3"):
        SO3().log(-torch.eye(3))  # once a half turn
    with pytest.raises(ConventionError, match="elements of SO3"):
        rotation_angle(torch.full((3, 3), torch.nan))
    with pytest.raises(ConventionError, match="elements of Affine"):
        Affine(2).log(torch.eye(3).index_put((torch.tensor(2), torch.tensor(0)), torch.tensor(0.5)))
    with pytest.raises(ConventionError, match="elements of Permutation"):
        Permutation(3).distance(torch.ones(3, 3), torch.eye(3))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_projection_under_vmap_and_in_half_precision(group):
    g = group.sample(4, generator=torch.Generator().manual_seed(1))
    noisy = g + 1e-2 * torch.randn(g.shape, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(torch.vmap(group.project)(noisy), group.project(noisy))
    for dtype in (torch.float16, torch.bfloat16):
        mended = group.project(noisy.to(dtype))
        assert mended.dtype == dtype and bool(group.contains(mended).all())


def test_checks_do_not_stop_programs_without_numbers():
    g = SO3().sample(3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.vmap(SO3().log)(g), SO3().log(g))
    assert SO3().log(torch.empty(2, 3, 3, device="meta")).shape == (2, 3)
    traced = make_fx(lambda x: SO3().log(x), tracing_mode="fake")(g)
    torch.testing.assert_close(traced(g), SO3().log(g))


def test_principal_logarithm_where_steps_cannot_look():
    g = GL(3).sample(6, generator=torch.Generator().manual_seed(0), scale=0.5)
    torch.testing.assert_close(torch.vmap(GL(3).log)(g), GL(3).log(g), atol=1e-10, rtol=1e-10)
    none = torch.diag(torch.tensor([-1.3, -1.3, 1.0], dtype=torch.float64))
    assert torch.vmap(GL(3).log)(none[None]).isnan().all()


def test_projection_differentiates_twice():
    m = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m.requires_grad_()
    assert torch.autograd.gradcheck(SO3().project, (m,))
    assert torch.autograd.gradgradcheck(SO3().project, (m,))
    eye = torch.eye(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(SO3().project, (eye,))
