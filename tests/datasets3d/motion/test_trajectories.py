"""Tracks of agents from a user's arrays."""

import numpy as np
import pytest
import torch

from datasets3d.motion import read_trajectories, split_trajectories
from equivariant.errors import ConventionError, DataFormatError


@pytest.fixture
def tracks(tmp_path):
    """Forty agents, 24 frames: 0 stands, 1 is not known once, 2 is NaN once, 3 is too fast."""
    rng = np.random.default_rng(0)
    speed = rng.uniform(-0.2, 0.2, (40, 1, 3))
    speed[:, :, 2] = rng.choice([-1, 1], (40, 1)) * rng.uniform(0.03, 0.05, (40, 1))
    speed[0], speed[3, 0, 0] = 0.0, 2.0
    positions = rng.normal(size=(40, 1, 3)) + speed * np.arange(24)[None, :, None]
    positions[2, 4, 1] = np.nan
    valid = np.ones((40, 24), bool)
    valid[1, 6] = False
    path = tmp_path / "tracks.npz"
    np.savez(path, positions=positions, valid=valid)
    return path, positions


def test_windows_against_a_loop(tracks):
    path, positions = tracks
    found = read_trajectories(path)
    assert found.agent.tolist() == list(range(4, 40))
    for row, agent in enumerate(found.agent.tolist()):
        frames = positions[agent, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]]
        frames = frames - frames[:6].mean(0)
        np.testing.assert_allclose(found.past[row], frames[:6], atol=1e-12)
        np.testing.assert_allclose(found.future[row], frames[6:], atol=1e-12)


def test_what_is_kept(tracks):
    path, positions = tracks
    whole = read_trajectories(path, climbing=False, centred=False)
    assert whole.agent.tolist() == [0, 3, *range(4, 40)]
    np.testing.assert_array_equal(whole.past[0], positions[0, :12:2])
    short = read_trajectories(path, past=2, future=1, every=3, climbing=False)
    assert short.agent.tolist() == [0, *range(2, 40)] and short.past.shape == (39, 2, 3)
    np.save(path.with_suffix(".npy"), positions)
    assert 1 in read_trajectories(path.with_suffix(".npy"), climbing=False).agent.tolist()


@pytest.mark.parametrize("scaling", ["axes", "isotropic", "isotropic_centred"])
def test_scaling(tracks, scaling):
    found = read_trajectories(tracks[0])
    x = torch.cat([found.past, found.future], 1)
    scaled = found.scaled(scaling)
    y = torch.cat([scaled.past, scaled.future], 1)
    torch.testing.assert_close(y * scaled.deviation + scaled.mean, x)
    if scaling == "axes":
        torch.testing.assert_close(y.mean((0, 1)), torch.zeros(3).double(), atol=1e-12, rtol=0)
        torch.testing.assert_close(y.square().mean((0, 1)), torch.ones(3).double())
    else:
        assert float(y.square().mean()) == pytest.approx(1.0)
        assert len(set(scaled.deviation.tolist())) == 1 and not scaled.mean[:2].any()
    part = found.rows(torch.arange(5)).scaled(scaling, like=found)
    torch.testing.assert_close(part.past, scaled.past[:5])
    with pytest.raises(ConventionError, match="once"):
        scaled.scaled(scaling)


def test_one_scale_keeps_turns_and_one_for_each_axis_does_not(tracks):
    found = read_trajectories(tracks[0])
    turn = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).double()
    moved = type(found)(found.past @ turn.T, found.future @ turn.T, found.agent, found.mean,
                        found.deviation)  # fmt: skip
    for scaling, kept in (("isotropic", True), ("axes", False)):
        statistics = found.scaled(scaling)
        after = moved.scaled(scaling, like=found)
        assert torch.allclose(after.past, statistics.past @ turn.T) == kept


def test_splits_share_no_agent(tracks):
    found = read_trajectories(tracks[0])
    parts = split_trajectories(found, seed=1)
    assert [len(p) for p in parts] == [24, 6, 6]
    assert sorted(torch.cat([p.agent for p in parts]).tolist()) == found.agent.tolist()
    again = split_trajectories(found, seed=1)
    assert torch.equal(parts[2].past, again[2].past)
    assert not torch.equal(parts[2].agent, split_trajectories(found, seed=2)[2].agent)
    with pytest.raises(ConventionError, match="at least 6"):
        split_trajectories(found.rows(torch.arange(5)))


def test_files_that_are_no_tracks(tracks, tmp_path):
    bad = tmp_path / "bad.npz"
    for arrays in ({"x": np.zeros(3)}, {"positions": np.zeros((2, 30))},
                   {"positions": np.zeros((2, 30, 3)), "valid": np.ones((2, 29))},
                   {"positions": np.array([["a"]])}):  # fmt: skip
        np.savez(bad, **arrays)
        with pytest.raises(DataFormatError, match="positions"):
            read_trajectories(bad)
    bad.write_bytes(b"PK\x03\x04")
    with pytest.raises(DataFormatError, match="positions"):
        read_trajectories(bad)
    with pytest.raises(DataFormatError, match="positions"):
        read_trajectories(tmp_path / "none.npz")
    np.savez(bad, positions=np.zeros((3, 30, 3)))
    with pytest.raises(ConventionError, match="is kept"):
        read_trajectories(bad)
    with pytest.raises(ConventionError, match="differ"):
        read_trajectories(bad, climbing=False).scaled("axes")
    for settings in ({"past": 0}, {"every": 4}):
        with pytest.raises(ConventionError, match="at least"):
            read_trajectories(tracks[0], **settings)
