"""Steps along gradients: closed forms, what they do to a small decoder, singular points."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from equivariant.errors import ConventionError
from equivariant.losses import hard_negative, hard_positive


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def decoder(train=True):
    """Ten classes from eight numbers, trained until it is right."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 10)).double()
    h = 3 * torch.randn(64, 8, generator=rng(), dtype=torch.float64)
    y = torch.randint(10, (64,), generator=rng(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(model(h), y).backward()
        optimizer.step()
    return model, h, y


MODEL, H, Y = decoder()


def task(h):
    return cross_entropy(MODEL(h), Y, reduction="none")


def divergence(h):
    p = log_softmax(MODEL(H), 1).detach()
    return kl_div(log_softmax(MODEL(h), 1), p, log_target=True, reduction="none").sum(1)


def similarity_to_itself(h):
    """A contrastive loss: each row against all rows of H."""
    logits = nn.functional.normalize(h, dim=1) @ nn.functional.normalize(H, dim=1).T / 0.1
    return cross_entropy(logits, torch.arange(64))


def test_negatives_raise_the_task_loss_more_than_random_steps_of_their_length():
    found = hard_negative(H, task, radius=1.0)
    assert bool(found.moved.all()) and not found.h.requires_grad
    torch.testing.assert_close((found.h - H).norm(dim=1), torch.ones(64, dtype=torch.float64))
    direction = nn.functional.normalize(
        torch.randn(64, 8, generator=rng(3), dtype=torch.float64), dim=1
    )
    with torch.no_grad():
        ours, random, before = task(found.h), task(H + direction), task(H)
        twin = task(2 * H - found.h)  # the step in the other direction
    assert bool((ours > before).double().mean() > 0.95)
    assert float(ours.mean()) > 2 * float(random.mean()) and float(twin.mean()) < float(ours.mean())


def test_a_small_negative_step_is_the_first_order_change():
    eps = 1e-5
    point = H.clone().requires_grad_()
    (g,) = torch.autograd.grad(task(point).sum(), point)
    found = hard_negative(H, task, radius=eps)
    with torch.no_grad():
        change = (task(found.h) - task(H)) / eps
    torch.testing.assert_close(change, g.norm(dim=1), rtol=1e-2, atol=1e-4)


def test_positives_are_far_in_the_contrast_and_close_for_the_task():
    away = hard_negative(H, similarity_to_itself, radius=1.0).h  # the first step alone
    found = hard_positive(H, similarity_to_itself, divergence, radius=1.0)
    assert bool(found.moved.all()) and not found.h.requires_grad
    with torch.no_grad():
        bound, alone = float(divergence(found.h).mean()), float(divergence(away).mean())
        assert bound < 0.5 * alone and bound < 1.0
        assert float(similarity_to_itself(found.h)) > float(similarity_to_itself(H))
        worse = divergence(2 * away - found.h).mean()  # the second step with the wrong sign
    assert float(worse) > alone


def test_by_hand_in_two_dimensions():
    h = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    found = hard_negative(h, lambda h: (h * torch.tensor([3.0, 4.0])).sum(), radius=5.0)
    assert found.h.tolist() == [[pytest.approx(4.0), pytest.approx(6.0)]]
    found = hard_positive(h, lambda h: h[:, 0].sum(), lambda h: (h - 1).square().sum(), radius=1.0)
    r = math.sqrt(2.0)  # first to (2, 2), then back along (1, 1)
    assert found.h.tolist() == [[pytest.approx(2 - 1 / r), pytest.approx(2 - 1 / r)]]


def test_vectors_without_gradient_stay_and_say_so():
    h = torch.randn(3, 4, 5, generator=rng()).requires_grad_()
    weight = torch.zeros(3, 4, 1)
    weight[1] = 1.0
    found = hard_negative(h, lambda h: (h * weight).sum())
    assert found.moved.tolist() == [[False] * 4, [True] * 4, [False] * 4]
    assert torch.equal(found.h[0], h[0]) and not torch.equal(found.h[1], h[1])
    found = hard_positive(h, lambda h: (h * 0).sum(), lambda h: (h * weight).sum())
    assert found.moved.sum() == 4 and bool(torch.isfinite(found.h).all())
    assert h.grad is None


def test_tiny_gradients_still_have_a_direction():
    for dtype, size in ((torch.float32, 1e-30), (torch.float64, 1e-200)):
        found = hard_negative(torch.zeros(1, 2, dtype=dtype), lambda h: (h * size).sum())  # noqa: B023
        assert found.h.tolist() == [[pytest.approx(2**-0.5)] * 2] and bool(found.moved.all())


def test_the_graph_is_kept_only_on_request_and_parameters_get_no_gradient():
    MODEL.zero_grad()
    h = H[:4].clone().requires_grad_()
    quartic = lambda h: (h**4).sum()  # noqa: E731
    found = hard_negative(h, quartic, radius=0.5, create_graph=True)
    (through,) = torch.autograd.grad(found.h[:, 0].sum(), h)
    eps = 1e-6
    bumped = h.detach().clone()
    bumped[0, 1] += eps
    change = hard_negative(bumped, quartic, radius=0.5).h[0, 0]
    slope = (change - found.h[0, 0]).detach() / eps
    assert float(through[0, 1]) == pytest.approx(float(slope), abs=1e-6)
    assert abs(float(slope)) > 1e-6  # it flows through the direction too
    graph = hard_positive(h, quartic, lambda h: (h**2).sum(), create_graph=True)
    assert graph.h.requires_grad
    hard_negative(H, task)
    assert all(p.grad is None for p in MODEL.parameters()) and h.grad is None


def test_works_where_gradients_are_off_and_in_half_precision():
    with torch.no_grad():
        assert bool(hard_negative(H, task).moved.all())
    half = hard_negative(torch.ones(2, 3, dtype=torch.bfloat16), lambda h: h.sum())
    assert half.h.dtype == torch.bfloat16


def test_refusals():
    with pytest.raises(ConventionError, match="radius"):
        hard_negative(H, task, radius=-1.0)
    with pytest.raises(ConventionError, match="task_loss_fn"):
        hard_negative(H, lambda h: H.sum())
    with pytest.raises(ConventionError, match="divergence_fn"):
        hard_positive(H, similarity_to_itself, lambda h: divergence(h).detach())
