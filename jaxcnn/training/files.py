"""The folder of a run: a line of figures per epoch, and its checkpoints."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxcnn.checking import expect
from jaxcnn.fingerprint import fingerprint

__all__ = ["RunFiles", "read_metrics"]


@dataclass(frozen=True)
class RunFiles:
    """A run's folder: `metrics.jsonl`, one JSON object per epoch, and `checkpoints/`."""

    directory: Path

    @classmethod
    def create(cls, directory: Path | str) -> "RunFiles":
        """Return the files of a new run, having made its folder.

        Raises:
            OSError: the folder cannot be written.
            ValueError: it holds a run already.
        """
        directory = Path(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / "metrics.jsonl").exists():
                (directory / "metrics.jsonl").touch()
                return cls(directory)
        except OSError as error:
            raise OSError(
                f"fit: expected a run_dir that can be written, got {directory} ({error.strerror}). Choose another."
            ) from error
        expect(False, "fit", "a run_dir without a run", directory, "Choose another folder, or delete that run.")
        raise AssertionError

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.directory / "checkpoints"

    def add_epoch(self, entry: Mapping[str, Any], params: Any) -> None:
        """Append an epoch's figures, with the fingerprint of the parameters after it."""
        line = json.dumps({**entry, "params_sha256": fingerprint(params)})
        with (self.directory / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")


def read_metrics(directory: Path | str) -> list[dict[str, Any]]:
    """Return the epochs that a run's `metrics.jsonl` holds; a line cut off by a crash ends them."""
    epochs = []
    for line in (Path(directory) / "metrics.jsonl").read_text().splitlines():
        try:
            epochs.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return epochs
