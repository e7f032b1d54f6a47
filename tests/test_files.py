"""Readers end also where a file is none, and locks hold between descriptors."""

import hashlib
import os
import socket

import pytest

from datasets3d.meshes import read_mesh
from datasets3d.views.passes.files import read_pass_file
from datasets3d.views.storage import digest, read_array, read_image
from equivariant.errors import DataFormatError
from equivariant.files import HAS_LOCKS, checksum, open_file, read_file, take_lock
from equivariant.runs import file_digest

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")


@pytest.fixture
def pipe(tmp_path):
    """A pipe that nobody writes into: opening it to read as usual waits for ever."""
    path = tmp_path / "a"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("read", [open_file, read_file, checksum])
def test_pipes_sockets_folders_and_devices_are_not_read(pipe, tmp_path, read):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
        for place in (pipe, tmp_path / "s", tmp_path, "/dev/zero", tmp_path / "missing"):
            before = len(os.listdir("/dev/fd"))
            with pytest.raises(OSError):
                read(place)
            assert len(os.listdir("/dev/fd")) == before  # and nothing is left open


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("image_0.jpg", read_image), ("latent_0.npy", read_array), ("depth_0.npz", read_pass_file),
        ("mask_0.png", read_pass_file), ("weights.safetensors", file_digest),
        ("a.obj", read_mesh), ("a.glb", read_mesh), ("a.ply", read_mesh),
    ],
)  # fmt: skip
def test_readers_of_files_refuse_a_pipe(pipe, name, read):
    place = pipe.rename(pipe.with_name(name))
    with pytest.raises(DataFormatError, match=name):
        read(place)


def test_checksums_are_of_contents_and_of_names(tmp_path):
    (tmp_path / "b").write_bytes(b"12" * 2**20)
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "c").mkdir()
    plain = hashlib.blake2b(b"12" * 2**20, digest_size=16)
    assert checksum(tmp_path / "b") == file_digest(tmp_path / "b") == plain.hexdigest()
    both = b"a 0 b 2097152 " + b"12" * 2**20
    assert digest(tmp_path) == hashlib.blake2b(both + b"c 0 ", digest_size=16).hexdigest()
    assert digest(tmp_path, only=["a", "b"]) == hashlib.blake2b(both, digest_size=16).hexdigest()


@pytest.mark.skipif(not HAS_LOCKS, reason="there are no locks")
def test_locks_exclude_unless_they_are_shared(tmp_path):
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert take_lock(first, shared=True) and take_lock(second, shared=True)
    assert take_lock(first) is False
    os.close(second)
    assert take_lock(first)
    third = os.open(tmp_path, os.O_RDONLY)
    assert take_lock(third, shared=True) is False
    os.close(first)
    assert take_lock(third, shared=True, wait=True)
    os.close(third)
