"""Figures: curves as SVG text, grids of views as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from equivariant.errors import ShapeError

# Okabe and Ito's palette: told apart by every kind of color vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")


@dataclass(frozen=True)
class Line:
    """A line of a plot.

    Args:
        x: Abscissae, shape (N,).
        y: Ordinates, shape (N,).
        low: Lower edge of a band around the line, shape (N,); None for no band.
        high: Upper edge.
        dashed: For a level to compare with.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    dashed: bool = False


def plot(
    panels: Mapping[str, Mapping[str, Line]],
    *,
    xlabel: str | Sequence[str],
    ylabels: Sequence[str],
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Panels side by side, each with named lines; one legend beneath explains them all.

    Args:
        panels: Title of each panel and its lines by name; a name has one color in all panels.
        xlabel: Of every panel, or one per panel.
        ylabels: One per panel.
        log_x: Logarithmic abscissae.
        log_y: Logarithmic ordinates.

    Returns:
        SVG text; the same input gives the same text.

    Raises:
        ShapeError: There are not as many labels as panels.

    Example:
        >>> line = Line(np.arange(3.0), np.arange(3.0))
        >>> plot({"a": {"b": line}}, xlabel="step", ylabels=["loss"]).count("<svg")
        1
    """
    xlabels = [xlabel] * len(panels) if isinstance(xlabel, str) else xlabel
    for argument, labels in (("xlabel", xlabels), ("ylabels", ylabels)):
        if len(labels) != len(panels):
            raise ShapeError(
                expected=f"{len(panels)} labels", got=str(len(labels)), argument=argument,
                advice="One per panel.",
            )  # fmt: skip
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    color = {name: COLORS[k % len(COLORS)] for k, name in enumerate(names)}
    with mpl.rc_context({"svg.hashsalt": "equivariant", "svg.fonttype": "none"}):
        width = 4.4 * len(panels) + 0.4
        columns, rows = _legend_grid(names, width)
        figure = Figure(figsize=(width, 3.4 + 0.22 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        handles = {}
        for axis, (title, lines), below, ylabel in zip(
            axes, panels.items(), xlabels, ylabels, strict=True
        ):
            for name, line in lines.items():
                style = ("--" if line.dashed else "-") + ("o" if len(line.x) == 1 else "")
                (handles[name],) = axis.plot(
                    line.x, line.y, style, color=color[name], linewidth=1.8
                )
                if line.low is not None and line.high is not None:
                    axis.fill_between(line.x, line.low, line.high, color=color[name], alpha=0.18)
            axis.set(title=title, xlabel=below, ylabel=ylabel)
            if log_x:
                axis.set_xscale("log")
            if log_y:
                axis.set_yscale("log")
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
        if handles:
            figure.legend(
                handles.values(), handles, loc="outside lower center", ncols=columns,
                frameon=False, fontsize="small",
            )  # fmt: skip
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _legend_grid(names: Sequence[str], width: float) -> tuple[int, int]:
    """Columns and rows of a legend of these names that is no wider than a figure, in inches."""
    widest = 0.6 + 0.08 * max((len(name) for name in names), default=0)
    columns = max(1, min(len(names), int(width / widest)))
    return columns, -(-len(names) // columns)


def heat_map(
    values: NDArray[np.float64],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    label: str,
) -> str:
    """A table of numbers as colors, with the numbers in it.

    Args:
        values: Shape (rows, columns), at least 0; NaN cells stay white.
        rows: Names on the left.
        columns: Names below.
        title: Of the figure.
        label: What the color means.

    Returns:
        SVG text; the same input gives the same text.

    Raises:
        ShapeError: There are not as many names as rows or columns.

    Example:
        >>> heat_map(np.eye(2), rows=["a", "b"], columns=["c", "d"], title="t", label="l")[:5]
        '<?xml'
    """
    if values.shape != (len(rows), len(columns)):
        raise ShapeError(
            expected=f"values of shape ({len(rows)}, {len(columns)})",
            got=str(values.shape),
            argument="values",
            advice="One name per row and per column.",
        )
    with mpl.rc_context({"svg.hashsalt": "equivariant", "svg.fonttype": "none"}):
        size = (1.6 + 0.75 * len(columns) + 0.07 * max(map(len, rows)), 1.3 + 0.34 * len(rows))
        figure = Figure(figsize=(max(4.0, size[0]), max(1.8, size[1])), layout="constrained")
        FigureCanvasSVG(figure)
        axis = figure.subplots()
        image = axis.imshow(values, cmap="Blues", aspect="auto", vmin=0.0)
        top = float(np.nanmax(values, initial=0.0))
        for (r, c), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = "white" if value > 0.6 * top > 0 else "#1d2330"
                axis.text(
                    c, r, f"{value:.1e}", ha="center", va="center", fontsize="x-small", color=color
                )
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_title(title)
        figure.colorbar(image, label=label)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def grid(
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    *,
    names: Sequence[str],
    marked: Sequence[Sequence[bool]] | None = None,
    scale: int = 2,
    gap_after: int = 0,
) -> bytes:
    """Views in rows and columns, as a PNG.

    Args:
        rows: Images of each row, each of shape (size, size, 3), uint8, all of one size.
        names: One text per column, written above it; empty texts leave the space.
        marked: Which images get a green frame; None for none.
        scale: Whole-number magnification.
        gap_after: Number of leading columns that are set apart from the rest.

    Returns:
        PNG bytes.

    Raises:
        ShapeError: Rows differ in length, or there are not as many names as columns.

    Example:
        >>> view = np.zeros((8, 8, 3), np.uint8)
        >>> grid([[view, view]], names=["a", "b"])[:4]
        b'\\x89PNG'
    """
    lengths = {len(row) for row in rows}
    if lengths != {len(names)}:
        raise ShapeError(
            expected=f"rows of {len(names)} images, one per name",
            got=f"rows of {sorted(lengths)}",
            argument="rows",
            advice="Repeat an image or use a black one to fill a row.",
        )
    cell, margin, head, gap = rows[0][0].shape[0] * scale, 4, 16, 14
    width = len(names) * (cell + margin) + margin + (gap if gap_after else 0)
    sheet = Image.new("RGB", (width, len(rows) * (cell + margin) + margin + head), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for column, name in enumerate(names):
        left = margin + column * (cell + margin) + (gap if gap_after and column >= gap_after else 0)
        draw.text((left, 2), name, fill="#1d2330", font=font)
        for r, row in enumerate(rows):
            top = head + margin + r * (cell + margin)
            view = Image.fromarray(row[column]).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(view, (left, top))
            if marked is not None and marked[r][column]:
                box = (left - 2, top - 2, left + cell + 1, top + cell + 1)
                draw.rectangle(box, outline="#009e73", width=3)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
