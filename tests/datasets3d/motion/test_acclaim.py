"""The reader of Acclaim's files against a slow second one, on real clips, and on broken files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from acclaim_files import slow_positions, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets3d import RecordedMotion, Skeleton, read_motion
from equivariant.actions import Piecewise
from equivariant.errors import ConventionError, DataFormatError, ShapeError
from equivariant.groups import SE3


def written(folder, asf, amc):
    (folder / "a.asf").write_text(asf)
    (folder / "a.amc").write_text(amc)
    return folder / "a.asf", folder / "a.amc"


def largest_gap(motion, frames):
    slow = np.array([[frame[name] for name in motion.names] for frame in frames])
    return np.abs(motion.positions.numpy() - slow).max()


@pytest.mark.parametrize("degrees", [True, False])
@pytest.mark.parametrize("header", [True, False])
def test_joints_against_recursion_with_scipy(tmp_path, degrees, header):
    asf, amc = texts(degrees=degrees, header=header)
    motion = read_motion(*written(tmp_path, asf, amc))
    assert motion.names == ("root", "arm", "hip", "shin", "foot")
    assert motion.parents == (-1, 0, 0, 2, 3)
    assert motion.first_frame == 7 and len(motion) == 2
    assert motion.positions.dtype == torch.float64
    assert largest_gap(motion, slow_positions(asf, amc, degrees=degrees)) < 1e-14
    # wrong on purpose: axes and channels of the arm in the usual order
    other = slow_positions(asf.replace("ZXY", "XYZ"), amc, degrees=degrees)
    assert largest_gap(motion, other) > 1e-3


def test_angles_of_the_motion_win_over_those_of_the_skeleton(tmp_path):
    asf, _ = texts()
    _, amc = texts(degrees=False)
    mixed = read_motion(*written(tmp_path, asf, amc))
    alike = read_motion(*written(tmp_path, *texts()))
    torch.testing.assert_close(mixed.positions, alike.positions)


def test_line_ends_and_blank_lines_do_not_matter(tmp_path):
    asf, amc = texts()
    plain = read_motion(*written(tmp_path, asf, amc))
    for name, text in (("a.asf", asf), ("a.amc", amc)):
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n \r\n").encode())
    assert torch.equal(read_motion(tmp_path / "a.asf", tmp_path / "a.amc").positions,
                       plain.positions)  # fmt: skip


def test_units(tmp_path):
    files = written(tmp_path, *texts())
    inches = read_motion(*files)
    assert inches.skeleton.lengths_m.tolist() == pytest.approx(
        [0.0, *(length * 0.0254 / 0.45 for length in (3, 2.5, 7.25, 1.5))], rel=1e-12
    )
    metres = read_motion(*files, unit_m=0.45, frame_rate_hz=60.0)
    torch.testing.assert_close(metres.positions * 0.0254 / 0.45, inches.positions)
    assert (inches.frame_rate_hz, metres.frame_rate_hz) == (120.0, 60.0)


def test_transforms_carry_bones_from_rest_to_every_frame(tmp_path):
    motion = read_motion(*written(tmp_path, *texts()))
    skeleton = motion.skeleton
    assert bool(SE3().contains(motion.transforms).all())
    # both ends of each bone, as a cloud of pieces
    ends = torch.cat([skeleton.rest_starts_m, skeleton.rest_positions_m])
    action = Piecewise(SE3(), torch.arange(len(skeleton)).repeat(2))
    moved = action(action.group.join(list(motion.transforms.unbind(1))), ends)
    starts = motion.positions[:, list(skeleton.start_joints)]
    torch.testing.assert_close(moved, torch.cat([starts, motion.positions], 1))


def test_bones_keep_their_lengths(tmp_path):
    motion = read_motion(*written(tmp_path, *texts()))
    along = motion.positions - motion.positions[:, list(motion.skeleton.start_joints)]
    torch.testing.assert_close(along.norm(dim=-1), motion.skeleton.lengths_m.expand(2, -1))


def test_frames_unpack_slice_and_change_bodies(tmp_path):
    motion = read_motion(*written(tmp_path, *texts()))
    positions, names = motion
    assert names == motion.names and torch.equal(positions, motion.positions)
    last = motion[1::2]
    assert (len(last), last.first_frame, last.frame_rate_hz) == (1, 8, 60.0)
    assert torch.equal(last.positions, motion.positions[1:])
    tall = motion.skeleton.scaled(dict.fromkeys(names, 2.0))
    torch.testing.assert_close(motion.on(tall, travel=2.0).positions, 2.0 * motion.positions)
    shin = motion.on(motion.skeleton.scaled({"shin": 1.5})).positions - motion.positions
    assert shin[:, :3].abs().max() == 0.0 and shin[:, 3:].norm(dim=-1).min() > 0.1


def test_skeletons_and_motions_refuse_what_does_not_fit(tmp_path):
    motion = read_motion(*written(tmp_path, *texts()))
    skeleton = motion.skeleton
    assert skeleton.children("root") == ("arm", "hip")
    for wrong, match in (({"nose": 1.0}, "nose"), ({"arm": 0.0}, "positive")):
        with pytest.raises(ConventionError, match=match):
            skeleton.scaled(wrong)
    with pytest.raises(ConventionError, match="comes before"):
        Skeleton.of_bones({"a": ("", (0.0, 0.0, 0.0)), "b": ("c", (0.0, 1.0, 0.0))})
    leg = Skeleton.of_bones({"root": ("", (0.0, 0.0, 0.0)), "shin": ("root", (0.0, -0.4, 0.0))})
    with pytest.raises(ConventionError, match="same bones"):
        motion.on(leg)
    with pytest.raises(ConventionError, match="forwards"):
        motion[::-1]
    with pytest.raises(ShapeError, match="rotations"):
        RecordedMotion(leg, motion.rotations, motion.root_m)
    with pytest.raises(ConventionError, match="frame rate"):
        read_motion(tmp_path / "a.asf", tmp_path / "a.amc", frame_rate_hz=0.0)
    with pytest.raises(ConventionError, match="unit_m"):
        read_motion(tmp_path / "a.asf", tmp_path / "a.amc", unit_m=-1.0)


BROKEN_SKELETONS = {
    "no file": (None, "readable file"),
    "empty": ("", "section :root"),
    "no section": (("# a leg", "walk :"), "a section"),
    "second section": ((":documentation", ":name"), "second :name"),
    "cut in a bone": (-12, "end of the file"),
    "unknown bone": (("hip shin", "hip skin"), "skin"),
    "two parents": (("shin foot", "shin foot arm"), "another for 'arm'"),
    "unreached": (("    shin foot\n", ""), "none for foot"),
    "a loop": (("shin foot", "foot shin"), "one parent for every bone"),
    "twice": (("name foot", "name shin"), "a second time"),
    "no number": (("length 7.25", "length long"), "finite numbers"),
    "underscores": (("length 7.25", "length 7_25"), "finite numbers"),
    "infinite": (("length 7.25", "length 1e999"), "finite numbers"),
    "negative": (("length 7.25", "length -7.25"), "at least 0"),
    "direction": (("direction 0 -1 0", "direction 0 -2 0"), "length 1"),
    "three numbers": (("direction 0 -1 0", "direction 0 -1"), "3 numbers"),
    "order": (("ZXY", "ZXX"), "order of rotations"),
    "channels": (("dof rz rx", "dof rz rz"), "different channels"),
    "unit of angles": (("angle deg", "angle grad"), "angle deg or angle rad"),
    "unit of length": (("length 0.45", "length 0"), "positive unit"),
    "lacks a length": (("     length 7.25\n", ""), "length before its end"),
    "property": (("length 7.25", "weight 7.25"), "a property of a bone"),
    "zero bytes": (("length 7.25", "length \0"), "byte of zero"),
}

BROKEN_MOTIONS = {
    "no file": (None, "readable file"),
    "empty": ("", "number of a frame"),
    "no frames": (":DEGREES\n", "number of a frame"),
    "header": ((":FULLY-SPECIFIED", ":SOMETHING"), ":FULLY-SPECIFIED"),
    "begins without a frame": (("\n7\n", "\n"), "number of a frame"),
    "gap": (("\n8\n", "\n9\n"), "expected frame 8, got frame 9"),
    "repeats": (("\n8\n", "\n7\n"), "expected frame 8, got frame 7"),
    "unknown bone": (("foot 40", "tail 40"), "bone with channels"),
    "bone without channels": (("foot 40", "hip 40"), "bone with channels"),
    "bone twice": (("foot 40", "arm 40 1"), "arm a second time"),
    "missing bone": (("foot 40.0\n", ""), "none for foot"),
    "too many": (("foot 40", "foot 1 40"), "1 numbers, the channels of foot, got 2"),
    "too few": (("arm 20.0 40.0", "arm 20.0"), "2 numbers"),
    "not finite": (("foot 40", "foot nan 40"), "numbers"),
    "cut": (-2, "all bones of frame 8"),
}


def broken(text, change):
    if isinstance(change, str):
        return change
    if isinstance(change, int):
        return "".join(text.splitlines(keepends=True)[:change])
    assert change[0] in text
    return text.replace(*change, 1)


@pytest.mark.parametrize("name", BROKEN_SKELETONS)
def test_broken_skeletons_are_refused_with_their_line(tmp_path, name):
    change, match = BROKEN_SKELETONS[name]
    asf, amc = texts()
    files = written(tmp_path, asf if change is None else broken(asf, change), amc)
    if change is None:
        files[0].unlink()
    with pytest.raises(DataFormatError, match=match) as caught:
        read_motion(*files)
    assert ("line" in caught.value.argument) == (change is not None)


@pytest.mark.parametrize("name", BROKEN_MOTIONS)
def test_broken_motions_are_refused_with_their_line(tmp_path, name):
    change, match = BROKEN_MOTIONS[name]
    asf, amc = texts()
    files = written(tmp_path, asf, amc if change is None else broken(amc, change))
    if change is None:
        files[1].unlink()
    with pytest.raises(DataFormatError, match=match) as caught:
        read_motion(*files)
    assert ("line" in caught.value.argument) == (change is not None)


def test_the_line_that_is_named_is_the_wrong_one(tmp_path):
    asf, amc = texts()
    wrong = amc.replace("foot 10.0", "foot ten")
    number = 1 + wrong.split("\n").index("foot ten")
    with pytest.raises(DataFormatError, match=f"a.amc, line {number}: .*'ten'"):
        read_motion(*written(tmp_path, asf, wrong))


LINES = st.sampled_from(["cut", "drop", "twice", "swap", "word", "add"])


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    which=st.integers(0, 1), kind=LINES, place=st.integers(0, 10**6), other=st.integers(0, 10**6),
    junk=st.text(st.characters(min_codepoint=9, max_codepoint=255), min_size=1, max_size=12),
)  # fmt: skip
def test_any_damage_is_read_or_refused(tmp_path, which, kind, place, other, junk):
    """Nothing but a whole motion of finite numbers, or an error of ours that names the file."""
    files = list(texts())
    lines = files[which].split("\n")
    k, other = place % len(lines), other % len(lines)
    if kind == "cut":
        lines = files[which][: place % len(files[which])].split("\n")
    elif kind == "drop":
        del lines[k]
    elif kind == "twice":
        lines.insert(other, lines[k])
    elif kind == "swap":
        lines[k], lines[other] = lines[other], lines[k]
    elif kind == "word":
        words = lines[k].split() or [""]
        words[other % len(words)] = junk
        lines[k] = " ".join(words)
    else:
        lines.insert(k, junk)
    files[which] = "\n".join(lines)
    for name, text in zip(("a.asf", "a.amc"), files, strict=True):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    try:
        motion = read_motion(tmp_path / "a.asf", tmp_path / "a.amc")
    except DataFormatError as error:
        assert "a.asf" in error.argument or "a.amc" in error.argument
    else:
        assert bool(motion.positions.isfinite().all())
        assert motion.positions.shape == (len(motion), len(motion.names), 3)


def clips(real_data, count):
    folder = real_data / "cmu_mocap"
    found = sorted(folder.glob("*/*.amc"))
    if not found:
        pytest.skip(f"no motions in {folder}")
    return found[:: max(1, len(found) // count)]


def test_real_clips_against_the_slow_reader(real_data):
    for amc in clips(real_data, 2)[:2]:
        asf = amc.with_name(f"{amc.parent.name}.asf")
        motion = read_motion(asf, amc)
        beginning = amc.read_text()[:20_000].rpartition(f"\n{motion.first_frame + 11}\n")[0]
        frames = slow_positions(asf.read_text(), beginning)
        assert len(frames) == 11 and len(motion.names) == 31
        assert largest_gap(motion[:11], frames) < 1e-12


def test_real_clips_are_people(real_data):
    """Height and speed are those that another reader's forward kinematics gave."""
    table = real_data / "cmu_mocap" / "manifest.csv"
    known = {}
    for row in csv.DictReader(table.read_text().splitlines()) if table.exists() else ():
        known[row["file"].rpartition("/")[2]] = row
    for amc in clips(real_data, 6):
        motion = read_motion(amc.with_name(f"{amc.parent.name}.asf"), amc)
        up = motion.positions[..., 1]
        assert 1.4 < float((up.amax(1) - up.amin(1)).mean()) < 1.7
        assert -0.1 < float(up.min()) < 0.1
        if amc.name in known:
            row = known[amc.name]
            assert float((up.amax(1) - up.amin(1)).mean()) == pytest.approx(
                float(row["mean_height_m"]), abs=6e-4
            )
            steps = (motion.positions[1:, 0] - motion.positions[:-1, 0]).norm(dim=-1)
            speed = float(steps.mean()) * motion.frame_rate_hz
            assert speed == pytest.approx(float(row["mean_root_speed_mps"]), abs=0.02)
            assert (motion.first_frame, len(motion)) == (
                int(row["first_frame"]),
                int(row["n_frames"]),
            )
        along = motion.positions - motion.positions[:, list(motion.skeleton.start_joints)]
        assert (along.norm(dim=-1) - motion.skeleton.lengths_m).abs().max() < 1e-12
