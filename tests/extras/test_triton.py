"""The kernel in Triton, run by Triton's interpreter: no GPU is needed, and no speed is shown."""

import os
import subprocess
import sys

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.nn.gaunt import GauntTensorProduct, gaunt_product

pytest.importorskip("triton")

from equivariant.nn.gaunt.methods import triton_contraction
from equivariant.nn.gaunt.methods.triton_contraction import term_table, triton_contract


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def check(x, y, degrees, rtol=1e-12, **options):
    ours = triton_contract(x, y, degrees, **options)
    theirs = gaunt_product(x, y, *degrees, method="grid", **options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=rtol * max(1.0, theirs.abs().max()))


@pytest.mark.parametrize("kind", ["even", "odd"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 1, 1), (2, 3, 4), (3, 1, 2), (4, 4, 4)])
def test_the_grid_agrees(kind, degrees):
    x, y = draw(7, (degrees[0] + 1) ** 2), draw(7, (degrees[1] + 1) ** 2, seed=1)
    check(x, y, degrees, kind=kind, normalization="component")


@pytest.mark.parametrize("vectors", [1, 127, 128, 129, 300])
def test_blocks_that_are_not_full(vectors):
    check(draw(vectors, 4), draw(vectors, 9, seed=1), (1, 2, 2))


@pytest.mark.parametrize(
    ("first", "second"),
    [((), ()), ((3,), ()), ((5, 1), (4,)), ((2, 3, 4), (3, 1)), ((1, 1), (1, 6))],
)
def test_leading_axes_broadcast(first, second):
    check(draw(*first, 4), draw(*second, 4, seed=1), (1, 1, 2))


def test_a_shared_operand_is_not_copied():
    shared = draw(1, 9).expand(6, 9)
    assert triton_contraction._vectors(shared, torch.Size((6,))).stride()[1] == 0
    check(draw(6, 9, seed=1), shared, (2, 2, 2))


def test_strides_and_empty_batches():
    x = draw(9, 5).T
    check(x, draw(5, 18, seed=1)[:, ::2], (2, 2, 2))
    assert triton_contract(draw(0, 3, 4), draw(3, 4), (1, 1, 1)).shape == (0, 3, 4)


def test_single_precision():
    x, y = draw(20, 9, dtype=torch.float32), draw(20, 9, dtype=torch.float32, seed=1)
    check(x, y, (2, 2, 2), rtol=1e-6)


def test_rows_divided_among_few_or_many_programs(monkeypatch):
    for programs in (1, 2, 10**6):
        monkeypatch.setattr(triton_contraction, "PROGRAMS", programs)
        check(draw(3, 9), draw(3, 9, seed=1), (2, 2, 3))


def test_a_table_with_a_wrong_coefficient_is_found(monkeypatch):
    starts, first, second, values = term_table(
        (1, 1, 1), "even", "integral", torch.float64, torch.device("cpu")
    )
    broken = values.clone()
    broken[0] *= 1.001
    monkeypatch.setattr(
        triton_contraction, "term_table", lambda *_: (starts, first, second, broken)
    )
    with pytest.raises(AssertionError):
        check(draw(4, 4), draw(4, 4, seed=1), (1, 1, 1))


@pytest.mark.parametrize("kind", ["even", "odd"])
def test_derivatives_of_both_orders_are_those_of_the_grid(kind):
    def found(method):
        x, y = draw(3, 4).requires_grad_(), draw(3, 9, seed=1).requires_grad_()
        z = gaunt_product(x, y, 1, 2, 2, kind=kind, method=method)
        first = torch.autograd.grad(z, (x, y), draw(3, 9, seed=2), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, y))
        return z, *first, *second

    for ours, theirs in zip(found("triton"), found("grid"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_a_layer_takes_it_and_other_devices_do_not(monkeypatch):
    layer, twin = (
        GauntTensorProduct("2x0e+2x1o", "2x0e+2x1o", method=m) for m in ("triton", "grid")
    )
    x, y = draw(5, 8, dtype=torch.float32), draw(5, 8, dtype=torch.float32, seed=1)
    torch.testing.assert_close(layer(x, y), twin(x, y))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ConventionError, match="CUDA"):
        layer(x, y)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from equivariant.nn.gaunt.methods.triton_kernel import contract

names = contract.arg_names
for number in ("fp32", "fp64"):
    kinds = {n: "i32" for n in names} | {n: "*i32" for n in ("starts", "first", "second")}
    kinds |= {n: f"*{number}" for n in "xyz"} | {"values": f"*{number}", "BLOCK": "constexpr"}
    source = ASTSource(contract, kinds, constexprs={"BLOCK": 128})
    for architecture in (80, 90):
        made = compile(source, target=GPUTarget("cuda", architecture, 32))
        print(len(made.asm["cubin"]) > 0, "fma.rn" in made.asm["ptx"])
"""


def test_machine_code_for_gpus_is_made_without_one(tmp_path):
    settings = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    environment = {**os.environ, **settings, "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True"] * 8, done.stderr
