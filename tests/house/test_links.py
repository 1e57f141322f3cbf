"""Every link of every page leads somewhere, and the index leads to every page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "weights/README.md",
    ROOT / "examples/README.md",
]


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The file and the heading of every link that stays within the project."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target:
            file, _, heading = target.partition("#")
            yield (page.parent / file).resolve() if file else page, heading


def headings(page: Path) -> set[str]:
    """As GitHub names them in addresses."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for file, heading in links(page):
        assert file.exists(), f"{page.name}: {file} is not there"
        assert not heading or heading in headings(file), f"{page.name}: no heading #{heading} in {file.name}"


def test_every_page_is_one_click_from_the_index() -> None:
    index = ROOT / "docs/README.md"
    assert set(ROOT.glob("docs/*.md")) - {index} <= {file for file, _ in links(index)}
    assert index in {file for file, _ in links(ROOT / "README.md")}
