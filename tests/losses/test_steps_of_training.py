"""What goes on from step to step of training, and names that must not collide."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from equivariant.errors import ConventionError
from equivariant.losses import ContrastTerm, Loss, Scheduled, Side, Step, preset
from equivariant.losses.temperatures.temperature import temperature_of

A, B = torch.eye(4, 3), torch.eye(4, 3).flip(0)


def expected(step, start=0.5, end=0.1, steps=4):
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def scheduled():
    loss = Loss([ContrastTerm("nt_xent", tau=Scheduled(0.5, 0.1, 4))])
    (tau,) = loss.networks
    return loss, tau


def now(tau):
    side = Side.of(A)
    with torch.no_grad():
        return float(tau(side, side))


def optimizer():
    weight = nn.Parameter(torch.eye(3))
    return weight, torch.optim.SGD([weight], lr=0.1)


@pytest.mark.parametrize("evaluations", [1, 3])
def test_a_schedule_advances_once_per_step_of_an_optimizer(evaluations):
    loss, tau = scheduled()
    weight, sgd = optimizer()
    for step in range(6):
        assert now(tau) == pytest.approx(expected(step))
        for _ in range(evaluations):
            loss(a=A @ weight, b=B @ weight).total.backward()
        sgd.step()
    assert int(tau.step) == 6


def test_a_schedule_stays_without_gradients_in_evaluation_and_without_a_step():
    loss, tau = scheduled()
    weight, sgd = optimizer()
    sgd.step()  # nothing was evaluated
    with torch.no_grad():
        loss(a=A, b=B)
    sgd.step()
    loss.eval()
    loss(a=A @ weight, b=B).total.backward()
    sgd.step()
    loss.train()
    loss(a=A @ weight, b=B).total.backward()  # its step is skipped
    assert int(tau.step) == 0
    sgd.step()
    sgd.step()
    assert int(tau.step) == 1


DUPLICATES = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]  # noqa: S301


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_copies_advance_for_themselves(duplicate):
    tau = Scheduled(0.5, 0.1, 4)
    tau.advance()
    twin = duplicate(tau)
    side = Side.of(A.clone().requires_grad_())
    twin(side, side)
    _, sgd = optimizer()
    sgd.step()
    assert (int(tau.step), int(twin.step)) == (1, 2)


def test_the_step_is_part_of_the_state():
    loss, tau = scheduled()
    for _ in range(3):
        tau.advance()
    other, again = scheduled()
    other.load_state_dict(loss.state_dict())
    assert now(again) == pytest.approx(expected(3))


@pytest.mark.parametrize("tau", [nn.Parameter(torch.tensor(0.1)), torch.tensor(0.1), "0.1", None])
def test_temperatures_that_would_get_no_gradient_are_refused(tau):
    with pytest.raises(ConventionError, match="Learned"):
        temperature_of(tau)


def test_terms_of_a_preset_with_steps_are_refused_and_no_step_is_lost():
    swav = preset("swav", dim=5, prototypes=7)
    assert any(isinstance(item, Step) for item in swav.plan)
    with pytest.raises(ConventionError, match=r"\.plan"):
        _ = swav.terms
    assert preset("vicreg").terms == tuple(preset("vicreg").plan)


def test_a_step_does_not_replace_a_side_that_was_passed():
    loss = Loss([Step("b", Side.detach, ("a",)), *preset("infonce").plan])
    with pytest.raises(ConventionError, match="'b'"):
        loss(a=A, b=B)
    assert loss(a=A).total.isfinite()
