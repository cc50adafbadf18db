"""What every experiment shares: options, device, folder, record, page and exit code.

An experiment is a module with a docstring (question, source, command), a frozen `Config(Common)` with a unit comment
per field, and `main(config) -> Result`; it ends with `if __name__ == "__main__": run(main, Config)`.
"""

import dataclasses
import datetime
import json
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

from jaxcnn import report, training
from jaxcnn.checking import expect

RUNS = Path("runs")
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
) -> None:
    """Parse the command line, run `main` in a folder of its own, write record and page, and exit.

    Exit codes: 0 it holds; 1 it does not; 2 bad input (one sentence says what to do); 130 interrupted.

    Args:
        main: the experiment.
        config_class: its options.
        name: config -> name of its run; the module's name and the seed unless given.
        resolve: config -> the config with what was left open, which is what is recorded.
    """
    module = sys.modules[main.__module__]
    experiment = getattr(module.__spec__, "name", main.__module__).removeprefix("experiments.")
    config = tyro.cli(config_class, description=module.__doc__, config=(tyro.conf.OmitArgPrefixes,))
    folder = None
    try:
        banner(config)
        config = resolve(config)
        folder = make_folder(config.run or (name(config) if name else f"{experiment}-seed{config.seed}"))
        config = dataclasses.replace(config, run=str(folder))
        result = record(experiment, main, config, folder)
    except KeyboardInterrupt:
        kept = f" Kept: {folder}" if folder else ""
        console.print(f"\nInterrupted.{kept}", style="yellow", markup=False)
        sys.exit(INTERRUPTED)
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        if folder is not None:
            _remove_if_nothing_happened(folder)
        if config.debug:
            raise
        notes = "".join(f" ({note})" for note in reversed(getattr(error, "__notes__", [])))
        print(f"{error}{notes}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    sys.exit(0 if result.holds else 1)


def banner(config: Common) -> None:
    """Choose the device, show it, and switch the checks of `--debug` on."""
    choose_device(config.device)
    if config.debug:
        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_debug_key_reuse", True)
    here = training.environment()
    many = f"{here['devices']} x " if here["devices"] > 1 else ""
    console.print(
        f"jaxcnn {here['packages']['jaxcnn']} on {many}{here['device']} ({here['cores']} cores), "
        f"jax {here['packages']['jax']}, Python {here['python']}",
        markup=False,
    )
    if jax.default_backend() == "cpu" and config.device == "auto" and shutil.which("nvidia-smi"):
        console.print(
            "A GPU is here, but this JAX has no CUDA: `make run CUDA=13` installs it.",
            style="yellow",
            markup=False,
        )


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
    """Return a new folder below `runs/`, `name` or `name-2`, `name-3`, ... where that exists."""
    for number in range(1, 100_000):
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise OSError(
                f"run: expected a folder that can be written, got {folder} ({error.strerror}). Choose one with --run."
            ) from error
        return folder
    raise OSError(f"run: expected a free name, got {name} used up. Choose another with --run.")


def record(experiment: str, main: Callable[[C], Result], config: C, folder: Path) -> Result:
    """Run `main` and leave `config.json`, `environment.json`, `figures.json` and `report.html` in `folder`."""
    here = training.environment()
    versions = here["packages"]
    settings = dataclasses.asdict(config)
    started = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    command = shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]])
    write_json(folder / "config.json", {"experiment": experiment, "config": settings})
    write_json(folder / "environment.json", {**here, "started": started, "command": command})
    began = time.perf_counter()
    result = main(config)
    seconds = round(time.perf_counter() - began, 2)
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
    page = report.Page(
        folder.relative_to(RUNS).as_posix() if folder.is_relative_to(RUNS) else folder.name,
        result.verdict,
        headline=result.headline,
        sections=[
            *result.pictures,
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


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(value, indent=1, default=float) + "\n")
    unfinished.replace(path)


def _remove_if_nothing_happened(folder: Path) -> None:
    """Delete the folder of a run that failed before its first figure: bad input leaves nothing behind."""
    metrics = folder / "metrics.jsonl"
    if not (metrics.exists() and metrics.stat().st_size):
        shutil.rmtree(folder)
