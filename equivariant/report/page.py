"""One self-contained HTML page: no scripts, no network, pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from equivariant.errors import ShapeError
from equivariant.runs import write_atomically


@dataclass(frozen=True)
class Picture:
    """A picture.

    Args:
        data: The text of an SVG, or the bytes of a PNG.
        caption: What is seen, and what to conclude.
        alt: The same in words for who cannot see it; the caption if empty.
    """

    data: str | bytes
    caption: str
    alt: str = ""

    def html(self) -> str:
        """The figure element."""
        label = escape(self.alt or self.caption, quote=True)
        if isinstance(self.data, str):
            svg = self.data[self.data.index("<svg") :]
            inner = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
        else:
            code = base64.b64encode(self.data).decode()
            inner = f'<img alt="{label}" src="data:image/png;base64,{code}">'
        return f"<figure>{inner}<figcaption>{escape(self.caption)}</figcaption></figure>"


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows.

    Args:
        header: One text per column.
        rows: Texts of each row, as many as columns.
        caption: What the numbers are.
        references: Indices of rows that are levels to compare with, not results.
        prose: Cells are sentences: they are aligned left and wrapped.

    Raises:
        ShapeError: A row has another number of columns than the header.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    references: Sequence[int] = ()
    prose: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ShapeError(
                    expected=f"{len(self.header)} columns",
                    got=f"{len(row)} in {list(row)}",
                    argument="rows",
                    advice="Write a dash where there is no number.",
                )

    def html(self) -> str:
        """The table inside a figure element."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = ""
        for index, row in enumerate(self.rows):
            kind = ' class="reference"' if index in self.references else ""
            body += f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        kind = ' class="prose"' if self.prose else ""
        return (
            f"<figure><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )

    def text(self) -> str:
        """The table in plain text, columns aligned, for a terminal."""
        lines = [list(self.header), *map(list, self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.header))]
        rendered = []
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True)]
            rendered.append("  ".join(cells).rstrip())
        rendered.insert(1, "-" * max(map(len, rendered)))
        return "\n".join(rendered)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        title: Heading.
        text: One paragraph, plain text.
        items: Pictures and tables.
    """

    title: str
    text: str
    items: Sequence[Picture | Table] = ()


def write_page(
    path: Path, *, title: str, lead: str, sections: Sequence[Section], footer: str = ""
) -> None:
    """Write the page, atomically.

    Args:
        path: Where to.
        title: Of the page.
        lead: One or two sentences under the title, plain text.
        sections: In order.
        footer: Plain text at the end.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "report.html"
        >>> write_page(path, title="A run", lead="What it showed.", sections=[Section("S", "T")])
        >>> "<script" in path.read_text(), "http" in path.read_text()
        (False, False)
    """
    body = ""
    for section in sections:
        body += f"<section><h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>"
        body += "".join(item.html() for item in section.items) + "</section>\n"
    template = Template(resources.files(__package__).joinpath("page.html").read_text())
    page = template.substitute(
        title=escape(title), lead=escape(lead), body=body, footer=escape(footer)
    )
    write_atomically(path, page.encode())
