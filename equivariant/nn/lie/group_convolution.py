"""Convolution over space and group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.groups.membership import numbers_are_known
from equivariant.nn.lie.coordinates import LieCoordinates
from equivariant.nn.lie.fields import LieField, PlaneGrid, check_field
from equivariant.nn.lie.integrals import convolve_places, plane_kernels
from equivariant.nn.lie.kernels import KernelName, KernelNetwork, PlaceKernel
from equivariant.nn.lie.lifting import check_group
from equivariant.nn.lie.samples import LieSamples, RelativeSamples
from equivariant.nn.lie.separable_convolution import convolve_separably
from equivariant.shapes import Float


class GroupConv(nn.Module):
    """Group convolution with a separable kernel, integrated over samples of the group.

        (K F)_o(x, h) = |det h|⁻¹ ∫∫ k_oc(h⁻¹ (y - x), h⁻¹ h̃) F_c(y, h̃) dy dμ(h̃)
        k_oc(y, u) = Σ_r W_orc a_rc(y) b_rc(u)

    With F at samples h̃_j of weight w_j, in this order:

        mix        M_rc(y, h_i) = Σ_j w_j ω(u_ij) b_rc(u_ij) F_c(y, h̃_j) / Σ_j w_j ω(u_ij)
        space      S_rc(x, h_i) = |det h_i|⁻¹ ∫ a_rc(h_i⁻¹ (y - x)) M_rc(y, h_i) dy
        channels   (K F)_o      = Σ_rc W_orc S_rc,            u_ij = h_i⁻¹ h̃_j

    ω is a window of compact support (:meth:`LieCoordinates.window`). By Haar invariance
    ∫ ω(h⁻¹ h̃) dμ(h̃) does not depend on h, so dividing by its estimate changes only a constant
    in the limit; it takes most of the noise of few samples away, and keeps outputs near the edge
    of the sampled region right for fields that vary slowly. Outputs whose window holds no sample
    are 0. The limit is equivariant where the
    samples cover the window around each output; the error falls as one over the square root of
    the number of samples, faster for evenly spread ones.

    Where the input is given at :class:`RelativeSamples` (h_i u_k around each output h_i), the
    weights depend on u_k alone, and the layer commutes with the group for any number of them.

    The cost per place is N² R C + N R C taps + N R C² for N samples, R terms, C channels, in
    place of N² C² taps of a kernel that does not factor. On images only the input is kept for
    the gradient (:func:`equivariant.nn.lie.separable_convolution.convolve_separably`).

    Args:
        group: H, linear maps of the plane or of space.
        inputs: Channels in, at least 1.
        outputs: Channels out, at least 1.
        radius: Of a, before it is moved; the unit of :class:`LiftConv`.
        group_radius: Of ω, for stretches: half the largest log-ratio of two singular values.
        group_scale_radius: Of ω, for the mean log singular value; None takes ``group_radius``.
        rank: R, at least 1.
        orders: Highest order of an angle's features, see :class:`LieCoordinates`.
        kernel: "siren" or "fourier".
        width: Of the kernel networks.
        depth: Of the kernel networks.

    Raises:
        ConventionError: A number out of range.

    Example:
        >>> from equivariant.groups import SO2
        >>> turns = SO2().sample(8, generator=torch.Generator().manual_seed(0))
        >>> samples = LieSamples(SO2(), turns, torch.ones(8))
        >>> field = LieField(torch.randn(4, 16, 8, 14, 14), samples, PlaneGrid((14, 14), 0.14))
        >>> GroupConv(SO2(), 16, 24, radius=0.3)(field).values.shape
        torch.Size([4, 24, 8, 14, 14])

    Source: Mironenco and Forré 2024, section 4; separable kernels: Knigge et al. 2022.
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
        rank: int = 1,
        orders: int = 3,
        kernel: KernelName = "siren",
        width: int = 32,
        depth: int = 2,
    ) -> None:
        super().__init__()
        if min(inputs, outputs, rank) < 1:
            raise ConventionError(
                expected="at least 1 input, output and term",
                got=f"inputs={inputs}, outputs={outputs}, rank={rank}", argument="rank",
                advice="One term is a depthwise-separable convolution.",
            )  # fmt: skip
        self.group, self.inputs, self.outputs, self.rank = group, inputs, outputs, rank
        self.coordinates = LieCoordinates(
            group, radius=group_radius, scale_radius=group_scale_radius, orders=orders
        )
        terms = rank * inputs
        self.place_kernel = PlaceKernel(
            group.matrix_size, terms, radius=radius, kind=kernel, width=width, depth=depth
        )
        self.group_kernel = KernelNetwork(
            self.coordinates.dim, terms, kind=kernel, width=width, depth=depth,
            frequency=2.0 if kernel == "siren" else 0.25,
        )  # fmt: skip
        self.channels = nn.Parameter(torch.randn(outputs, terms) * terms**-0.5)

    def forward(
        self, field: LieField, samples: LieSamples | RelativeSamples | None = None
    ) -> LieField:
        """The convolved field.

        Args:
            field: Its samples are the h̃_j.
            samples: Where the outputs live, the h_i; None keeps the input's. RelativeSamples
                where the input was computed at their ``product``; outputs live at their ``base``.

        Returns:
            Values (batch, outputs, samples, *places), dtype of the input.

        Raises:
            ConventionError: Samples of another group; an input that is no field, or was not
                computed at the product of the relative samples; steps that all lie outside of
                the group kernel's window.
            ShapeError: Another number of channels.
        """
        check_field(field, self.group, self.inputs)
        device = field.values.device
        if isinstance(samples, RelativeSamples):
            _check_relative(field, samples)
            outputs = samples.base.to(device)
            values = self._joined(self._mix_steps(field.values, samples), field, outputs)
        else:
            outputs = (field.samples if samples is None else samples).to(device)
            check_group(outputs, self.group)
            values = self._mixed_and_joined(field, outputs)
        return LieField(values, outputs, field.places)

    def mixing(
        self, samples: LieSamples, outputs: LieSamples
    ) -> Float[Tensor, "terms outputs samples"]:
        """w_j ω(u_ij) b(u_ij) / Σ_j w_j ω(u_ij), shape (rank · inputs, outputs, samples)."""
        steps = samples.relative_to(outputs)
        window = samples.weights * self.coordinates.window(steps)
        total = window.sum(-1, keepdim=True)
        window = window / torch.where(total > 0, total, 1.0)
        values: Tensor = self.group_kernel(self.coordinates(steps))
        return (values * window.to(values.dtype)[..., None]).movedim(-1, 0)

    def _mixed_and_joined(self, field: LieField, outputs: LieSamples) -> Tensor:
        """All three steps."""
        values = field.values
        matrix = self.mixing(field.samples.to(values.device), outputs).to(values.dtype)
        by_term = matrix.unflatten(0, (self.rank, self.inputs))
        if isinstance(field.places, PlaneGrid):
            kernels = plane_kernels(self.place_kernel, outputs, field.places)
            of_input = kernels.unflatten(0, (self.rank, self.inputs, len(outputs))).transpose(0, 1)
            channels = self.channels.unflatten(1, (self.rank, self.inputs)).transpose(1, 2)
            return convolve_separably(
                values, by_term.transpose(0, 1), of_input.flatten(0, 2).to(values.dtype),
                channels.flatten(1).to(values.dtype),
            )  # fmt: skip
        mixed = (by_term @ values.flatten(3).unsqueeze(1)).flatten(1, 2)
        return self._joined(mixed, field, outputs)

    def _mix_steps(self, values: Tensor, samples: RelativeSamples) -> Tensor:
        """The same where the weights depend on the step from each output alone."""
        steps = samples.steps.to(values.device)
        window = steps.weights * self.coordinates.window(steps.elements)
        if numbers_are_known(window) and not bool(window.sum() > 0):
            raise ConventionError(
                expected="a step inside the window of the group kernel",
                got=f"{len(steps)} outside of it", argument="samples",
                advice="Draw the steps by a narrower law, or take larger group radii.",
            )  # fmt: skip
        kernel = self.group_kernel(self.coordinates(steps.elements))
        weights = kernel * (window / window.sum()).to(kernel.dtype)[:, None]
        by_term = weights.to(values.dtype).unflatten(-1, (self.rank, self.inputs))
        by_step = values.unflatten(2, (len(samples.base), len(steps)))
        return torch.einsum("krc,bcsk...->brcs...", by_term, by_step).flatten(1, 2)

    def _joined(self, mixed: Tensor, field: LieField, outputs: LieSamples) -> Tensor:
        """The steps in space and on channels."""
        moved = convolve_places(mixed, self.place_kernel, outputs, field.places)
        return torch.einsum("ot,bt...->bo...", self.channels.to(moved.dtype), moved)

    def extra_repr(self) -> str:
        return f"{self.group}, {self.inputs} -> {self.outputs}, rank={self.rank}"


def _check_relative(field: LieField, samples: RelativeSamples) -> None:
    product = samples.product
    same = len(product) == len(field.samples) and torch.equal(
        product.elements.cpu(), field.samples.elements.cpu()
    )
    if not same:
        raise ConventionError(
            expected="a field at samples.product, the elements h_i u_k",
            got=f"a field at {len(field.samples)} other elements", argument="samples",
            advice="Lift at samples.product first: lift(images, samples.product).",
        )  # fmt: skip
