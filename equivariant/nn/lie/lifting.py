"""From signals on space to features on space and group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.nn.lie.fields import CloudPlaces, LieField, PlaneGrid
from equivariant.nn.lie.integrals import cloud_weights, lift_image
from equivariant.nn.lie.kernels import KernelName, PlaceKernel
from equivariant.nn.lie.samples import LieSamples
from equivariant.shapes import Float, Images


class LiftConv(nn.Module):
    """Lifting convolution: compare a signal with a kernel moved by each group element.

        images    F_o(x, h) = |det h|⁻¹ ∫ Σ_c k_oc(h⁻¹ (y - x)) f_c(y) dy
        clouds    F_o(x, h) = Σ_y ω(h⁻¹ (y - x)) k_o(h⁻¹ (y - x)) / Σ_y ω(h⁻¹ (y - x))

    Moving the signal by (t, a) gives F(a⁻¹(x - t), a⁻¹h): exactly for clouds, up to the pixels
    for images. No sum over the group is taken, so the number of samples does not matter here.

    Args:
        group: H, linear maps of the plane (images) or of the plane or space (clouds).
        inputs: Channels of images, at least 1; 0 for clouds of bare points.
        outputs: Channels of the field, at least 1.
        radius: Of the kernel before it is moved, in units of half the image's shorter side, or
            in the clouds' unit.
        stride: Of images: the field has height / stride x width / stride places.
        kernel: "siren" or "fourier".
        width: Of the kernel network.
        depth: Of the kernel network.

    Raises:
        ConventionError: Sizes or the radius out of range.

    Example:
        >>> from equivariant.groups import SO2
        >>> turns = SO2().sample(8, generator=torch.Generator().manual_seed(0))
        >>> samples = LieSamples(SO2(), turns, torch.ones(8))
        >>> lift = LiftConv(SO2(), 1, 16, radius=0.2, stride=2)
        >>> lift(torch.rand(4, 1, 28, 28), samples).values.shape
        torch.Size([4, 16, 8, 14, 14])

    Source: Mironenco and Forré 2024, section 4 (the lift); MacDonald et al. 2022.
    """

    def __init__(
        self,
        group: Group,
        inputs: int,
        outputs: int,
        *,
        radius: float,
        stride: int = 1,
        kernel: KernelName = "siren",
        width: int = 32,
        depth: int = 2,
    ) -> None:
        super().__init__()
        if inputs < 0 or outputs < 1 or stride < 1:
            raise ConventionError(
                expected="at least 0 inputs, 1 output and a stride of 1",
                got=f"inputs={inputs}, outputs={outputs}, stride={stride}", argument="outputs",
                advice="Images have channels; clouds of bare points have inputs=0.",
            )  # fmt: skip
        self.group, self.inputs, self.outputs, self.stride = group, inputs, outputs, stride
        self.kernel = PlaceKernel(
            group.matrix_size, outputs * max(inputs, 1), radius=radius, kind=kernel,
            width=width, depth=depth, scale=max(inputs, 1) ** -0.5,
        )  # fmt: skip

    def forward(
        self,
        signal: Images | Float[Tensor, "batch points n"],
        samples: LieSamples,
        *,
        centers: int | None = None,
    ) -> LieField:
        """The field at the samples.

        Args:
            signal: Images (batch, inputs, height, width), or clouds (batch, points, n).
            samples: The elements h_i, of this layer's group.
            centers: Of clouds: how many of the points, evenly spaced in their order, the field
                has as places; None takes all. Images have none.

        Returns:
            Values (batch, outputs, samples, places), dtype of the signal.

        Raises:
            ShapeError: The signal is neither, or empty.
            ConventionError: Samples of another group, or a signal of integers.
        """
        check_group(samples, self.group)
        check_floats(signal)
        samples = samples.to(signal.device)
        if self.inputs == 0:
            return self._lift_cloud(signal, samples, centers)
        if signal.ndim != 4 or signal.shape[1] != self.inputs or min(signal.shape[2:]) < 1:
            raise ShapeError(
                expected=f"images of shape (batch, {self.inputs}, height, width)",
                got=f"shape {tuple(signal.shape)}", argument="signal",
                advice="For clouds make the layer with inputs=0.",
            )  # fmt: skip
        places = PlaneGrid.of_image((signal.shape[2], signal.shape[3])).coarser(self.stride)
        values = lift_image(signal, self.kernel, samples, outputs=self.outputs, stride=self.stride)
        return LieField(values, samples, places)

    def _lift_cloud(self, points: Tensor, samples: LieSamples, centers: int | None) -> LieField:
        n = self.group.matrix_size
        if points.ndim != 3 or points.shape[2] != n or points.shape[1] < 1:
            raise ShapeError(
                expected=f"clouds of shape (batch, points, {n}), with at least one point",
                got=f"shape {tuple(points.shape)}", argument="signal",
                advice="For images make the layer with inputs = their channels.",
            )  # fmt: skip
        count = points.shape[1] if centers is None else min(centers, points.shape[1])
        if count < 1:
            raise ConventionError(
                expected="at least 1 centre", got=str(centers), argument="centers",
                advice="None makes every point one.",
            )  # fmt: skip
        index = torch.linspace(0, points.shape[1] - 1, count, device=points.device).round().long()
        places = CloudPlaces(points[:, index])
        weights = cloud_weights(self.kernel, samples, read=CloudPlaces(points), written=places)
        values = weights.sum(3).movedim(-1, 1).to(points.dtype)
        return LieField(values, samples, places)

    def extra_repr(self) -> str:
        return f"{self.group}, {self.inputs} -> {self.outputs}, radius={self.kernel.radius}"


def check_group(samples: LieSamples, group: Group) -> None:
    """Refuse samples of another group than a layer's.

    Raises:
        ConventionError: They are.
    """
    if samples.group != group:
        raise ConventionError(
            expected=f"samples of {group}", got=f"samples of {samples.group}",
            argument="samples", advice="Draw them by a law on the layer's group.",
        )  # fmt: skip


def check_floats(signal: Tensor) -> None:
    """Refuse a signal of integers, to which kernels would be rounded.

    Raises:
        ConventionError: It is one.
    """
    if not signal.is_floating_point():
        raise ConventionError(
            expected="floating-point numbers", got=str(signal.dtype), argument="signal",
            advice="Bytes become images in [0, 1] by signal.float() / 255.",
        )  # fmt: skip
