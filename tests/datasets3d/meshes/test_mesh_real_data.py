"""Artists' and scanners' files, where they are at hand."""

from __future__ import annotations

import importlib.util
from collections import Counter

import numpy as np
import pytest

from datasets3d.meshes import MeshFolder, MeshWarning, Variants, read_mesh
from datasets3d.meshes.surfaces.pieces import sample
from equivariant.errors import DataFormatError


def sound(mesh):
    assert np.isfinite(mesh.vertices).all()
    assert np.linalg.norm(np.ptp(mesh.vertices, axis=0)) == pytest.approx(1.0)
    length = np.linalg.norm(mesh.corner_normals, axis=2)
    np.testing.assert_allclose(length, 1.0, atol=1e-4)
    colors = (mesh.face_colors, mesh.vertex_colors, mesh.texture)
    assert sum(value is not None for value in colors) == 1
    return mesh


def test_every_lowpoly_mesh_loads(real_data):
    source = MeshFolder(real_data / "lowpoly_cc0")
    entries = source.entries()
    counts = Counter(entry.split for entry in entries)
    assert len(entries) == 736
    assert (counts["train"], counts["val"]) == (541, 195)
    assert len({entry.label for entry in entries}) == 32
    for entry in entries:
        sound(source.load(entry))


def test_untouched_originals_have_the_colors_of_the_converted(real_data):
    """The folder's own converter, independent of this one, gave the same shape and colors."""
    root = real_data / "lowpoly_cc0"
    for original, converted in (
        ("quaternius/Chair_1.glb", "chair_0008"),
        ("kaykit_furniture/chair_A.gltf", "chair_0002"),
        ("kaykit_furniture/chair_A.obj", "chair_0002"),
    ):
        mesh = sound(read_mesh(root / "original_samples" / original))
        (path,) = (root / "chair").rglob(f"{converted}.ply")
        other = sound(read_mesh(path))
        assert len(mesh.faces) == len(other.faces)
        extents = [np.ptp(m.vertices, axis=0) for m in (mesh, other)]
        np.testing.assert_allclose(*extents, atol=1e-4)
        if mesh.texture is None:
            np.testing.assert_allclose(
                mesh.face_colors.mean(0), other.face_colors.mean(0), atol=2.0
            )


def test_a_textured_original_renders_the_colors_of_the_converted(real_data):
    root = real_data / "lowpoly_cc0"
    mesh = read_mesh(root / "original_samples" / "kaykit_furniture" / "chair_A.gltf")
    (path,) = (root / "chair").rglob("chair_0002.ply")
    other = read_mesh(path)
    seen = sample(mesh.texture, mesh.corner_uv.mean(1))
    assert np.abs(seen.mean(0) - other.face_colors.mean(0)).max() < 8.0


def test_draco_asks_for_its_decoder_or_loads(real_data):
    path = real_data / "lowpoly_cc0" / "original_samples" / "kenney_draco" / "sedan.gltf"
    if importlib.util.find_spec("DracoPy"):
        with pytest.warns(MeshWarning, match="emitted light"):
            sound(read_mesh(path))
    else:
        with pytest.raises(DataFormatError, match=r"sedan\.gltf.*DracoPy"):
            read_mesh(path)


def test_a_skinned_figure_has_its_colors(real_data):
    path = real_data / "lowpoly_cc0" / "original_samples" / "quaternius" / "Fox_skinned.glb"
    mesh = sound(read_mesh(path))
    assert len(np.unique(mesh.face_colors, axis=0)) == 4  # five materials, two alike


def test_scans_load_with_their_colors(real_data):
    for path in sorted((real_data / "ycb").glob("*/*.ply"))[::4]:
        mesh = sound(read_mesh(path, up="z"))
        assert len(np.unique(mesh.vertex_colors, axis=0)) > 100


def test_textured_scans_load_and_a_cache_spares_the_decoding(real_data, tmp_path):
    root = real_data / "ycb" / "original" / "011_banana"
    source = MeshFolder(root, up="z", cache=tmp_path)
    entry = source.entries()[0]
    mesh = sound(source.load(entry))
    assert mesh.texture.shape == (1024, 1024, 3)
    assert np.array_equal(source.load(entry).texture, mesh.texture)
    red, green, blue = sample(mesh.texture, mesh.corner_uv.mean(1)).mean(0)
    assert red > blue + 40
    assert green > blue + 40


def test_variants_of_real_meshes_are_sound(real_data):
    source = Variants(MeshFolder(real_data / "lowpoly_cc0"), count=3)
    for entry in source.entries()[::61]:
        sound(source.load(entry))
