"""Files that are written whole or not at all."""

import contextlib
import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(where: str, path: Path | str, data: bytes) -> None:
    """Write the data to `path`; where that fails, what stood there is kept.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        what, fix = "a file that can be written", "Make room there, or choose another."
        raise OSError(f"{where}: expected {what}, got {path} ({error.strerror}). {fix}") from error
    finally:
        with contextlib.suppress(OSError):  # where it is in its place, or never was
            unfinished.unlink()
