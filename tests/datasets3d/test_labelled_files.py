"""Readers of users' labelled clouds: what was written comes back, and damage is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets3d import (
    LabelledClouds,
    Registrations,
    read_dynlab,
    read_multibody,
    split_frames,
)
from datasets3d.clouds.point_ply import read_point_ply
from equivariant.errors import ConventionError, DataFormatError, ShapeError

DRAWS = np.random.default_rng(0)
FIELDS = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("idx", "<i4")]
NAMES = {"<f4": "float", "u1": "uchar", "<i4": "int", ">f4": "float", ">i4": "int"}


def table(count, labels, seed=0):
    draws = np.random.default_rng(seed)
    rows = np.zeros(count, FIELDS)
    for name in "xyz":
        rows[name] = draws.normal(size=count)
    rows["red"] = draws.integers(256, size=count)
    rows["idx"] = draws.choice(labels, count)
    rows["idx"][: len(labels)] = labels
    return rows


def ply(rows, form):
    head = f"ply\nformat {form} 1.0\ncomment a scan\nelement vertex {len(rows)}\n"
    head += "".join(f"property {NAMES[kind]} {name}\n" for name, kind in FIELDS)
    head += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    if form == "ascii":
        lines = [" ".join(repr(v.item()) for v in row) for row in rows]
        return head.encode() + "\n".join(lines).encode() + b"\n"
    order = "<" if "little" in form else ">"
    swapped = rows.astype([(name, kind.replace("<", order)) for name, kind in FIELDS])
    return head.encode() + swapped.tobytes()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_columns_of_ply_files_come_back(tmp_path, form):
    rows = table(50, [3, 7])
    (tmp_path / "a.ply").write_bytes(ply(rows, form))
    found = read_point_ply(tmp_path / "a.ply")
    assert list(found) == [name for name, _ in FIELDS]
    for name, column in found.items():
        assert np.array_equal(column, rows[name]) and column.dtype.isnative
    assert found["x"].dtype == np.float32 and found["idx"].dtype == np.int32


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(form=st.sampled_from(["ascii", "binary_little_endian"]), place=st.floats(0, 1),
       junk=st.binary(min_size=0, max_size=6))  # fmt: skip
def test_damaged_ply_files_are_read_or_refused(tmp_path, form, place, junk):
    data = ply(table(8, [0, 1]), form)
    cut = int(place * len(data))
    (tmp_path / "0-0.ply").write_bytes(data[:cut] + junk)
    try:
        found = read_dynlab(tmp_path, points=4)
    except DataFormatError as error:
        assert "0-0.ply" in error.argument
    else:
        assert found.clouds.isfinite().all()


def test_dynlab_scenes_are_read_with_labels_from_zero(tmp_path):
    written = {}
    for scene, labels in (("0", [2, 5, 9]), ("1", [0, 1])):
        for configuration in range(2):
            rows = table(60, labels, seed=configuration)
            written[f"{scene}-{configuration}"] = rows
            (tmp_path / f"{scene}-{configuration}.ply").write_bytes(ply(rows, "ascii"))
            (tmp_path / f"{scene}-{configuration}.pose").write_text("not read")
    found = read_dynlab(tmp_path, points=60)
    assert found.names == ("0-0", "0-1", "1-0", "1-1") and found.label_names == ("0", "1")
    assert found.labels.tolist() == [0, 0, 1, 1]
    for k, name in enumerate(found.names):
        rows = written[name]
        order = np.lexsort(found.clouds[k].numpy().T), np.lexsort([rows[n] for n in "xyz"])
        expected = np.stack([rows[n] for n in "xyz"], 1)[order[1]]
        np.testing.assert_array_equal(found.clouds[k].numpy()[order[0]], expected)
        rank = {label: i for i, label in enumerate(sorted(set(rows["idx"].tolist())))}
        ranks = [rank[label] for label in rows["idx"][order[1]].tolist()]
        assert found.point_parts[k][order[0]].tolist() == ranks
    fewer = read_dynlab(tmp_path, points=10)
    assert fewer.clouds.shape == (4, 10, 3)
    assert torch.equal(read_dynlab(tmp_path, points=10).clouds, fewer.clouds)
    assert not torch.equal(read_dynlab(tmp_path, points=10, seed=1).clouds, fewer.clouds)
    with pytest.raises(DataFormatError, match="columns x, y, z and part"):
        read_dynlab(tmp_path, label="part")
    with pytest.raises(DataFormatError, match="configuration"):
        read_dynlab(tmp_path / "nowhere")


def multibody(root, scans=3, points=20):
    (root / "data").mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps({"train": [0], "test": [1, 2]}))
    written = {}
    for number in range(3):
        pc = np.random.default_rng(number).normal(size=(scans, points, 3)).astype(np.float32)
        segm = np.random.default_rng(number).integers(1, 4, size=(scans, points))
        segm[:, :3] = [1, 2, 3]
        trans = np.array({"cam": [np.eye(4)]}, dtype=object)  # pickled, as it is published
        np.savez(root / "data" / f"{number:06d}.npz", pc=pc, segm=segm, trans=trans)
        written[number] = pc, segm
    return written


def test_multibody_sets_are_read_without_pickle(tmp_path):
    written = multibody(tmp_path)
    found = read_multibody(tmp_path, "test")
    assert found.clouds.shape == (6, 20, 3)
    assert found.names[:4] == ("000001-0", "000001-1", "000001-2", "000002-0")
    for k in range(6):
        pc, segm = written[1 + k // 3]
        assert np.array_equal(found.clouds[k].numpy(), pc[k % 3].astype(float))
        assert np.array_equal(found.point_parts[k].numpy(), segm[k % 3] - 1)
    assert len(read_multibody(tmp_path, "train", points=7).clouds[0]) == 7
    for split, match in (("val", "'val'"), ("meta", "'meta'")):
        with pytest.raises(DataFormatError, match=match):
            read_multibody(tmp_path, split)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"pc": None}, "array 'pc'"), ({"pc": np.zeros((2, 3))}, "shape"),
        ({"pc": np.full((3, 20, 3), np.nan)}, "finite"), ({"segm": np.zeros(20)}, "per point"),
        ({"segm": np.full((3, 20), 0.5)}, "whole number"),
        ({"pc": np.array([{}], dtype=object)}, "pickle"),
    ],
)  # fmt: skip
def test_broken_multibody_files_are_refused(tmp_path, change, match):
    written = multibody(tmp_path)
    arrays = {"pc": written[0][0], "segm": written[0][1], **change}
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez(tmp_path / "data" / "000000.npz", **kept)
    with pytest.raises(DataFormatError, match=match) as caught:
        read_multibody(tmp_path, "train")
    assert "000000.npz" in caught.value.argument


def registrations(tmp_path):
    draws = np.random.default_rng(0)
    arrays = {
        f"{subject}_{action}": draws.normal(size=(40, 3, frames))
        for subject in ("50002", "50004")
        for action, frames in (("hips", 12), ("punching", 7))
    }
    path = tmp_path / "registrations_m.npz"
    np.savez(path, **arrays, faces=np.zeros((5, 3), np.int64))
    return path, arrays


def test_registrations_are_read_as_dfaust_has_them(tmp_path):
    path, arrays = registrations(tmp_path)
    parts = np.arange(40) % 4
    np.save(tmp_path / "parts.npy", parts)
    bodies = Registrations(path, tmp_path / "parts.npy")
    assert bodies.subjects == ("50002", "50004") and bodies.vertex_count == 40
    assert np.array_equal(bodies.sequence("50002_hips"), arrays["50002_hips"].transpose(2, 0, 1))
    splits = split_frames(bodies.frames, "unseen action", every=1, actions=bodies.actions,
                          held_out="punching")  # fmt: skip
    assert {name for name, _ in splits["test"]} == {"50002_punching", "50004_punching"}
    found = bodies.clouds(splits["test"], points=40)
    assert found.labels.tolist() == [0] * 7 + [1] * 7 and found.names[0] == "50002_punching/0"
    for k, (name, t) in enumerate(splits["test"]):
        x = arrays[name][:, :, t]
        order = np.lexsort(found.clouds[k].numpy().T), np.lexsort(x.T)
        assert np.array_equal(found.clouds[k].numpy()[order[0]], x[order[1]])
        assert np.array_equal(found.point_parts[k].numpy()[order[0]], parts[order[1]])
    alone = bodies.clouds(splits["test"][3:4], points=40)
    assert torch.equal(alone.clouds[0], found.clouds[3])


def test_broken_registrations_are_refused(tmp_path):
    path, arrays = registrations(tmp_path)
    with pytest.raises(DataFormatError, match="h5py"):
        Registrations(tmp_path / "registrations_m.hdf5")
    with pytest.raises(DataFormatError, match=r"\.npz"):
        Registrations(tmp_path / "nothing.npz")
    for bad in (np.zeros(39, int), np.full(40, 0.5), -np.ones(40, int)):
        with pytest.raises(DataFormatError, match=r"parts|whole"):
            np.save(tmp_path / "parts.npy", bad)
            Registrations(path, tmp_path / "parts.npy")
    bodies = Registrations(path)
    for frames in ([], [("50002_hips", 12)], [("50002_jump", 0)]):
        with pytest.raises(ConventionError, match="frames"):
            bodies.clouds(frames)
    with pytest.raises(ConventionError, match="50009"):
        bodies.sequence("50009_hips")
    arrays["50002_hips"][0, 0, 0] = np.inf
    for change in ({}, {"50002_hips": np.zeros((39, 3, 4))}, {"50002_hips": np.zeros((40, 3))}):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(DataFormatError, match="registrations_m"):
            Registrations(path).sequence("50002_hips")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataFormatError, match="npz"):
        Registrations(path)


def test_labelled_clouds_refuse_what_does_not_fit():
    clouds, parts = torch.zeros(2, 4, 3).double(), torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(ShapeError, match="names"):
        LabelledClouds(clouds, parts, torch.zeros(2, dtype=torch.int64), ("a",), ("a",))
