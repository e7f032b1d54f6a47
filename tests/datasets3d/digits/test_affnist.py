"""affNIST's files: orientation, order, further fields, and what is no such file."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy.io import savemat

from datasets3d import Digits, read_affnist
from equivariant.errors import ConventionError, DataFormatError


def write(path, images, labels, *, order="C", compress=True, **fields):
    """A file as it is described: one column per picture."""
    columns = np.stack([image.flatten(order) for image in images], 1)
    struct = {
        "affine_transform": np.arange(6.0 * len(images)).reshape(6, -1),
        "image": columns,
        "label_one_of_n": np.eye(10, dtype=np.uint8)[:, labels],
        "label_int": np.asarray(labels, np.uint8)[None],
        "note": "text",
        **fields,
    }
    savemat(path, {"affNISTdata": struct, "other": 1}, do_compression=compress)


@pytest.fixture
def drawn_40(digits):
    return digits.images[:7], digits.labels[:7]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("order", "word"), [("C", "row"), ("F", "column")])
def test_pictures_stand_upright(tmp_path, drawn_40, order, word, compress):
    images, labels = drawn_40
    write(tmp_path / "1.mat", images, labels, order=order, compress=compress)
    found = read_affnist(tmp_path / "1.mat", pixel_order=word)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.images.dtype == np.uint8 and found.labels.dtype == np.int64
    # the broken twin: the other order mirrors them at the diagonal
    other = read_affnist(tmp_path / "1.mat", pixel_order="column" if word == "row" else "row")
    np.testing.assert_array_equal(other.images, images.swapaxes(1, 2))
    assert (other.images != images).any()
    assert len(Digits.of(found.images, found.labels)) == 7


def test_further_fields_come_with_a_row_per_picture(tmp_path, drawn_40):
    write(tmp_path / "1.mat", *drawn_40)
    recorded = read_affnist(tmp_path / "1.mat").recorded
    assert sorted(recorded) == ["affine_transform", "label_one_of_n"]
    assert recorded["affine_transform"][1].tolist() == [1.0, 8.0, 15.0, 22.0, 29.0, 36.0]
    assert recorded["label_one_of_n"].argmax(1).tolist() == drawn_40[1].tolist()


def test_one_picture_and_none(tmp_path, drawn_40):
    images, labels = drawn_40
    write(tmp_path / "1.mat", images[:1], labels[:1])
    assert read_affnist(tmp_path / "1.mat").images.shape == (1, 40, 40)
    write(tmp_path / "1.mat", images[:1], labels[:1], image=np.zeros((1600, 0), np.uint8),
          label_int=np.zeros((1, 0)))  # fmt: skip
    assert read_affnist(tmp_path / "1.mat").images.shape == (0, 40, 40)


def test_folders_are_read_in_the_order_of_numbers(tmp_path, drawn_40):
    images, labels = drawn_40
    for name, rows in (("2", [0, 1]), ("10", [2, 3, 4]), ("1", [5])):
        write(tmp_path / f"{name}.mat", images[rows], labels[rows])
    (tmp_path / "notes.mat").write_text("no number")
    found = read_affnist(tmp_path)
    np.testing.assert_array_equal(found.images, images[[5, 0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(found.labels, labels[[5, 0, 1, 2, 3, 4]])
    assert found.recorded["affine_transform"].shape == (6, 6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": np.zeros((784, 7), np.uint8)}, "1600"),
        ({"image": np.zeros((1600, 7))}, "uint8"),
        ({"image": np.zeros((1600, 8), np.uint8)}, "8 whole numbers"),
        ({"label_int": np.full((1, 7), 0.5)}, "whole numbers"),
        ({"label_int": "seven"}, "whole numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, drawn_40, fields, said):
    write(tmp_path / "1.mat", *drawn_40, **fields)
    with pytest.raises(DataFormatError, match=r"1\.mat.*" + said):
        read_affnist(tmp_path / "1.mat")


def test_other_files_are_refused(tmp_path, drawn_40):
    path = tmp_path / "1.mat"
    with pytest.raises(DataFormatError, match="no such file"):
        read_affnist(path)
    with pytest.raises(DataFormatError, match="folder without"):
        read_affnist(tmp_path)
    write(path, *drawn_40)
    content = path.read_bytes()
    for damaged in (b"", content[:60], content[:-200], b"text" * 100, content[:200] + bytes(900)):
        path.write_bytes(damaged)
        with pytest.raises(DataFormatError, match=r"1\.mat"):
            read_affnist(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF".ljust(400))
    with pytest.raises(DataFormatError, match=r"7\.3"):
        read_affnist(path)
    for variables in ({"other": 1}, {"affNISTdata": np.zeros(3)}):
        savemat(path, variables)
        with pytest.raises(DataFormatError, match="one struct"):
            read_affnist(path)
    savemat(path, {"affNISTdata": {"image": np.zeros((1600, 1), np.uint8)}})
    with pytest.raises(DataFormatError, match="label_int"):
        read_affnist(path)
    with pytest.raises((ConventionError, TypeCheckError)):
        read_affnist(path, pixel_order="rows")
