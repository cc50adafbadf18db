"""Lay runs side by side: what differs between them, and what came of it?

`python -m experiments.compare runs/A runs/B` writes a page with the curves of all runs in one chart each, their
results, and the settings and entries of the environment that differ. Several seeds (`train --seeds 5`) count as one
run, with mean and standard deviation. A run that still trains is shown as far as it has come.
"""

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.framework import run_folder
from experiments.framework.runner import Common, Result, run
from jaxcnn import report
from jaxcnn.checking import expect
from jaxcnn.training import read_metrics

OF_ITS_OWN = {"run", "started", "command"}  # what every run has another of
LONGEST = 80  # characters of a value in a table


@dataclass(frozen=True)
class Config(Common):
    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()  # their folders: runs/A runs/B ...


@dataclass(frozen=True)
class Seed:
    """One training: the figures of its epochs, and those of its end where it has come to one."""

    history: list[dict[str, Any]]
    end: dict[str, Any] | None


@dataclass(frozen=True)
class Recorded:
    """What the folder of a run holds; more than one seed if it is of `--seeds`."""

    settings: dict[str, Any]
    environment: dict[str, Any]
    seeds: list[Seed]
    finished: bool
    resumed: int


def main(config: Config) -> Result:
    folders = [Path(given) for given in config.runs]
    expect(len(folders) > 1, "compare", "at least two runs", len(folders), "Pass their folders, such as runs/NAME.")
    once = len({folder.resolve() for folder in folders}) == len(folders)
    expect(once, "compare", "each run once", list(config.runs), "Leave out what is there twice.")
    # A number in front, as names may be too long for a legend, or the same.
    runs = {f"{number} {name_of(folder)}": read_run(folder) for number, folder in enumerate(folders, 1)}
    pictures = curves(runs)
    results = {name: results_of(one) for name, one in runs.items()}
    settings = differing({name: one.settings for name, one in runs.items()})
    environment = differing({name: flat(one.environment) for name, one in runs.items()})
    sections = [
        report.Section("Curves", [*unfinished(runs), *pictures]),
        report.Section("Results", [table({name: summary(row) for name, row in results.items()})]),
        report.Section("Settings that differ", [table(settings)]),
        report.Section("Environment that differs", [table(environment)]),
    ]
    figures = {"results": results, "settings": settings, "environment": environment}
    return Result(figures, sections, verdict(results, settings))


def read_run(folder: Path) -> Recorded:
    """Return what a folder holds, which has to be that of a training with one epoch at least."""
    try:
        record = json.loads((folder / "config.json").read_text())
        kind, settings = record["experiment"], dict(record["config"])
        environment = dict(json.loads((folder / "environment.json").read_text()))
        many = settings.get("seeds", 1) > 1
        places = sorted(folder.glob("seed*"), key=lambda place: (len(place.name), place.name)) if many else [folder]
        seeds = [read_seed(place) for place in places if (place / "metrics.jsonl").exists()]
        starts = folder / "starts.jsonl"
        resumed = len(starts.read_text().splitlines()) - 1 if starts.exists() else 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"compare: expected the folder of a run, got {folder} ({error}). Pass one such as runs/NAME."
        ) from error
    expect(kind == "train", "compare", "runs of experiments.train", f"{folder}, one of {kind}", "Pass trainings.")
    seeds = [seed for seed in seeds if seed.history]
    fix = "Wait for it, or leave it out."
    expect(bool(seeds), "compare", "a run with the metrics of one epoch at least", f"none in {folder}", fix)
    return Recorded(settings, environment, seeds, (folder / "figures.json").exists(), resumed)


def read_seed(folder: Path) -> Seed:
    """Return the figures of one training."""
    end = folder / "figures.json"
    return Seed(read_metrics(folder), json.loads(end.read_text())["figures"] if end.exists() else None)


def curves(runs: Mapping[str, Recorded]) -> list[report.Picture]:
    """Return a chart of all runs for each metric of validation, and for the loss that was trained on."""
    histories = {name: [seed.history for seed in one.seeds] for name, one in runs.items()}
    held = {name: {key for seed in seeds for row in seed for key in row} for name, seeds in histories.items()}
    drawn = {key for keys in held.values() for key in keys if key.startswith("validation_") or key == "train_loss"}
    common = drawn.intersection(*held.values())
    got = {name: sorted(drawn & keys) for name, keys in held.items()}
    expect(bool(common), "compare", "a metric that all runs hold", got, "Pass runs of one task.")
    pictures = []
    for quantity in sorted(drawn, key=lambda name: (name == "train_loss", name)):
        words = quantity.replace("_", " ").replace("train ", "training ")
        without = ", ".join(name for name, keys in held.items() if quantity not in keys)
        caption = f"The {words} of each epoch; in the legend the last." + (f" Without it: {without}." * bool(without))
        alt = f"Lines: {words} by epoch, one for each run."
        pictures.append(report.Picture(report.overlay(histories, quantity), caption, alt))
    return pictures


def unfinished(runs: Mapping[str, Recorded]) -> list[str]:
    """Return a sentence for each run that has not come to its end."""
    so_far = {n: ", ".join(str(len(s.history)) for s in one.seeds) for n, one in runs.items() if not one.finished}
    return [f"{name} is not finished; epochs so far: {epochs}." for name, epochs in so_far.items()]


def results_of(one: Recorded) -> dict[str, list[Any]]:
    """Return the results of a run, a value a seed."""
    ends = [seed.end for seed in one.seeds if seed.end is not None]
    found = {name: [end[name] for end in ends if name in end] for name in ("test_accuracy", "best_epoch", "parameters")}
    return {
        "test accuracy": found["test_accuracy"],
        "best epoch": found["best_epoch"],
        "epochs": [len(seed.history) for seed in one.seeds],
        "parameters": found["parameters"],
        # Of all starts together, as the figures at the end know of the last alone.
        "training, s": [sum(row.get("seconds", 0.0) for row in seed.history) for seed in one.seeds],
        "seeds": [len(one.seeds)],
        "finished": [one.finished],
        "resumed": [one.resumed],
    }


def summary(results: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return what a table shows of a run: means over its seeds, and how much the test accuracy differs."""
    accuracy = results["test accuracy"]
    deviation = statistics.stdev(accuracy) if len(accuracy) > 1 else None
    first = {"test accuracy": mean(accuracy), "sd of seeds": deviation}
    return first | {what: mean(values) for what, values in results.items()}


def mean(values: list[Any]) -> Any:
    """Return the value that all seeds share, or their mean; None where there is none."""
    if len(set(values)) < 2:
        return values[0] if values else None
    return statistics.fmean(values)


def flat(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries without mappings among them."""
    found = {}
    for name, value in entries.items():
        found |= flat(value) if isinstance(value, dict) else {name: value}
    return found


def differing(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each run those of its entries that are not the same in all; None is as good as no entry."""
    names = {name: None for of in entries.values() for name in of if name not in OF_ITS_OWN}
    first = next(iter(entries.values()))
    names = [name for name in names if any(of.get(name) != first.get(name) for of in entries.values())]
    return {run: {name: of.get(name) for name in names} for run, of in entries.items()}


def table(rows: Mapping[str, Mapping[str, Any]]) -> report.Table | str:
    """Return a table with a line a run, or a sentence where there is nothing to show."""
    if not any(rows.values()):
        return "Nothing differs."
    return report.Table([{"run": name, **{what: brief(v) for what, v in row.items()}} for name, row in rows.items()])


def brief(value: Any) -> Any:
    """Return a value as it is, or the beginning of a long text and what tells it from others that begin so."""
    if not isinstance(value, str) or len(value) <= LONGEST:
        return value
    return f"{value[:LONGEST]}… (sha256 {hashlib.sha256(value.encode()).hexdigest()[:8]})"


def verdict(results: Mapping[str, Mapping[str, list[Any]]], settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the comparison in a sentence."""
    count = len(next(iter(settings.values())))
    differ = f"{len(results)} runs, {count} setting{'s differ' if count != 1 else ' differs'}"
    means = {name: statistics.fmean(row["test accuracy"]) for name, row in results.items() if row["test accuracy"]}
    if not means:
        return f"{differ}; none has a test accuracy yet."
    top = max(means.values())
    best = ", ".join(name for name, mean in means.items() if mean == top)
    return f"{differ}; highest test accuracy {100 * top:.2f} % ({best})."


def name_of(folder: Path) -> str:
    """Return the name of a run: its path below `runs/`, or as it was given."""
    whole = folder.resolve()
    runs = run_folder.RUNS.resolve()
    return whole.relative_to(runs).as_posix() if whole.is_relative_to(runs) else str(folder)


def run_name(config: Config) -> str:
    return f"compare-{'-'.join(Path(given).name for given in config.runs)}"[:80]


if __name__ == "__main__":
    run(main, Config, name=run_name)
