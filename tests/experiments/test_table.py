"""The table of kept figures: it is the one that the records make, and takes whole runs alone."""

import json
import re

import pytest

from experiments import table
from experiments.__main__ import experiments
from experiments.apparatus import statistics
from experiments.framework import book
from experiments.framework.runner import Common, Result, record
from jaxcnn import report


def test_the_page_is_the_one_that_the_records_make():
    assert table.README.read_text() == table.page(), "python -m experiments.table writes it anew"


def test_every_experiment_has_a_line():
    text = table.page()
    for name in experiments():
        assert f"| `{name}` | " in text


def run_of(folder, options=None, **changed):
    record = {"experiment": "pooling", "verdict": "It is so.", "device": "cpu", "seconds": 130.2} | changed
    record.setdefault("figures", {"change": {"max": statistics.summary([0.24, 0.26])}})
    (folder / "figures.json").write_text(json.dumps(record))
    (folder / "config.json").write_text(json.dumps({"config": {"quick": False} | (options or {})}))
    (folder / "environment.json").write_text(json.dumps({"cores": 2}))
    return folder


def test_a_run_is_kept_and_shown(tmp_path, monkeypatch):
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setattr(table, "RESULTS", results)
    assert table.kept(run_of(tmp_path)) == results / "cpu-2-cores-pooling-a.json"
    own = table.kept(run_of(tmp_path, experiment="benchmarks.restarts")).name
    assert own == "cpu-2-cores-benchmarks-restarts-a.json" != table.kept(run_of(tmp_path, experiment="restarts")).name
    line = next(line for line in table.page().splitlines() if line.startswith("| `pooling` |"))
    assert (
        "| It is so. | change, max: 0.25 ± 0.014 (2) | 2 min | [cpu](benchmarks/results/cpu-2-cores-pooling-a.json) |"
        in line
    )


def test_a_new_record_shows_the_headline_of_its_page(tmp_path, monkeypatch):
    headline = [report.Number("right", "97 %", "of | 9"), report.Number("weights", 12345), report.Number("x", 0.123456)]
    folder, results = tmp_path / "run", tmp_path / "results"
    folder.mkdir()
    results.mkdir()
    monkeypatch.setattr(table, "RESULTS", results)
    result = Result({"a": statistics.summary([0.24, 0.26])}, [], "It is so.", headline=headline)
    record("pooling", lambda config: result, Common(), folder)
    table.kept(folder)
    line = next(line for line in table.page().splitlines() if line.startswith("| `pooling` |"))
    assert "| It is so. | right: 97 % (of \\| 9)<br>weights: 12,345<br>x: 0.1235 | 0 s | " in line


def test_what_is_no_whole_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^table: expected a folder with figures\.json, got "):
        table.kept(tmp_path)
    with pytest.raises(ValueError, match=r"^table: expected figures of a whole run, got those of --quick\. "):
        table.kept(run_of(tmp_path, {"quick": True}))
    with pytest.raises(ValueError, match=r"^table: expected the figures of an experiment, got nosuch\. "):
        table.kept(run_of(tmp_path, experiment="nosuch"))


def test_another_set_has_a_record_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    usual = {"dataset": None, "seeds": 3, "run": "mine", "seed": 7}
    assert table.kept(run_of(tmp_path, usual)).name == "cpu-2-cores-pooling-a.json"
    own = table.kept(run_of(tmp_path, usual | {"dataset": "photographs/My cats"}))
    assert own.name == "cpu-2-cores-pooling-photographs-my-cats-a.json"
    given = tmp_path / "a net's run"
    given.mkdir()
    (given / "config.json").write_text(json.dumps({"config": {"dataset": "mnist"}}))
    assert table.kept(run_of(tmp_path, usual | {"source": str(given)})).name == "cpu-2-cores-pooling-mnist-a.json"


def test_what_a_kept_run_found_is_said(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setattr(table, "RESULTS", results)
    monkeypatch.setattr(table, "README", tmp_path / "README.md")
    table.main(table.Config(keep=(run_of(tmp_path, verdict="NOT as promised: it."),)))
    assert capsys.readouterr().out.splitlines()[1] == "  NOT as promised: it."


def test_the_time_that_an_experiment_says_it_takes_is_what_it_took():
    """Of the usual run on two cores, up to a factor of two, as other work may stand beside it."""
    compared = []
    for name in experiments():
        said = re.search(r"About (\d+) min on 2 cores", " ".join((book.module(name).__doc__ or "").split()))
        path = table.RESULTS / f"cpu-2-cores-{name.replace('.', '-').replace('_', '-')}-a.json"
        if said and path.exists():
            took = json.loads(path.read_text())["seconds"] / 60
            assert took / 2 - 1 <= int(said[1]) <= 2 * took + 1, f"{name} took {took:.1f} min"
            compared.append(name)
    assert len(compared) > 30
