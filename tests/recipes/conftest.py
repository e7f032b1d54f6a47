"""A small data set of views, rendered once, and calls as users without type checks see them."""

import jaxtyping
import pytest

from datasets3d import BuildConfig, ProceduralMeshes, build


@pytest.fixture(scope="session")
def views(tmp_path_factory):
    """Ten objects of two classes, four views each, 8 px."""
    folder = tmp_path_factory.mktemp("views") / "set"
    source = ProceduralMeshes(instances=10, classes=["chair", "truck"])
    build(source, folder, config=BuildConfig(views=4, size_px=8), workers=1, progress=False)
    return folder


@pytest.fixture
def unchecked():
    """No type checks: what users without the import hook see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
