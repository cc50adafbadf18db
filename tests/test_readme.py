"""The README's Python examples run as they stand, those that import nothing after the one before."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
STARTS = [at for at, block in enumerate(BLOCKS) if block.startswith(("import ", "from "))]


@pytest.mark.parametrize("start", STARTS)
def test_the_examples_run(start):
    end = next((at for at in STARTS if at > start), len(BLOCKS))
    names = {}
    for block in BLOCKS[start:end]:
        exec(compile(block, "README.md", "exec"), names)


def test_they_are_all_there():
    assert STARTS[0] == 0
    assert len(STARTS) >= 4


def test_the_picture_and_the_links_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
