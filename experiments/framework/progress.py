"""Progress bars for `fit` and for `search`; plain lines where there is no terminal."""

import time
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jaxcnn.training import Event

__all__ = ["LanesBar", "ProgressBar"]


class _Bar:
    """A callback and a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.task = TaskID(0)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def plain(self, epoch: int, epochs: int, line: str) -> None:
        """Print the line of every tenth of the epochs, where there is no terminal."""
        every = max(epochs // 10, 1)
        if not self.console.is_terminal and (epoch % every == 0 or epoch == 1):
            self.console.print(line)


class ProgressBar(_Bar):
    """For `fit`: loss, accuracy, images per second. `with ProgressBar(console) as bar: fit(..., callbacks=[bar])`."""

    shown = ""
    looked = 0.0

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
        axes = np.ndim(event.metrics["loss"])  # 1 of several steps; a metric with more is no number yet
        shown = {name: float(np.mean(value)) for name, value in event.metrics.items() if np.ndim(value) == axes}
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
        self.plain(event.epoch, event.epochs, f"{line}  {self.shown}")

    def _advance(self, event: Event, figures: str) -> None:
        description = f"epoch {event.epoch}/{event.epochs}"
        self.bar.update(self.task, completed=event.step, description=description, figures=figures)


class LanesBar(_Bar):
    """For the searches: a bar for the lanes that are trained together, how many go on, and the best loss."""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        lanes = event.metrics["lanes"]
        named = f"lanes {lanes[0]}-{lanes[-1]}" if len(lanes) > 1 else f"lane {lanes[0]}"
        if event.kind == "start":
            self.task = self.bar.add_task(named, total=event.epochs, completed=event.epoch - 1, figures="")
            return
        watched = "validation_loss" if "validation_loss" in event.metrics else "train_loss"
        best = np.nanmin([np.inf, *event.metrics[watched]])
        going = int(event.metrics["going"].sum())
        what = watched.replace("_", " ")
        figures = f"epoch {event.epoch}/{event.epochs}  {going} of {len(lanes)} going  best {what} {best:.4f}"
        self.bar.update(self.task, completed=event.epoch, figures=figures)
        self.plain(event.epoch, event.epochs, f"{named}  {figures}")


def _line(entry: Any, epochs: int) -> str:
    names = [n for n in entry if n.startswith(("train_", "validation_"))]
    figures = "  ".join(f"{n.replace('_', ' ')} {entry[n]:.4f}" for n in names)
    return f"epoch {entry['epoch']}/{epochs}  {figures}"
