"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(where: str, path: Path | str, data: bytes) -> None:
    """Write the data to `path`, or to what it is a link to; where that fails, what stood there is kept.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    path = Path(path)
    place = Path(os.path.realpath(path))
    # A name of its own for each call, as threads may write one path; files of `tempfile` are for their owner alone.
    unfinished = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, place)
    except OSError as error:
        what, fix = "a file that can be written", "Make room there, or choose another."
        raise OSError(f"{where}: expected {what}, got {path} ({error.strerror}). {fix}") from error
    finally:
        with contextlib.suppress(OSError):  # where it is in its place, or never was
            unfinished.unlink()
