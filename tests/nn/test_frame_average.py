"""Frame averages: exact on generic clouds, and what happens where axes are not determined."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from equivariant.actions import Points, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SE3, SO2, SO3
from equivariant.measure import equivariance_error
from equivariant.nn import FrameAverage, PointEncoderConfig, cloud_frames
from equivariant.nn.frames.principal_axes import principal_axes
from equivariant.testing import assert_equivariant

TOLERANCE = 1e-10
DIM = 6


class Asymmetric(nn.Module):
    """A smooth map of clouds that knows the axes, the order of points and the orientation."""

    def __init__(self, points=9, dim=DIM):
        super().__init__()
        self.map = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * points, 16), nn.Tanh(), nn.Linear(16, dim)
        )

    def forward(self, clouds):
        return self.map(clouds)


class OneFrame(FrameAverage):
    """The broken twin: the signs that the eigenvectors happen to come with."""

    def forward(self, clouds):
        centered = clouds - clouds.mean(1, keepdim=True)
        axes = principal_axes(centered)
        result = self.backbone(centered @ axes)
        if self.output == "invariant":
            return result
        return result.reshape(len(clouds), -1, 3) @ axes.transpose(1, 2)


def cloud(batch=3, points=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor([1.0, 0.7, 0.4], dtype=torch.float64)
    return spread * torch.randn(batch, points, 3, generator=generator, dtype=torch.float64)


def model(group, output, *, kind=FrameAverage, points=9):
    torch.manual_seed(0)
    return kind(Asymmetric(points), group, output=output).double()


def error(f, x, group, output):
    act_out = Trivial(DIM) if output == "invariant" else Vectors(group, DIM // 3)
    return equivariance_error(
        lambda x: f(x).flatten(1), x, act_in=Points(group), act_out=act_out
    ).value("worst")


def check(f, x, group, output):
    act_out = Trivial(DIM) if output == "invariant" else Vectors(group, DIM // 3)
    assert_equivariant(
        lambda x: f(x).flatten(1), x, act_in=Points(group), act_out=act_out, tolerance=TOLERANCE
    )


@pytest.mark.parametrize("output", ["invariant", "vectors"])
@pytest.mark.parametrize("group", [SO3(), O3()])
def test_any_backbone_becomes_equivariant(group, output):
    f = model(group, output)
    check(f, cloud(), group, output)
    check(f, cloud(batch=1), group, output)
    check(f, cloud(), SE3(), output)
    if group == SO3():
        assert error(f, cloud(), O3(), output) > 1e-3


@pytest.mark.parametrize("output", ["invariant", "vectors"])
def test_one_frame_and_no_frame_are_rejected(output):
    broken = model(SO3(), output, kind=OneFrame)
    with pytest.raises(AssertionError, match="not equivariant"):
        check(broken, cloud(batch=8), SO3(), output)
    with pytest.raises(AssertionError, match="not equivariant"):
        check(broken.backbone, cloud(), SO3(), output)


def test_against_a_loop_over_frames():
    f = model(O3(), "vectors")
    x = cloud(batch=1)
    centered = x - x.mean(1)
    _, axes = torch.linalg.eigh(centered[0].T @ centered[0])
    total = torch.zeros(2, 3, dtype=torch.float64)
    for a in (1, -1):
        for b in (1, -1):
            for c in (1, -1):
                frame = axes * torch.tensor([a, b, c])
                total += f.backbone(centered @ frame).reshape(2, 3) @ frame.T
    torch.testing.assert_close(f(x)[0], total / 8, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("group", "count"), [(SO3(), 4), (O3(), 8)])
def test_frames_belong_to_the_group_and_differ(group, count):
    x = cloud()
    frames = cloud_frames(x - x.mean(1, keepdim=True), group)
    assert frames.shape == (3, count, 3, 3)
    torch.testing.assert_close(group.project(frames), frames)
    differences = (frames.unsqueeze(1) - frames.unsqueeze(2)).flatten(3).norm(dim=3)
    assert ((differences > 1) == ~torch.eye(count, dtype=torch.bool)).all()


@pytest.mark.parametrize("architecture", ["pointnet", "dgcnn"])
def test_with_a_point_encoder(architecture):
    torch.manual_seed(0)
    config = PointEncoderConfig(architecture, width=4, dim=DIM, neighbors=4)
    f = FrameAverage(config.build(), SO3(), output="vectors").double().eval()
    x = cloud(points=20)
    check(f, x, SO3(), "vectors")
    moved = f(x[:, torch.randperm(20)])
    torch.testing.assert_close(moved, f(x), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("output", ["invariant", "vectors"])
@pytest.mark.parametrize("group", [SO3(), O3()])
def test_a_line_and_a_point_are_harmless(group, output):
    """Two eigenvalues are zero, but so are the coordinates along the arbitrary axes."""
    line = torch.linspace(-1, 2, 9, dtype=torch.float64).square()[None, :, None]
    line = line * torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    f = model(group, output)
    check(f, line, group, output)
    same = line[:, :1].expand(-1, 9, -1)
    single = model(group, output, points=1)
    point = torch.tensor([[[0.2, -0.4, 1.0]]], dtype=torch.float64)
    assert torch.isfinite(single(point)).all()
    if output == "vectors":
        assert f(same).abs().max() < 1e-12
        assert single(point).abs().max() < 1e-12
    else:
        check(f, same, group, output)
        check(single, point, group, output)


@pytest.mark.parametrize("output", ["invariant", "vectors"])
def test_equal_eigenvalues_are_not_equivariant(output):
    """What the documentation warns of: a cube has no axes of its own."""
    corner = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    cube = torch.cartesian_prod(corner, corner, corner)[None]
    f = model(SO3(), output, points=8)
    assert error(f, cube, SO3(), output) > 1e-2


def test_gradients_are_right_on_generic_clouds():
    f = model(SO3(), "vectors")
    assert torch.autograd.gradcheck(f, (cloud(batch=2).requires_grad_(),))


@pytest.mark.parametrize("output", ["invariant", "vectors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_where_axes_are_not_determined_are_finite(dtype, output):
    x = cloud(batch=3).to(dtype)
    x[0] = 0.3
    x[1] = torch.linspace(-1, 1, 9, dtype=dtype)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    x[2, :5] = x[2, 0].clone()
    x.requires_grad_()
    y = model(SO3(), output).to(dtype)(x)
    y.square().sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


def test_refusals():
    with pytest.raises(ConventionError, match="SO3"):
        FrameAverage(Asymmetric(), SO2())
    with pytest.raises((ConventionError, TypeCheckError), match="vectors"):
        FrameAverage(Asymmetric(), output="points")
    with pytest.raises(ShapeError, match="multiple of 3"):
        FrameAverage(Asymmetric(dim=4), output="vectors").double()(cloud())
    for wrong in (torch.zeros(2, 0, 3), torch.zeros(2, 3, 9)):
        with pytest.raises(ShapeError, match="at least 1"):
            FrameAverage(Asymmetric())(wrong)


@pytest.mark.parametrize("output", ["invariant", "vectors"])
def test_bfloat16_runs_with_axes_in_float32(output):
    torch.manual_seed(0)
    x = torch.randn(4, 20, 3)
    f = FrameAverage(nn.Sequential(nn.Flatten(), nn.Linear(60, 6)), SO3(), output=output)
    expected = f(x)
    found = f.bfloat16()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.1)
