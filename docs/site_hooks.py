"""Pages of the site that are files of the repository, so that each text stands once."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILES = {
    "results.md": "benchmarks/RESULTS.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Take the text from the repository; links to files that are no pages become their names."""
    source = FILES.get(page.file.src_uri)
    if source is None:
        return markdown
    text = (ROOT / source).read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!http)[^)]+\)", r"\1", text)
