"""Warps against SciPy and NumPy, exact quarter turns, derivatives, masks, refusals."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.ndimage import gaussian_filter, map_coordinates

from equivariant.actions import Factor, Fields, ImageWarp, Trivial, Vectors, VolumeWarp
from equivariant.actions.warps.interpolation import interpolate
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import GL, SE3, SO2, SO3, Affine, Product, Translation, plane_directions
from equivariant.testing import ActionContract

# Torch compiles its own forward derivatives with a deprecated function of its own.
forward_mode = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def turn(angle):
    return SO2().exp(torch.tensor([float(angle)], dtype=torch.float64))


class _WarpContract(ActionContract):
    """Interpolation: compositions agree in the continuum only, and no matrix is formed."""

    homomorphism = False
    size: tuple[int, ...]

    def draw(self, *batch, generator):
        shape = (*batch, self.action.dim, *self.size)
        z = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.action.group.sample(*batch, generator=generator, scale=0.3), z

    def test_matrix_does_what_the_action_does(self, generator):
        g, _ = self.draw(4, generator=generator)
        with pytest.raises(ConventionError, match="basis fields"):
            self.action.matrix(g)

    @pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
    def test_the_identity_does_nothing(self, batch, generator):
        _, z = self.draw(*batch, generator=generator)
        moved = self.action(self.action.group.identity(*batch), z)
        torch.testing.assert_close(moved, z, atol=1e-13, rtol=0)
        assert self.action.mask(self.action.group.identity(*batch)).shape == (*batch, *self.size)

    def test_elements_and_fields_broadcast(self, generator):
        g, z = self.draw(3, generator=generator)
        moved = self.action(g[:, None], z)
        assert moved.shape == (3, *z.shape)
        torch.testing.assert_close(moved[1, 2], self.action(g[1], z[2]))


class TestTurnedImages(_WarpContract):
    action = ImageWarp(SO2(), (6, 5), channels=2)
    size = (6, 5)


class TestShiftedImages(_WarpContract):
    action = ImageWarp(Translation(2), 5, border="periodic")
    size = (5, 5)


class TestStretchedImages(_WarpContract):
    action = ImageWarp(GL(2), 5, interpolation="bilinear")
    size = (5, 5)


class TestAffineImages(_WarpContract):
    action = ImageWarp(Affine(2), (4, 6), channels=3)
    size = (4, 6)


class TestTurnedVolumes(_WarpContract):
    action = VolumeWarp(SO3(), (3, 4, 5), channels=2, interpolation="trilinear")
    size = (3, 4, 5)


class TestMovedVolumes(_WarpContract):
    action = VolumeWarp(SE3(), 4)
    size = (4, 4, 4)


class TestVectorFields(_WarpContract):
    action = Fields(ImageWarp(SO2(), (4, 5), channels=6), Vectors(SO2(), 3))
    size = (4, 5)


class TestFlows(_WarpContract):
    action = Fields(VolumeWarp(SE3(), 3, channels=3, interpolation="trilinear"), Vectors(SE3()))
    size = (3, 3, 3)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 4])
def test_quarter_turns_are_exact(interpolation, size, quarters):
    z = normal(2, 3, size, size)
    warp = ImageWarp(SO2(), size, channels=3, interpolation=interpolation)
    moved = warp(turn(quarters * math.pi / 2), z)
    np.testing.assert_allclose(moved, np.rot90(z, quarters, axes=(-2, -1)), atol=1e-13)


def test_a_picture_moves_right_and_up_and_turns_counter_clockwise():
    z = torch.zeros(1, 8, 8, dtype=torch.float64)
    z[0, 5, 2] = 1.0
    shift = Translation(2).exp(torch.tensor([0.5, 0.25], dtype=torch.float64))
    moved = ImageWarp(Translation(2), 8)(shift, z)
    assert moved[0].argmax() == 4 * 8 + 4
    assert float(moved.sum()) == pytest.approx(1.0)
    top = torch.zeros(1, 9, 9, dtype=torch.float64)
    top[0, 4, 8] = 1.0
    assert ImageWarp(SO2(), 9)(turn(math.pi / 2), top)[0].argmax() == 0 * 9 + 4


def test_quarter_turns_of_volumes_are_exact():
    """About z, x turns towards y: axis W towards axis H."""
    z = normal(2, 6, 6, 6)
    quarter = SO3().exp(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    moved = VolumeWarp(SO3(), 6, channels=2)(quarter, z)
    np.testing.assert_allclose(moved, np.rot90(z, 1, axes=(-1, -2)), atol=1e-13)
    quarter = SO3().exp(torch.tensor([math.pi / 2, 0.0, 0.0], dtype=torch.float64))
    moved = VolumeWarp(SO3(), 6, channels=2)(quarter, z)
    np.testing.assert_allclose(moved, np.rot90(z, 1, axes=(-2, -3)), atol=1e-13)


@pytest.mark.parametrize("border", ["zeros", "periodic"])
@pytest.mark.parametrize("space", [1, 2, 3])
def test_linear_interpolation_against_scipy(space, border):
    sizes = (7, 6, 5)[:space]
    grid, index = normal(1, *sizes), 3.0 + 4.0 * normal(200, space, seed=1)
    ours = interpolate(grid, index, interpolation="linear", border=border)
    mode = {"zeros": "grid-constant", "periodic": "grid-wrap"}[border]
    theirs = map_coordinates(grid[0].numpy(), index.T.numpy(), order=1, mode=mode)
    np.testing.assert_allclose(ours[0], theirs, atol=1e-13)


def keys(d):
    d = abs(d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


@pytest.mark.parametrize("border", ["zeros", "periodic"])
def test_cubic_interpolation_against_a_slow_loop(border):
    grid, index = normal(2, 5, 6), 2.5 + 3.0 * normal(30, 2, seed=1)
    ours = interpolate(grid, index, interpolation="cubic", border=border)
    for p, (y, x) in enumerate(index.tolist()):
        total = np.zeros(2)
        for i in range(-20, 30):
            for j in range(-20, 30):
                if border == "periodic" or (0 <= i < 5 and 0 <= j < 6):
                    total += keys(y - i) * keys(x - j) * grid[:, i % 5, j % 6].numpy()
        np.testing.assert_allclose(ours[:, p], total, atol=1e-13)


def test_cubic_interpolation_reproduces_quadratics():
    grid = torch.arange(12, dtype=torch.float64).square()[None]
    at = torch.linspace(2, 9, 57, dtype=torch.float64)[:, None]
    values = interpolate(grid, at, interpolation="cubic", border="zeros")
    torch.testing.assert_close(values, at.square().T, atol=1e-12, rtol=0)


def blob(u, centre=(0.2, -0.1), width=0.25):
    """A smooth picture and its gradient at world positions (..., 2)."""
    offset = u - torch.tensor(centre, dtype=u.dtype)
    value = torch.exp(-0.5 * offset.square().sum(-1) / width**2)
    return value, -offset / width**2 * value[..., None]


@pytest.mark.parametrize("name", list(plane_directions()))
def test_warps_move_the_continuous_picture(name):
    """(g·I)(u) = I(g⁻¹ u) on a smooth picture, with error falling with the pixel's size."""
    g = Affine(2).exp(0.3 * plane_directions()[name])
    back, shift = Affine.split(Affine(2).inverse(g))
    errors = []
    for size in (24, 48, 96):
        warp = ImageWarp(Affine(2), size)
        u = warp.positions()
        exact, _ = blob(u @ back.T + shift)
        errors.append(float((warp(g, blob(u)[0][None])[0] - exact)[warp.mask(g)].abs().max()))
    assert errors[-1] < 1e-3
    assert all(fine < coarse / 3.5 for coarse, fine in pairwise(errors))


@forward_mode
@pytest.mark.parametrize("name", list(plane_directions()))
def test_forward_derivative_is_the_transport_equation(name):
    """d/dt exp(tX)·I at t = 0 is -∇I · X u, to second order in the pixel's size."""
    x = plane_directions()[name]
    linear, shift = Affine.split(Affine(2).hat(x))
    errors = []
    for size in (24, 48, 96):
        warp = ImageWarp(Affine(2), size)
        u = warp.positions()
        value, gradient = blob(u)
        exact = -(gradient * (u @ linear.T + shift)).sum(-1)
        t = torch.zeros((), dtype=torch.float64)
        _, derivative = torch.func.jvp(
            lambda t, warp=warp, value=value: warp(Affine(2).exp(t * x), value[None]),
            (t,),
            (torch.ones_like(t),),
        )
        inside = warp.mask(Affine(2).identity())
        errors.append(float((derivative[0] - exact)[inside].abs().max()))
    assert errors[-1] < 0.02
    assert all(fine < coarse / 3 for coarse, fine in pairwise(errors))


@forward_mode
@pytest.mark.parametrize("border", ["zeros", "periodic"])
def test_derivatives_of_every_kind(border):
    """Forward, reverse and second derivatives, away from the kinks at whole pixels."""
    warp = ImageWarp(Affine(2), (4, 5), border=border)
    x = 0.2 * normal(6).requires_grad_()
    z = normal(1, 4, 5).requires_grad_()

    def moved(x, z):
        return warp(Affine(2).exp(x), z)

    assert torch.autograd.gradcheck(moved, (x, z), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(moved, (x, z))


def test_composition_holds_in_the_continuum():
    g, h = turn(0.4), turn(-1.1)
    errors = []
    for size in (24, 48, 96):
        warp = ImageWarp(SO2(), size)
        z = blob(warp.positions())[0][None]
        error = (warp(g @ h, z) - warp(g, warp(h, z)))[0]
        inside = warp.mask(g) & warp.mask(h, margin_px=3.0) & warp.mask(g @ h)
        errors.append(float(error[inside].abs().max()))
    assert errors[-1] < 1e-3
    assert all(fine < coarse / 3.5 for coarse, fine in pairwise(errors))


def test_the_reference_commutes_up_to_interpolation_and_a_directed_blur_does_not():
    warp = ImageWarp(SO2(), 64)
    z, g = blob(warp.positions())[0][None], turn(0.7)
    inside = warp.mask(g, margin_px=8.0)

    def error(f):
        return float((f(warp(g, z)) - warp(g, f(z)))[0][inside].abs().max())

    assert error(warp.reference) < 1e-3
    assert error(lambda z: z.roll(3, -1)) > 0.1


@pytest.mark.parametrize(("border", "mode"), [("zeros", "constant"), ("periodic", "wrap")])
def test_the_reference_is_scipys_gaussian_filter(border, mode):
    z = normal(2, 3, 20, 17)
    ours = ImageWarp(SO2(), (20, 17), channels=3, border=border).reference(z)
    theirs = gaussian_filter(z.numpy(), (0, 0, 1.5, 1.5), mode=mode, truncate=9)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_masks_by_brute_force():
    """Inside the mask, nothing outside the frame matters: padding it changes no value."""
    size, pad = 12, 20
    g = torch.stack([turn(0.5), turn(-2.0), turn(math.pi / 2)])
    padded_size = size + 2 * pad
    for interpolation, reach in (("bilinear", 1), ("bicubic", 2)):
        warp = ImageWarp(SO2(), size, interpolation=interpolation)
        mask = warp.mask(g)
        limit = 1 - (reach - 0.5) / (size / 2) + 1e-9
        forth = torch.einsum("bij,hwj->bhwi", g, warp.positions())
        back = torch.einsum("bji,hwj->bhwi", g, warp.positions())
        expected = (forth.abs() <= limit).all(-1) & (back.abs() <= limit).all(-1)
        assert torch.equal(mask, expected)
        assert 0.2 < float(mask.double().mean()) < 1.0
        outside = normal(1, padded_size, padded_size)
        wide = ImageWarp(SO2(), padded_size, interpolation=interpolation)
        cut = (..., slice(pad, -pad), slice(pad, -pad))
        moved = wide(g, outside)[cut]
        still = warp(g, outside[cut])
        torch.testing.assert_close(still[:, 0][mask], moved[:, 0][mask], atol=1e-10, rtol=0)
        assert not torch.allclose(still, moved)
        assert bool((warp.mask(g, margin_px=2.0) <= mask).all())
    whole = ImageWarp(Translation(2), 6, border="periodic")
    assert bool(whole.mask(Translation(2).sample(2, generator=seeded())).all())


def test_shifts_of_periodic_pictures_are_exact():
    z, warp = normal(1, 8, 8), ImageWarp(Translation(2), 8, border="periodic")
    shift = Translation(2).exp(torch.tensor([3 * 0.25, -2 * 0.25], dtype=torch.float64))
    torch.testing.assert_close(warp(shift, z), z.roll((2, 3), (-2, -1)), atol=1e-13, rtol=0)


def test_fields_turn_their_values():
    """The field f(u) = u is what rotations leave alone; as scalars it is not."""
    warp = ImageWarp(SO2(), 16, channels=2)
    g, f = turn(0.8), warp.positions().movedim(-1, 0)
    inside = warp.mask(g)
    fields = Fields(warp, Vectors(SO2()))
    torch.testing.assert_close(fields(g, f)[:, inside], f[:, inside], atol=1e-12, rtol=0)
    assert float((warp(g, f) - f)[:, inside].abs().max()) > 0.1
    scalars = Fields(warp, Trivial(2))
    torch.testing.assert_close(scalars(g, f), warp(g, f))
    assert fields.event_dim == 3
    assert torch.equal(fields.mask(g), inside)
    torch.testing.assert_close(fields.reference(f), warp.reference(f))


def test_a_warp_can_be_one_factor_of_a_product():
    group, z = Product(SO2(), Translation(1)), normal(3, 1, 8, 8)
    warp = ImageWarp(SO2(), 8)
    g = group.sample(3, generator=seeded())
    factor = Factor(warp, group, 0)
    torch.testing.assert_close(factor(g, z), warp(g[:, :2, :2], z))
    assert factor.event_dim == 3


def test_vector_fields_in_space():
    warp = VolumeWarp(SO3(), 8, channels=3)
    g = SO3().sample(2, generator=seeded())
    f = warp.positions().movedim(-1, 0)
    fields, mask = Fields(warp, Vectors(SO3())), warp.mask(g)
    assert bool(mask.any())
    moved = fields(g, f)
    for one, inside in zip(moved, mask, strict=True):
        torch.testing.assert_close(one[:, inside], f[:, inside], atol=1e-12, rtol=0)
    assert fields.event_dim == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_dtypes_keep_positions(dtype):
    warp, z = ImageWarp(SO2(), 32), normal(1, 32, 32)
    g = turn(0.3)
    exact = warp(g, z)
    moved = warp(g, z.to(dtype))
    assert moved.dtype == dtype
    torch.testing.assert_close(moved.double(), exact, atol=20 * torch.finfo(dtype).eps, rtol=0)


def test_refusals():
    warp = ImageWarp(SO2(), (4, 5), channels=2)
    for shape in ((2, 5, 4), (3, 4, 5), (4, 5), (2, 4, 6)):
        with pytest.raises(ShapeError, match="shape"):
            warp(SO2().identity(), torch.zeros(shape))
    with pytest.raises((ConventionError, TypeCheckError)):
        warp(SO2().identity(), torch.zeros(2, 4, 5, dtype=torch.uint8))
    for group in (SO3(), SE3(), GL(3), Translation(3)):
        with pytest.raises(ConventionError, match="group"):
            ImageWarp(group, 8)
    with pytest.raises(ConventionError, match="group"):
        VolumeWarp(SO2(), 8)
    for size in ((0, 4), -1):
        with pytest.raises(ShapeError, match="size"):
            ImageWarp(SO2(), size)
    for wrong in ({"interpolation": "trilinear"}, {"border": "mirror"}, {"channels": 0}):
        with pytest.raises((ConventionError, TypeCheckError)):
            ImageWarp(SO2(), 8, **wrong)
    with pytest.raises(ConventionError, match="fiber"):
        Fields(warp, Vectors(SO2(), 2))
    with pytest.raises(ConventionError, match="fiber"):
        Fields(ImageWarp(SO2(), 4, channels=3), Vectors(SO3()))
