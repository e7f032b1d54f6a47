"""The form of features and filters over edges, its derivatives, and its fastest evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.autograd import forward_ad

from equivariant.nn.gaunt.accumulation import without_autocast
from equivariant.nn.gaunt.compiled.availability import has_numbers
from equivariant.nn.gaunt.convolution.filter_matrices import FilterMatrices
from equivariant.nn.gaunt.convolution.incidence import Incidence
from equivariant.nn.gaunt.multilinear import derivative
from equivariant.nn.gaunt.multilinear_forms import MultilinearForm, Needs, is_mapped, swapped
from equivariant.nn.tracing import makes_graph
from equivariant.shapes import Float, Int

if TYPE_CHECKING:
    from equivariant.nn.gaunt.compiled.edges.kernel import EdgeKernel


@dataclass(frozen=True)
class FilterColumns:
    """Which harmonic and which weight of an edge make each number of its filter.

    Args:
        harmonic: Shape (filter_width,), int64; None where they are all, in their order.
        weight: Shape (filter_width,), int64.

    Example:
        >>> columns = FilterColumns(None, torch.tensor([0, 1, 1, 1]))
        >>> columns.filters(torch.ones(1, 4), torch.tensor([[2.0, 3.0]]))
        tensor([[2., 3., 3., 3.]])
    """

    harmonic: Int[Tensor, " filter_width"] | None
    weight: Int[Tensor, " filter_width"]

    def filters(
        self, harmonics: Float[Tensor, "edges h"], weights: Float[Tensor, "edges w"]
    ) -> Float[Tensor, "edges filter_width"]:
        """Products of harmonics and weights.

        Args:
            harmonics: Shape (edges, harmonics).
            weights: Shape (edges, weights), of the same dtype.

        Returns:
            Shape (edges, filter_width).
        """
        if self.harmonic is not None:
            harmonics = harmonics.index_select(1, self.harmonic)
        return harmonics * weights.index_select(1, self.weight)

    def gradients(
        self, harmonics: Tensor, weights: Tensor, gradient: Tensor, needs: Needs
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of :meth:`filters`.

        Args:
            harmonics: As there.
            weights: As there.
            gradient: By the filters, shape (edges, filter_width).
            needs: Whether those by harmonics and by weights are wanted.

        Returns:
            Gradients of the shapes of both, or None.
        """
        of_harmonics = of_weights = None
        if needs[0]:
            of_harmonics = gradient * weights.index_select(1, self.weight)
            if self.harmonic is not None:
                zeros = torch.zeros_like(harmonics)
                of_harmonics = zeros.index_add(1, self.harmonic, of_harmonics)
        if needs[1]:
            chosen = harmonics
            if self.harmonic is not None:
                chosen = harmonics.index_select(1, self.harmonic)
            of_weights = torch.zeros_like(weights).index_add(1, self.weight, gradient * chosen)
        return of_harmonics, of_weights


class EdgeForm(MultilinearForm):
    """The form Σ_e x_s M_e y_t of features x, filters h and features y, over edges from s to t.

    Slots are 0 for x, 1 for h and 2 for y, all as rows: of nodes, of edges and of nodes. Its
    derivatives are the convolution, its transpose and the correlation of both features. Leading
    axes before rows are a batch of everything.

    Args:
        matrices: How M is made of h. Rows hold components of all channels, as "ir_mul" has them.
        ends: Of edges.
        kernel: Evaluates the form in place of matrices; rows are then as its layouts say.
    """

    name = ""  # compiled graphs see plain operations

    def __init__(
        self, matrices: FilterMatrices, ends: Incidence, kernel: EdgeKernel | None = None
    ) -> None:
        self.matrices = matrices
        self.ends = ends
        self.kernel = kernel
        self.keeps = False
        self._kept: tuple[tuple[Any, ...], Tensor, Tensor] | None = None

    @cached_property
    def _number(self) -> int:
        """By which :func:`edge_derivative` knows the form as long as it lives."""
        number = next(_numbers)
        _numbered[number] = self
        return number

    def length(self, slot: int) -> int:
        """See :class:`MultilinearForm`; rows of x and y also depend on channels."""
        sizes = self.matrices.width_in, self.matrices.filter_width, self.matrices.width_out
        return sizes[slot]

    def derivative(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """Gradient by one operand, see :class:`MultilinearForm`."""
        one, other = operands
        if is_mapped(one) or is_mapped(other):
            found: Tensor = edge_derivative(self._number, slot, one, other)
            return found
        if one.dim() > 2 or other.dim() > 2:
            return self._batched(slot, operands)
        if slot == 1:
            return self._correlated(one, other)
        transposed = slot == 0
        x, filters = (other, one) if transposed else (one, other)
        ends = self.ends.transposed() if transposed else self.ends
        if self.kernel is not None:
            return self.kernel.convolve(x, filters, None, ends, transposed)
        form = self.matrices
        values = _by_component(x, form.width_out if transposed else form.width_in)
        with without_autocast(x.device):
            made = self._made(filters, values)
            y = form.convolve(values, filters, ends, transposed=transposed, matrices=made)
        return y.flatten(1)

    def gradients(
        self, slot: int, operands: Sequence[Tensor], cotangent: Tensor, needs: Needs
    ) -> list[Tensor | None]:
        """Gradients by the operands of a derivative, see :class:`MultilinearForm`."""
        alone = cotangent.dim() == 2 and not is_mapped(cotangent)
        if slot == 2 and self.kernel is not None and alone:
            x, filters = operands
            found = self.kernel.derive(
                (x, cotangent), filters, None, self.ends, (needs[0], needs[1], False)
            )
            return found[:2]
        return [
            self.derivative(place, others) if needed else None
            for needed, (place, others) in zip(
                needs, swapped(slot, operands, cotangent), strict=True
            )
        ]

    def _correlated(self, x: Tensor, y: Tensor) -> Tensor:
        form, source = self.matrices, self.ends.source
        edges = len(x) if source is None else len(source)
        if self.kernel is not None:
            like = x.new_empty(edges, form.filter_width)
            found = self.kernel.derive((x, y), like, None, self.ends, (False, True, False))[1]
            return like if found is None else found
        before, after = _by_component(x, form.width_in), _by_component(y, form.width_out)
        with without_autocast(x.device):
            return form.correlate(before, after, edges, self.ends)

    def _made(self, filters: Tensor, values: Tensor) -> Tensor | None:
        """Matrices of all edges, if they are to be kept and fit; those made before if the same."""
        if not self.keeps or not has_numbers(filters) or len(filters) > self.matrices.chunk(values):
            return None
        key = filters.data_ptr(), filters._version, filters.shape
        if self._kept is None:
            self._kept = key, filters.detach(), self.matrices.matrices(filters)
        return self._kept[2] if self._kept[0] == key else None

    def _batched(self, slot: int, operands: Sequence[Tensor]) -> Tensor:
        """A batch as one set of edges between as many times the nodes."""
        lead: torch.Size = torch.broadcast_shapes(*(operand.shape[:-2] for operand in operands))
        count, ends = lead.numel(), self.ends
        flat = [
            operand.expand(*lead, *operand.shape[-2:]).reshape(-1, operand.shape[-1])
            for operand in operands
        ]
        source, target = (
            None if index is None
            else (index + rows * torch.arange(count, device=index.device)[:, None]).flatten()
            for index, rows in ((ends.source, ends.rows_in), (ends.target, ends.rows_out))
        )  # fmt: skip
        many = Incidence(source, target, count * ends.rows_in, count * ends.rows_out)
        found = EdgeForm(self.matrices, many, self.kernel).derivative(slot, flat)
        return found.view(*lead, len(found) // count, found.shape[1])


def convolve(
    form: EdgeForm,
    columns: FilterColumns,
    x: Float[Tensor, "rows in"],
    factors: tuple[Float[Tensor, "edges h"], Float[Tensor, "edges w"]],
) -> Float[Tensor, "rows_out out"]:
    """Gather, multiply by the matrices of the edges, and add up at their ends.

    Derivatives of every order, in forward mode too, are made of the same. Only x, harmonics,
    weights or filters and, where ``form`` has no kernel and all of them are few enough, matrices
    are kept for them.

    Args:
        form: Which form, and how it is evaluated.
        columns: What filters are made of.
        x: Features, float32 or float64.
        factors: Harmonics and weights of edges, of the same dtype.

    Returns:
        Features of the same dtype.
    """
    if makes_graph():
        values = _by_component(x, form.matrices.width_in)
        with without_autocast(x.device):
            y = form.matrices.convolve_once(values, columns.filters(*factors), form.ends)
        return y.flatten(1)
    derived = torch.is_grad_enabled() and (
        x.requires_grad or factors[0].requires_grad or factors[1].requires_grad
    )
    eager = forward_ad._current_level < 0 and not torch._C._are_functorch_transforms_active()
    if form.kernel is None or not eager:
        form.keeps = derived
        form.ends = _bare(form.ends)
        return derivative(form, 2, (x, columns.filters(*factors)))
    if not derived:
        return form.kernel.convolve(x, *factors, form.ends, False)
    result: Tensor = _Convolution.apply(form, columns, x, *factors)  # type: ignore[no-untyped-call]
    return result


class _Convolution(torch.autograd.Function):
    """Filters and convolution in one kernel, and all gradients of both in another.

    Where a graph of the gradients is wanted, they are made of the form's derivatives.
    """

    @staticmethod
    def forward(
        ctx: Any, form: EdgeForm, columns: FilterColumns, x: Tensor, harmonics: Tensor,
        weights: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, harmonics, weights)
        ctx.form, ctx.columns = form, columns
        kernel: EdgeKernel = form.kernel  # type: ignore[assignment]
        return kernel.convolve(x, harmonics, weights, form.ends, False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, harmonics, weights = ctx.saved_tensors
        form, columns, needs = ctx.form, ctx.columns, ctx.needs_input_grad[2:]
        mapped = torch._C._are_functorch_transforms_active() or is_mapped(gradient)
        if not torch.is_grad_enabled() and not mapped:
            return (
                None, None, *form.kernel.derive((x, gradient), harmonics, weights, form.ends, needs)
            )  # fmt: skip
        of_x = of_harmonics = of_weights = None
        if needs[0]:
            of_x = derivative(form, 0, (columns.filters(harmonics, weights), gradient))
        if any(needs[1:]):
            of_filters = derivative(form, 1, (x, gradient))
            of_harmonics, of_weights = columns.gradients(harmonics, weights, of_filters, needs[1:])
        return None, None, of_x, of_harmonics, of_weights


_numbers = count()
_numbered: WeakValueDictionary[int, EdgeForm] = WeakValueDictionary()


@torch.library.custom_op(
    "equivariant::edge_derivative",
    mutates_args=(),
    schema="(int number, int slot, Tensor one, Tensor other) -> Tensor",
)
def edge_derivative(number: int, slot: int, one: Tensor, other: Tensor) -> Tensor:
    """A derivative of a form as an operator, which torch calls entry by entry of a batch.

    Args:
        number: Of the form.
        slot: As for :meth:`EdgeForm.derivative`.
        one: The first operand.
        other: The second.

    Returns:
        A new tensor.
    """
    return _numbered[number].derivative(slot, (one, other))


def _bare(ends: Incidence) -> Incidence:
    """The same without what transformations wrap even numbers of rows in."""
    bare = []
    for index in (ends.source, ends.target):
        while index is not None and torch._C._functorch.is_gradtrackingtensor(index):
            index = torch._C._functorch.get_unwrapped(index)
        bare.append(index)
    return Incidence(bare[0], bare[1], ends.rows_in, ends.rows_out)


def _by_component(x: Tensor, width: int) -> Tensor:
    """Rows cut into components with all channels; also where there are no rows."""
    return x.view(x.shape[0], width, x.shape[1] // width)
