"""Train again from a run's record: is every parameter of every epoch the same, to the bit?

`python -m experiments.reproduce runs/digits-lenet5-seed0` says identical (exit 0) or where it differs (exit 1).
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import train
from experiments.runner import BAD_INPUT, INTERRUPTED, banner, console
from jaxcnn.checking import expect
from jaxcnn.training import environment, read_metrics


def reproduce(folder: Path) -> bool:
    """Return whether training again gives the same parameters after every epoch; say so, or what differs."""
    config, there = read_record(folder)
    with tempfile.TemporaryDirectory() as scratch:
        train.main(dataclasses.replace(config, run=scratch))
        again = read_metrics(scratch)
    before = read_metrics(folder)
    hashes = [[epoch["params_sha256"] for epoch in run] for run in (before, again)]
    if hashes[0] == hashes[1]:
        console.print(f"identical: {len(again)} epochs, parameters {hashes[0][-1]}", markup=False)
        return True
    pairs = zip(*hashes, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(map(len, hashes)))
    if first < min(map(len, hashes)):
        changed = {
            name: (before[first][name], again[first][name])
            for name in before[first]
            if before[first][name] != again[first].get(name) and name not in ("seconds", "images_per_second")
        }
        console.print(f"differs from epoch {first + 1} on: {changed}", markup=False)
    else:
        console.print(f"differs: {len(before)} epochs then, {len(again)} now, equal as far as both go", markup=False)
    for line in differences(there, environment()):
        console.print(line, markup=False)
    return False


def read_record(folder: Path) -> tuple[train.Config, dict[str, Any]]:
    """Return the options and the environment of a training run."""
    try:
        record = json.loads((folder / "config.json").read_text())
        there = json.loads((folder / "environment.json").read_text())
        read_metrics(folder)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"reproduce: expected the folder of a training run, got {folder} ({error}). Pass one such as runs/NAME."
        ) from error
    kind = record.get("experiment")
    expect(kind == "train", "reproduce", "a run of experiments.train", kind, "Only trainings are replayed.")
    options = record["config"]
    known = {field.name for field in dataclasses.fields(train.Config)}
    expect(
        set(options) == known, "reproduce", f"the options {sorted(known)}", sorted(options), "Use that version's code."
    )
    config = train.Config(**options)
    special = config.seeds > 1 or config.find_lr
    expect(not special, "reproduce", "the run of one seed", folder, "Pass one of its folders, such as RUN/seed0.")
    return config, there


def differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each entry of the environment that is not what it was."""
    lines = []
    for name, value in here.items():
        old = there.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            lines += differences(old, value, f"{prefix}{name}.")
        elif old != value:
            lines.append(f"  {prefix}{name}: {old} then, {value} now")
    return lines


@dataclasses.dataclass(frozen=True)
class Config:
    run: Annotated[Path, tyro.conf.Positional]  # folder of the run, such as runs/digits-lenet5-seed0


if __name__ == "__main__":
    options = tyro.cli(Config, description=__doc__)
    try:
        config, _ = read_record(options.run)
        banner(config)
        same = reproduce(options.run)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_INPUT)
    sys.exit(0 if same else 1)
