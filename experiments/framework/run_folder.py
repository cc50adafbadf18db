"""The folder of a run below `runs/`: made anew or gone on with, the options it holds, and a line for each start."""

import dataclasses
import datetime
import itertools
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.framework.device import console
from jaxcnn import training
from jaxcnn.checking import expect
from jaxcnn.training.files import json_text, read_lines
from jaxcnn.training.processes import first_process, from_first
from jaxcnn.whole_file import write_whole

RUNS = Path("runs")


def make_folder(name: str, *, resumable: bool) -> Path:
    """Return a new folder below `runs/`, `name` or `name-2`, `name-3`, ... where that exists; one for all processes.

    "runs/NAME" is NAME: it is what `--resume` takes.
    """
    name = name.removeprefix(f"{RUNS}/")

    def make() -> int:
        for number in itertools.count(1):
            folder = numbered(name, number)
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                begun = resumable and any(folder.glob("**/checkpoints/*.json"))
                if begun and not (folder / "figures.json").exists():
                    console.print(f"{folder} is unfinished: --resume {folder} goes on with it.", markup=False)
                continue
            except OSError as error:
                raise OSError(
                    f"run: expected a folder that can be written, got {folder} ({error.strerror}). Choose one with "
                    "--run."
                ) from error
            return number
        raise AssertionError

    return numbered(name, from_first(make))


def numbered(name: str, number: int) -> Path:
    return RUNS / (name if number == 1 else f"{name}-{number}")


def stored_options(where: str, experiment: str, config_class: type[Any], folder: Path) -> Any:
    """Return the options of the run in `folder`, which has to be one of this experiment, of this version."""
    try:
        found = json.loads((folder / "config.json").read_text())
        kind, options = found["experiment"], found["config"]
    except OSError as error:
        raise ValueError(f"{where}: expected the folder of a run, got {folder}. Pass runs/NAME.") from error
    except (ValueError, KeyError, TypeError) as error:
        what = f"{folder / 'config.json'} as the run wrote it"
        raise ValueError(f"{where}: expected {what}, got a damaged file. Restore it.") from error
    expect(kind == experiment, where, f"a run of experiments.{experiment}", kind, "Pass one of these.")
    known = {field.name for field in dataclasses.fields(config_class)}
    missing = sorted(known ^ set(options))
    expect(not missing, where, "the options of this version", f"others: {missing}", "Use the code that made the run.")
    values: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}  # JSON has lists alone
    return config_class(**values)


def note_start(folder: Path, start: Mapping[str, Any], step: int = 0) -> None:
    """Add a line to `starts.jsonl`: when and where the run was begun or gone on with, and from which step."""
    if first_process():
        with (folder / "starts.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **start, **training.environment()}) + "\n")


def begun(experiment: str) -> dict[str, str]:
    """Return when and how this process was begun: what `note_start` takes."""
    started = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    command = shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]])
    return {"started": started, "command": command}


def notes_resumption(folder: Path, experiment: str) -> Callable[[training.Event], None]:
    """Return a callback that says and notes from which step a run goes on, once its checkpoint is loaded."""

    def note(event: training.Event) -> None:
        if event.kind == "start":
            note_start(folder, begun(experiment), event.step)
            there = f"goes on from step {event.step}, in epoch {event.epoch}"
            console.print(there if event.step else "no checkpoint yet: begins again", markup=False)

    return note


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Return when, where and from which step a run was begun and gone on with; nothing where nobody wrote it down."""
    path = folder / "starts.jsonl"
    return read_lines(path) if path.exists() else []


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; of several processes the first does."""
    if not first_process():
        return
    write_whole("run", path, f"{json_text(value, indent=1)}\n".encode())


def remove_if_nothing_happened(folder: Path) -> None:
    """Delete the folder of a run that failed before its first figure: bad input leaves nothing behind."""
    metrics, kept = folder / "metrics.jsonl", ("**/checkpoints/*.json", "**/figures.json")
    if not (metrics.exists() and metrics.stat().st_size) and not any(any(folder.glob(part)) for part in kept):
        shutil.rmtree(folder, ignore_errors=True)
