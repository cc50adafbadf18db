"""The book: every experiment is in it once, it runs what is asked for, survives one that fails, and leads to all."""

import dataclasses
import json
from html.parser import HTMLParser

import pytest

from experiments import all as everything
from experiments import book, perceptron
from experiments.__main__ import experiments
from jaxcnn import report

pytestmark = pytest.mark.usefixtures("quick_compilation")
# Modules that are no statement of the course: commands, and records of speed.
COMMANDS = {
    "all",
    "cifar_speedrun",
    "compare",
    "data",
    "doctor",
    "explain",
    "playground",
    "predict",
    "reproduce",
    "table",
    "train",
}


def test_every_experiment_is_in_one_chapter():
    inside = [name for _, name in book.experiments_of()]
    assert len(inside) == len(set(inside))
    known = {name for name in experiments() if not name.startswith("benchmarks.")}
    assert known - COMMANDS == set(inside)


@pytest.mark.slow
def test_two_experiments_and_a_book_of_them(tmp_path):
    config = everything.Config(quick=True, only=("perceptron", "convolution"), run=str(tmp_path))
    result = everything.main(config)
    assert result.holds
    assert result.verdict == "2 of 2 experiments hold what they promise, run small."
    assert list(result.figures) == ["perceptron", "convolution"]
    index = (tmp_path / "index.html").read_text()
    for name in config.only:
        page = (tmp_path / name / "report.html").read_text()
        assert f'href="{name}/report.html"' in index
        assert 'href="../index.html"' in page
        assert "The question" in page
        assert f"experiments/{name}.py" in page
        assert json.loads((tmp_path / name / "figures.json").read_text())["experiment"] == name
    assert hrefs(index) == {"perceptron/report.html", "convolution/report.html"}


@pytest.mark.slow
def test_one_that_fails_is_recorded_and_the_next_goes_on(tmp_path, monkeypatch):
    def broken(config):
        raise ZeroDivisionError("of all things <b>")

    monkeypatch.setattr(perceptron, "main", broken)
    result = everything.main(everything.Config(quick=True, only=("perceptron", "convolution"), run=str(tmp_path)))
    assert not result.holds
    assert result.verdict.endswith("These do not: perceptron.")
    assert "ZeroDivisionError" in (tmp_path / "perceptron" / "failure.txt").read_text()
    index = (tmp_path / "index.html").read_text()
    assert "NOT as promised. Failed: of all things &lt;b&gt;" in index
    assert (tmp_path / "convolution" / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "^all: expected --quick or --full, got both or neither. "),
        ({"quick": True, "full": True}, "^all: expected --quick or --full, got both or neither. "),
        ({"quick": True, "only": ("nosuch",)}, "^all: expected experiments among perceptron, .*, got nosuch. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        everything.main(dataclasses.replace(everything.Config(), **options))


@pytest.mark.parametrize("address", ["https://example.org", "//example.org", "/etc/passwd", "javascript:alert(1)", ""])
def test_a_link_leads_to_pages_of_the_same_site_alone(address):
    with pytest.raises(ValueError, match=r"^Link: expected a relative address of plain letters, got "):
        report.Link(address, "there")


def hrefs(html: str) -> set[str]:
    """Return the addresses that a page links to, but for places in itself."""
    found = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            address = dict(attrs).get("href") or ""
            if tag == "a" and not address.startswith("#"):
                found.add(address)

    Reader().feed(html)
    return found
