"""What every group and every action must fulfil, as classes of tests to inherit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.groups.half_turns import half_turns
from equivariant.testing.invariant_law import invariance_scores, refusal_bound

BATCHES: tuple[tuple[int, ...], ...] = ((), (1,), (5,), (2, 3), (0,))
# Distances from the identity: on it, within rounding, either side of a series, and far.
RADII = (0.0, 1e-12, 1e-7, 1e-3, 0.0999, 0.1001, 1.0)
DRAWS = 4096  # of a statistical test


class GroupContract:
    """Closure, identity, inverse, associativity; exp, log, Ad, projection; gradients; half turns,
    the law of random elements, dtypes, ``torch.vmap`` and tracing.

    Subclass it, define ``group``, and pytest does the rest:

        class TestSO3(GroupContract):
            group = SO3()
    """

    group: Group
    tolerance: float = 1e-12

    @pytest.fixture
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def draw(self, *batch: int, generator: torch.Generator) -> Tensor:
        """Random elements that have a logarithm."""
        shape = (*batch, self.group.dim)
        return self.group.exp(torch.randn(shape, generator=generator, dtype=torch.float64))

    @pytest.mark.parametrize("batch", BATCHES)
    def test_group_axioms(self, batch: tuple[int, ...], generator: torch.Generator) -> None:
        a, b, c = (self.group.sample(*batch, generator=generator) for _ in range(3))
        eye = self.group.identity(*batch)
        compose, inverse = self.group.compose, self.group.inverse
        assert a.shape == (*batch, self.group.matrix_size, self.group.matrix_size)
        assert a.dtype == torch.float64
        self.close(compose(compose(a, b), c), compose(a, compose(b, c)))
        self.close(compose(a, eye), a)
        self.close(compose(a, inverse(a)), eye)
        self.close(compose(inverse(a), a), eye)
        self.close(self.group.project(compose(a, b)), compose(a, b))

    @pytest.mark.parametrize("batch", BATCHES)
    def test_log_undoes_exp(self, batch: tuple[int, ...], generator: torch.Generator) -> None:
        g = self.draw(*batch, generator=generator)
        self.close(self.group.exp(self.group.log(g)), g)

    @pytest.mark.parametrize("radius", RADII)
    def test_exp_is_the_matrix_exponential(self, radius: float, generator: torch.Generator) -> None:
        x = self.coordinates(radius, generator)
        self.close(self.group.exp(x), torch.linalg.matrix_exp(self.group.hat(x)))
        self.close(self.group.vee(self.group.hat(x)), x)
        self.close(self.group.log(self.group.exp(x)), x)

    @pytest.mark.parametrize("radius", RADII)
    def test_gradients_of_exp_and_log(self, radius: float, generator: torch.Generator) -> None:
        x = self.coordinates(radius, generator).requires_grad_()
        assert torch.autograd.gradcheck(self.group.exp, (x,))
        jacobian = torch.autograd.functional.jacobian(
            lambda x: self.group.log(self.group.exp(x)), x
        )
        eye = torch.eye(self.group.dim, dtype=torch.float64)
        torch.testing.assert_close(jacobian, eye, atol=1e-6, rtol=0)

    def test_log_at_half_turns(self) -> None:
        """At and beside them log is right and shortest; a group that is not compact may refuse."""
        for name, turn in half_turns(self.group.basis()).items():
            for share in (1.0, 1 - 1e-10, 1 - 1e-6, 1 - 1e-3):
                g = self.group.exp(share * turn).requires_grad_()
                try:
                    x = self.group.log(g)
                except ConventionError:
                    assert not self.group.compact, f"{name}: log refuses an element"
                    continue
                again, length = self.group.exp(x).detach(), float(x.detach().norm())
                self.close(again, g.detach(), max(self.tolerance, 1e-7))
                assert length <= float(turn.norm()) + 1e-6, f"{name}: not the shortest"
                (slopes,) = torch.autograd.grad(x.sum(), g)
                assert torch.isfinite(slopes).all(), f"{name}: gradients"

    def test_draws_differ(self, generator: torch.Generator) -> None:
        g = self.group.sample(64, generator=generator)
        assert bool((g != g[0]).any()), "all random elements are the same"
        more = self.group.sample(64, generator=generator)
        assert not torch.equal(g, more), "random elements do not depend on the generator"
        assert bool(self.group.contains(g).all()), "random matrices that are no elements"

    def test_draws_follow_haar_measure(self, generator: torch.Generator) -> None:
        """False alarms: one seed of a million; see ``invariance_scores``."""
        drawn = self.group.sample(DRAWS, generator=generator)
        g = self.compact_part(drawn)
        if g is None:
            pytest.skip("no part of this group has a law that is invariant")
        coordinates = torch.randn(3, self.group.dim, generator=generator, dtype=torch.float64)
        special = list(self.group.special_elements().values())
        moves = self.compact_part(torch.stack([*self.group.exp(coordinates), *special[:8]]))
        assert moves is not None
        scores = invariance_scores(g, moves)
        bound = refusal_bound(len(scores))
        assert float(scores.max()) <= bound, (
            f"not Haar measure: a mean changes by {float(scores.max()):.1f} standard errors when "
            f"all draws are moved by one element; correct draws stay below {bound:.1f}"
        )

    def compact_part(self, g: Tensor) -> Tensor | None:
        """What of elements has to be drawn by Haar measure: a homomorphism into a compact group.

        By default all of a compact group, and of others the orthogonal factor of their linear
        part, if there is one. Override it where that factor is tied to a direction that is not
        compact (a screw), and return None where nothing is left.
        """
        if self.group.compact:
            return g
        return self.group.orthogonal_part(g) if self.group.orthogonal_dim else None

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dtypes_are_kept(self, dtype: torch.dtype, generator: torch.Generator) -> None:
        for name, (function, x) in self.maps(generator).items():
            y = function(x.to(dtype))
            assert y.dtype == dtype, f"{name} of {dtype} returns {y.dtype}"
            self.close(y.double(), function(x), 1e-3 if dtype == torch.float32 else None)
        drawn = self.group.sample(2, generator=generator, dtype=dtype)
        assert drawn.dtype == dtype, f"sample of {dtype} returns {drawn.dtype}"
        assert self.group.identity(2, dtype=dtype).dtype == dtype

    def test_vmap_is_a_loop(self, generator: torch.Generator) -> None:
        for function, x in self.maps(generator).values():
            each = torch.stack([function(row) for row in x])
            self.close(torch.vmap(function)(x), each, max(self.tolerance, 1e-10))

    def test_traces_hold_elsewhere(self, generator: torch.Generator) -> None:
        """What was traced at random elements, as compilers do, is right at the identity too."""
        for function, x in self.maps(generator).values():
            graph = traced(function, x)
            at_rest = torch.zeros_like(x) if x.ndim == 2 else self.group.identity(len(x))
            for y in (x.flip(0), at_rest):
                self.close(graph(y), function(y), max(self.tolerance, 1e-10))

    def maps(
        self, generator: torch.Generator
    ) -> dict[str, tuple[Callable[[Tensor], Tensor], Tensor]]:
        """The group's functions of one tensor, each with a batch of three to call it with."""
        shape = (3, self.group.dim)
        x = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
        group, g = self.group, self.group.exp(x)
        return {
            "exp": (group.exp, x),
            "log": (group.log, g),
            "inverse": (group.inverse, g),
            "project": (group.project, g),
            "adjoint": (group.adjoint, g),
        }

    def test_distance(self, generator: torch.Generator) -> None:
        a, b, c = (self.draw(4, generator=generator) for _ in range(3))
        distance = self.group.distance
        self.close(distance(a, a), torch.zeros(4, dtype=torch.float64), 1e-7)
        self.close(distance(c @ a, c @ b), distance(a, b), 1e-9)
        x = torch.zeros(self.group.dim, dtype=torch.float64, requires_grad=True)
        distance(self.group.identity(), self.group.exp(x)).backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()

    def test_adjoint(self, generator: torch.Generator) -> None:
        g, h = self.draw(3, generator=generator), self.draw(3, generator=generator)
        x = 0.5 * torch.randn(3, self.group.dim, generator=generator, dtype=torch.float64)
        moved = (self.group.adjoint(g) @ x.unsqueeze(-1)).squeeze(-1)
        self.close(g @ self.group.exp(x) @ self.group.inverse(g), self.group.exp(moved), 1e-10)
        self.close(self.group.adjoint(g @ h), self.group.adjoint(g) @ self.group.adjoint(h), 1e-10)

    def test_projection_has_finite_gradients_at_the_identity(self) -> None:
        m = self.group.identity().requires_grad_()
        weight = torch.arange(m.numel(), dtype=m.dtype).reshape(m.shape)
        (self.group.project(m) * weight).sum().backward()
        assert m.grad is not None
        assert torch.isfinite(m.grad).all()

    def test_projection_mends_a_perturbed_element(self, generator: torch.Generator) -> None:
        g = self.draw(6, generator=generator)
        noise = 1e-3 * torch.randn(g.shape, generator=generator, dtype=torch.float64)
        mended = self.group.project(g + noise)
        self.close(self.group.project(mended), mended)
        self.close(mended @ self.group.inverse(mended), self.group.identity(6))

    def test_special_elements_are_elements(self) -> None:
        found = self.group.special_elements()
        for name, g in found.items():
            assert g.shape == self.group.identity().shape, name
            assert g.dtype == torch.float64, name
            assert not torch.equal(g, self.group.identity()), name
            self.close(self.group.project(g), g)

    def test_a_seed_means_the_same_elements(self) -> None:
        draws = [self.group.sample(3, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
        assert torch.equal(*draws)
        single = self.group.sample(
            3, generator=torch.Generator().manual_seed(7), dtype=torch.float32
        )
        assert torch.equal(single, draws[0].float())

    def test_equality_and_errors(self) -> None:
        assert self.group == self.group
        with pytest.raises(ShapeError, match="shape"):
            self.group.log(torch.zeros(2, 11, 11))
        with pytest.raises(ShapeError, match="shape"):
            self.group.exp(torch.zeros(self.group.dim + 1))

    def coordinates(self, radius: float, generator: torch.Generator) -> Tensor:
        """Coordinates at a distance from zero, within the injectivity radius."""
        x = torch.randn(self.group.dim, generator=generator, dtype=torch.float64)
        scaled: Tensor = radius * x / x.norm()
        return scaled

    def close(self, a: Tensor, b: Tensor, tolerance: float | None = None) -> None:
        """Equal up to the contract's tolerance."""
        torch.testing.assert_close(a, b, atol=tolerance or self.tolerance, rtol=1e-12)


class ActionContract:
    """Identity, compatibility, also at half turns and reflections; linearity, broadcasting,
    matrices, gradients, dtypes, ``torch.vmap`` and tracing.

    Subclass it and define ``action``. For a learned action, which need not be a homomorphism,
    set ``homomorphism = False``.
    """

    action: Action
    homomorphism: bool = True
    points: bool = False

    @pytest.fixture
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def draw(self, *batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random elements and vectors."""
        group = self.action.group
        if group is None:
            raise AssertionError("give the action under test a group")
        cloud = (7,) if self.points else ()
        shape = (*batch, *cloud, self.action.dim)
        z = torch.randn(shape, generator=generator, dtype=torch.float64)
        return group.sample(*batch, generator=generator), z

    @pytest.mark.parametrize("batch", BATCHES)
    def test_action_axioms(self, batch: tuple[int, ...], generator: torch.Generator) -> None:
        if not self.homomorphism:
            pytest.skip("a learned action need not be a homomorphism")
        g, z = self.draw(*batch, generator=generator)
        h, _ = self.draw(*batch, generator=generator)
        group = self.action.group
        if group is None:
            raise AssertionError("give the action under test a group")
        close(self.action(g @ h, z), self.action(g, self.action(h, z)))
        close(self.action(group.identity(*batch), z), z)

    def test_special_elements_act(self, generator: torch.Generator) -> None:
        """Compatibility of many elements, and of those that random draws never meet."""
        if not self.homomorphism:
            pytest.skip("a learned action need not be a homomorphism")
        g, z = self.draw(64, generator=generator)
        group = self.action.group
        if group is None:
            raise AssertionError("give the action under test a group")
        for name, h in {"random": g.flip(0), **group.special_elements()}.items():
            for a, b in ((g, h), (h, g), (h, h)):
                there = self.action(a, self.action(b, z))
                try:
                    close(self.action(a @ b, z), there, 1e-9)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error

    def test_linearity(self, generator: torch.Generator) -> None:
        if not self.linear():
            pytest.skip("this action is affine")
        g, u = self.draw(4, generator=generator)
        _, v = self.draw(4, generator=generator)
        # Factors that do not add up to 1: else affine maps would pass.
        close(self.action(g, 2.0 * u - 3.0 * v), 2.0 * self.action(g, u) - 3.0 * self.action(g, v))

    def test_matrix_does_what_the_action_does(self, generator: torch.Generator) -> None:
        if not self.linear():
            pytest.skip("this action is affine")
        g, z = self.draw(4, generator=generator)
        column = z.transpose(-1, -2) if self.points else z.unsqueeze(-1)
        moved = self.action.matrix(g) @ column
        close(moved.transpose(-1, -2) if self.points else moved.squeeze(-1), self.action(g, z))

    def test_lengths(self, generator: torch.Generator) -> None:
        if not self.action.orthogonal:
            pytest.skip("this action does not promise to preserve lengths")
        g, z = self.draw(4, generator=generator)
        close(self.action(g, z).norm(dim=-1), z.norm(dim=-1))

    def test_one_element_moves_a_batch(self, generator: torch.Generator) -> None:
        g, z = self.draw(4, generator=generator)
        each = torch.stack([self.action(g[0], row) for row in z])
        close(self.action(g[0], z), each)

    def test_dtype_follows_the_vectors(self, generator: torch.Generator) -> None:
        g, z = self.draw(4, generator=generator)
        moved = self.action(g.float(), z.float())
        assert moved.dtype == torch.float32
        torch.testing.assert_close(moved.double(), self.action(g, z), atol=1e-3, rtol=1e-3)
        assert self.action(g, z).dtype == torch.float64

    def test_vmap_is_a_loop(self, generator: torch.Generator) -> None:
        g, z = self.draw(3, generator=generator)
        each = torch.stack([self.action(*pair) for pair in zip(g, z, strict=True)])
        close(torch.vmap(self.action)(g, z), each)

    def test_traces_hold_elsewhere(self, generator: torch.Generator) -> None:
        """What was traced at random elements, as compilers do, is right at the identity too."""
        g, z = self.draw(3, generator=generator)
        group = self.action.group
        if group is None:
            raise AssertionError("give the action under test a group")
        graph = traced(self.action, g, z)
        for h in (g.flip(0), group.identity(3)):
            close(graph(h, z), self.action(h, z))

    def test_gradients_at_the_identity_are_finite(self, generator: torch.Generator) -> None:
        _, z = self.draw(3, generator=generator)
        group = self.action.group
        if group is None:
            raise AssertionError("give the action under test a group")
        g = group.identity(3).requires_grad_()
        z.requires_grad_()
        moved = self.action(g, z)
        (
            moved * torch.arange(moved.numel(), dtype=moved.dtype).reshape(moved.shape)
        ).sum().backward()
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()
        assert g.grad is None or torch.isfinite(g.grad).all()

    def test_wrong_shapes_are_refused(self, generator: torch.Generator) -> None:
        g, z = self.draw(2, generator=generator)
        with pytest.raises(ShapeError, match="shape"):
            self.action(g, z[..., :-1])
        with pytest.raises(ShapeError, match="shape"):
            self.action(torch.zeros(2, 11, 11, dtype=z.dtype), z)

    def linear(self) -> bool:
        """Whether the action is linear in z."""
        return True


def traced(function: Callable[..., Tensor], *x: Tensor) -> Callable[..., Tensor]:
    """The graph of a function, from the shapes and dtypes of its arguments alone.

    Raises as the tracer does where the function looks at numbers.
    """
    trace = make_fx(
        lambda *y: function(*y), tracing_mode="fake", _allow_non_fake_inputs=True
    )  # weights and tables are real
    graph: Callable[..., Tensor] = trace(*x)
    return graph


def close(a: Tensor, b: Tensor, tolerance: float = 1e-11) -> None:
    """Equal up to rounding in float64."""
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
