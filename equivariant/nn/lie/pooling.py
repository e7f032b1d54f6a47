"""From features on space and group back to space, or to numbers."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, check_option
from equivariant.groups import Group
from equivariant.nn.lie.fields import LieField, check_field
from equivariant.nn.lie.integrals import convolve_places
from equivariant.nn.lie.kernels import KernelName, PlaceKernel
from equivariant.shapes import Float

PoolName = Literal["max", "mean", "softmax", "energy"]
PoolOver = Literal["all", "places", "group"]


class GroupPool(nn.Module):
    """Pooling over places and group elements, with the invariant measure.

        max       max_{x,i} F(x, h_i)
        mean      Σ_i m_i Σ_x F(x, h_i) / Σ_i m_i Σ_x 1
        softmax   T log (Σ_i m_i Σ_x exp(F(x, h_i) / T) / Σ_i m_i Σ_x 1)
        energy    Σ_i m_i Σ_x E(x, h_i) F(x, h_i) / Σ_i m_i Σ_x E(x, h_i),   E = mean_c F_c²

    m_i = w_i / |det h_i| on the plane, w_i on clouds (:meth:`LieField.measure`). "mean" and
    "softmax" divide by the frame, which does not grow with what is shown in it: under
    magnification they change. "energy" does not, as an empty background has no weight. A maximum
    does not either, but with few samples depends on which were drawn.

    Args:
        kind: "max", "mean", "softmax" or "energy".
        over: "all", or "places" or "group" alone.
        temperature: T of "softmax", positive.

    Raises:
        ConventionError: Another word, or a temperature that is not positive.

    Example:
        >>> from equivariant.groups import SO2
        >>> from equivariant.nn.lie import LieSamples, PlaneGrid
        >>> turns = SO2().sample(8, generator=torch.Generator().manual_seed(0))
        >>> samples = LieSamples(SO2(), turns, torch.ones(8))
        >>> field = LieField(torch.randn(4, 16, 8, 14, 14), samples, PlaneGrid((14, 14), 0.14))
        >>> GroupPool("mean")(field).shape, GroupPool("max", over="group")(field).shape
        (torch.Size([4, 16]), torch.Size([4, 16, 14, 14]))
    """

    def __init__(
        self, kind: PoolName = "max", *, over: PoolOver = "all", temperature: float = 1.0
    ) -> None:
        super().__init__()
        check_option(kind, get_args(PoolName), "kind")
        check_option(over, get_args(PoolOver), "over")
        if not temperature > 0:
            raise ConventionError(
                expected="a positive temperature", got=str(temperature), argument="temperature",
                advice="Towards 0 it becomes the maximum, for large ones the mean.",
            )  # fmt: skip
        self.kind, self.over, self.temperature = kind, over, temperature

    def forward(self, field: LieField) -> Tensor:
        """Shape (batch, channels), or with the places or the samples that are left.

        Raises:
            ConventionError: What is given is no field, or one of whole numbers.
        """
        check_field(field)
        values = field.values.flatten(3)
        share = 1.0 / values.shape[3]
        measure = field.measure()
        weights = (measure / measure.sum())[:, None]
        left = list(field.places.shape)
        axes: tuple[int, ...]
        if self.over == "places":
            weights, shape = torch.full_like(weights, share), [values.shape[2]]
            axes = (3,)
        elif self.over == "group":
            axes, shape = (2,), left
        else:
            weights, axes, shape = weights * share, (2, 3), []
        pooled = self._pool(values, weights, axes)
        return pooled.reshape(*values.shape[:2], *shape)

    def _pool(self, values: Tensor, weights: Tensor, axes: tuple[int, ...]) -> Tensor:
        if self.kind == "max":
            return values.amax(axes)
        if self.kind == "mean":
            return (values * weights).sum(axes)
        if self.kind == "energy":
            energy = energies(values) * weights
            total = energy.sum(axes)
            return (values * energy).sum(axes) / torch.where(total > 0, total, 1.0)
        scaled = values / self.temperature + weights.log()
        return self.temperature * scaled.logsumexp(axes)

    def extra_repr(self) -> str:
        return f"{self.kind}, over={self.over}"


def energies(
    values: Float[Tensor, "batch channels samples places"],
) -> Float[Tensor, "batch 1 samples places"]:
    """Mean square over channels: where a field has something to say."""
    return values.square().mean(1, keepdim=True)


class ProjectConv(nn.Module):
    """Projection: integrate over the group, so that a signal on space is left.

        (P F)_o(x) = Σ_c W_oc ∫∫ k_c(h⁻¹ (y - x)) F_c(y, h) |det h|⁻¹ dy dμ(h)

    Args:
        group: H, linear maps of the plane or of space.
        inputs: Channels in, at least 1.
        outputs: Channels out, at least 1.
        radius: Of k, before it is moved; the unit of :class:`LiftConv`.
        kernel: "siren" or "fourier".
        width: Of the kernel network.
        depth: Of the kernel network.

    Raises:
        ConventionError: A number out of range.

    Source: Mironenco and Forré 2024, section 4, the projection layer.
    """

    def __init__(
        self,
        group: Group,
        inputs: int,
        outputs: int,
        *,
        radius: float,
        kernel: KernelName = "siren",
        width: int = 32,
        depth: int = 2,
    ) -> None:
        super().__init__()
        if min(inputs, outputs) < 1:
            raise ConventionError(
                expected="at least 1 input and output", got=f"{inputs} and {outputs}",
                argument="outputs", advice="Each is a number of channels.",
            )  # fmt: skip
        self.group, self.inputs, self.outputs = group, inputs, outputs
        self.place_kernel = PlaceKernel(
            group.matrix_size, inputs, radius=radius, kind=kernel, width=width, depth=depth
        )
        self.channels = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)

    def forward(self, field: LieField) -> Float[Tensor, "batch outputs ..."]:
        """The signal at the field's places, shape (batch, outputs, *places).

        Raises:
            ShapeError: Another number of channels.
            ConventionError: Samples of another group.
        """
        check_field(field, self.group, self.inputs)
        samples = field.samples.to(field.values.device)
        moved = convolve_places(field.values, self.place_kernel, samples, field.places)
        summed = torch.einsum("s,bcs...->bc...", samples.weights.to(moved.dtype), moved)
        return torch.einsum("oc,bc...->bo...", self.channels.to(moved.dtype), summed)
