"""A small data set of views, rendered once."""

import pytest

from datasets3d import BuildConfig, ProceduralMeshes, build


@pytest.fixture(scope="session")
def views(tmp_path_factory):
    """Ten objects of two classes, four views each, 8 px."""
    folder = tmp_path_factory.mktemp("views") / "set"
    source = ProceduralMeshes(instances=10, classes=["chair", "truck"])
    build(source, folder, config=BuildConfig(views=4, size_px=8), workers=1, progress=False)
    return folder
