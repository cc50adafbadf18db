"""What every experiment shares: options, device, folder, record, page and exit code.

An experiment is a module with a docstring (question, source, command), a frozen `Config(Common)` with a unit comment
per field, and `main(config) -> Result`; it ends with `if __name__ == "__main__": run(main, Config)`.
"""

import dataclasses
import datetime
import hashlib
import itertools
import json
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import tyro
from rich.console import Console

from experiments.run_record import write_diff
from jaxcnn import report, training
from jaxcnn.checking import expect
from jaxcnn.data.original import cache_folder
from jaxcnn.training.files import read_lines, to_json
from jaxcnn.training.processes import first_process, from_first

RUNS = Path("runs")
FAILED = 1
INTERRUPTED = 130
BAD_INPUT = 2

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Common:
    """The options of every experiment."""

    seed: int = 0  # of all randomness
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"  # auto: the fastest that JAX finds
    quick: bool = False  # all of it, small: about 15 s on 2 cores
    run: str = ""  # name of the folder below runs/; made from the options unless given
    debug: bool = False  # stop at the first NaN, check that no key is used twice, show whole tracebacks
    distributed: bool = False  # join the other processes: SLURM, Open MPI, Kubernetes and TPU pods say which they are
    coordinator: str | None = None  # where nobody says: HOST:PORT of the first process,
    processes: int | None = None  # how many there are,
    process: int | None = None  # and which this is, from 0


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    `figures`: numbers, ready for JSON. `pictures`: the sections of its page. `verdict`: one honest sentence. `holds`:
    whether what the experiment promises is so; the exit code says it too.
    """

    figures: Mapping[str, Any]
    pictures: Sequence[report.Section]
    verdict: str
    holds: bool = True
    headline: Sequence[report.Number] = field(default_factory=list)


C = TypeVar("C", bound=Common)


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
    to end (SIGTERM) and ready to go on with `--resume`; 130 interrupted.

    Args:
        main: the experiment.
        config_class: its options.
        name: config -> name of its run; the module's name and the seed unless given.
        resolve: config -> the config with what was left open, which is what is recorded.
        free: options that change nothing of what comes out, and may therefore be others where a run goes on.
    """
    module = sys.modules[main.__module__]
    experiment = getattr(module.__spec__, "name", main.__module__).removeprefix("experiments.")
    config = tyro.cli(config_class, description=module.__doc__, config=(tyro.conf.OmitArgPrefixes,))
    folder, mine = None, False
    resume = getattr(config, "resume", None)
    try:
        join(config)
        banner(config)
        if resume is None:
            config = resolve(config)
            folder = make_folder(config.run or (name(config) if name else f"{experiment}-seed{config.seed}"))
            mine = True
            config = dataclasses.replace(config, run=str(folder))
        else:
            folder = Path(resume)
            config = resumed(experiment, config, folder, free)
        result = record(experiment, main, config, folder)
    except KeyboardInterrupt:
        console.print(f"\nInterrupted.{go_on(experiment, folder)}", style="yellow", markup=False)
        sys.exit(INTERRUPTED)
    except training.Preempted:
        console.print(f"Told to end.{go_on(experiment, folder)}", style="yellow", markup=False)
        raise
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        if folder is not None and mine and first_process():
            _remove_if_nothing_happened(folder)
        if config.debug:
            raise
        notes = "".join(f" ({note})" for note in reversed(getattr(error, "__notes__", [])))
        print(f"{error}{notes}", file=sys.stderr)
        sys.exit(FAILED if isinstance(error, FloatingPointError) else BAD_INPUT)
    sys.exit(0 if result.holds else 1)


def go_on(experiment: str, folder: Path | None) -> str:
    """Return how the run in a folder is gone on with; nothing where it has no checkpoint."""
    there = folder is not None and any(folder.glob("**/checkpoints/*.json"))
    return f" Go on with: python -m experiments.{experiment} --resume {folder}" if there else ""


def join(config: Common) -> None:
    """Make this process one of those that train together, if the options say so."""
    given = [config.coordinator, config.processes, config.process]
    if not (config.distributed or any(value is not None for value in given)):
        return
    all_or_none = given.count(None) in (0, 3)
    fix = "Or pass --distributed alone, where SLURM, Open MPI, Kubernetes or a TPU pod say which process this is."
    expect(all_or_none, "distributed", "--coordinator, --processes and --process together", given, fix)
    if config.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    try:
        jax.distributed.initialize(config.coordinator, config.processes, config.process)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"distributed: expected processes that find each other, got: {error}. {fix}") from error
    console.quiet = jax.process_index() > 0


def banner(config: Common) -> None:
    """Choose the device, show it, keep compiled programs, and switch the checks of `--debug` on."""
    choose_device(config.device)
    if config.debug:
        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_debug_key_reuse", True)
    here = training.environment()
    many = f"{here['devices']} x " if here["devices"] > 1 else ""
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    console.print(
        f"jaxcnn {here['packages']['jaxcnn']} on {many}{here['device']} ({here['cores']} cores{processes}), "
        f"jax {here['packages']['jax']}, Python {here['python']}",
        markup=False,
    )
    keep_compiled()
    if jax.default_backend() == "cpu" and config.device == "auto" and shutil.which("nvidia-smi"):
        console.print(
            "A GPU is here, but this JAX has no CUDA: `make run CUDA=13` installs it.",
            style="yellow",
            markup=False,
        )


def keep_compiled() -> None:
    """Let JAX keep what it compiles from one run to the next, in a folder of the user's own, and say where.

    Programs for a CPU are for one kind of it, and homes are shared: each kind has a folder.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    kind = jax.default_backend()
    if kind == "cpu":
        about = Path("/proc/cpuinfo")
        lines = about.read_text().splitlines() if about.exists() else [platform.machine()]
        same = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
        kind = f"cpu-{hashlib.sha256(repr(same).encode()).hexdigest()[:8]}"
    folder = cache_folder() / "compiled" / kind
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # nowhere to write: each run compiles
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    console.print(f"compiled programs are kept in {folder}", markup=False)


def choose_device(device: str) -> None:
    """Make JAX use a kind of device, or raise `ValueError` where there is none of it."""
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    found = jax.default_backend()  # the fastest kind there is
    expect(
        device in ("auto", found),
        "device",
        f"a {device}",
        f"a JAX that finds none, but {found}",
        "`python -m experiments.doctor` shows the fix; --device auto takes what there is.",
    )


def make_folder(name: str) -> Path:
    """Return a new folder below `runs/`, `name` or `name-2`, `name-3`, ... where that exists; one for all processes."""

    def make() -> int:
        for number in itertools.count(1):
            folder = numbered(name, number)
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
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


def resumed(experiment: str, config: C, folder: Path, free: Sequence[str]) -> C:
    """Return the options of the run in `folder`, to go on with it; of others only the `free` ones may be given."""
    where = "resume"
    default = type(config)()
    own = {field.name for field in dataclasses.fields(Common)} - {"seed", "quick", "run"} | {"resume"}
    given = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(default, f.name)} - own
    others = sorted(given - set(free))
    expect(not others, where, "the options of the run that goes on", f"{others} too", "Leave them out.")
    stored = stored_options(where, experiment, type(config), folder)
    new = {name: getattr(config, name) for name in own | given}
    return dataclasses.replace(stored, run=str(folder), **new)


def stored_options(where: str, experiment: str, config_class: type[C], folder: Path) -> C:
    """Return the options of the run in `folder`, which has to be one of this experiment, of this version."""
    try:
        found = json.loads((folder / "config.json").read_text())
        kind, options = found["experiment"], found["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: expected the folder of a run, got {folder} ({error}). Pass runs/NAME.") from error
    expect(kind == experiment, where, f"a run of experiments.{experiment}", kind, "Pass one of these.")
    known = {field.name for field in dataclasses.fields(config_class)}
    missing = sorted(known ^ set(options))
    expect(not missing, where, "the options of this version", f"others: {missing}", "Use the code that made the run.")
    values: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}  # JSON has lists alone
    return config_class(**values)


def record(experiment: str, main: Callable[[C], Result], config: C, folder: Path) -> Result:
    """Run `main` and leave `config.json`, `environment.json`, `figures.json` and `report.html` in `folder`."""
    here = training.environment()
    versions = here["packages"]
    settings = dataclasses.asdict(config)
    settings |= {"resume": None} if "resume" in settings else {}
    started = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    command = shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]])
    again = (folder / "config.json").exists()
    from_first(lambda: note_start(folder, {"started": started, "command": command, **here}))
    if not again:
        write_json(folder / "config.json", {"experiment": experiment, "config": settings})
        write_json(folder / "environment.json", {**here, "started": started, "command": command})
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
        "figures": result.figures,
        "seconds": seconds,
        "device": here["device"],
        "packages": versions,
    }
    write_json(folder / "figures.json", figures)
    starts = read_starts(folder)
    page = report.Page(
        folder.relative_to(RUNS).as_posix() if folder.is_relative_to(RUNS) else folder.name,
        result.verdict,
        headline=result.headline,
        sections=[
            *result.pictures,
            *([report.Section("Interrupted and resumed", [report.Table(starts)])] if len(starts) > 1 else []),
            report.Section("Settings", [report.Facts(settings)]),
            report.Section(
                "Environment", [report.Facts({n: v for n, v in here.items() if n != "packages"} | versions)]
            ),
        ],
        footer=f"{command}, {started}, {seconds:.0f} s on {here['device']} ({here['cores']} cores).",
    )
    path = page.write(folder / "report.html")
    console.print(f"page: {path}\n{result.verdict}", markup=False)
    return result


def note_start(folder: Path, start: Mapping[str, Any]) -> None:
    """Add a line to `starts.jsonl`: when and where the run was begun or gone on with, and from which step."""
    steps = [int(path.stem) for path in folder.glob("checkpoints/*.json") if path.stem.isdecimal()]
    with (folder / "starts.jsonl").open("a") as file:
        file.write(json.dumps({"step": max(steps, default=0), **start}) + "\n")


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Return when, where and from which step a run was begun and gone on with."""
    starts = read_lines(folder / "starts.jsonl")
    shown = ("started", "step", "device", "devices", "processes", "revision")
    return [{name.replace("step", "from step"): start[name] for name in shown} for start in starts]


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; of several processes the first does."""
    if not first_process():
        return
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(to_json(value, indent=1) + "\n")
    unfinished.replace(path)


def _remove_if_nothing_happened(folder: Path) -> None:
    """Delete the folder of a run that failed before its first figure: bad input leaves nothing behind."""
    metrics = folder / "metrics.jsonl"
    if not (metrics.exists() and metrics.stat().st_size) and not any(folder.glob("**/checkpoints/*.json")):
        shutil.rmtree(folder, ignore_errors=True)
