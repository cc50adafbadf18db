"""What do all experiments find? The table of their kept figures, `experiments/README.md`, written anew.

`python -m experiments.table` makes it of the records in `experiments/benchmarks/results/`; `--keep runs/NAME ...` takes
the figures of finished runs there first, in the place of older ones of the same experiment, data set and device, and
says what each of them found. A line shows a record's headline, or, where an older one has none, its first means.
"""

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from experiments.__main__ import experiments
from experiments.framework import book
from jaxcnn.checking import expect
from jaxcnn.report.values import shown

RESULTS = Path(__file__).parent / "benchmarks" / "results"
README = Path(__file__).parent / "README.md"
MEANS = 3  # of the figures of a record without a headline, that its line shows
HEAD = """# Experiments

Every statement of the course and every claim of speed is a module: `python -m experiments.NAME`, with `--quick`
small, with `--help` for its options (commands such as `predict` are not made small). `python -m experiments.all
--quick` runs the course, and `runs/book/index.html` is the book of its pages (of the second `runs/book-2/index.html`:
the last lines say which). The figures are those of the records in `benchmarks/results/`, written by the module of
each line on the set that it names: what it found, then the numbers at the head of its page or some means ± standard
deviation (number of seeds). A record names the versions it was measured with ("packages"); jaxcnn 0.1.0 is what was
before the first release. This page is made by `python -m experiments.table`.
"""


@dataclass(frozen=True)
class Config:
    keep: tuple[Path, ...] = ()  # folders of finished runs, whose figures are taken into the records first


def main(config: Config) -> None:
    for folder in config.keep:
        path = kept(folder)
        print(f"kept: {path}\n  {json.loads(path.read_text())['verdict']}")
    README.write_text(page())
    print(f"written: {README}")


def kept(folder: Path) -> Path:
    """Copy the figures of a run into the records, and return where."""
    fix = "Pass the folder of a finished run, runs/NAME."
    path = folder / "figures.json"
    expect(path.is_file(), "table", "a folder with figures.json", folder, fix)
    record = json.loads(path.read_text())
    expect(
        record.get("experiment") in experiments(),
        "table",
        "the figures of an experiment",
        record.get("experiment"),
        fix,
    )
    options = json.loads((folder / "config.json").read_text())["config"]
    expect(not options["quick"], "table", "figures of a whole run", "those of --quick", "Run it without.")
    cores = json.loads((folder / "environment.json").read_text())["cores"]
    device = f"cpu-{cores}-cores" if record["device"] == "cpu" else record["device"]
    words = (device, record["experiment"], *another_set(record["experiment"], options), "a")
    target = RESULTS / f"{re.sub('[^a-z0-9]+', '-', '-'.join(words).lower())}.json"
    target.write_text(path.read_text())
    return target


def another_set(experiment: str, options: Mapping[str, Any]) -> list[str]:
    """Return the data set of a run, if it is not the one that the experiment takes where none is named.

    Of a run that was given a net it is the set which that was trained on.
    """
    usual = getattr(getattr(book.module(experiment), "Config", None), "dataset", None)
    given, source = options.get("dataset"), Path(options.get("source") or "none") / "config.json"
    if source.is_file():
        given = json.loads(source.read_text())["config"]["dataset"]
    return [] if given is None or given == usual else [given]


def page() -> str:
    """Return the text of `experiments/README.md`."""
    listed = experiments()
    by_name: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        by_name.setdefault(record["experiment"], []).append((path.name, record))
    parts = [HEAD]
    inside: set[str] = set()
    for chapter, names in book.CHAPTERS.items():
        parts.append(f"\n## {chapter}\n\n{table(names, listed, by_name)}")
        inside |= set(names)
    rest = [name for name in listed if name not in inside]
    commands = [name for name in rest if not name.startswith("benchmarks.")]
    parts.append(f"\n## Commands\n\n{table(commands, listed, by_name)}")
    parts.append(f"\n## Benchmarks\n\n{table([n for n in rest if n not in commands], listed, by_name)}")
    return "".join(parts)


def table(names: Any, listed: Mapping[str, str], by_name: Mapping[str, list[tuple[str, Mapping[str, Any]]]]) -> str:
    """Return the lines of some experiments."""
    lines = [
        "| `experiments.` | question | found | figures | time | device |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        records = by_name.get(name, [])
        first = f"`{name}` | {escaped(listed[name])}"
        if not records:
            lines.append(f"| {first} | | | | |")
        for file, record in records:
            figures = "<br>".join(escaped(line) for line in headline(record) or means(record["figures"]))
            link = f"[{record['device']}](benchmarks/results/{file})"
            lines.append(
                f"| {first} | {escaped(record['verdict'])} | {figures} | {spoken(record['seconds'])} | {link} |"
            )
            first = f"`{name}` | "
    return "\n".join(lines) + "\n"


def headline(record: Mapping[str, Any]) -> list[str]:
    """Return the headline numbers of a record as text; older records have none."""
    numbers = record.get("headline", [])
    return [f"{name}: {shown(value)}{f' ({note})' if note else ''}" for name, value, note in numbers]


def means(figures: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Return the first few means of a record as text, of their names as much as tells them apart."""
    found = list(itertools.islice(found_means(figures, path), MEANS))
    longest = max((len(path) for path, _ in found), default=0)
    parts = next((n for n in range(2, longest) if len({path[-n:] for path, _ in found}) == len(found)), longest)
    return [f"{', '.join(path[-parts:]).replace('_', ' ')}: {value}" for path, value in found]


def found_means(figures: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every mean of a record, its path and its text."""
    if isinstance(figures, Mapping):
        if {"mean", "sd", "n"} <= figures.keys():
            yield path, f"{figures['mean']:.4g} ± {figures['sd']:.2g} ({figures['n']})"
            return
        for name, value in figures.items():
            yield from found_means(value, (*path, name))
    elif isinstance(figures, list):
        for value in figures:
            yield from found_means(value, path)


def spoken(seconds: float) -> str:
    """Return a time as text."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def escaped(text: str) -> str:
    """Return text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
