"""Several processes that train together: what one of them does for all, and what they agree on."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

__all__ = ["any_process", "first_process", "from_first", "together"]


def first_process() -> bool:
    """Return whether this is the process that writes files."""
    return jax.process_index() == 0


def any_process(*flags: bool) -> tuple[bool, ...]:
    """Return each flag, True where it is so in any process; all processes call this at the same point."""
    if jax.process_count() == 1:
        return flags
    from jax.experimental.multihost_utils import process_allgather

    return tuple(np.asarray(process_allgather(np.asarray(flags))).reshape(-1, len(flags)).any(0).tolist())


def together(work: Callable[[], Any] | bool) -> bool:
    """Let the first process do what all wait for, and return whether it says True; an error in it is one in all.

    Args:
        work: a function that the first process calls, or a value of which its one counts.
    """
    failure: Exception | None = None
    said = False
    if first_process():
        try:
            said = bool(work() if callable(work) else work)
        except Exception as error:  # the others must not wait for it for ever
            failure = error
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import broadcast_one_to_all

        said, failed = broadcast_one_to_all(np.asarray([said, failure is not None])).tolist()
        if failed and failure is None:
            raise OSError("the first process, which writes the files, failed")
        said = bool(said)
    if failure is not None:
        raise failure
    return said


def from_first(number: int) -> int:
    """Return the number that the first process passes."""
    if jax.process_count() == 1:
        return number
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.asarray(number)))
