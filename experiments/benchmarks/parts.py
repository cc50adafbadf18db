"""A long measurement in parts, each in a process of its own and with a time of its own: what fails is told, and no end.

A part's process is given a file to write its JSON to, and options as JSON. `main` is that process, for a function of
this package; a script of another Python does the same without it.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.benchmarks.cases import reason

LEAST = 10.0  # seconds, below which no part begins
WORDS = 600  # letters of what a part said last that are kept where it fails
OWN = "import sys; from experiments.benchmarks import parts; parts.main(*sys.argv[1:])"


class Part(NamedTuple):
    """What is measured.

    Args:
        name: of the part.
        seconds: that it may take, start and compilation included.
        function: "module:function" below `experiments.benchmarks`, which is called with the options; or a script of
            `other_python`.
        options: for it.
        environment: variables of its process.
        python: whose process it is; this one unless given.
    """

    name: str
    seconds: float
    function: str
    options: Mapping[str, Any]
    environment: Mapping[str, str] = {}
    python: str = ""


def done(part: Part, left: float, *, apart: bool = True) -> dict[str, Any]:
    """Return `seconds` and `figures` of a part, or under "failed" why there are none.

    Args:
        part: what to do.
        left: seconds in all that are left.
        apart: in a process of its own; otherwise, a small part, in this one.
    """
    row: dict[str, Any] = {"part": part.name}
    limit = min(part.seconds, left)
    if limit < min(LEAST, part.seconds):
        return row | {"failed": f"not begun: {max(left, 0):.0f} s were left"}
    began = time.perf_counter()
    if apart or not called(part):
        row |= _apart(part, limit)
    else:
        try:
            row["figures"] = call(part.function, part.options)
        except Exception as error:  # a part that breaks is a finding
            row["failed"] = reason(error)
    return row | {"seconds": round(time.perf_counter() - began, 1)}


def called(part: Part) -> bool:
    """Return whether a part is a function of this package, and no script."""
    return not part.function.endswith(".py")


def call(function: str, options: Mapping[str, Any]) -> Any:
    """Return what the function "module:function" gives."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(f"experiments.benchmarks.{module}"), name)(**options)


def experiment(name: str, **options: Any) -> dict[str, Any]:
    """Return the verdict and the figures of a benchmark, for a part to be one."""
    module: Any = importlib.import_module(f"experiments.benchmarks.{name}")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    result = module.main(module.Config(**given))
    return {"verdict": result.verdict, "holds": result.holds, **result.figures}


def main(file: str, options: str) -> None:
    """Do a part in a process of its own, and write its figures."""
    given = json.loads(options)
    figures = call(given["function"], given["options"])
    Path(file).write_text(json.dumps(figures))


def _apart(part: Part, limit: float) -> dict[str, Any]:
    folder = jax.config.jax_compilation_cache_dir
    # A process that takes most of a GPU's memory at once would leave none to the others.
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONPATH": str(Path(__file__).parents[2])}
    own |= {"JAX_COMPILATION_CACHE_DIR": folder} if folder else {}
    with tempfile.TemporaryDirectory() as scratch:
        file, words = Path(scratch) / "figures.json", Path(scratch) / "words"
        command = [part.python or sys.executable, *_command(part, file)]
        with words.open("w") as said:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=os.environ | own | dict(part.environment),
                    start_new_session=True,
                )
            except OSError as error:
                return {"failed": reason(error)}
            try:
                code: int | None = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:  # with the processes that it has started, whatever happens here
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code == 0 and file.exists():
            return {"figures": json.loads(file.read_text())}
        last = words.read_text(errors="replace")[-WORDS:].strip()
        return {"failed": f"stopped after {limit:.0f} s" if code is None else f"ended with {code}", "said": last}


def _command(part: Part, file: Path) -> Sequence[str]:
    if not called(part):
        return [str(Path(__file__).parent / "other_python" / part.function), str(file), json.dumps(dict(part.options))]
    return ["-c", OWN, str(file), json.dumps({"function": part.function, "options": dict(part.options)})]
