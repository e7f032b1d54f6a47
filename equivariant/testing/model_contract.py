"""What every model that claims a symmetry must fulfil, as a class of tests to inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from equivariant.measure import equivariance_error
from equivariant.measure.error.caveats import altered
from equivariant.measure.error.state_changes import kept_state
from equivariant.testing.assertions import assert_equivariant, refuse_what_is_not_finite
from equivariant.tree import call, fresh, rebuild, spread_over, tensors, widened


class ModelContract:
    """Equivariance in float64 and float32, batches, determinism, gradients, nothing written into.

    Subclass it, define ``build``, ``inputs`` and the two actions, and pytest does the rest:

        class TestMine(ModelContract):
            act_in, act_out = Points(SO3()), Vectors(SO3(), 8)

            def build(self): return Mine()
            def inputs(self, items, generator): return torch.randn(items, 64, 3, ...)

    ``inputs`` gives float64; ``tolerance`` and ``single`` are relative errors in float64 and in
    float32; ``options`` are further arguments of ``equivariance_error``. Items must be
    independent of one another: that is tested too. A model that declares how it transforms needs
    neither action.
    """

    act_in: Any = None
    act_out: Any = None
    tolerance: float = 1e-9
    single: float = 1e-3
    options: dict[str, Any] = {}  # noqa: RUF012

    def build(self) -> Callable[..., Any]:
        """The model, in evaluation mode or not; weights may be in any dtype."""
        raise NotImplementedError("define build")

    def inputs(self, items: int, generator: torch.Generator) -> Any:
        """A batch of inputs, floating-point tensors in float64."""
        raise NotImplementedError("define inputs")

    def test_equivariance_in_float64(self) -> None:
        model, x = self._model(torch.float64), self._inputs(4)
        self._check(model, x, self.tolerance)

    def test_equivariance_in_float32(self) -> None:
        model, x = self._model(torch.float32), self._cast(self._inputs(4), torch.float32)
        self._check(model, x, self.single)

    def test_a_batch_of_one(self) -> None:
        self._check(self._model(torch.float64), self._inputs(1), self.tolerance)

    def test_items_do_not_see_one_another(self) -> None:
        model, x = self._model(torch.float64), self._inputs(4)
        whole = tensors(call(model, x))
        first = tensors(call(model, rebuild(x, lambda _, leaf: leaf[:2])))
        for name, value in first.items():
            assert torch.isfinite(value).all(), f"{name or 'the output'} is not finite"
            torch.testing.assert_close(value, whole[name][:2], atol=1e-9, rtol=1e-7)

    def test_two_evaluations_agree(self) -> None:
        model, x = self._model(torch.float64), self._inputs(2)
        report = equivariance_error(
            model, x, act_in=self.act_in, act_out=self.act_out, samples=1, **self.options
        )
        refuse_what_is_not_finite(report)
        assert max(report.repeat.values()) < self.tolerance

    def test_inputs_are_left_alone(self) -> None:
        model, x = self._model(torch.float64), self._inputs(2)
        own = fresh(x)
        spread_over(model, own)
        changed = altered(x, own)
        assert not changed, f"the model writes into its input: {changed}"

    def test_buffers_are_left_alone(self) -> None:
        model, x = self._model(torch.float64), self._inputs(2)
        with kept_state(model) as changed:
            call(model, x)
        assert not changed, f"the model changes its buffers in evaluation mode: {changed}"

    def test_gradients_are_finite(self) -> None:
        model = self._model(torch.float64)
        x = rebuild(
            self._inputs(2),
            lambda _, leaf: leaf.requires_grad_() if leaf.is_floating_point() else leaf,
        )
        total = sum(value.square().sum() for value in tensors(call(model, x)).values())
        if not isinstance(total, torch.Tensor) or not total.requires_grad:
            raise AssertionError("outputs do not depend on inputs by a graph")
        total.backward()
        for leaf in tensors(x).values():
            assert leaf.grad is None or torch.isfinite(leaf.grad).all()

    def _model(self, dtype: torch.dtype) -> Callable[..., Any]:
        model = self.build()
        return model.to(dtype).eval() if isinstance(model, torch.nn.Module) else model

    def _inputs(self, items: int) -> Any:
        return widened(self.inputs(items, torch.Generator().manual_seed(0)))

    def _cast(self, x: Any, dtype: torch.dtype) -> Any:
        return rebuild(x, lambda _, leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf)

    def _check(self, model: Callable[..., Any], x: Any, tolerance: float) -> None:
        assert_equivariant(
            model, x, act_in=self.act_in, act_out=self.act_out, tolerance=tolerance, samples=4,
            **self.options,
        )  # fmt: skip
