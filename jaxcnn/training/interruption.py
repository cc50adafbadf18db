"""Being told to stop: a signal is noted, and the training ends where its state is whole."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["RESUME", "Preempted", "interruption"]

RESUME = 75
"""Exit status of a training that wrote a checkpoint because it was told to end: start it again, it goes on."""


class Preempted(SystemExit):
    """SIGTERM came, and a checkpoint is written; uncaught, it ends the process with the status 75, `RESUME`."""

    def __init__(self, message: str) -> None:
        super().__init__(RESUME)
        self.message = message

    def __str__(self) -> str:
        """Return what happened."""
        return self.message


@contextmanager
def interruption(active: bool) -> Iterator[Callable[[], int]]:
    """Note SIGTERM and Ctrl-C instead of dying of them; yield a function that returns the signal that came, or 0.

    A second Ctrl-C interrupts at once; a signal that came too late for anybody to look comes again at the end. Signals
    reach the main thread alone: in another, nothing is noted.

    Args:
        active: whether to.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and came:
            raise KeyboardInterrupt
        came.append(number)

    if not active or threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    finished = False
    try:
        yield lambda: came[0] if came else 0
        finished = True
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed by Python, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if finished and came:  # too late for anybody to have looked
            os.kill(os.getpid(), came[0])
