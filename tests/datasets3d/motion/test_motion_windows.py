"""Windows of motions against slices taken one by one; splits of whole motions; folders."""

from __future__ import annotations

import pytest
import torch
from acclaim_files import texts

from datasets3d import (
    RecordedMotion,
    Skeleton,
    motion_windows,
    read_motion,
    read_motions,
    split_motions,
)
from equivariant.errors import ConventionError, DataFormatError

LEG = Skeleton.of_bones({"root": ("", (0.0, 0.0, 0.0)), "shin": ("root", (0.0, -0.4, 0.0))})


def walk(frames, seed, rate=120.0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(frames, 3, generator=generator, dtype=torch.float64).cumsum(0)
    return RecordedMotion(
        LEG, torch.eye(3, dtype=torch.float64).repeat(frames, 2, 1, 1), root, rate
    )


MOTIONS = {"b": walk(400, 1), "a": walk(350, 2), "short": walk(20, 3)}


def slow_window(motion, t, past, future, every, gap):
    x, rate = motion.positions, motion.frame_rate_hz
    ins = [t - k * every for k in reversed(range(past))]
    outs = [t + gap + k * every for k in range(future)]
    velocity = [(x[i] - x[i - 1]) * rate for i in ins]
    return (torch.stack([x[i] for i in ins]), torch.stack(velocity),
            torch.stack([x[i] for i in outs]))  # fmt: skip


@pytest.mark.parametrize(
    ("past", "future", "every", "gap"), [(6, 6, 2, None), (1, 1, 1, 30), (2, 3, 4, 1)]
)
def test_windows_against_slices(past, future, every, gap):
    found = motion_windows(MOTIONS, past=past, future=future, every=every, gap=gap, windows=40)
    assert found.clip_names == ("a", "b", "short")
    gap = gap or every
    for k in range(0, len(found.clip), 7):
        motion = MOTIONS[found.clip_names[found.clip[k]]]
        expected = slow_window(motion, int(found.frame[k]), past, future, every, gap)
        for got, wanted in zip(found[:3], expected, strict=True):
            assert torch.equal(got[k], wanted)
        # wrong on purpose: one frame later
        later = slow_window(motion, int(found.frame[k]) - 1, past, future, every, gap)
        assert not torch.equal(later[0], found.past[k])


def test_places_are_different_and_within_the_first_frames():
    found = motion_windows(MOTIONS, windows=100)
    for index, name in enumerate(found.clip_names):
        frames = found.frame[found.clip == index]
        assert len(frames.unique()) == len(frames) == (0 if name == "short" else 100)
        begins = frames - 10
        assert len(frames) == 0 or (int(begins.min()) >= 1 and int(begins.max()) <= 300)
    every = motion_windows(MOTIONS, windows=10**6, first_frames=None)
    assert every.clip.bincount().tolist() == [350 - 23, 400 - 23]
    assert int(every.frame.min()) == 11 and int(every.frame.max()) == 400 - 13
    one = motion_windows({"just": walk(24, 0)}, windows=5)
    assert one.frame.tolist() == [11]


def test_places_depend_on_seed_and_name_alone():
    first = motion_windows(MOTIONS, windows=30, seed=1)
    alone = motion_windows({"b": MOTIONS["b"]}, windows=30, seed=1)
    assert torch.equal(first.frame[first.clip == 1], alone.frame)
    other = motion_windows({"b": MOTIONS["b"]}, windows=30, seed=2)
    assert not torch.equal(alone.frame, other.frame)


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"past": 0}, "past"), ({"gap": 0}, "gap"), ({"windows": 0}, "windows"),
     ({"seed": -1}, "seed"), ({"first_frames": 0}, "first_frames"), ({"every": 100}, "at least")],
)  # fmt: skip
def test_windows_refuse(settings, match):
    with pytest.raises(ConventionError, match=match):
        motion_windows(MOTIONS, **settings)


def test_windows_refuse_motions_of_different_kinds():
    with pytest.raises(ConventionError, match="2 kinds"):
        motion_windows({"a": walk(400, 1), "b": walk(400, 1, rate=60.0)})
    with pytest.raises(ConventionError, match="0 kinds"):
        motion_windows({})


def test_splits_hold_every_motion_once_whatever_the_order():
    names = [f"35_{k:02d}" for k in range(20)]
    splits = split_motions(names)
    assert sorted(name for part in splits.values() for name in part) == names
    assert [len(part) for part in splits.values()] == [10, 5, 5]
    assert split_motions(names[::-1]) == splits
    assert split_motions(names, seed=1) != splits
    assert split_motions(["x"], shares=(1, 0, 0)) == {"train": ["x"], "val": [], "test": []}
    for bad in ({"shares": (0, 0, 0)}, {"shares": (1, -1, 1)}, {"seed": -1}):
        with pytest.raises(ConventionError, match="shares"):
            split_motions(names, **bad)


def test_folders(tmp_path):
    asf, amc = texts()
    for subject in ("7", "8"):
        (tmp_path / "subjects" / subject).mkdir(parents=True)
        (tmp_path / "subjects" / subject / f"{subject}.asf").write_text(asf)
        (tmp_path / "subjects" / subject / f"{subject}_2.amc").write_text(amc)
    assert list(read_motions(tmp_path)) == ["7_2", "8_2"]
    assert list(read_motions(tmp_path / "subjects", subjects=["8"])) == ["8_2"]
    with pytest.raises(DataFormatError, match="no motion of 9"):
        read_motions(tmp_path, subjects=["8", "9"])
    with pytest.raises(DataFormatError, match="any subject"):
        read_motions(tmp_path / "nowhere")


def test_real_motions_make_windows(real_data):
    folder = real_data / "cmu_mocap" / "35"
    if not folder.is_dir():
        pytest.skip(f"no motions in {folder}")
    clips = sorted(folder.glob("*.amc"))[:4]
    motions = {clip.stem: read_motion(folder / "35.asf", clip) for clip in clips}
    splits = split_motions(motions)
    assert [len(names) for names in splits.values()] == [2, 1, 1]
    parts = [motion_windows({n: motions[n] for n in names}, past=1, future=1, gap=30)
             for names in splits.values()]  # fmt: skip
    assert [len(part.clip) for part in parts] == [100 * len(names) for names in splits.values()]
    for part in parts:
        assert part.past.shape[1:] == (1, 31, 3)
        gap = (part.future - part.past)[:, 0, 0].norm(dim=-1)  # a walk of 30 frames
        assert 0.1 < float(gap.mean()) < 0.6
        guess = (part.past + part.velocity * 30 / 120 - part.future).norm(dim=-1).mean()
        assert float(guess) < float((part.past - part.future).norm(dim=-1).mean())
