"""The documents agree with the code and with each other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(page: Path) -> set[str]:
    """The fragments that a link to this page may have, as GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_page_that_exists(page: Path) -> None:
    for target, fragment in re.findall(
        r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()
    ):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked), f"{target}#{fragment}"


def test_the_files_that_the_documents_name_exist() -> None:
    known = re.compile(r"`((?:tests|shared|functions|infra|bench|docs|events)/[\w./-]+\.\w+)`")
    for page in PAGES:
        assert [
            name for name in known.findall(page.read_text()) if not (ROOT / name).exists()
        ] == [], page


def test_the_tests_that_the_design_names_exist() -> None:
    names = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for page in (ROOT / "docs" / "design").glob("*.md"):
        for line in re.findall(r"Tests?: (.*?)(?:\n\n|\Z)", page.read_text(), re.DOTALL):
            for quoted in re.findall(r"`(\w+)…?(?:\w*)`", line):
                assert re.search(rf"def test_\w*{re.escape(quoted)}", names), (
                    f"{page.name}: {quoted}"
                )
