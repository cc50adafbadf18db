"""What every experiment shares: options, device, folder, record, page and exit code.

An experiment is a module with a docstring (question, source, command), a frozen `Config(Common)` with a unit comment
per field, and `main(config) -> Result`; it ends with `if __name__ == "__main__": run(main, Config)`.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import tyro

from experiments.framework import run_folder
from experiments.framework.device import banner, console, join
from experiments.framework.memory import keep_memory
from experiments.framework.run_folder import (
    begun,
    make_folder,
    note_start,
    read_starts,
    remove_if_nothing_happened,
    stored_options,
    write_json,
)
from experiments.framework.run_record import write_diff
from jaxcnn import report, training
from jaxcnn.checking import expect
from jaxcnn.training.processes import first_process

FAILED = 1
INTERRUPTED = 130
BAD_INPUT = 2
# What a page says of the starts of a run that was gone on with.
OF_A_START = {
    "started": "started", "step": "from step", "device": "device", "devices": "devices", "processes": "processes",
    "revision": "revision",
}  # fmt: skip


@dataclass(frozen=True)
class Common:
    """The options of every experiment."""

    seed: int = 0  # of all randomness
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"  # auto: the fastest that JAX finds
    quick: bool = False  # all of it, small: on 2 cores some seconds to two minutes
    run: str = ""  # name of the folder below runs/; made from the options unless given
    debug: bool = False  # stop at the first NaN, check that no key is used twice, show whole tracebacks
    distributed: bool = False  # join the other processes: SLURM, Open MPI, Kubernetes and TPU pods say which they are
    coordinator: str | None = None  # where nobody says: HOST:PORT of the first process,
    processes: int | None = None  # how many there are,
    process: int | None = None  # and which this is, from 0

    @property
    def ending(self) -> str:
        """How the name of a run ends: with its seed, and before it "-quick" where it is a small one."""
        return f"{'-quick' if self.quick else ''}-seed{self.seed}"


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    `figures`: numbers, ready for JSON. `pictures`: the sections of its page. `verdict`: one honest sentence. `holds`:
    whether what the experiment promises is so; the exit code says it too. `promises`: what they are, and which are
    kept. `judge` gives these three.
    """

    figures: Mapping[str, Any]
    pictures: Sequence[report.Section]
    verdict: str
    holds: bool = True
    promises: Mapping[str, bool] = field(default_factory=dict)
    headline: Sequence[report.Number] = field(default_factory=list)


C = TypeVar("C", bound=Common)


class Judgement(NamedTuple):
    """What `judge` returns: three fields of a `Result`, in their order."""

    verdict: str
    holds: bool
    promises: Mapping[str, bool]


def judge(
    config: Common, answer: str, promises: Mapping[str, bool] | None = None, facts: Mapping[str, bool] | None = None
) -> Judgement:
    """Return the answer, behind what is not as promised of it, and whether all is.

    `promises` and `facts` say what is promised, and whether it is so. A small run is held to the facts alone: to what
    is so at any size.
    """
    promises, facts = promises or {}, facts or {}
    if config.quick and promises:
        answer = f"not judged: {answer}"
    held = facts if config.quick else {**facts, **promises}
    missed = [name for name, kept in held.items() if not kept]
    verdict = f"NOT as promised: {'; '.join(missed)}. {answer}" if missed else answer
    return Judgement(verdict, not missed, held)


def run(
    main: Callable[[C], Result],
    config_class: type[C],
    *,
    name: Callable[[C], str] | None = None,
    resolve: Callable[[C], C] = lambda config: config,
    free: Sequence[str] = (),
) -> None:
    """Parse the command line, run `main` in a folder of its own, write record and page, and exit.

    Exit codes: 0 it holds; 1 it does not, or a training diverged; 2 bad input (one sentence says what to do); 75 told
    to end (SIGTERM), and ready to go on where it has `--resume`; 130 interrupted.

    Args:
        main: the experiment.
        config_class: its options.
        name: config -> name of its run; the module's name and `Common.ending` unless given.
        resolve: config -> the config with what was left open, which is what is recorded.
        free: options that change nothing of what comes out, and may therefore be others where a run goes on.
    """
    module = sys.modules[main.__module__]
    experiment = getattr(module.__spec__, "name", main.__module__).removeprefix("experiments.")
    called = f"python -m experiments.{experiment}".removesuffix(".__main__")
    options: Any = {"prog": called, "description": module.__doc__, "config": (tyro.conf.OmitArgPrefixes,)}
    config = tyro.cli(config_class, **options)
    folder, mine = None, False
    resume = getattr(config, "resume", None)
    try:
        keep_memory(config.device)
        join(config)
        banner(config)
        if resume is None:
            config = resolve(config)
            own = config.run or (name(config) if name else f"{experiment}{config.ending}")
            folder = make_folder(own, resumable=hasattr(config, "resume"))
            mine = True
            console.print(f"run: {folder}", markup=False)
            config = dataclasses.replace(config, run=str(folder))
        else:
            folder = Path(resume)
            stored = stored_options("resume", experiment, config_class, folder)
            config = resumed(config, stored, tyro.cli(config_class, default=stored, **options), folder, free)
        result = record(experiment, main, config, folder)
    except KeyboardInterrupt:
        console.print(f"\nInterrupted.{go_on(experiment, config, folder)}", style="yellow", markup=False)
        sys.exit(INTERRUPTED)
    except training.Preempted:
        console.print(f"Told to end.{go_on(experiment, config, folder)}", style="yellow", markup=False)
        raise
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        if folder is not None and mine and first_process():
            remove_if_nothing_happened(folder)
        if config.debug:
            raise
        notes = "".join(f" ({note})" for note in reversed(getattr(error, "__notes__", [])))
        print(f"{error}{notes}", file=sys.stderr)
        sys.exit(FAILED if isinstance(error, FloatingPointError) else BAD_INPUT)
    sys.exit(0 if result.holds else 1)


def go_on(experiment: str, config: Common, folder: Path | None) -> str:
    """Return how the run in a folder is gone on with; nothing where it cannot be, or there is nothing to go on from."""
    if folder is None or not hasattr(config, "resume"):
        return ""
    there = any(any(folder.glob(part)) for part in ("**/checkpoints/*.json", "*/figures.json"))
    return f" Go on with: python -m experiments.{experiment} --resume {folder}" if there else ""


def resumed(config: C, stored: C, again: C, folder: Path, free: Sequence[str]) -> C:
    """Return the options to go on with: those that a run was begun with, but for where and how this command runs.

    Args:
        config: what the command line says.
        stored: the options of the run in `folder`.
        again: what the command line makes of these. Of what differs from them only the `free` ones may.
        folder: of the run.
        free: see `run`.
    """
    own = {field.name for field in dataclasses.fields(Common)} - {"seed", "quick", "run"} | {"resume"}
    given = {f.name for f in dataclasses.fields(stored) if getattr(again, f.name) != getattr(stored, f.name)} - own
    others = sorted(given - set(free))
    expect(not others, "resume", "the options of the run that goes on", f"{others} too", "Leave them out.")
    new = {name: getattr(config, name) for name in own}
    return dataclasses.replace(again, run=str(folder), **new)


def record(
    experiment: str,
    main: Callable[[C], Result],
    config: C,
    folder: Path,
    dress: Callable[[report.Page], report.Page] = lambda page: page,
) -> Result:
    """Run `main` and leave `config.json`, `environment.json`, `figures.json` and `report.html` in `folder`.

    `dress` makes the page that is written of the page that there is.
    """
    start, here = begun(experiment), training.environment()
    versions = here["packages"]
    settings = dataclasses.asdict(config)
    settings |= {"resume": None} if "resume" in settings else {}
    again = (folder / "config.json").exists()
    if not again:  # else the training says from which step it goes on
        note_start(folder, start)
        write_json(folder / "config.json", {"experiment": experiment, "config": settings})
        write_json(folder / "environment.json", {**here, **start})
    write_diff(folder, first=not again)
    began = time.perf_counter()
    result = main(config)
    seconds = round(time.perf_counter() - began, 2)
    if not first_process():
        return result
    figures = {
        "experiment": experiment,
        "seed": config.seed,
        "holds": result.holds,
        "verdict": result.verdict,
        "promises": result.promises,
        "headline": [[number.label, number.value, number.note] for number in result.headline],
        "figures": result.figures,
        "seconds": seconds,
        "device": here["device"],
        "packages": versions,
    }
    write_json(folder / "figures.json", figures)
    starts = [{words: start[name] for name, words in OF_A_START.items()} for start in read_starts(folder)]
    title = folder.relative_to(run_folder.RUNS).as_posix() if folder.is_relative_to(run_folder.RUNS) else folder.name
    resumptions = [report.Section("Interrupted and resumed", [report.Table(starts)])] if len(starts) > 1 else []
    footer = f"{start['command']}, {start['started']}, {seconds:.0f} s on {here['device']} ({here['cores']} cores)."
    sections = [
        *result.pictures,
        *promised(result.promises, config.quick),
        *resumptions,
        *circumstances(settings, here, config.quick),
    ]
    page = report.Page(title, result.verdict, result.headline, sections, footer)
    path = dress(page).write(folder / "report.html")
    console.print(f"page: {path}\n{result.verdict}", markup=False)
    expect_intervals(result.figures)  # when all is written: nothing is lost
    return result


def expect_intervals(figures: Any, path: str = "figures") -> None:
    """Raise `ValueError` unless each mean among figures has its deviation, number and interval beside it."""
    if isinstance(figures, list):
        figures = dict(enumerate(figures))
    if not isinstance(figures, Mapping):
        return
    if isinstance(figures.get("mean"), float):
        lacking = [name for name in ("sd", "n", "interval") if name not in figures]
        fix = "Publish what `experiments.apparatus.statistics.summary` returns."
        expect(not lacking, "record", f"{path} with sd, n and interval", f"it without {' and '.join(lacking)}", fix)
    for name, value in figures.items():
        expect_intervals(value, f"{path}.{name}")


def promised(promises: Mapping[str, bool], quick: bool) -> list[report.Section]:
    """Return what a page says of what was promised."""
    rows = [{"promise": promise, "held": kept} for promise, kept in promises.items()]
    how = "A small run is held only to what is so at any size." if quick else ""
    return [report.Section("What was promised", [report.Table(rows, how)])] if rows else []


def circumstances(settings: Mapping[str, Any], here: Mapping[str, Any], quick: bool) -> list[report.Section]:
    """Return what a page says of how a result came about: options, machine and versions (`training.environment`)."""
    note = ["As given: a small run makes less of those that say how much there is to do."] if quick else []
    return [
        report.Section("Settings", [*note, report.Facts(settings)]),
        report.Section("Environment", [report.Facts(facts(here))]),
    ]


def facts(here: Mapping[str, Any]) -> dict[str, Any]:
    """Return machine and versions (`training.environment`) without a mapping among them."""
    return {name: value for name, value in here.items() if name != "packages"} | here["packages"]
