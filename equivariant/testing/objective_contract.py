"""What every objective must fulfil, as a class of tests to inherit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from equivariant.errors import EquivariantError
from equivariant.losses import Loss, Side

_OBJECTS = 12


class ObjectiveContract:
    """Finite values and gradients, whatever the order, the dtype and the embeddings.

    Subclass it, define ``build`` and ``sides``, and pytest does the rest:

        class TestMine(ObjectiveContract):
            def build(self): return Loss([ContrastTerm("mine", keep=0.5)])
            def sides(self, objects, generator): return {"a": Side.of(...), "b": Side.of(...)}

    ``sides`` gives float64. ``ordered`` names sides whose rows do not go with the objects, and
    stay when the objects are reordered; ``draws`` says that the objective draws numbers that
    depend on the order of rows; ``single`` is the relative error allowed in float32; ``least``
    is the smallest number of objects that it can be asked with.
    """

    ordered: tuple[str, ...] = ()
    draws: bool = False
    single: float = 1e-3
    least: int = 1

    def build(self) -> Loss:
        """The objective, the same at each call but for random numbers in trained parts."""
        raise NotImplementedError("define build")

    def sides(self, objects: int, generator: torch.Generator) -> Mapping[str, Side]:
        """A batch that shows ``objects`` objects."""
        raise NotImplementedError("define sides")

    def test_a_finite_scalar_and_gradients(self) -> None:
        sides = self._leaves(self._sides())
        total = self._value(self._loss(), sides)
        assert total.ndim == 0
        assert torch.isfinite(total)
        total.backward()
        found = [side.z.grad for side in sides.values() if side.z.grad is not None]
        assert any(bool((gradient != 0).any()) for gradient in found)
        assert all(bool(torch.isfinite(gradient).all()) for gradient in found)

    def test_two_evaluations_agree(self) -> None:
        loss, sides = self._loss(), self._sides()
        first = self._value(loss, sides)
        torch.testing.assert_close(self._value(loss, sides), first, rtol=0, atol=0)

    def test_the_order_of_objects_does_not_matter(self) -> None:
        if self.draws:
            return
        loss, sides = self._loss(), self._sides()
        order = torch.randperm(_OBJECTS, generator=torch.Generator().manual_seed(1))
        other = {n: s if n in self.ordered else self._reorder(s, order) for n, s in sides.items()}
        expected, found = self._value(loss, sides), self._value(loss, other)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)

    def test_single_precision(self) -> None:
        loss, sides = self._loss(), self._sides()
        expected = self._value(loss, sides)
        narrow = {n: side.replace(side.z.float()) for n, side in sides.items()}
        found = self._value(loss.float(), narrow)
        torch.testing.assert_close(found.to(expected), expected, rtol=self.single, atol=self.single)

    def test_half_precision_equal_and_zero_vectors_stay_finite(self) -> None:
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            sides = self._sides()
            for side in sides.values():
                side.z[1] = side.z[0]
                side.z[2] = 0.0
            sides = self._leaves({n: s.replace(s.z.to(dtype)) for n, s in sides.items()})
            loss = self._loss() if dtype == torch.float64 else self._loss().float()
            total = self._value(loss, sides)
            total.backward()
            assert torch.isfinite(total), dtype
            for side in sides.values():
                assert side.z.grad is None or bool(torch.isfinite(side.z.grad).all()), dtype

    def test_the_state_is_all_that_matters(self) -> None:
        loss, sides = self._loss(), self._sides()
        self._value(loss.train(), sides)
        other = self._loss(seed=7)
        other.load_state_dict(loss.state_dict())
        expected, found = self._value(loss.eval(), sides), self._value(other.eval(), sides)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)

    def test_inputs_are_left_alone(self) -> None:
        sides = self._sides()
        before = {n: side.z.clone() for n, side in sides.items()}
        self._value(self._loss(), sides)
        assert all(torch.equal(side.z, before[n]) for n, side in sides.items())

    def test_one_object_has_a_value_or_a_clear_refusal(self) -> None:
        for objects in (0, 1):
            sides = self.sides(objects, torch.Generator().manual_seed(0))
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", ".*no anchor counts")  # one has no negative
                    value = self._value(self._loss(), sides)
            except EquivariantError as error:
                assert objects < max(self.least, 1), error
            else:
                assert torch.isfinite(value)

    def _loss(self, seed: int = 0) -> Loss:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build().double().eval()

    def _sides(self) -> dict[str, Side]:
        return dict(self.sides(_OBJECTS, torch.Generator().manual_seed(0)))

    @staticmethod
    def _leaves(sides: Mapping[str, Side]) -> dict[str, Side]:
        return {n: side.replace(side.z.clone().requires_grad_()) for n, side in sides.items()}

    @staticmethod
    def _value(loss: Loss, sides: Mapping[str, Side]) -> Tensor:
        total: Tensor = loss(generator=torch.Generator().manual_seed(3), **sides).total
        return total

    @staticmethod
    def _reorder(side: Side, order: Tensor) -> Side:
        blocks = len(side) // len(order)
        rows = torch.cat([order + block * len(order) for block in range(blocks)])
        return side[rows]
