"""Figures and one self-contained page."""

from equivariant.report.figures import Line, grid, heat_map, plot
from equivariant.report.page import Picture, Section, Table, write_page

__all__ = ["Line", "Picture", "Section", "Table", "grid", "heat_map", "plot", "write_page"]
