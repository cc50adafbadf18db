"""A progress bar for `fit`: loss, accuracy and images per second; plain lines where there is no terminal."""

import time
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jaxcnn.training import Event

__all__ = ["ProgressBar"]


class ProgressBar:
    """A callback of `fit` and a context manager: `with ProgressBar(console) as bar: fit(..., callbacks=[bar])`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.task = TaskID(0)
        self.shown = ""
        self.looked = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "ProgressBar":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "start":
            total = event.epochs * event.steps_per_epoch
            self.task = self.bar.add_task("compiling", total=total, figures="")
            if not self.console.is_terminal:
                self.console.print("compiling ...")
        elif event.kind == "compiled":
            self.console.print(f"compiled in {event.seconds:.1f} s")
        elif event.kind == "step":
            self._step(event)
        elif event.kind == "epoch":
            self._epoch(event)

    def _step(self, event: Event) -> None:
        # Reading a loss waits for the device: ten times a second is enough for the eye.
        now = time.perf_counter()
        if not self.console.is_terminal or now - self.looked < 0.1:
            return
        self.looked = now
        shown = {name: float(np.mean(value)) for name, value in event.metrics.items()}
        figures = "  ".join(f"{n} {value:.4f}" for n, value in shown.items() if n != "skipped" or value)
        self._advance(event, f"{figures}  {self.shown}")

    def _epoch(self, event: Event) -> None:
        entry = event.metrics
        self.shown = f"{entry['images_per_second']:,.0f} images/s"
        if "data_wait_ms" in entry:
            self.shown += f"  {entry['data_wait_ms']:.1f} ms waiting for data"
        line = _line(entry, event.epochs)
        if entry.get("skipped"):
            line += f"  {entry['skipped']} steps skipped"
        self._advance(event, f"{line}  {self.shown}")
        every = max(event.epochs // 10, 1)
        if not self.console.is_terminal and (event.epoch % every == 0 or event.epoch == 1):
            self.console.print(f"{line}  {self.shown}")

    def _advance(self, event: Event, figures: str) -> None:
        description = f"epoch {event.epoch}/{event.epochs}"
        self.bar.update(self.task, completed=event.step, description=description, figures=figures)


def _line(entry: Any, epochs: int) -> str:
    names = [n for n in entry if n.startswith(("train_", "validation_"))]
    figures = "  ".join(f"{n.replace('_', ' ')} {entry[n]:.4f}" for n in names)
    return f"epoch {entry['epoch']}/{epochs}  {figures}"
