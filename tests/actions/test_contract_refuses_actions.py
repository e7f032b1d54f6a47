"""Broken actions, each refused by the method of the contract that is about its fault."""

import pytest
import torch

from equivariant.actions import Action, Vectors
from equivariant.groups import O3, SO3
from equivariant.testing import ActionContract


class _OtherOrder(Action):
    """g acts as its transpose: (g h) z = h (g z)."""

    def __init__(self):
        super().__init__(SO3(), 3)

    def forward(self, g, z):
        return (g.mT @ z.unsqueeze(-1)).squeeze(-1)


class _ForgetsReflections(Vectors):
    """Right for rotations; mirrors do nothing beyond their rotation, one axis excepted."""

    def forward(self, g, z):
        moved = super().forward(g, z)
        scale = torch.where(torch.linalg.det(g) < 0, 2.0, 1.0)
        return moved * scale[..., None]


class _Stretches(Vectors):
    """Claims to preserve lengths."""

    def forward(self, g, z):
        return super().forward(g, z) * 1.5


class _InDouble(Vectors):
    def forward(self, g, z):
        return super().forward(g.double(), z.double())


class _LooksAtNumbers(Vectors):
    def forward(self, g, z):
        return super().forward(g, z) if float(g.detach().abs().max()) < 10 else z


class _Shifts(Vectors):
    """Affine, declared linear."""

    def forward(self, g, z):
        return super().forward(g, z) + 1.0


def refusals(action):
    contract = ActionContract()
    contract.action = action
    checks = {
        "compatibility": lambda g: contract.test_special_elements_act(g),
        "linearity": lambda g: contract.test_linearity(g),
        "dtype": lambda g: contract.test_dtype_follows_the_vectors(g),
        "vmap": lambda g: contract.test_vmap_is_a_loop(g),
        "trace": lambda g: contract.test_traces_hold_elsewhere(g),
    }
    found = set()
    for name, check in checks.items():
        try:
            check(torch.Generator().manual_seed(0))
        except (AssertionError, RuntimeError):
            found.add(name)
    return found


@pytest.mark.parametrize(
    ("action", "refused"),
    [
        (_OtherOrder(), {"compatibility"}),
        (_ForgetsReflections(O3()), {"compatibility"}),
        (_Stretches(SO3()), {"compatibility"}),
        (_InDouble(SO3()), {"dtype"}),
        (_LooksAtNumbers(SO3()), {"vmap", "trace"}),
        (_Shifts(SO3()), {"compatibility", "linearity"}),
    ],
)
def test_broken_actions_are_refused_for_their_fault(action, refused):
    assert refusals(action) >= refused


@pytest.mark.parametrize("action", [Vectors(SO3()), Vectors(O3(), channels=2)])
def test_right_actions_are_not(action):
    assert refusals(action) == set()
