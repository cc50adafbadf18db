"""The Python examples of the README and of the pages run as they stand: those of a page are one program."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("quick_compilation")
ROOT = Path(__file__).parents[1]
PAGES = {
    page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}

LONG = {"many-trainings.md", "pixels-and-boxes.md"}  # half a minute of compilation each


@pytest.mark.parametrize(
    "page", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name, blocks in PAGES.items() if blocks]
)
def test_the_examples_run(page):
    names = {"__name__": "page"}
    for block in PAGES[page]:
        exec(compile(block, page, "exec"), names)


def test_they_are_all_there():
    assert len(PAGES["README.md"]) >= 2
    assert sum(map(bool, PAGES.values())) >= 8
