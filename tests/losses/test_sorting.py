"""The sorting network by a loop over comparators, its limits, and the loss on groups."""

import itertools
import math

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import group_ordering, in_order, soft_sort


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def f(x, beta=1.0, replaced=0.0):
    return 0.5 + math.atan(beta * x / (abs(x) ** replaced + 1e-10)) / math.pi


def network_by_loops(x, beta, replaced=0.0):
    """One list through the odd-even network, a comparator at a time, with full matrices."""
    n = len(x)
    x, q = torch.as_tensor(x, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    for layer in range(n):
        swap = torch.eye(n, dtype=torch.float64)
        for i in range(layer % 2, n - 1, 2):
            keep = f(float(x[i + 1] - x[i]), beta, replaced)
            swap[i, i] = swap[i + 1, i + 1] = keep
            swap[i, i + 1] = swap[i + 1, i] = 1 - keep
        x, q = swap @ x, swap @ q
    return x, q


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("beta", [1.0, 20.0])
@pytest.mark.parametrize("replaced", [0.0, 0.25])
def test_the_network_by_loops(n, beta, replaced):
    x = draw(3, n)
    values, q = soft_sort(x, steepness=beta, art_lambda=replaced)
    for i in range(3):
        expected, matrix = network_by_loops(x[i], beta, replaced)
        torch.testing.assert_close(values[i], expected)
        torch.testing.assert_close(q[i], matrix)
    torch.testing.assert_close(values, torch.einsum("nrj,nj->nr", q, x))


@pytest.mark.parametrize("n", [2, 5, 6])
def test_permutations_are_doubly_stochastic_and_hard_in_the_limit(n):
    x = draw(4, n, seed=1)
    _, q = soft_sort(x)
    assert bool((q >= 0).all())
    torch.testing.assert_close(q.sum(1), torch.ones(4, n).double())
    torch.testing.assert_close(q.sum(2), torch.ones(4, n).double())
    values, q = soft_sort(x, steepness=1e12)
    torch.testing.assert_close(values, x.sort(1).values, rtol=0, atol=1e-6)
    assert torch.equal(q.argmax(2), x.argsort(1))


def test_a_missing_layer_would_not_sort():
    """Broken twin: n - 1 layers leave the reversed list unsorted."""
    x = torch.arange(5.0, 0.0, -1.0).double()
    n, q = 5, x.clone()
    for layer in range(n - 1):
        for i in range(layer % 2, n - 1, 2):
            q[i : i + 2] = q[i : i + 2].sort().values
    assert not torch.equal(q, x.sort().values)
    values = soft_sort(x[None], steepness=1e12).values
    torch.testing.assert_close(values[0], x.sort().values, rtol=0, atol=1e-6)


def test_a_comparator_is_odd_and_at_a_tie_even():
    x = draw(50)
    for replaced, slope in ((0.0, 1 / math.pi), (0.25, 0.0)):
        settings = {"art_lambda": replaced}
        both = in_order(x, **settings) + in_order(-x, **settings)
        torch.testing.assert_close(both, torch.ones(50).double())
        tie = torch.zeros(1).requires_grad_()
        p = in_order(tie, **settings)
        p.backward()
        assert p.item() == 0.5
        assert tie.grad.item() == pytest.approx(slope)
        near = torch.tensor([1e-30, -1e-30]).requires_grad_()
        in_order(near, **settings).sum().backward()
        assert bool(near.grad.isfinite().all())
    with pytest.raises(ConventionError, match="art_lambda"):
        soft_sort(draw(2, 3), art_lambda=1.0)


def test_gradients_of_sorting():
    x = draw(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(soft_sort(x, steepness=3.0)), (x,))
    tied = torch.ones(1, 4).requires_grad_()
    values, q = soft_sort(tied)
    (values.sum() + q[0, 0, 0]).backward()
    assert bool(tied.grad.isfinite().all())


def test_half_precision_and_empty_lists():
    x = draw(3, 6).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, q = soft_sort(x)
    assert values.dtype == q.dtype == torch.float32
    torch.testing.assert_close(values, soft_sort(x.float()).values)
    assert soft_sort(torch.zeros(0, 3)).permutation.shape == (0, 3, 3)
    assert soft_sort(torch.zeros(2, 0)).values.shape == (2, 0)
    with pytest.raises(ConventionError, match="steepness"):
        soft_sort(x, steepness=0.0)


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def loss_by_loops(q, positives, negatives, count, beta):
    near = sorted(cosine(q, p) for p in positives)
    far = sorted(cosine(q, n) for n in negatives)[-count:]
    _, matrix = network_by_loops(far + near, beta)
    total, size = 0.0, len(near) + len(far)
    for j in range(size):
        upper = sum(float(matrix[r, j]) for r in range(len(far), size))
        lower = sum(float(matrix[r, j]) for r in range(len(far)))
        is_positive = j >= len(far)
        total -= math.log(upper if is_positive else 1 - upper)
        total -= math.log(1 - lower if is_positive else lower)
    return total / size / 2


@pytest.mark.parametrize(("p", "m", "count"), [(1, 1, 10), (2, 5, 3), (3, 12, 10), (4, 2, 1)])
def test_group_ordering_by_loops(p, m, count):
    q, positives, negatives = draw(4, 6), draw(4, p, 6, seed=1), draw(4, m, 6, seed=2)
    got = group_ordering(q, positives, negatives, count=count, steepness=2.0)
    for i in range(4):
        expected = loss_by_loops(q[i], positives[i], negatives[i], count, 2.0)
        assert float(got[i]) == pytest.approx(expected, rel=1e-10)
    shared = group_ordering(q, positives, negatives[0], count=count, steepness=2.0)
    repeated = negatives[:1].expand(4, -1, -1)
    again = group_ordering(q, positives, repeated, count=count, steepness=2.0)
    torch.testing.assert_close(shared, again)


def at(cosines):
    """Unit vectors of the plane with these cosines to the first axis."""
    cosines = torch.as_tensor(cosines, dtype=torch.float64)
    return torch.stack([cosines, (1 - cosines.square()).sqrt()], -1)


@pytest.mark.parametrize(("near", "far"), [(0.9, 0.1), (0.2, 0.8), (-0.5, -0.4), (0.3, 0.3)])
def test_one_positive_and_one_negative_in_closed_form(near, far):
    loss = group_ordering(at([1.0]), at([[near]]), at([[far]]), steepness=1.0)
    expected = -math.log(f(near - far)) if near != far else math.log(2)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_loss_falls_with_every_margin():
    """Strictly with the one positive; with groups, for every element that is raised alone."""
    grid = torch.linspace(-0.9, 0.9, 13)
    single = [float(group_ordering(at([1.0]), at([[s]]), at([[0.05]]))) for s in grid]
    assert all(b < a for a, b in itertools.pairwise(single))
    near, far = [0.61, 0.72, 0.83], [-0.4, -0.2, 0.1, 0.3]

    def loss(near, far):
        return float(group_ordering(at([1.0]), at([near]), at([far]), steepness=5.0))

    base = loss(near, far)
    for i in range(3):
        assert loss([*near[:i], near[i] + 0.05, *near[i + 1 :]], far) < base
    for i in range(4):
        assert loss(near, [*far[:i], far[i] + 0.05, *far[i + 1 :]]) > base
    assert loss([x - 1.0 for x in near], far) > loss(near, far)


def test_a_better_cosine_never_costs_at_steepness_one_but_can_in_a_steep_network():
    generator = torch.Generator().manual_seed(0)
    near = torch.rand(200, 3, generator=generator).double() * 1.8 - 0.9
    far = torch.rand(200, 5, generator=generator).double() * 1.8 - 0.9
    better, worse = near.clone(), far.clone()
    better[torch.arange(200), torch.arange(200) % 3] += 0.01
    worse[torch.arange(200), torch.arange(200) % 5] += 0.01
    q = at([1.0]).expand(200, -1)
    for steepness, monotone in ((1.0, True), (50.0, False)):
        base, gain, cost = (
            group_ordering(q, at(a), at(b), steepness=steepness)
            for a, b in ((near, far), (better, far), (near, worse))
        )
        assert bool(((gain < base) & (cost > base)).all()) is monotone


def test_a_mask_leaves_negatives_out():
    q, positives = draw(5, 4), draw(5, 2, 4, seed=1)
    others = ~torch.eye(5, dtype=torch.bool)
    rows = torch.stack([q[others[i]] for i in range(5)])
    for count in (2, 10):
        got = group_ordering(q, positives, q, count=count, valid=others)
        torch.testing.assert_close(got, group_ordering(q, positives, rows, count=count))
    others[0] = False
    others[0, 3] = True
    got = group_ordering(q, positives, q, valid=others)
    hardest = group_ordering(q[1:], positives[1:], rows[1:], count=1)
    torch.testing.assert_close(got[1:], hardest)
    with pytest.raises(ConventionError, match="anchor with none"):
        group_ordering(q, positives, q, valid=torch.zeros(5, 5, dtype=torch.bool))


def test_only_the_hardest_negatives_and_no_order_of_the_inputs_count():
    q, positives, negatives = draw(3, 4), draw(3, 2, 4, seed=1), draw(3, 8, 4, seed=2)
    base = group_ordering(q, positives, negatives, count=3)
    order = torch.randperm(8)
    shuffled = group_ordering(q, positives.flip(1), negatives[:, order], count=3)
    torch.testing.assert_close(shuffled, base)
    easy = -q[:, None] + 0 * negatives[:, :1]
    more = group_ordering(q, positives, torch.cat([negatives, easy], 1), count=3)
    torch.testing.assert_close(more, base)
    scaled = group_ordering(3 * q, 0.1 * positives, 7 * negatives, count=3)
    torch.testing.assert_close(scaled, base)


def test_only_the_anchor_moves():
    q, positives, negatives = (
        x.requires_grad_() for x in (draw(3, 4), draw(3, 2, 4, seed=1), draw(3, 5, 4, seed=2))
    )
    group_ordering(q, positives, negatives).sum().backward()
    assert float(q.grad.abs().sum()) > 0
    assert positives.grad is None
    assert negatives.grad is None
    fixed = positives.detach(), negatives.detach()
    assert torch.autograd.gradcheck(lambda q: group_ordering(q, *fixed, steepness=2.0), (q,))


def test_the_loss_in_half_precision_and_at_the_extremes():
    q = torch.eye(4, dtype=torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = group_ordering(q, q[:, None], -q.detach(), steepness=1e30)
    assert loss.dtype == torch.float32
    loss.sum().backward()
    assert bool(q.grad.isfinite().all())
    reversed_groups = group_ordering(q, -q[:, None], q[:, None], steepness=1e30)
    assert bool(reversed_groups.isfinite().all())
    assert group_ordering(q[:0], q[:0, None], q).shape == (0,)


def test_refusals():
    q = torch.ones(2, 3)
    with pytest.raises(ShapeError, match="positives"):
        group_ordering(q, torch.ones(2, 0, 3), q)
    with pytest.raises(ShapeError, match="negatives"):
        group_ordering(q, q[:, None], q[:0])
    with pytest.raises(ConventionError, match="count"):
        group_ordering(q, q[:, None], q, count=0)
    with pytest.raises(ConventionError, match="steepness"):
        group_ordering(q, q[:, None], q, steepness=-1.0)
