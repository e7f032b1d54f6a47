"""Compiled kernels against plain contractions: every layout, number of channels and thread."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from equivariant.nn.gaunt import gaunt_coefficients, poisson_coefficients
from equivariant.nn.gaunt.compiled import threads
from equivariant.nn.gaunt.compiled.instructions.machine_code import Processor
from equivariant.nn.gaunt.compiled.nonzero_coefficients import Couplings, harmonic_couplings
from equivariant.nn.gaunt.compiled.product import sparse, unrolled
from equivariant.nn.gaunt.compiled.product.schedules import is_symmetric
from equivariant.nn.gaunt.compiled.product.sparse import SparseForm
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.compiled.threads import cut, number_of_parts
from equivariant.nn.gaunt.multilinear import derivative

DEGREES = (2, 1, 3)
CHANNELS = [1, 3, 16, 32, 48, 64, 100, 128]  # parts of, whole, and several blocks of lanes
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture
def two_threads(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "SMALLEST", 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["written out", "tables"])
def code(request, monkeypatch):
    """Both kinds of kernels; the long lists that tables serve would take long here."""
    if request.param == "tables":
        monkeypatch.setattr(sparse, "MOST_TERMS", 0)


def layouts(channels, order, *, shared=False, degrees=DEGREES):
    widths = [tuple(2 * n + 1 for n in range(degree + 1)) for degree in degrees]
    return (
        RowLayout(widths[0], channels, order),
        RowLayout(widths[1], channels, order, shared),
        RowLayout(widths[2], channels, order),
    )


def unpacked(x, layout):
    """Coefficients and channels as axes, by slices and loops."""
    count = 1 if layout.shared else layout.channels
    found, start = [], 0
    for width in layout.widths:
        block = x[..., start : start + width * count]
        for m in range(width):
            step = block[..., m::width] if layout.order == "mul_ir" else None
            found.append(block[..., m * count : (m + 1) * count] if step is None else step)
        start += width * count
    return torch.stack(found, -2)


def whole(terms):
    """Coefficients as an array, and the coupling of each."""
    table, path = np.zeros(terms.sizes), np.zeros(terms.sizes, np.int64)
    table[terms.first, terms.second, terms.third] = terms.value
    path[terms.first, terms.second, terms.third] = terms.path
    return torch.from_numpy(table), torch.from_numpy(path)


def value(terms, kinds, operands):
    """The form itself, summed over everything, in double precision."""
    table, path = whole(terms)
    x, y, z = (unpacked(t.double(), kind) for t, kind in zip(operands, kinds, strict=False))
    y = y.expand(*y.shape[:-1], kinds[0].channels)
    if len(operands) == 3:
        return torch.einsum("abd,...ac,...bc,...dc->", table, x, y, z)
    w = operands[3].double().unflatten(-1, (terms.paths, kinds[0].channels))[..., path, :]
    return torch.einsum("abd,...ac,...bc,...dc,...abdc->", table, x, y, z, w)


def drawn(form, batch, dtype, *, once=False):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, form.length(slot)) for slot in range(4 if form.weighted else 3)]
    if once:
        shapes[3] = (form.length(3),)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in shapes
    ]


def compare(form, kinds, operands, *, dtype):
    """Every slot's derivative, and the gradients of the last one, against autograd of a sum."""
    expected = torch.autograd.grad(value(form.terms, kinds, operands), operands)
    slots = range(len(operands))
    others = [[o for place, o in enumerate(operands) if place != slot] for slot in slots]
    found = [derivative(form, slot, others[slot]) for slot in slots]
    for one, other in zip(found, expected, strict=True):
        close(one.sum_to_size(other.shape), other, TOLERANCE[dtype])
    z = derivative(form, 2, others[2])
    ours = torch.autograd.grad((z * operands[2]).sum(), operands)
    for one, other in zip(ours, expected, strict=True):
        close(one, other, TOLERANCE[dtype])


def close(one, other, tolerance):
    assert one.shape == other.shape
    one, other = one.detach(), other.detach()
    assert float((one - other).abs().max()) <= tolerance * float(other.abs().max())


def all_ways(batch, channels, order, dtype):
    same = harmonic_couplings(2, 2, 3, "even", "integral")
    kinds = layouts(channels, order, degrees=(2, 2, 3))
    form = SparseForm(same, kinds)
    assert form.symmetric
    compare(form, kinds, drawn(form, batch, dtype), dtype=dtype)
    terms = harmonic_couplings(*DEGREES, "even", "integral")
    for shared in (False, True) if channels > 1 else (False,):
        kinds = layouts(channels, order, shared=shared)
        form = SparseForm(terms, kinds)
        compare(form, kinds, drawn(form, batch, dtype), dtype=dtype)
        form = SparseForm(terms, kinds, weighted=True)
        for once in (False, True):
            compare(form, kinds, drawn(form, batch, dtype, once=once), dtype=dtype)


@pytest.mark.parametrize("order", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_values_and_gradients_in_double_precision(channels, order, code):
    for batch in (1, 7):
        all_ways(batch, channels, order, torch.float64)


@pytest.mark.parametrize("order", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_values_and_gradients_in_single_precision(channels, order, code):
    all_ways(70 if channels < 32 else 5, channels, order, torch.float32)


@pytest.mark.parametrize("order", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("channels", [1, 3, 64, 100])
def test_several_threads_compute_the_same(channels, order, two_threads, code):
    all_ways(130 if channels == 1 else 9, channels, order, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", range(1, 21))
def test_records_of_every_width(width, dtype):
    """Rows of one channel, so many that all are split by whole registers."""
    places = np.arange(width)
    terms = Couplings(places, places, places, places, 1.0 + places, (width,) * 3, width)
    kind = RowLayout((width,), 1, "mul_ir")
    form = SparseForm(terms, (kind, kind, kind), weighted=True)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(150, width, generator=generator).to(dtype) for _ in range(3)]
    expected = rows[0] * rows[1] * rows[2] * torch.arange(1, width + 1)
    close(derivative(form, 2, rows), expected, TOLERANCE[dtype])


PROCESSORS = [None, Processor(64, 32), Processor(32, 16), Processor(16, 32), Processor(16, 16)]


@pytest.mark.parametrize("processor", PROCESSORS, ids=str)
@pytest.mark.parametrize("kind", ["even", "odd"])
@pytest.mark.parametrize(
    "degrees",
    [(0, 0, 0), (0, 3, 3), (1, 1, 3), (4, 1, 2), (2, 2, 2), (3, 3, 5), (4, 4, 2)],
)  # fmt: skip
def test_written_out_and_by_tables(degrees, kind, processor, monkeypatch):
    """Registers enough for all, for sums alone, and too few; places that nothing reaches."""
    if processor:
        monkeypatch.setattr(unrolled, "processor", lambda: processor)
    terms = harmonic_couplings(*degrees, kind, "integral")
    kinds = layouts(3, "mul_ir", degrees=degrees)
    form = SparseForm(terms, kinds)
    with monkeypatch.context() as patch:
        patch.setattr(sparse, "MOST_TERMS", 0)
        by_tables = SparseForm(terms, kinds)
        operands = drawn(form, 24, torch.float64)
        expected = everything(by_tables, operands)
    for one, other in zip(everything(form, operands), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)
    if len(terms.value):
        made = [plan[-1] for plan in form._plans.values()]
        assert all(made)
        assert not any(plan[-1] for plan in by_tables._plans.values())


def everything(form, operands):
    """A product for each slot, and the gradients of each."""
    found = []
    for slot in range(3):
        others = [operand for place, operand in enumerate(operands) if place != slot]
        z = derivative(form, slot, others)
        found += [z.detach(), *torch.autograd.grad(z, others, operands[slot].detach())]
    return found


def test_equal_lists_share_their_code_and_others_do_not():
    terms = harmonic_couplings(2, 2, 2, "even", "integral")
    kinds = layouts(64, "ir_mul", degrees=(2, 2, 2))
    x = torch.ones(1, kinds[0].length)
    codes = []
    for value in (terms.value, terms.value, 2 * terms.value):
        form = SparseForm(replace(terms, value=value), kinds)
        codes.append(int(abs(derivative(form, 2, (x, x))).sum()))
        codes.append(next(iter(form._plans.values()))[-1])
    assert codes[:2] == codes[2:4]
    assert codes[5] != codes[1]
    assert codes[4] == pytest.approx(2 * codes[0], abs=1)


def test_threads_share_out_everything_once():
    extent = threads.Extent(0, 23, 16, 4, 4)
    spans = [(e.first, e.last) for _, e in cut([], extent, 3)]
    assert spans[0][0] == 0
    assert spans[-1][1] == 23
    assert all(one[1] == other[0] and one[1] % 4 == 0 for one, other in pairwise(spans))
    single = threads.Extent(0, 1, 150, 1, 4)
    assert [e.channels for _, e in cut([], single, 2)] == [64, 86]
    assert number_of_parts(single, 1, single=True) == 1


@pytest.mark.parametrize("kind", ["even", "odd"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 1, 1), (2, 3, 4), (4, 1, 3), (3, 3, 6)])
def test_the_list_has_every_coefficient_that_is_not_zero(degrees, kind):
    terms = harmonic_couplings(*degrees, kind, "integral")
    block = gaunt_coefficients if kind == "even" else poisson_coefficients
    found, codes = 0, set()
    table, path = whole(terms)
    for ls in product(*(range(degree + 1) for degree in degrees)):
        expected = block(*ls)
        rows = [slice(n * n, (n + 1) ** 2) for n in ls]
        torch.testing.assert_close(table[rows[0], rows[1], rows[2]], expected, rtol=0, atol=1e-12)
        here = path[rows[0], rows[1], rows[2]][expected.abs() > 1e-10]
        found += len(here)
        codes.add(tuple(here.unique().tolist()))
        assert len(here.unique()) <= 1
    assert found == len(terms.value)
    assert len(codes - {()}) == terms.paths


@pytest.mark.parametrize(
    ("degree", "count"), [(1, 10), (2, 83), (3, 353), (4, 1158), (5, 2907), (6, 6460), (8, 23621)]
)
def test_numbers_of_coefficients(degree, count):
    assert len(harmonic_couplings(degree, degree, degree, "even", "integral").value) == count


def test_a_list_that_lacks_one_coefficient_is_caught():
    terms = harmonic_couplings(*DEGREES, "even", "integral")
    cut_off = (terms.first, terms.second, terms.third, terms.path, terms.value)
    short = Couplings(*(part[:-1] for part in cut_off), terms.sizes, terms.paths)
    kinds = layouts(3, "mul_ir")
    form = SparseForm(short, kinds)
    operands = drawn(form, 4, torch.float64)
    form.terms = terms
    with pytest.raises(AssertionError):
        compare_plans(form, short, kinds, operands)


def compare_plans(form, short, kinds, operands):
    """The kernel runs over a short list; the oracle over the whole one."""
    whole_terms, form.terms = form.terms, short
    found = derivative(form, 2, operands[:2])
    (expected,) = torch.autograd.grad(value(whole_terms, kinds, operands), operands[2])
    close(found, expected, 1e-12)


def test_which_forms_are_symmetric():
    even = harmonic_couplings(2, 2, 3, "even", "integral")
    assert is_symmetric(even)
    assert not is_symmetric(harmonic_couplings(2, 2, 3, "odd", "integral"))
    assert not is_symmetric(harmonic_couplings(2, 1, 3, "even", "integral"))
    assert not is_symmetric(replace(even, value=even.value * np.linspace(1, 2, len(even.value))))
    first, second, third = layouts(4, "mul_ir", degrees=(2, 2, 3))
    turned = RowLayout(second.widths[::-1], 4, "mul_ir")
    assert SparseForm(even, (first, second, third)).symmetric
    assert not SparseForm(even, (first, turned, third)).symmetric
    shared = RowLayout(second.widths, 4, "mul_ir", shared=True)
    assert not SparseForm(even, (first, shared, third)).symmetric


def test_rows_that_are_not_contiguous_and_broadcast():
    terms = harmonic_couplings(*DEGREES, "even", "integral")
    for channels, order in product((1, 5, 64), ("mul_ir", "ir_mul")):
        form = SparseForm(terms, layouts(channels, order), weighted=True)
        x, y, _, w = (t.detach() for t in drawn(form, 6, torch.float64))
        expected = derivative(form, 2, (x, y, w))
        wide = torch.stack([x, -x], 1)[:, 0]
        scattered = y.T.contiguous().T
        assert torch.equal(derivative(form, 2, (wide, scattered, w)), expected)
        crossed = derivative(form, 2, (x[:, None], y[None, :2], w[:1]))
        for i, j in product(range(6), range(2)):
            single = derivative(form, 2, (x[i], y[j], w[0]))
            torch.testing.assert_close(crossed[i, j], single, rtol=0, atol=1e-13)
        assert derivative(form, 2, (x[:0], y[:0], w[0])).shape == (0, form.length(2))


@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives_of_every_order(weighted):
    terms = harmonic_couplings(1, 1, 1, "odd", "integral")
    kind = RowLayout((1, 3), 2, "mul_ir")
    form = SparseForm(terms, (kind, kind, kind), weighted=weighted)
    operands = (
        drawn(form, 2, torch.float64, once=True) if weighted else drawn(form, 2, torch.float64)
    )
    chosen = (*operands[:2], *operands[3:])

    def f(*inputs):
        return derivative(form, 2, inputs)

    assert torch.autograd.gradcheck(f, chosen)
    assert torch.autograd.gradgradcheck(f, chosen)

    def third(*inputs):
        (first,) = torch.autograd.grad(f(*inputs).pow(3).sum(), inputs[0], create_graph=True)
        return first

    assert torch.autograd.gradgradcheck(third, chosen, atol=1e-4)


def test_forms_survive_copies():
    terms = harmonic_couplings(*DEGREES, "even", "integral")
    form = SparseForm(terms, layouts(3, "ir_mul"))
    x, y, _ = (t.detach() for t in drawn(form, 4, torch.float32))
    expected = derivative(form, 2, (x, y))
    for other in (copy.deepcopy(form), pickle.loads(pickle.dumps(form))):  # noqa: S301
        assert torch.equal(derivative(other, 2, (x, y)), expected)
