"""The meter on images, volumes, permutations, pieces and molecules, and on planted symmetries."""

import pytest
import torch
from torch import nn

from equivariant.actions import (
    ImageWarp,
    Permute,
    PermutePairs,
    Piecewise,
    Points,
    Trivial,
    Vectors,
    VolumeWarp,
)
from equivariant.actions.by_name import named_action
from equivariant.errors import ShapeError
from equivariant.groups import (
    GL,
    SE3,
    SO2,
    SO3,
    Affine,
    BallSampler,
    Elements,
    NormalSampler,
    Permutation,
    Translation,
    plane_directions,
)
from equivariant.measure import (
    TreeMotion,
    Verdict,
    diagnose,
    discover_symmetries,
    equivariance_error,
    local_equivariance_error,
    numerical_floor,
)
from equivariant.testing import ModelContract

SIDE = 24
QUARTERS = Elements(SO2(), SO2().exp(torch.arange(4, dtype=torch.float64)[:, None] * torch.pi / 2))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth(items, channels=1, side=SIDE, group=None, form="image"):
    sizes = "x".join(map(str, [channels] + [side] * (2 if form == "image" else 3)))
    named = named_action(f"{form}:{sizes}", group or SO2())
    return named.draw(items, torch.Generator().manual_seed(0))


class Ring(nn.Module):
    """A convolution with a kernel that quarter turns leave alone, or a lopsided one."""

    def __init__(self, lopsided):
        super().__init__()
        kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, -3.0, 2.0], [1.0, 2.0, 1.0]])
        if lopsided:
            kernel[0, 2] = 4.0
        self.register_buffer("kernel", kernel.double()[None, None])

    def forward(self, x):
        return torch.tanh(nn.functional.conv2d(x, self.kernel, padding=1))


def test_quarter_turns_of_a_convolution_are_exact():
    x, warp = smooth(6), ImageWarp(SO2(), SIDE)
    sound = equivariance_error(Ring(False), x, act_in=warp, act_out=warp, law=QUARTERS, samples=8)
    assert sound.value("worst") < 1e-12
    broken = equivariance_error(Ring(True), x, act_in=warp, act_out=warp, law=QUARTERS, samples=8)
    assert broken.value() > 0.05


def test_all_angles_are_judged_against_the_interpolation_floor():
    """An isotropic blur is equivariant in the continuum: its error is interpolation, no more."""
    fine = smooth(6, side=48)
    warp = ImageWarp(SO2(), 48)
    floor = numerical_floor(lambda x: x, fine, act_in=warp, act_out=warp)
    assert floor.reference is not None and 1e-6 < floor.reference < 0.05
    within = TreeMotion(warp, margin_px=8.0)  # the reach of what is measured
    ideal = diagnose(lambda x: warp.reference(x, 2.0), fine, act_in=warp, act_out=within)
    assert ideal.verdict is Verdict.EQUIVARIANT
    lopsided = diagnose(lambda x: x - x.roll(3, -1), fine, act_in=warp, act_out=within)
    assert lopsided.verdict is Verdict.NOT_EQUIVARIANT
    small = ImageWarp(SO2(), 24)
    coarse = numerical_floor(lambda x: x, smooth(6, side=24), act_in=small, act_out=small)
    assert coarse.value > 2 * floor.value  # finer pictures lower the floor


def test_draws_that_leave_nothing_to_compare_do_not_count():
    x, warp = smooth(4), ImageWarp(Translation(2), SIDE)
    shifts = torch.tensor([[0.1, 0.0], [5.0, 0.0]], dtype=torch.float64)  # within, and far out
    law = Elements(Translation(2), Translation(2).exp(shifts))
    report = equivariance_error(lambda v: v + 1, x, act_in=warp, act_out=warp, law=law, samples=16)
    table = report.table()
    assert torch.equal(table.weights > 0, table.count > 0) and 0 < table.weights.mean() < 1
    far = Elements(Translation(2), Translation(2).exp(shifts[1:]))
    with pytest.raises(ShapeError, match="frame"):
        equivariance_error(lambda v: v, x, act_in=warp, act_out=warp, law=far)


def test_the_mask_leaves_out_what_comes_from_outside():
    x, warp = smooth(4), ImageWarp(Translation(2), SIDE)
    law = NormalSampler(Translation(2), 0.3)
    masked = equivariance_error(lambda v: 2 * v, x, act_in=warp, act_out=warp, law=law)
    assert masked.value("worst") < 1e-12
    assert float(masked.table().count.min()) < SIDE**2
    # a map that brightens what it cannot know is not blamed inside the frame
    filled = equivariance_error(lambda v: torch.where(v == 0, 1.0, v), x, act_in=warp,
                                act_out=warp, law=law)  # fmt: skip
    assert filled.value("worst") < 1e-12


def test_circular_convolution_and_whole_pixel_shifts():
    x = smooth(4)
    warp = ImageWarp(Translation(2), SIDE, border="periodic")
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular").double()
    steps = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, -5.0]], dtype=torch.float64) * 2 / SIDE
    law = Elements(Translation(2), Translation(2).exp(steps))
    report = equivariance_error(conv, x, act_in=warp, act_out=warp, law=law)
    assert report.value("worst") < 1e-12
    padded = nn.Conv2d(1, 1, 3, padding=1).double()
    assert equivariance_error(padded, x, act_in=warp, act_out=warp, law=law).value() > 1e-3


def test_volumes_turn_by_quarters():
    x = smooth(2, side=9, group=SO3(), form="volume")
    warp = VolumeWarp(SO3(), 9)
    turns = torch.pi / 2 * torch.eye(3, dtype=torch.float64)
    law = Elements(SO3(), SO3().exp(turns))
    average = nn.AvgPool3d(3, stride=1, padding=1)
    sound = equivariance_error(average, x, act_in=warp, act_out=warp, law=law, samples=3)
    assert sound.value("worst") < 1e-12
    lopsided = lambda v: v - v.roll(1, -1)  # noqa: E731
    broken = equivariance_error(lopsided, x, act_in=warp, act_out=warp, law=law, samples=3)
    assert broken.value() > 0.05


def test_permutations_of_rows_and_pairs():
    group = Permutation(6)
    rows, pairs = Permute(6, 3), PermutePairs(6)
    x = draw(5, 6, 3)
    gram = lambda z: z @ z.mT  # noqa: E731
    assert equivariance_error(gram, x, act_in=rows, act_out=pairs).value("worst") < 1e-12
    pooled = equivariance_error(lambda z: z.amax(1), x, act_in=rows, act_out=Trivial(3, group))
    assert pooled.value("worst") == 0.0
    ordered = equivariance_error(lambda z: z.cumsum(1), x, act_in=rows, act_out=rows)
    assert ordered.value() > 0.3


def test_pieces_move_on_their_own():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1])
    pieces = Piecewise(SE3(), labels)
    x = draw(4, 9, 3)

    def centred(z, split):
        out = torch.empty_like(z)
        for k in labels.unique():
            rows = labels == k if split else torch.ones_like(labels, dtype=torch.bool)
            out[:, labels == k] = z[:, labels == k] - z[:, rows].mean(1, keepdim=True)
        return out.norm(dim=-1)

    sound = equivariance_error(
        lambda z: centred(z, True), x, act_in=pieces, act_out=Trivial(9, pieces.group)
    )
    assert sound.value("worst") < 1e-9
    whole = equivariance_error(
        lambda z: centred(z, False), x, act_in=pieces, act_out=Trivial(9, pieces.group)
    )
    assert whole.value() > 0.1


def test_rotation_and_scale_but_not_shear_is_discovered():
    """A conformal map of the plane in gl(2), from its Gram matrix alone."""
    x = draw(200, 8, 2)

    def angles(z):  # cosines between the points: kept by turning and scaling
        unit = z / z.norm(dim=-1, keepdim=True)
        return (unit @ unit.mT).flatten(1)

    class Plane(Points):
        """GL(2) on points of the plane."""

        def __init__(self):
            super().__init__(SO2())
            self.group = GL(2)

    named = {k: v[:4] for k, v in plane_directions().items() if not k.startswith("trans")}
    local = local_equivariance_error(
        angles, x, act_in=Plane(), act_out=Trivial(64), directions=named
    )
    lee = dict(zip(local.names, local.overall.lee.tolist(), strict=True))
    assert lee["rotation"] < 1e-20 and lee["scale"] < 1e-20
    assert min(lee["shear_x"], lee["stretch"], lee["hyperbolic"]) > 1e-3
    found = discover_symmetries(
        local_equivariance_error(angles, x, act_in=Plane(), act_out=Trivial(64))
    )
    assert found.dimension() == 2 and found.closure() < 1e-6
    planted = torch.tensor([[0.0, -1, 1, 0], [1, 0, 0, 1]], dtype=torch.float64)
    span = found.subspace()
    projected = planted @ torch.linalg.pinv(span) @ span
    torch.testing.assert_close(projected, planted, atol=1e-6, rtol=0)


def test_local_error_is_the_limit_of_the_global_one():
    """e(r)/r → |L_X f| as the elements come near the identity, averaged over directions."""
    w, x = draw(3, 3), draw(120, 3, seed=1)
    action, f = Vectors(SO3()), (lambda v: torch.tanh(v @ w.T))
    local = local_equivariance_error(f, x, act_in=action, act_out=action)
    expected = local.overall.gram.trace() / 3  # directions are uniform on the sphere

    def ratio(radius):
        report = equivariance_error(
            f, x, act_in=action, act_out=action, law=BallSampler(SO3(), radius), samples=64
        )
        table = report.table()
        scaled = table.difference / report.radius.square()
        return (table.weights * scaled).sum() / table.weights.sum()

    near, far = float(ratio(1e-3)), float(ratio(2.5))
    assert near == pytest.approx(float(expected), rel=0.08)
    assert abs(far - float(expected)) > 0.2 * float(expected)
    linear = local_equivariance_error(lambda v: v @ w.T, x, act_in=action, act_out=action)
    basis = SO3().basis()
    for k in range(3):  # LEE = |dρ W - W dρ|² in isotropic x, here for these x exactly
        commutator = basis[k] @ w - w @ basis[k]
        mean = (x @ commutator.T).square().sum(1).mean()
        torch.testing.assert_close(linear.overall.gram[k, k], mean, atol=1e-12, rtol=1e-10)


def test_weights_of_a_law_are_carried():
    """Haar by importance weights from a ball equals Haar drawn directly."""
    x, action = draw(200, 3), Vectors(SO3())
    ball = equivariance_error(
        torch.sin, x, act_in=action, act_out=action, law=BallSampler(SO3(), torch.pi), samples=32
    )
    haar = equivariance_error(torch.sin, x, act_in=action, act_out=action, samples=32)
    gap = abs(ball.value() - haar.value())
    assert gap < 4 * (ball.estimate().standard_error + haar.estimate().standard_error)
    assert ball.estimate().effective_samples < 0.96 * 200 * 32
    plain = float(ball.errors().mean())
    assert abs(plain - haar.value()) > gap  # unweighted, the ball is another law
    mixed = equivariance_error(
        torch.sin, x, act_in=action, act_out=action, law=NormalSampler(SO3(), 0.1)
    )
    assert mixed.value() < 0.3 * haar.value()
    assert Affine(2).dim == 6


class TestCentre(ModelContract):
    """A model of a few lines inherits the tests."""

    act_in, act_out = Points(SE3()), Points(SE3())

    def build(self):
        return lambda p: p.mean(1, keepdim=True) + (p - p.mean(1, keepdim=True)).pow(3).mul(0)

    def inputs(self, items, generator):
        return torch.randn(items, 7, 3, generator=generator, dtype=torch.float64)


def test_the_contract_rejects_a_broken_model():
    class Broken(TestCentre):
        def build(self):
            return lambda p: p.sin()

    class Mixing(TestCentre):
        def build(self):
            return lambda p: p - p.mean((0, 1), keepdim=True) + p

    with pytest.raises(AssertionError, match="not equivariant"):
        Broken().test_equivariance_in_float64()
    with pytest.raises(AssertionError, match="close"):
        Mixing().test_items_do_not_see_one_another()
