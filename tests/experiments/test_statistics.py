"""What is published of several seeds, in the code, the results files, the README and the docs."""

import json
import math
import re
from pathlib import Path

import pytest

from experiments.apparatus import statistics

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "experiments" / "benchmarks" / "results").glob("*.json"))
STUDENT = {2: 12.7062, 3: 4.3027, 5: 2.7764, 10: 2.2622}  # 97.5 % points by n, from the printed tables


def test_the_summary_is_that_of_the_textbook():
    values = [0.1, 0.2, 0.4]
    found = statistics.summary(values)
    assert found["mean"] == pytest.approx(0.7 / 3)
    assert found["sd"] == pytest.approx(math.sqrt(0.14 / 6))
    assert (found["n"], found["values"]) == (3, values)
    half = STUDENT[3] * found["sd"] / math.sqrt(3)
    assert found["interval"] == pytest.approx([found["mean"] - half, found["mean"] + half], rel=1e-4)
    assert statistics.sentence(found) == "mean=0.2333 sd=0.1528 n=3 95% interval=-0.1461..0.6128"
    assert statistics.in_points(found) == "-14.6 to +61.3"
    json.dumps(found)


@pytest.mark.parametrize(("n", "t"), STUDENT.items())
def test_the_interval_is_students(n, t):
    assert statistics.interval(0.0, math.sqrt(n), n) == pytest.approx([-t, t], rel=1e-4)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_has_no_deviation(values):
    with pytest.raises(ValueError, match=rf"^summary: expected two values or more, got {len(values)}\. One has"):
        statistics.summary(values)


def means(found, path="figures"):
    """Yield the place of every mean in a record, and what stands beside it."""
    if isinstance(found, dict):
        if isinstance(found.get("mean"), float):  # not a group of summaries, one of which is named "mean"
            yield path, found
        for name, value in found.items():
            yield from means(value, f"{path}.{name}")
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from means(value, f"{path}[{number}]")


def check(record):
    """Fail unless a results file says whence it is, and how sure each mean."""
    for name, kind in (("experiment", str), ("seed", int), ("device", str), ("packages", dict), ("seconds", float)):
        assert isinstance(record[name], kind), name
    assert record["packages"]["jax"]
    module = record["experiment"].replace(".", "/")
    assert (ROOT / "experiments" / f"{module}.py").exists()
    for path, found in means(record["figures"]):
        if "values" in found:
            expected = statistics.summary(found["values"])
        else:  # those over hundreds of images are left out
            expected = {**found, "interval": statistics.interval(found["mean"], found["sd"], found["n"])}
        for name in ("mean", "sd", "n", "interval"):
            assert found.get(name) == pytest.approx(expected[name]), f"{path}.{name}"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_say_whence_they_are_and_how_sure(path):
    check(json.loads(path.read_text()))


@pytest.mark.parametrize("missing", ["experiment", "seed", "device", "packages", "sd", "n", "interval"])
def test_results_that_do_not_are_found(missing):
    summary = statistics.summary([0.9, 0.8])
    record = {"experiment": "train", "seed": 0, "device": "cpu", "packages": {"jax": "0.12"}, "seconds": 1.0}
    record["figures"] = {"rows": [{"accuracy": summary}]}
    check(record)
    del (record if missing in record else summary)[missing]
    with pytest.raises((KeyError, AssertionError)):
        check(record)


def tables(text):
    """Yield each table of a Markdown text as rows of cells, its head the first."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        yield [rows[0], *rows[2:]]


def test_published_accuracies_have_their_intervals():
    """To rounding, as the pages have two decimals."""
    seen = 0
    pages = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    for head, *rows in (table for page in pages for table in tables(page)):
        if not any("accuracy" in name for name in head):
            continue
        assert head[1:] == ["mean test accuracy", "sd", "n", "95 % interval"]
        for _, mean, sd, n, interval in rows:
            mean, low, high = (float(part) for part in re.findall(r"[\d.]+(?= %|–| %)", f"{mean} {interval}"))
            half = STUDENT[int(n)] / math.sqrt(int(n))
            rounding = 0.005 * (2 + half) + 1e-9
            assert [low, high] == pytest.approx([mean - half * float(sd), mean + half * float(sd)], abs=rounding)
            seen += 1
    assert seen >= 2
