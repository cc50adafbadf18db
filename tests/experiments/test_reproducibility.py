"""The benchmark of what is identical where, in this process alone, and the page that quotes it."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import elsewhere, reproducibility
from experiments.benchmarks.repeated import Outcome
from experiments.benchmarks.reproducibility import IDENTICAL, NOT_MEASURED, Case, Config, markdown, relative, row

pytestmark = pytest.mark.usefixtures("quick_compilation")
ROOT = Path(__file__).parents[2]
RESULT = ROOT / "experiments" / "benchmarks" / "results" / "cpu-2-cores-benchmarks-reproducibility-a.json"


def outcome(parameter, loss=1.0):
    return Outcome({"a": np.float32([4.0, 0.0]), "b": np.float32([parameter, 2.0])}, np.float32([3.0, loss]))


@pytest.mark.slow
def test_every_promise_within_this_process_is_kept():
    result = reproducibility.main(Config(quick=True))
    assert result.holds, result.verdict
    rows = {found["same run, but"]: found for found in result.figures["rows"]}
    assert sum(found["kept"] == "yes" for found in rows.values()) == 6
    for what in ("again", "stopped at step 8 and resumed", "logged, validated and saved more often"):
        assert rows[what]["parameters"] == rows[what]["loss"] == "identical"
    # These are other runs, and the figures see it.
    assert float(rows["accumulate=2"]["parameters"]) > 1e-3
    assert float(rows["bfloat16 images"]["loss"]) > 1e-5
    assert rows["in another process"]["parameters"] == NOT_MEASURED
    assert rows["a deterministic GPU, twice"]["promised"] == "identical"
    json.dumps(result.figures)


@pytest.mark.parametrize(
    ("promise", "other", "kept"),
    [
        (IDENTICAL, outcome(1.0), "yes"),
        (IDENTICAL, outcome(np.nextafter(np.float32(1), np.float32(2))), "NO"),
        (IDENTICAL, outcome(1.0, loss=1.5), "NO"),
        (IDENTICAL, outcome(-1.0), "NO"),
        (0.1, outcome(1.1), "yes"),
        (0.1, outcome(1.5), "NO"),
        (0.1, outcome(1.0, loss=2.0), "NO"),
        (0.1, outcome(float("nan")), "NO"),
        (None, outcome(9.0), "–"),
    ],
)
def test_a_promise_is_kept_or_not(promise, other, kept):
    assert row(Case("x", promise, lambda: other, lambda: outcome(1.0)))["kept"] == kept


def test_a_broken_promise_fails_the_experiment(monkeypatch):
    broken = Case("again", IDENTICAL, lambda: outcome(1.0), lambda: outcome(1.5))
    monkeypatch.setattr(reproducibility, "cases", lambda seed, quick: [broken, broken._replace(promise=None)])
    result = reproducibility.main(Config(quick=True))
    assert not result.holds
    assert result.verdict == "2 ways measured; BROKEN: again."


def test_the_difference_is_by_the_largest_value_and_zero_for_equal_bits_alone():
    assert relative(np.float32([4.0, 1.0]), np.float32([4.0, 2.0])) == 0.25
    assert relative(np.float32(0.0), np.float32(0.0)) == 0.0
    assert 0 < relative(np.float32(-0.0), np.float32(0.0)) < 1e-40
    assert relative(np.float32(np.nan), np.float32(1.0)) == np.inf


@pytest.mark.slow
def test_a_process_that_fails_says_why():
    with pytest.raises(OSError, match=r"(?s)^elsewhere: expected processes that train, got .*no_such_option"):
        elsewhere.elsewhere(0, environment={"PYTHONPATH": os.pathsep.join([str(ROOT)])}, no_such_option=1)


def test_the_page_has_the_table_that_was_measured():
    page = (ROOT / "docs" / "reproducibility.md").read_text()
    record = json.loads(RESULT.read_text())
    assert markdown(record["figures"]["rows"]) in page
    assert record["holds"]
    promised = {case.what: reproducibility.not_measured(case)["promised"] for case in reproducibility.cases(0, True)}
    assert {found["same run, but"]: found["promised"] for found in record["figures"]["rows"]} == promised
    assert str(RESULT.relative_to(ROOT)) in page


def test_the_commands_of_the_page_exist():
    page = (ROOT / "docs" / "reproducibility.md").read_text()
    modules = re.findall(r"python -m (experiments\.[\w.]+)", page)
    assert {"experiments.reproduce", "experiments.benchmarks.reproducibility"} <= set(modules)
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
