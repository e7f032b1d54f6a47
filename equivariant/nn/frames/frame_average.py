"""Any network made equivariant: its mean over the few frames that a cloud itself names."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import O3, SO3, Group
from equivariant.nn.frames.principal_axes import principal_axes
from equivariant.nn.points.neighbors import check_clouds
from equivariant.shapes import Float, Rotation

Output = Literal["invariant", "vectors"]


class FrameAverage(nn.Module):
    """The mean of a network over the frames of principal axes of the centred cloud.

        f(x) = (1/|F|) Σ_{F ∈ F(x)} φ((x - x̄) F)          invariant
        f(x) = (1/|F|) Σ_{F ∈ F(x)} φ((x - x̄) F) Fᵀ       vectors

    F(x) holds the matrices whose columns are the axes with every choice of signs: 8 for O3, and
    the 4 of determinant 1 for SO3. Turning x turns all of them, F(x Rᵀ) = R F(x), so f commutes
    with the group whatever φ does. Translations change nothing.

    It is exact where the three eigenvalues of the cloud's covariance differ. Where two agree the
    axes of that plane are arbitrary, f is discontinuous, and it is not equivariant: a cube or a
    square turns into something else, and nearby clouds are unstable. Clouds on a line and clouds
    of one point are harmless although two eigenvalues are zero: no coordinate along the
    arbitrary axes differs from zero.

    Gradients with respect to the points pass through the axes; components between eigenvalues
    that agree within rounding are left out. In training mode a backbone with batch statistics
    takes them over the frames of the batch together.

    Args:
        backbone: Clouds (batch, points, 3) to (batch, dim); called once with all frames along
            the batch axis. For "vectors" dim is a multiple of 3, one vector after another, or
            its result may have shape (batch, channels, 3).
        group: SO3() or O3().
        output: "invariant" or "vectors".

    Raises:
        ConventionError: Another group or another output.

    Example:
        >>> from equivariant.nn import PointEncoderConfig
        >>> backbone = PointEncoderConfig("pointnet", width=8, dim=12).build().eval()
        >>> model = FrameAverage(backbone, SO3(), output="vectors")
        >>> model(torch.randn(2, 100, 3)).shape
        torch.Size([2, 4, 3])

    Source: Puny et al. 2022, frame averaging and the frames of its section on point clouds.
    """

    def __init__(
        self, backbone: nn.Module, group: Group | None = None, *, output: Output = "invariant"
    ) -> None:
        super().__init__()
        group = SO3() if group is None else group
        if group not in (SO3(), O3()):
            raise ConventionError(
                expected="SO3() or O3()",
                got=str(group),
                argument="group",
                advice="Translations are taken out in any case.",
            )
        if output not in ("invariant", "vectors"):
            raise ConventionError(
                expected="invariant or vectors",
                got=repr(output),
                argument="output",
                advice="vectors turns the backbone's output back by each frame.",
            )
        self.backbone, self.group, self.output = backbone, group, output

    def forward(self, clouds: Float[Tensor, "batch points xyz"]) -> Tensor:
        """Representations.

        Args:
            clouds: Shape (batch, points, 3), any unit, at least one point.

        Returns:
            Shape (batch, dim), or (batch, channels, 3) for vectors.

        Raises:
            ShapeError: The last axis is not 3, there is no point, or vectors are asked for of a
                backbone whose result does not consist of triples.
        """
        check_clouds(clouds)
        centered = clouds - clouds.mean(1, keepdim=True)
        frames = cloud_frames(centered, self.group)
        count = frames.shape[1]
        seen = (centered.to(frames).unsqueeze(1) @ frames).flatten(0, 1).to(clouds.dtype)
        result: Tensor = self.backbone(seen)
        result = result.reshape(len(clouds), count, *result.shape[1:])
        if self.output == "invariant":
            return result.mean(1)
        vectors = result.flatten(2)
        if vectors.shape[2] % 3:
            raise ShapeError(
                expected="a backbone whose result is a multiple of 3 numbers per cloud",
                got=f"{vectors.shape[2]}",
                argument="backbone",
                advice="Each triple is one vector.",
            )
        triples = vectors.reshape(len(clouds), count, -1, 3)
        return (triples.to(frames) @ frames.transpose(-1, -2)).mean(1).to(result.dtype)


def cloud_frames(
    centered: Float[Tensor, "batch points 3"], group: Group
) -> Float[Tensor, "batch frames 3 3"]:
    """The principal axes of clouds with every choice of signs that stays in the group.

    Args:
        centered: Clouds whose mean is zero, shape (batch, points, 3).
        group: SO3() or O3().

    Returns:
        Matrices whose columns are axes, shape (batch, 4, 3, 3) for SO3, all of determinant 1, or
        (batch, 8, 3, 3) for O3; by ascending eigenvalue of the covariance.

    Example:
        >>> frames = cloud_frames(torch.randn(2, 100, 3), SO3())
        >>> frames.shape, bool((torch.linalg.det(frames) > 0).all())
        (torch.Size([2, 4, 3, 3]), True)

    Source: Puny et al. 2022.
    """
    return signed_frames(principal_axes(centered), group)


def signed_frames(axes: Rotation, group: Group) -> Float[Tensor, "batch frames 3 3"]:
    """Axes with every choice of signs that stays in the group.

    Args:
        axes: Orthogonal matrices, shape (batch, 3, 3).
        group: SO3() or O3().

    Returns:
        Shape (batch, 4, 3, 3) for SO3, all of determinant 1, or (batch, 8, 3, 3) for O3.

    Example:
        >>> signed_frames(torch.eye(3)[None], SO3())[0, -1].diagonal().tolist()
        [-1.0, -1.0, 1.0]
    """
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * 3).to(axes)
    if group == SO3():
        signs = signs[signs.prod(-1) > 0]
        axes = _right_handed(axes)
    return axes.unsqueeze(1) * signs[None, :, None, :]


def _right_handed(axes: Rotation) -> Rotation:
    """The same axes, the last turned about where the determinant is -1."""
    orientation = torch.linalg.det(axes.detach()).sign()
    last = axes[..., 2:] * orientation[..., None, None]
    return torch.cat([axes[..., :2], last], -1)
