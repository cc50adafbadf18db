"""Several processes that train together: what one of them does for all, and what they agree on.

All processes call these functions at the same points: each waits for the others.
"""

from collections.abc import Callable

import jax
import numpy as np

__all__ = ["first_process", "from_first", "largest"]


def first_process() -> bool:
    """Return whether this is the process that writes files."""
    return jax.process_index() == 0


def largest(*numbers: int) -> tuple[int, ...]:
    """Return the largest value of each number in any process."""
    if jax.process_count() == 1:
        return numbers
    from jax.experimental.multihost_utils import process_allgather

    return tuple(np.asarray(process_allgather(np.asarray(numbers))).reshape(-1, len(numbers)).max(0).tolist())


def from_first(work: Callable[[], int | None]) -> int:
    """Let the first process do what all wait for; return the number that it returns, 0 of None.

    Raises:
        Exception: what `work` raises, in the first process.
        OSError: in the others, then.
    """
    failure: BaseException | None = None
    said = 0
    if first_process():
        try:
            said = work() or 0
        except BaseException as error:  # the others must not wait for it for ever
            failure = error
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import broadcast_one_to_all

        said, failed = broadcast_one_to_all(np.asarray([said, failure is not None])).tolist()
        if failed and failure is None:
            raise OSError("from_first: expected the first process to do its part, got an error there. Read its output.")
    if failure is not None:
        raise failure
    return int(said)
