"""Train again from a run's record: is every parameter of every epoch the same, to the bit?

`python -m experiments.reproduce runs/digits-lenet5-seed0` says identical (exit 0) or where it differs (exit 1). It goes
through without a stop, whatever interruptions the run had; of a run that is not finished it compares what is there.
"""

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import train
from experiments.framework import run_record
from experiments.framework.device import banner, console
from experiments.framework.memory import keep_memory
from experiments.framework.run_folder import read_starts, stored_options
from experiments.framework.runner import BAD_INPUT, INTERRUPTED
from jaxcnn.checking import expect
from jaxcnn.training import environment, read_metrics

TIMES = ("seconds", "images_per_second", "data_wait_ms")  # of an epoch: never the same twice


def reproduce(folder: Path) -> bool:
    """Return whether training again gives the same parameters after every epoch; say so, or what differs."""
    config, there, data = read_record(folder)
    before, unfinished = read_metrics(folder), not (folder / "figures.json").exists()
    with tempfile.TemporaryDirectory() as scratch:
        with contextlib.suppress(FloatingPointError):  # a run that gave up gives up again
            train.main(dataclasses.replace(config, run=scratch, resume=None))
        again = read_metrics(scratch)
        data_now = run_record.read_json("reproduce", Path(scratch) / "data.json")
    hashes = [[epoch["params_sha256"] for epoch in run] for run in (before, again)]
    common = min(map(len, hashes))
    first = next((i for i in range(common) if hashes[0][i] != hashes[1][i]), common)
    if first == len(before) and (unfinished or len(before) == len(again)):
        far = f", as far as the run goes: it is not finished ({len(again)} epochs now)" if unfinished else ""
        console.print(f"identical: {len(before)} epochs, parameters {hashes[0][-1]}{far}", markup=False)
        return True
    if first < common:
        changed = {
            name: (before[first].get(name), again[first].get(name))
            for name in before[first]
            if before[first][name] != again[first].get(name) and name not in TIMES
        }
        console.print(f"differs from epoch {first + 1} on: {changed}", markup=False)
    else:
        console.print(f"differs: {len(before)} epochs then, {len(again)} now, equal as far as both go", markup=False)
    here = environment()
    lines = differences({**there, "data": data}, {**here, "data": data_now})
    for start in read_starts(folder)[1:]:
        lines += [f"{line} (gone on with from step {start['step']})" for line in differences(start, here)]
    for line in dict.fromkeys(lines):
        console.print(line, markup=False)
    if any(there[name] != here[name] for name in ("revision", "diff_sha256")):
        patch = f" and `git apply {folder}/diff.patch`" if there["diff_sha256"] else ""
        console.print(f"The code of then: `git checkout {(there['revision'] or '?').rstrip('+')}`{patch}", markup=False)
    return False


def read_record(folder: Path) -> tuple[train.Config, Mapping[str, Any], Mapping[str, Any]]:
    """Return the options, the environment and the data of a training run; raise `ValueError` unless all is there."""
    where = "reproduce"
    config = stored_options(where, "train", train.Config, folder)
    there, data = run_record.read_record(where, config, folder)
    special = config.seeds > 1 or config.find_lr
    expect(not special, where, "the run of one seed", folder, "Pass one of its folders, such as RUN/seed0.")
    try:
        epochs = read_metrics(folder)
    except OSError as error:
        raise ValueError(f"{where}: expected the epochs of a run, got {folder} ({error}). Pass runs/NAME.") from error
    expect(bool(epochs), where, "a run of one epoch at least", f"{folder}, which has none", "Let it train first.")
    for number, epoch in enumerate(epochs, 1):
        sound = isinstance(epoch, dict) and epoch.get("epoch") == number and "params_sha256" in epoch
        what = f"epoch {number} with 'epoch' and 'params_sha256' in {folder / 'metrics.jsonl'}"
        expect(sound, where, what, epoch, "Restore the file.")
    return config, there, data


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
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
    options = tyro.cli(Config, prog="python -m experiments.reproduce", description=__doc__)
    try:
        config, *_ = read_record(options.run)
        keep_memory(config.device)
        banner(config)
        same = reproduce(options.run)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_INPUT)
    sys.exit(0 if same else 1)
