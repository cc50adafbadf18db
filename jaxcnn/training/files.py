"""The folder of a run: a line of figures per epoch, its checkpoints, and a lock on it."""

import fcntl
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.checking import expect
from jaxcnn.fingerprint import fingerprint
from jaxcnn.training.processes import from_first

__all__ = ["RunFiles", "json_text", "read_lines", "read_metrics"]


class RunFiles:
    """A run's folder: `metrics.jsonl`, one JSON object per epoch, and `checkpoints/`; one training has it at a time.

    Of several processes the first one writes.
    """

    def __init__(self, directory: Path | str, *, resume: bool) -> None:
        """Make the folder, or take up one that holds a run, and lock it until `close`.

        Args:
            directory: of the run.
            resume: whether it may hold a run.

        Raises:
            OSError: the folder cannot be written, or another process trains in it.
            ValueError: it holds a run already.
        """
        self.directory = Path(directory)
        self.lock: int | None = None
        from_first(lambda: self._open(resume))

    def _open(self, resume: bool) -> None:
        metrics, lock = self.directory / "metrics.jsonl", None
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            held = metrics.exists() or self.checkpoints.exists()
            fix = "Choose another folder, delete that run, or go on with it: resume=True."
            expect(resume or not held, "fit", "a run_dir without a run", self.directory, fix)
            lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            metrics.touch()
        except OSError as error:
            if lock is not None:
                os.close(lock)
            fix = "Choose another."
            what, why = "a run_dir that can be written", error.strerror
            if isinstance(error, BlockingIOError):
                what, why, fix = "a run_dir that nobody else uses", "another process trains in it", "Wait for it."
            raise OSError(f"fit: expected {what}, got {self.directory} ({why}). {fix}") from error
        self.lock = lock

    def close(self) -> None:
        """Let others have the folder."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.directory / "checkpoints"

    def add_epoch(self, entry: Mapping[str, Any], params: Any) -> dict[str, Any]:
        """Append an epoch's figures, with the fingerprint of the parameters after it, and return both."""
        line = {**entry, "params_sha256": fingerprint(params)}

        def write() -> None:
            try:
                with (self.directory / "metrics.jsonl").open("a") as file:
                    file.write(f"{json_text(line)}\n")
            except OSError as error:
                raise OSError(
                    f"fit: expected a run_dir that can be written, got {self.directory} ({error.strerror}). Make room "
                    "there, and go on with resume=True."
                ) from error

        from_first(write)
        return line

    def forget_after(self, step: int) -> None:
        """Take the name of a checkpoint from those after `step`: they are damaged, as the run goes on before them."""

        def forget() -> None:
            for record in self.checkpoints.glob("*.json"):
                if record.stem.isdecimal() and int(record.stem) > step:
                    record.unlink()

        from_first(forget)

    def __enter__(self) -> "RunFiles":
        """Return itself, for `with`."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let others have the folder."""
        self.close()

    def set_epochs(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write the figures of the epochs that are done, in the place of what is there."""

        def write() -> None:
            unfinished = self.directory / "metrics.unfinished"
            unfinished.write_text("".join(f"{json_text(line)}\n" for line in lines))
            os.replace(unfinished, self.directory / "metrics.jsonl")

        from_first(write)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON, which has no infinite or NaN numbers: they become null."""

    def known(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: known(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [known(part) for part in value]
        value = value if isinstance(value, str | int | float | None) else float(value)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(known(value), indent=indent, allow_nan=False)


def read_metrics(directory: Path | str) -> list[dict[str, Any]]:
    """Return the epochs that a run's `metrics.jsonl` holds; a line cut off by a crash ends them."""
    lines = read_lines(Path(directory) / "metrics.jsonl")
    return [{name: math.nan if value is None else value for name, value in line.items()} for line in lines]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON object of each line of a file; a line that is none, cut off by a crash, ends them."""
    found = []
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(entry, dict):
            break
        found.append(entry)
    return found
