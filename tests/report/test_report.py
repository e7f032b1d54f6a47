"""Figures are valid, deterministic and self-contained; pages have no scripts and no network."""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from equivariant.errors import ShapeError
from equivariant.report import Line, Picture, Section, Table, grid, plot, write_page


def test_plots_are_valid_svg_and_the_same_twice():
    x = np.arange(5.0)
    panels = {
        "one": {"a": Line(x, x**2, low=x, high=x + 20), "b <&>": Line(x, 2 * x, dashed=True)},
        "two": {"a": Line(x, x + 1)},
    }
    svg = plot(panels, xlabel="step", ylabels=["loss", "score"])
    ET.fromstring(svg)
    assert svg == plot(panels, xlabel="step", ylabels=["loss", "score"])
    with pytest.raises(ShapeError, match="2 labels"):
        plot(panels, xlabel="step", ylabels=["loss"])


def test_grids_show_their_images_and_marks():
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    blue = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    data = grid([[red, blue], [blue, red]], names=["q", ""], marked=[[False, True]] * 2, scale=3)
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert (pixels == (255, 0, 0)).all(
        -1
    ).sum() == 12 * 12 + 10 * 10  # a frame covers one pixel inside
    assert (pixels == (0, 158, 115)).all(-1).any()
    with pytest.raises(ShapeError, match="one per name"):
        grid([[red]], names=["a", "b"])


def test_pages_are_self_contained_and_escape_text(tmp_path):
    table = Table(("name", "value"), [("<b>", "1"), ("chance", "0")], "caption", references=[1])
    svg = plot({"p": {"l": Line(np.arange(2.0), np.arange(2.0))}}, xlabel="x", ylabels=["y"])
    red = grid([[np.zeros((4, 4, 3), np.uint8)]], names=["a"])
    items = [table, Picture(svg, 'a "quoted" caption'), Picture(red, "red")]
    path = tmp_path / "page.html"
    write_page(path, title="T<i>", lead="L", sections=[Section("S", "x < y", items)])
    page = path.read_text()
    assert "&lt;b&gt;" in page and "T&lt;i&gt;" in page and "x &lt; y" in page
    assert "<script" not in page
    outside = [
        u for u in re.findall(r"(?:src|href)=\"([^\"]+)", page) if not u.startswith(("data:", "#"))
    ]
    assert not outside
    assert 'class="reference"' in page
    assert table.text().splitlines()[2].startswith("<b>")
    with pytest.raises(ShapeError, match="2 columns"):
        Table(("a", "b"), [("1",)], "c")
