"""Mutated mesh files: each is read or refused, within limits of time and memory."""

import collections
import time

import numpy as np
import pytest
from mutation import FORMATS, bases, mutated, no_alarm_is_left, verdict

from datasets3d.meshes import MeshFolder, ReadingLimits
from datasets3d.meshes.decode import decode
from datasets3d.meshes.formats import limits as limits_module
from datasets3d.meshes.formats.limits import limited
from equivariant.errors import ConventionError, DataFormatError


def run(folder, suffix, numbers):
    verdicts = collections.Counter(verdict(folder, suffix, number) for number in numbers)
    wrong = sorted(set(verdicts) - {"read", "refused"})
    assert not wrong, wrong[:20]
    assert verdicts["refused"] and verdicts["read"]  # else the faults are not of both kinds


@pytest.mark.parametrize("suffix", FORMATS)
def test_some_mutated_files(tmp_path, suffix):
    run(tmp_path, suffix, range(60))


@pytest.mark.long
@pytest.mark.parametrize("suffix", FORMATS)
def test_ten_thousand_mutated_files(tmp_path, suffix):
    run(tmp_path, suffix, range(2000))


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_files_are_read_and_faults_are_drawn_from_their_number(tmp_path, suffix):
    for data in bases(suffix):
        path = tmp_path / f"a.{'gltf' if data[:1] == b'{' else suffix}"
        path.write_bytes(data)
        assert len(decode(path, name=path.name, notes=[]).faces) >= 2
    assert mutated(suffix, 7) == mutated(suffix, 7) != mutated(suffix, 8)


def test_a_mesh_that_takes_too_long_is_set_aside(tmp_path, monkeypatch):
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "a.off").write_text("OFF 3 1 0 0 0 0 1 0 0 0 1 0 3 0 1 2")
    source = MeshFolder(tmp_path, limits=ReadingLimits(seconds=0.05))
    entry = source.entries()[0]
    source.load(entry)

    def slow(*_, **__):
        while True:
            try:
                time.sleep(0.01)
            except TimeoutError:  # as libraries do that swallow everything, once
                break
        while True:
            pass

    monkeypatch.setattr(limits_module, "AGAIN_S", 0.05)
    monkeypatch.setattr("datasets3d.meshes.folder.decode", slow)
    with pytest.raises(DataFormatError, match=r"chair/a\.off.*TimeoutError: more than 0\.05 s"):
        source.load(entry)
    assert no_alarm_is_left()


def test_a_mesh_that_takes_too_much_memory_is_set_aside(tmp_path, monkeypatch):
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "a.off").write_text("OFF 3 1 0 0 0 0 1 0 0 0 1 0 3 0 1 2")
    source = MeshFolder(tmp_path, limits=ReadingLimits(memory_bytes=1 << 28))

    def large(*_, **__):
        return np.empty((1 << 30,), np.uint8)

    monkeypatch.setattr("datasets3d.meshes.folder.decode", large)
    with pytest.raises(DataFormatError, match=r"chair/a\.off.*MemoryError"):
        source.load(source.entries()[0])
    assert large().nbytes == 1 << 30  # the limit is gone with the mesh


def test_limits_are_above_zero_and_may_be_left_out():
    with pytest.raises(ConventionError, match="seconds"):
        ReadingLimits(seconds=0.0)
    with pytest.raises(ConventionError, match="memory_bytes"):
        ReadingLimits(memory_bytes=-1)
    with limited(None):
        assert no_alarm_is_left()
