"""The book: every experiment is in it once, it runs what is asked for, survives one that fails, and leads to all."""

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments import all as everything
from experiments import convolution, perceptron
from experiments.__main__ import experiments
from experiments.framework import book, run_folder, runner
from experiments.framework.runner import Common, Result, judge
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
    listed = experiments()
    known = {name for name in listed if not name.startswith("benchmarks.")}
    assert known - COMMANDS == set(inside)
    assert all("?" in listed[name] for name in inside)  # each asks something


def test_the_code_is_that_of_the_experiment_and_of_what_it_is_made_with():
    for _, name in book.experiments_of():
        files = book.sources(name)
        assert next(iter(files)) == f"experiments/{name}.py"
        assert not [file for file in files if file.startswith("experiments/framework/")]
        for file, source in files.items():
            assert source == (book.EXPERIMENTS.parent / file).read_text()
    assert "experiments/apparatus/few_images.py" in book.sources("depth")
    assert "experiments/apparatus/robustness_pictures.py" in book.sources("breaking")  # which it does not import itself
    assert "experiments/benchmarks/pairs.py" in book.sources("backpropagation")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os, experiments.a.b\nimport experiments", {"a.b"}),
        ("from experiments import a, b as c", {"a", "b"}),
        ("def f():\n    from experiments.a import b", {"a", "a.b"}),
        ("from experimentsx.a import b\nfrom jaxcnn import report", set()),
    ],
)
def test_what_a_module_imports(source, names):
    assert set(book.imported(source)) == names


def test_the_index_says_of_a_small_run_what_it_is_held_to():
    told = {"pooling": book.Told("?", "So.", True, 1.0), "neuron": book.Told("?", "No.", False, 1.0)}
    notes = [book.index(told, {}, quick=quick).headline[0].note for quick in (False, True)]
    assert notes == ["1 hold what they promise", "1 ran and hold what is so at any size"]


def test_the_index_repeats_a_verdict_as_it_is(tmp_path):
    verdict = judge(Common(), "It is so.", {"more": False}).verdict
    assert verdict == "NOT as promised: more. It is so."
    page = book.index({"pooling": book.Told("?", verdict, False, 1.0)}, {}, quick=False).write(tmp_path / "index.html")
    assert page.read_text().count("NOT as promised") == 1


@pytest.mark.parametrize("quick", [False, True])
def test_the_verdict_says_what_they_are_held_to_and_the_last_lines_where_the_book_is(
    quick, tmp_path, monkeypatch, capsys
):
    told = {"neuron": True, "pooling": False}
    monkeypatch.setattr(everything, "one", lambda config, name: book.Told("?", "So.", told[name], 1.0))
    result = everything.main(everything.Config(quick=quick, full=not quick, only=tuple(told), run=str(tmp_path)))
    what, more = (
        ("ran and hold what is so at any size", " A small run is not held to what they promise.")
        if quick
        else ("hold what they promise", "")
    )
    assert result.verdict == f"1 of 2 experiments {what}. These do not: pooling.{more}"
    assert "".join(capsys.readouterr().out.split()).endswith(f"book:{tmp_path / 'index.html'}")


@pytest.mark.slow
def test_two_experiments_and_a_book_of_them(tmp_path):
    config = everything.Config(quick=True, only=("perceptron", "convolution"), run=str(tmp_path))
    result = everything.main(config)
    assert result.holds
    assert result.verdict.startswith("2 of 2 experiments ran and hold what is so at any size. A small run ")
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


def test_a_book_goes_on_with_what_is_not_finished(tmp_path, monkeypatch):
    """As a user does it: interrupted in the second of two, then `--resume`."""
    monkeypatch.setattr(run_folder, "RUNS", tmp_path)
    asked = []

    def found(name):
        def main(config):
            asked.append(name)
            if len(asked) == 2:
                (Path(config.run) / "half.txt").write_text("")
                raise KeyboardInterrupt
            return Result({}, [], f"{name} is so.")

        return main

    for module in (perceptron, convolution):
        monkeypatch.setattr(module, "main", found(module.__name__))

    def run(*options):
        monkeypatch.setattr("sys.argv", ["all", *options])
        with pytest.raises(SystemExit) as ended:
            runner.run(everything.main, everything.Config, name=lambda config: "book")
        return ended.value.code

    with runner.console.capture() as said:
        assert run("--quick", "--only", "perceptron", "convolution") == runner.INTERRUPTED
    assert f"Go on with: python -m experiments.all --resume {tmp_path / 'book'}" in " ".join(said.get().split())
    assert run("--resume", str(tmp_path / "book")) == 0
    assert asked == ["experiments.perceptron", "experiments.convolution", "experiments.convolution"]
    (tmp_path / "book" / "convolution" / "failure.txt").write_text("after its figures were written")
    assert run("--resume", str(tmp_path / "book")) == 0
    assert asked[3:] == ["experiments.convolution"]
    assert not (tmp_path / "book" / "convolution" / "half.txt").exists()
    index = (tmp_path / "book" / "index.html").read_text()
    assert "experiments.perceptron is so." in index
    assert "experiments.convolution is so." in index


def test_what_was_found_is_kept_whatever_comes_after(tmp_path):
    for kept in ("figures.json", "perceptron/figures.json", "seed0/checkpoints/1.json"):
        folder = tmp_path / "run"
        (folder / kept).parent.mkdir(parents=True)
        (folder / kept).write_text("{}")
        run_folder.remove_if_nothing_happened(folder)
        assert (folder / kept).exists()
        (folder / kept).unlink()
        run_folder.remove_if_nothing_happened(folder)
        assert not folder.exists()


@pytest.mark.slow
def test_one_that_fails_is_recorded_and_the_next_goes_on(tmp_path, monkeypatch):
    def broken(config):
        raise ZeroDivisionError("of all things <b>")

    monkeypatch.setattr(perceptron, "main", broken)
    result = everything.main(everything.Config(quick=True, only=("perceptron", "convolution"), run=str(tmp_path)))
    assert not result.holds
    assert "These do not: perceptron. " in result.verdict
    assert "ZeroDivisionError" in (tmp_path / "perceptron" / "failure.txt").read_text()
    index = (tmp_path / "index.html").read_text()
    assert "Failed: of all things &lt;b&gt;" in index
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
