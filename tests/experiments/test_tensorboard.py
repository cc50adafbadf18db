"""TensorBoard's event files, read back by the framing that TensorFlow documents for its records."""

import struct

import jax
import numpy as np
import pytest

from experiments.framework import tensorboard
from experiments.framework.tensorboard import TensorBoard, event_files
from jaxcnn import data, training
from jaxcnn.layers import Dense, Flatten, Sequential
from jaxcnn.training import Event

pytest.importorskip("tensorboardX")


def crc32c(content):
    """Return the cyclic redundancy check of Castagnoli's polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def expect_check(content, found):
    crc = crc32c(content)
    assert struct.unpack("<I", found)[0] == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def entries(path):
    """Yield the entries of an event file: length, its check, content, its check."""
    from tensorboardX.proto.event_pb2 import Event as Entry

    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        expect_check(content[:8], content[8:12])
        expect_check(content[12 : 12 + length], content[12 + length : 16 + length])
        yield Entry.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def curves(folder):
    """Return {tag: [(step, value), ...]} as TensorBoard shows it: a start forgets the points from its step on."""
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for entry in entries(path):
            if entry.HasField("session_log"):
                assert entry.session_log.status == entry.session_log.START
                found = {tag: [point for point in points if point[0] < entry.step] for tag, points in found.items()}
            for value in entry.summary.value:
                found.setdefault(value.tag, []).append((entry.step, value.simple_value))
    return found


def epoch(number, loss, *, steps=10):
    figures = {"epoch": number, "step": steps * number, "train_loss": loss, "images_per_second": 100.0}
    return Event("epoch", number, steps * number, 4, steps, 8, 1.0, figures)


def start(step, number, *, steps=10):
    return Event("start", number, step, 4, steps, 8, 0.0)


@pytest.mark.slow
def test_every_epoch_of_a_training_is_on_disk_when_it_ends(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (24, 4, 4, 1), np.uint8)
    train = data.from_arrays(images, generator.integers(0, 2, 24).astype(np.int32))
    seen = []
    result = training.fit(
        Sequential(flat=Flatten(), head=Dense(2)),
        train,
        validation=0.25,
        epochs=2,
        batch_size=8,
        key=jax.random.key(0),
        callbacks=[TensorBoard(tmp_path), lambda event: event.kind == "epoch" and seen.append(curves(tmp_path))],
    )
    assert [len(found["train/loss"]) for found in seen] == [1, 2]
    steps = [entry["step"] for entry in result.history]
    for tag, name in (
        ("train/loss", "train_loss"),
        ("validation/loss", "validation_loss"),
        ("validation/accuracy", "validation_accuracy"),
        ("images_per_second", "images_per_second"),
    ):
        values = [entry[name] for entry in result.history]
        np.testing.assert_array_equal(seen[-1][tag], np.transpose([steps, np.float32(values)]), err_msg=tag)
    assert not {"epoch", "step"} & set(seen[-1])


@pytest.mark.parametrize("at", [20, 25, 30])
def test_a_run_that_goes_on_goes_on_in_its_curves(tmp_path, at):
    first, second = TensorBoard(tmp_path), TensorBoard(tmp_path)
    for event in (start(0, 1), epoch(1, 4.0), epoch(2, 3.0), epoch(3, 2.5)):
        first(event)
    # Killed after the third epoch; its last checkpoint is from before, within, or before the evaluation of it.
    for event in (start(at, 3), epoch(3, 2.0), epoch(4, 1.0)):
        second(event)
    assert len(list(tmp_path.iterdir())) == 2
    assert curves(tmp_path)["train/loss"] == [(10, 4.0), (20, 3.0), (30, 2.0), (40, 1.0)]


def test_a_checkpoint_at_the_end_of_an_epoch_keeps_its_point(tmp_path):
    first, second = TensorBoard(tmp_path), TensorBoard(tmp_path)
    for event in (start(0, 1), epoch(1, 4.0), epoch(2, 3.0)):
        first(event)
    for event in (start(10, 2), epoch(2, 2.0)):
        second(event)
    assert curves(tmp_path)["train/loss"] == [(10, 4.0), (20, 2.0)]


def test_values_that_are_not_finite_are_written(tmp_path):
    board = TensorBoard(tmp_path)
    board(start(0, 1))
    board(epoch(1, float("nan")))
    ((step, value),) = curves(tmp_path)["train/loss"]
    assert step == 10 and np.isnan(value)


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "first_process", lambda: False)
    board = TensorBoard(tmp_path)
    board(start(0, 1))
    board(epoch(1, 1.0))
    assert not list(tmp_path.iterdir())


def test_there_is_a_callback_where_tensorboardx_is_installed(tmp_path, monkeypatch):
    (board,) = event_files(tmp_path)
    assert isinstance(board, TensorBoard)
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    assert event_files(tmp_path) == []
