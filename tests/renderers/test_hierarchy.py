"""Packets of rays meet what single rays meet, to the bit, and what a loop over triangles finds."""

import gc
import subprocess
import sys

import numpy as np
import pytest

from renderers import RendererUnavailableError, get
from renderers.rays import embree_library, hierarchy
from renderers.rays.hierarchy import Hierarchy

RAYS = 203  # no multiple of any packet's size


def rubble(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Triangles without order: they cross, share corners, and some have no area."""
    random = np.random.default_rng(seed)
    vertices = random.normal(size=(count, 3)).astype(np.float32)
    faces = random.integers(0, count, (count, 3)).astype(np.int32)
    return vertices, faces


def bundle(seed: int, *, apart: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rays of a small camera, or of all directions."""
    random = np.random.default_rng(seed)
    if apart:
        origins = random.normal(size=(RAYS, 3)) * 3.0
        return origins.astype(np.float32), random.normal(size=(RAYS, 3)).astype(np.float32)
    origins = np.broadcast_to([0.1, -0.2, 4.0], (RAYS, 3))
    ways = np.column_stack([random.uniform(-0.4, 0.4, (RAYS, 2)), np.full(RAYS, -1.0)])
    return np.ascontiguousarray(origins, np.float32), ways.astype(np.float32)


def with_column(matrices, k, column):
    changed = matrices.copy()
    changed[:, :, k] = column
    return changed


def first_by_loop(vertices, faces, origin, way):
    """Depth of the first triangle along a ray by Cramer's rule in float64; inf for none."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    matrix = np.stack([b - a, c - a, np.broadcast_to(-way.astype(np.float64), a.shape)], 2)
    right = origin.astype(np.float64) - a
    whole = np.linalg.det(matrix)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v, t = (np.linalg.det(with_column(matrix, k, right)) / whole for k in range(3))
        met = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0)
    return t[met].min(initial=np.inf)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("apart", [False, True])
def test_packets_and_single_rays_give_the_same_bits(lanes: int, apart: bool) -> None:
    vertices, faces = rubble(1)
    origins, ways = bundle(2, apart=apart)
    reach = np.random.default_rng(3).uniform(0.5, 5.0, RAYS).astype(np.float32)
    single, packets = (Hierarchy(vertices, faces, lanes=n) for n in (1, lanes))
    one, many = single.first(origins, ways), packets.first(origins, ways)
    met = one["primID"] >= 0
    assert 10 < met.sum() < RAYS
    np.testing.assert_array_equal(many["primID"], one["primID"])
    for name in ("tfar", "u", "v", "Ng"):
        assert many[name][met].tobytes() == one[name][met].tobytes(), name
    short, whole = single.first(origins, ways, reach), packets.first(origins, ways, reach)
    np.testing.assert_array_equal(whole["primID"], short["primID"])
    assert not np.array_equal(short["primID"], one["primID"])
    for limit in (reach, np.full(1, 3.5, np.float32)):
        hidden = packets.hidden(origins, ways, limit)
        np.testing.assert_array_equal(hidden, single.hidden(origins, ways, limit))
        assert set(hidden.tolist()) == {0, -1}


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_of_coincident_faces_one_is_met(lanes: int) -> None:
    corners = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0], [0, 0, -1]], np.float32)
    faces = np.array([[0, 1, 2]] * 9 + [[0, 1, 3]], np.int32)
    origins, ways = np.tile(np.float32([0.1, -0.2, 2]), (RAYS, 1)), np.float32([[0, 0, -1]] * RAYS)
    hit = Hierarchy(corners, faces, lanes=lanes).first(origins, ways)
    assert set(hit["primID"].tolist()) <= set(range(9))
    np.testing.assert_array_equal(hit["tfar"], np.float32(2))


@pytest.mark.parametrize("lanes", [None, 1])
def test_hits_are_those_of_a_loop_over_triangles(lanes: int | None) -> None:
    vertices, faces = rubble(4, count=60)
    origins, ways = bundle(5, apart=True)
    found = Hierarchy(vertices, faces, lanes=lanes).first(origins, ways)
    depth = np.where(found["primID"] >= 0, found["tfar"], np.inf)
    expected = [first_by_loop(vertices, faces, *ray) for ray in zip(origins, ways, strict=True)]
    agree = np.isclose(depth, expected, rtol=1e-4)
    assert agree.mean() > 0.98  # rays along an edge may go either way
    mirrored = [first_by_loop(vertices, faces, o, -w) for o, w in zip(origins, ways, strict=True)]
    assert np.isclose(depth, mirrored, rtol=1e-4).mean() < 0.9


def test_no_rays() -> None:
    none = np.zeros((0, 3), np.float32)
    for lanes in (None, 1):
        found = Hierarchy(*rubble(6), lanes=lanes)
        assert found.first(none, none)["primID"].shape == (0,)
        assert found.hidden(none, none, np.ones(1, np.float32)).shape == (0,)


def test_an_embreex_without_exported_functions_traces_single_rays(monkeypatch) -> None:
    monkeypatch.setattr(hierarchy, "embree_library", lambda: None)
    assert Hierarchy(*rubble(7)).lanes == 1
    assert embree_library.embree_library.__wrapped__().lanes in (4, 8, 16)


@pytest.mark.parametrize(("number", "says"), [(4, "memory"), (1, "4.4.0")])
def test_an_embree_without_a_device_is_refused(monkeypatch, number: int, says: str) -> None:
    class Calls:
        def __getattr__(self, name: str):
            function = embree_library.ctypes.CFUNCTYPE(embree_library.ctypes.c_int)
            answer = number if name == "rtcGetDeviceError" else 0
            setattr(self, name, function(lambda *_: answer))
            return self.__dict__[name]

    monkeypatch.setattr(embree_library.ctypes, "CDLL", lambda _: Calls())
    with pytest.raises(RendererUnavailableError, match=says):
        embree_library.embree_library.__wrapped__()


def test_hierarchies_are_given_back() -> None:
    code = (
        "import resource, numpy as np\n"
        "from renderers.rays.hierarchy import Hierarchy\n"
        "random = np.random.default_rng(0)\n"
        "vertices = random.normal(size=(20000, 3)).astype(np.float32)\n"
        "faces = random.integers(0, 20000, (20000, 3)).astype(np.int32)\n"
        "peaks = []\n"
        "for k in range(24):\n"
        "    Hierarchy(vertices, faces)\n"
        "    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(peaks[-1] - peaks[7])\n"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 8000  # kilobytes; one hierarchy has 3,000
    gc.collect()


def test_an_embree_that_answers_otherwise_is_refused(monkeypatch) -> None:
    first = Hierarchy.first

    def shifted(self, *given, **named):
        found = first(self, *given, **named)
        return {**found, "u": found["v"], "v": found["u"]}

    monkeypatch.setattr(Hierarchy, "first", shifted)
    with pytest.raises(RendererUnavailableError, match="embreex"):
        get("embree")
