"""The bank against a Python list; saving, moving, refusals."""

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import Bank
from equivariant.training import load_weights, save_weights

LIKE = {"label": torch.zeros(0, dtype=torch.int64), "pose": torch.zeros(0, 3, 3)}


def make(size=7):
    return Bank(size, 2, like=LIKE)


def batch(n, start):
    z = torch.arange(start, start + n, dtype=torch.float32)[:, None].expand(-1, 2)
    pose = z[:, :1, None].expand(-1, 3, 3)
    return {"z": z, "label": torch.arange(start, start + n), "pose": pose}


@pytest.mark.parametrize("sizes", [[3, 3, 3], [1] * 20, [7], [8], [30], [5, 0, 9, 2], [0]])
def test_rows_are_the_last_pushed_in_order(sizes):
    bank, held, start = make(), [], 0
    for n in sizes:
        bank.push(**batch(n, start))
        held = [*held, *range(start, start + n)][-7:]
        start += n
        rows = bank.rows()
        assert len(bank) == len(held)
        assert rows.names["label"].tolist() == held
        assert rows.z[:, 0].tolist() == held and rows.names["pose"][:, 2, 1].tolist() == held


def test_an_empty_bank_has_no_rows():
    rows = make().rows()
    assert rows.z.shape == (0, 2) and rows.names["pose"].shape == (0, 3, 3)
    assert len(Bank(3, 5)) == 0 and Bank(3, 5).rows().names == {}


def test_rows_are_detached_copies_that_later_pushes_leave_alone():
    bank = make(4)
    leaf = torch.ones(4, 2, requires_grad=True)
    bank.push(leaf * 2, label=torch.arange(4), pose=torch.zeros(4, 3, 3))
    old = bank.rows()
    assert not old.z.requires_grad
    (leaf * old.z).sum().backward()
    q = torch.ones(4, 2, requires_grad=True)
    product = (q * old.z).sum()
    bank.push(**batch(4, 10))
    product.backward()  # what backward needs was not overwritten
    assert old.z.unique().tolist() == [2.0] and old.names["label"].tolist() == [0, 1, 2, 3]


def test_state_goes_through_safetensors_and_dtype_moves_floats_only(tmp_path):
    bank, other = make(), make()
    bank.push(**batch(9, 0))
    save_weights(tmp_path / "bank.safetensors", bank, header={})
    load_weights(tmp_path / "bank.safetensors", other)
    for key in ("label", "pose"):
        assert torch.equal(other.rows().names[key], bank.rows().names[key])
    for each in (bank, other):
        each.push(**batch(2, 50))
    assert torch.equal(other.rows().z, bank.rows().z)
    wide = bank.to(torch.float64)
    wide.push(**batch(1, 99))
    assert wide.rows().z.dtype == torch.float64
    assert wide.rows().names["label"].dtype == torch.int64 and len(wide) == 7
    assert wide.rows().names["pose"].dtype == torch.float64
    assert float(wide.rows().z[-1, 0]) == 99.0


def test_refusals_leave_the_bank_as_it_was():
    bank = make()
    bank.push(**batch(2, 0))
    good = batch(3, 5)
    with pytest.raises(ConventionError, match="names"):
        bank.push(good["z"], label=good["label"])
    with pytest.raises(ConventionError, match="names"):
        bank.push(**good, more=good["label"])
    with pytest.raises(ShapeError, match="label"):
        bank.push(**(good | {"label": good["label"][:2]}))
    with pytest.raises(ShapeError, match="z"):
        bank.push(**(good | {"z": torch.ones(3, 4)}))
    with pytest.raises(ConventionError, match="int64"):
        bank.push(**(good | {"label": good["label"].float()}))
    assert bank.rows().names["label"].tolist() == [0, 1]
    with pytest.raises(ConventionError, match="size"):
        Bank(0, 2)
