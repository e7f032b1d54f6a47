"""Partitions as a lattice, against sets of sets; sums over cells against loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn import Partition

LABELS = st.lists(st.integers(-3, 4), min_size=1, max_size=9)
PAIRS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 3)
)


def blocks(labels):
    """A partition as a set of sets of points."""
    found = {}
    for point, label in enumerate(labels):
        found.setdefault(int(label), set()).add(point)
    return {frozenset(block) for block in found.values()}


def made(labels):
    return Partition(torch.tensor(labels))


def joined(a, b):
    """Merge blocks that overlap until none do."""
    found = [set(block) for block in blocks(a) | blocks(b)]
    merged = True
    while merged:
        merged = False
        for i in range(len(found)):
            for j in range(i):
                if found[i] & found[j]:
                    found[j] |= found.pop(i)
                    merged = True
                    break
            if merged:
                break
    return {frozenset(block) for block in found}


@settings(max_examples=60, deadline=None)
@given(LABELS)
def test_labels_become_ranks_without_gaps(labels):
    p = made(labels)
    ranks = {value: rank for rank, value in enumerate(sorted(set(labels)))}
    assert p.labels.tolist() == [ranks[value] for value in labels]
    assert p.k == p.cells == len(ranks)
    assert p.sizes.tolist() == [labels.count(value) for value in sorted(ranks)]


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_meet_join_and_refinement_are_those_of_sets(three):
    a, b, _ = three
    p, q, r = map(made, three)
    assert blocks(p.meet(q).labels) == {x & y for x in blocks(a) for y in blocks(b) if x & y}
    assert blocks(p.join(q).labels) == joined(a, b)
    below = all(any(x <= y for y in blocks(b)) for x in blocks(a))
    assert p.refines(q) == below
    assert p.whole_in(q).tolist() == [
        any(x <= y for y in blocks(b)) for i in range(len(a)) for x in blocks(a) if i in x
    ]
    # the laws of a lattice
    assert p.meet(q) == q.meet(p)
    assert p.join(q) == q.join(p)
    assert p.meet(q.meet(r)) == p.meet(q).meet(r)
    assert p.join(q.join(r)) == p.join(q).join(r)
    assert p.meet(p.join(q)) == p
    assert p.join(p.meet(q)) == p
    assert p.refines(q) == (p.meet(q) == p) == (p.join(q) == q)


def test_the_ends_of_the_lattice():
    p = Partition(torch.tensor([[0, 0, 1, 2], [5, 6, 5, 5]]))
    top, bottom = Partition.single_cell(4, 2), Partition.singletons(4, 2)
    assert bottom.refines(p)
    assert p.refines(top)
    assert not top.refines(p)
    assert p.meet(top) == p == p.join(bottom)
    assert (top.k, bottom.k) == (1, 4)
    assert Partition.single_cell(3).labels.shape == (3,)


def test_a_chain_of_overlaps_is_one_cell():
    points = torch.arange(64)
    p, q = Partition(points // 2), Partition((points + 1) // 2)
    assert p.join(q).k == 1
    assert p.meet(q).k == 64


def test_a_batch_is_its_clouds_one_by_one():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 5, (4, 12), generator=generator)
    b = a // 2
    b[2] = torch.randint(0, 3, (12,), generator=generator)
    p, q = Partition(a), Partition(b)
    each = [Partition(x).refines(Partition(y)) for x, y in zip(a, b, strict=True)]
    assert p.refines_each(q).tolist() == each
    assert p.refines(q) == all(each)
    assert p.counts.tolist() == [Partition(x).k for x in a]
    for made_of in ("meet", "join"):
        together = getattr(p, made_of)(q).labels
        for row, x, y in zip(together, a, b, strict=True):
            assert Partition(row) == getattr(Partition(x), made_of)(Partition(y))
    assert p.cloud_of_cell.tolist() == [c for c in range(4) for _ in range(int(p.counts[c]))]


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("shape", [(11,), (3, 11)])
def test_scatter_and_gather_against_loops(shape, reduce):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, shape, generator=generator)
    values = torch.randn(*shape, 2, generator=generator, dtype=torch.float64)
    p = Partition(labels)
    found = p.scatter(values, reduce=reduce)
    expected = []
    rows = zip(labels.reshape(-1, 11), values.reshape(-1, 11, 2), strict=True)
    for cloud_labels, cloud in rows:
        for value in sorted(set(cloud_labels.tolist())):
            own = cloud[cloud_labels == value]
            expected.append(own.amax(0) if reduce == "max" else own.amin(0) if reduce == "min"
                            else own.sum(0) if reduce == "sum" else own.mean(0))  # fmt: skip
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-14, rtol=0)
    back = p.gather(found)
    assert back.shape == values.shape
    assert torch.equal(back.reshape(-1, 2), found[p.index])
    if reduce == "mean":
        assert torch.equal(p.means(values), back)


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_gradients_of_sums_over_cells(reduce):
    p = Partition(torch.tensor([0, 1, 0, 2, 1]))
    values = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: p.gather(p.scatter(v, reduce=reduce)), values)


def test_the_order_of_points_only_reorders_labels():
    labels = torch.tensor([4, 1, 1, 9, 4, 2])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.equal(Partition(labels[order]).labels, Partition(labels).labels[order])


def test_refusals():
    p = Partition(torch.tensor([0, 1]))
    for wrong in (torch.zeros(0, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.int64)):
        with pytest.raises((ShapeError, TypeCheckError), match="labels"):
            Partition(wrong)
    with pytest.raises((ConventionError, TypeCheckError), match="labels"):
        Partition(torch.tensor([True, False]))
    with pytest.raises(ShapeError, match="same points"):
        p.refines(Partition(torch.tensor([0, 1, 2])))
    with pytest.raises(ShapeError, match="one value per point"):
        p.scatter(torch.zeros(3))
    with pytest.raises(ConventionError, match="mean"):
        p.scatter(torch.tensor([1, 2]), reduce="mean")
    with pytest.raises(ShapeError, match="one per cell"):
        p.gather(torch.zeros(3))
    with pytest.raises(TypeError, match="unhashable"):
        hash(p)
    assert p != Partition(torch.tensor([0, 0]))
    assert p == Partition(torch.tensor([1, 0]))
    assert p.to("cpu") == p
