"""Group convolution whose kernel does not factor: the published formulation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.nn.lie.coordinates import LieCoordinates
from equivariant.nn.lie.fields import LieField, PlaneGrid, check_field
from equivariant.nn.lie.integrals import tap_offsets
from equivariant.nn.lie.kernels import KernelName, KernelNetwork
from equivariant.nn.lie.lifting import check_group
from equivariant.nn.lie.samples import LieSamples
from equivariant.shapes import Float


class DenseGroupConv(nn.Module):
    """Group convolution of images with one kernel network on space and group together.

        (K F)_o(x, h_i) = |det h_i|⁻¹ Σ_j v_ij ∫ Σ_c k_oc(h_i⁻¹ (y - x), u_ij) F_c(y, h̃_j) dy,
        v_ij = w_j ω(u_ij) / Σ_j w_j ω(u_ij),   u_ij = h_i⁻¹ h̃_j

    A kernel for each pair of samples and of channels: the most general one, at N² C² taps
    operations for each place and as many numbers for the kernel. :class:`GroupConv` does with a
    sum of products what this does with one function; it is what to use but for comparison.

    Args:
        group: H, linear maps of the plane.
        inputs: Channels in, at least 1.
        outputs: Channels out, at least 1.
        radius: Of the kernel in space, before it is moved.
        group_radius: Of the window ω, as in :class:`GroupConv`.
        group_scale_radius: The same for scales; None takes ``group_radius``.
        orders: Highest order of an angle's features.
        kernel: "siren" or "fourier".
        width: Of the kernel network.
        depth: Of the kernel network.

    Raises:
        ConventionError: A number out of range, or a group of another space.

    Source: Mironenco and Forré 2024, section 4 and published code.
    """

    def __init__(
        self,
        group: Group,
        inputs: int,
        outputs: int,
        *,
        radius: float,
        group_radius: float = 1.0,
        group_scale_radius: float | None = None,
        orders: int = 3,
        kernel: KernelName = "siren",
        width: int = 60,
        depth: int = 3,
    ) -> None:
        super().__init__()
        if group.matrix_size != 2 or min(inputs, outputs) < 1 or not 0 < radius < math.inf:
            raise ConventionError(
                expected="linear maps of the plane, channels, and a positive radius",
                got=f"{group}, {inputs} -> {outputs}, radius={radius}", argument="group",
                advice="GroupConv also convolves clouds of points.",
            )  # fmt: skip
        self.group, self.inputs, self.outputs, self.radius = group, inputs, outputs, radius
        self.coordinates = LieCoordinates(
            group, radius=group_radius, scale_radius=group_scale_radius, orders=orders
        )
        self.network = KernelNetwork(
            2 + self.coordinates.dim, outputs * inputs, kind=kernel, width=width, depth=depth,
            frequency=3.0 if kernel == "siren" else 0.5, scale=inputs**-0.5,
        )  # fmt: skip

    def forward(self, field: LieField, samples: LieSamples | None = None) -> LieField:
        """The convolved field.

        Args:
            field: On a grid; its samples are the h̃_j.
            samples: Where the outputs live, the h_i; None keeps the input's.

        Returns:
            Values (batch, outputs, samples, height, width).

        Raises:
            ConventionError: Samples of another group, or a field on clouds.
            ShapeError: Another number of channels.
        """
        check_field(field, self.group, self.inputs)
        if not isinstance(field.places, PlaneGrid):
            raise ConventionError(
                expected="a field on a grid of pixels", got="one on clouds", argument="field",
                advice="GroupConv also convolves clouds of points.",
            )  # fmt: skip
        read = field.samples.to(field.values.device)
        outputs = (field.samples if samples is None else samples).to(field.values.device)
        check_group(outputs, self.group)
        side = max(field.places.size)
        kernel = self.kernel(read, outputs, field.places.spacing, side=side)
        kernel = kernel.to(field.values.dtype)
        size = kernel.shape[-1]
        weight = kernel.reshape(self.outputs * len(outputs), self.inputs * len(read), size, size)
        y = conv2d(field.values.flatten(1, 2), weight, padding=size // 2)
        return LieField(y.unflatten(1, (self.outputs, len(outputs))), outputs, field.places)

    def kernel(
        self, read: LieSamples, outputs: LieSamples, spacing: float, *, side: int | None = None
    ) -> Float[Tensor, "o i c j rows columns"]:
        """All kernels on the pixel grid, shape (outputs, samples, inputs, samples, taps, taps).

        ``side``: of the frame in pixels, beyond which there is nothing to read.
        """
        offsets = tap_offsets(self.radius, outputs, spacing, side=side)
        unit = torch.einsum("sij,abpj->sabpi", outputs.inverses, offsets) / self.radius
        steps = read.relative_to(outputs)
        window = read.weights * self.coordinates.window(steps)
        total = window.sum(-1, keepdim=True)
        window = window / torch.where(total > 0, total, 1.0)
        coordinates = self.coordinates(steps)
        count, rows, columns, parts = unit.shape[:4]
        shape = (count, len(read), rows, columns, parts)
        joint = torch.cat([
            unit[:, None].expand(*shape, 2),
            coordinates[:, :, None, None, None].expand(*shape, coordinates.shape[-1]),
        ], -1)  # fmt: skip
        bump = (1 - unit.square().sum(-1)).clamp(min=0) ** 3
        factor = window[..., None, None, None] * bump[:, None]
        factor = (
            factor
            * ((spacing / self.radius) ** 2 / outputs.determinants)[:, None, None, None, None]
        )
        # The last layer is linear: means over a pixel are taken before it, where they are small.
        features = self.network.features(joint)
        values: Tensor = self.network.last(
            (features * factor.to(features.dtype)[..., None]).mean(4)
        )
        found = values.reshape(*values.shape[:-1], self.outputs, self.inputs)
        return found.permute(4, 0, 5, 1, 2, 3)

    def extra_repr(self) -> str:
        return f"{self.group}, {self.inputs} -> {self.outputs}"
