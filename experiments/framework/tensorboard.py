"""TensorBoard's event files beside `metrics.jsonl`: `tensorboard --logdir runs` shows the curves while they grow."""

import importlib.util
import time
import weakref
from pathlib import Path
from typing import Any

from jaxcnn.training import Event
from jaxcnn.training.processes import first_process

__all__ = ["TensorBoard", "event_files"]


class TensorBoard:
    """A callback of `fit` that writes the figures of every epoch: `fit(..., callbacks=[TensorBoard(folder)])`.

    x is the step. What is written is on disk when the epoch ends. A run that goes on writes another file, which tells
    TensorBoard to forget points that were written after the checkpoint, so that no epoch is there twice.
    """

    def __init__(self, folder: Path | str) -> None:
        """Write into `folder`, of several processes the first one."""
        self.folder = Path(folder)
        self.writer: Any = None

    def __call__(self, event: Event) -> None:
        """Write what an event says."""
        if not first_process() or event.kind not in ("start", "epoch"):
            return
        # SummaryWriter hands what it writes to a thread, for which its `flush` does not wait.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event as Entry  # pyrefly: ignore

        if event.kind == "start":
            # With the step in its name, as two starts may share a second, and TensorBoard reads in order of names.
            self.writer = EventsWriter(str(self.folder / "events"), f".{event.step:09d}")
            weakref.finalize(self, self.writer.close)
            done = (event.epoch - 1) * event.steps_per_epoch  # the steps of whole epochs, which keep their points
            content: dict[str, Any] = {"step": done + 1, "session_log": {"status": "START"}}
        else:
            figures = {name: value for name, value in event.metrics.items() if name not in ("epoch", "step")}
            values = [{"tag": tag(name), "simple_value": value} for name, value in figures.items()]
            content = {"step": event.step, "summary": {"value": values}}
        self.writer.write_event(Entry(wall_time=time.time(), **content))
        self.writer.flush()


def tag(name: str) -> str:
    """Return the name of a curve; TensorBoard groups by what stands before the slash."""
    for part in ("train", "validation"):
        if name.startswith(f"{part}_"):
            return f"{part}/{name.removeprefix(f'{part}_')}"
    return name


def event_files(folder: Path | str) -> list[TensorBoard]:
    """Return the callbacks that write event files: one, or none where tensorboardX is not installed."""
    return [TensorBoard(folder)] if importlib.util.find_spec("tensorboardX") else []
