"""How far a map is from commuting with a group action."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group, Sampler
from equivariant.measure.error.caveats import Caveat, Concern, altered
from equivariant.measure.error.gathering import Gathering, Settings
from equivariant.measure.error.report import EquivarianceReport
from equivariant.measure.error.special_elements import special_elements
from equivariant.measure.error.state_changes import kept_state
from equivariant.measure.motions.declared import claimed
from equivariant.measure.motions.motion import Motion, common_group
from equivariant.tree import fresh, leaves, spread_over, tensors

_FIRST_LOOK = 8


def equivariance_error(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any = None,
    act_out: Any = None,
    group: Group | None = None,
    law: Sampler | None = None,
    samples: int = 32,
    target: float | None = None,
    confidence: float = 0.95,
    scale: float = 1.0,
    logits: bool = False,
    orbit_variance: bool = False,
    differentiates: bool = False,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> EquivarianceReport:
    """Measure how far ``f`` is from commuting with a group action.

    For every item x of a batch and every element g drawn for it, the two ways round the square
    are compared:

        left  = f(act_in(g, x))        move, then map
        right = act_out(g, f(x))       map, then move

    Actions are evaluated in float64, so that the ruler is finer than what it measures; f sees
    the dtype of x. Of each comparison a few numbers are kept, of outputs nothing.

    Args:
        f: Deterministic map; put modules in evaluation mode first. A tuple x is spread over its
            arguments, everything else is passed as it is. It gets copies of tensors, so that x
            stays as it is, and buffers that it changes are put back; both are said.
        x: A batch of inputs: a tensor of shape (items, ...), or tuples, lists and dictionaries of
            tensors; or an iterator (a DataLoader, a generator) of such batches, of which one is
            in memory at a time.
        act_in: Action on x: an ``Action``; a tree of actions and None like x; a ``GraphMotion``
            for flat graphs; or a function (g, x) ↦ g·x together with ``group``. None for both
            actions takes those that f declares, by ``f.declaration(first batch)`` or as modules of
            e3nn and escnn do, see :func:`equivariant.measure.declared`.
        act_out: The same for f(x); ``Trivial(dim)`` asks for invariance.
        group: The group, where only functions act.
        law: Of the elements: ``HaarSampler``, ``BallSampler``, ``NormalSampler``, ``Elements``
            or another ``Sampler``; its weights are carried through. None takes the law of f's
            declaration, if that is asked and has one; else Haar measure on a compact group, and
            on another ``group.sample`` with ``scale``.
        samples: Elements per item, at least 1. Each item has its own, unless an action is a
            function that takes one element for the whole batch.
        target: Stop as soon as the half-width of the interval of the mean relative error is
            below this for every output; ``samples`` is then the most that is drawn. The interval
            is widened for having looked repeatedly.
        confidence: Level of intervals, in (0, 1).
        scale: Of the default law on groups that are not compact, in the unit of translations.
        logits: Also keep how predicted classes change; outputs must be (items, classes).
        orbit_variance: Also keep the variance of g⁻¹·f(g·x) over g.
        differentiates: f calls autograd itself (forces as gradients of an energy).
        generator: Source of the elements; None takes a fresh one with seed 0.
        progress: Show a bar with the time left on stderr.

    Returns:
        The report. Besides the drawn elements the identity and those special elements of the
        group that belong to the law (half turns of every rotation, reflections, see
        :meth:`Sampler.special_elements`) are looked at in every batch, because errors hide
        there. ``caveats`` says what is not finite, at which items and elements: errors there are
        NaN, and so are means over them.

    Raises:
        ShapeError: x or f(x) does not fit its action, or there is no item.
        ConventionError: The actions belong to different groups, only one is given, none is and f
            declares nothing, or an option is out of range.

    Example:
        >>> from equivariant.actions import Points
        >>> from equivariant.groups import SO3
        >>> points = torch.randn(4, 64, 3, dtype=torch.float64)
        >>> action = Points(SO3())
        >>> f = lambda p: p.mean(1, keepdim=True)
        >>> report = equivariance_error(f, points, act_in=action, act_out=action)
        >>> report.value("worst") < 1e-12
        True
        >>> from e3nn.o3 import Linear
        >>> layer, vectors = Linear("2x1o", "3x1o"), torch.randn(4, 6)  # says how it transforms
        >>> equivariance_error(layer, vectors).value("worst") < 1e-4
        True
    """
    batches, data = _count(x), batches_of(x)
    module, first = f, None
    if act_in is None or act_out is None:
        first, data = _first_and_all(data)
    claim = claimed(f, first, act_in=act_in, act_out=act_out, law=law)
    f, before, after = claim.f, *claim.motions(group)
    settings = Settings(
        samples, target, confidence, scale, logits, orbit_variance, differentiates, progress
    )
    measurement = _Measurement(
        f, before, after, common_group(before, after), claim.law, settings,
        generator or torch.Generator().manual_seed(0),
    )  # fmt: skip
    with kept_state(module) as changed:
        report = measurement.run(data, batches=batches)
    if not changed:
        return report
    text = f"{', '.join(changed[:4])}{', …' if len(changed) > 4 else ''} while it ran; put back"
    return replace(report, caveats=(*report.caveats, Caveat(Concern.STATE, text)))


def batches_of(x: Any) -> Iterator[Any]:
    """The batches of a tree (one) or of an iterator of trees."""
    if _is_batch(x):
        return iter((x,))
    if isinstance(x, Iterable):
        return iter(x)
    raise ShapeError(
        expected="tensors, trees of tensors, or an iterator of them",
        got=type(x).__name__,
        argument="x",
        advice="Give FunctionMotion inputs as tuples or dictionaries of tensors.",
    )


def _first_and_all(data: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The first batch, and all of them."""
    for first in data:
        return first, chain([first], data)
    raise _no_batch()


def _no_batch() -> ShapeError:
    return ShapeError(
        expected="at least one batch",
        got="none",
        argument="x",
        advice="An iterator can be used up: make a new one.",
    )


def _is_batch(x: Any) -> bool:
    return isinstance(x, Tensor | np.ndarray | Mapping | Sequence) or list(leaves(x)) != [""]


def _count(x: Any) -> int | None:
    """Number of batches, where it is known before."""
    if _is_batch(x):
        return 1
    return len(x) if isinstance(x, Sized) else None


class _Measurement:
    def __init__(
        self,
        f: Callable[..., Any],
        before: Motion,
        after: Motion,
        group: Group,
        law: Sampler | None,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        self.f, self.before, self.after, self.group = f, before, after, group
        self.law, self.settings, self.generator = law, settings, generator
        self.crossed = not (before.batched and after.batched)
        self.gathering = Gathering(group, crossed=self.crossed, confidence=settings.confidence)
        self.seed = int(torch.randint(2**62, (), generator=generator))
        self.items_seen = 0
        self.seconds_in_map, self.calls = 0.0, 0

    def run(self, data: Iterator[Any], *, batches: int | None) -> EquivarianceReport:
        start, dtype, looks = time.perf_counter(), torch.float64, self._looks()
        total = None if batches is None else batches * self.settings.samples
        bar = tqdm(
            desc="equivariance", unit="pass", total=total, disable=not self.settings.progress
        )
        with bar, torch.set_grad_enabled(self.settings.differentiates):
            for number, x in enumerate(data, 1):
                dtype = next(iter(self.before.parts(x).values())).tensor.dtype
                self._batch(x, bar)
                if self._may_stop() and number & (number - 1) == 0:
                    break
        if not self.calls:
            raise _no_batch()
        return self.gathering.report(
            dtype=dtype, calls=self.calls, looks=looks,
            seconds=time.perf_counter() - start, seconds_in_map=self.seconds_in_map,
        )  # fmt: skip

    def _batch(self, x: Any, bar: Any) -> None:
        items = self.before.items(x)
        if items == 0:
            raise ShapeError(
                expected="at least one item",
                got="an empty batch",
                argument="x",
                advice="There is nothing to measure.",
            )
        self.gathering.watch.start(self.before, x, items, self.items_seen)
        y = self._call(x, watched=True)
        batch = self.gathering.start(self.after, y, items, self.settings)
        batch.repeat(self._call(x))
        for name, g in special_elements(self.group, law=self.law).items():
            batch.special(name, g, self._call(self.before.move(g.to(_device(x)), x)))
        draws, rounds = self._draws(items, _device(x)), self._rounds()
        for done, (g, weights) in enumerate(draws, 1):
            batch.add(g, weights, self._call(self.before.move(g, x)))
            bar.update()
            if done in rounds:
                batch.reduce()
                if self._may_stop():
                    break
        batch.release()
        self.items_seen += items

    def _call(self, x: Any, *, watched: bool = False) -> Any:
        device, own = _device(x), fresh(x)
        _wait(device)
        start = time.perf_counter()
        try:
            y = spread_over(self.f, own)
        except RuntimeError as error:
            if self.settings.differentiates or "does not require grad" not in str(error):
                raise
            raise ConventionError(
                expected="differentiates=True for a map that calls autograd itself",
                got=str(error).splitlines()[0],
                argument="differentiates",
                advice="Forces as gradients need a graph: pass differentiates=True, or --forces.",
            ) from error
        _wait(device)
        self.seconds_in_map += time.perf_counter() - start
        self.calls += 1
        if watched:
            self.gathering.watch.altered.update(dict.fromkeys(altered(x, own)))
        return y

    def _draws(self, items: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Elements (items, n, n), or (n, n) for all, with weights (items,), sample by sample.

        Every item has a generator of its own, so that batch sizes do not change its elements.
        """
        rows = [0] if self.crossed else range(self.items_seen, self.items_seen + items)
        sources = [_generator(self.seed, row) for row in rows]
        for start in range(0, self.settings.samples, _FIRST_LOOK):
            drawn = [self._draw(source) for source in sources]
            g = torch.stack([elements for elements, _ in drawn], 1).to(device)
            weights = torch.stack([w for _, w in drawn], 1)
            for k in range(min(_FIRST_LOOK, self.settings.samples - start)):
                yield (g[k, 0] if self.crossed else g[k]), weights[k].expand(items)

    def _draw(self, source: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.law is None:
            g = self.group.sample(_FIRST_LOOK, generator=source, scale=self.settings.scale)
            return g, torch.ones(_FIRST_LOOK, dtype=torch.float64)
        drawn = self.law.draw(_FIRST_LOOK, generator=source)
        return drawn.elements, drawn.weights.double()

    def _rounds(self) -> list[int]:
        """Numbers of samples after which a measurement with a target looks."""
        last = self.settings.samples
        if self.settings.target is None:
            return [last]
        return [k for k in (_FIRST_LOOK << j for j in range(24)) if k < last] + [last]

    def _looks(self) -> int:
        return 1 if self.settings.target is None else len(self._rounds()) + 10

    def _may_stop(self) -> bool:
        target = self.settings.target
        return target is not None and self.gathering.half_width(self._looks()) < target


def _generator(seed: int, row: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, row]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _device(x: Any) -> torch.device:
    return next((leaf.device for leaf in tensors(x).values()), torch.device("cpu"))


def _wait(device: torch.device) -> None:
    """Let queued work finish, so that times are those of the map."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
