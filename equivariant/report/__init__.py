"""Figures and one self-contained page."""

from equivariant.report.figures import Line, grid, plot
from equivariant.report.page import Picture, Section, Table, write_page

__all__ = ["Line", "Picture", "Section", "Table", "grid", "plot", "write_page"]
