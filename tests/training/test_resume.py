"""Runs that are killed, told to stop, or copied half done: they go on to the same bits."""

import functools
import itertools
import math
import os
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import data, fingerprint
from jaxcnn.layers import BatchNorm, Dense, Dropout, Flatten, Sequential
from jaxcnn.losses import batch_accuracy
from jaxcnn.training import RESUME, Preempted, checkpoint, fit, read_metrics, run, sgd
from jaxcnn.training.interruption import interruption

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]

NET = Sequential(flatten=Flatten(), norm=BatchNorm(), drop=Dropout(0.5), head=Dense(3))
EPOCHS, PER_EPOCH = 3, 7  # 21 steps of 6 examples; 4 are left over in each epoch
STEPS = EPOCHS * PER_EPOCH


def nudge(key, batch):
    """Draw from the key, and depend on which example it is and on the epoch."""
    noise = jax.random.uniform(key, batch["image"].shape)
    return dict(
        batch, image=0.9 * batch["image"] + 0.1 * noise * (batch["index"] % 2 + batch["epoch"])[:, None, None, None]
    )


def disturb(key, logits_fn, batch):
    """Draw from the key, and depend on the parameters and statistics of the step."""
    noise = jax.random.uniform(key, batch["image"].shape)
    return dict(batch, image=batch["image"] + 0.1 * noise * logits_fn(batch["image"]).mean())


@pytest.fixture(scope="module")
def train(easy):
    options = {
        "validation": easy.take(range(46, 60)),
        "optimizer": sgd(lambda count: 0.1 / (1 + count)),
        "epochs": EPOCHS,
        "batch_size": 6,
        "key": jax.random.key(3),
        "augment": nudge,
        "attack": disturb,
        "patience": 2,
    }
    return functools.partial(fit, NET, easy.take(range(46)), **options)


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """A run that nobody disturbed, with a checkpoint of every step."""
    return train(run_dir=tmp_path_factory.mktemp("runs") / "whole", save_every=1, keep=1000)


def end_of(result):
    """Return all that must be the same: states, figures but for times, and what the folder holds."""
    lines = [{k: v for k, v in line.items() if "second" not in k} for line in read_metrics(result.run_dir)]
    return fingerprint(result.state), result.best_epoch, lines


def stop_at(*steps, how):
    def callback(event):
        if event.kind == "step" and event.step in steps:
            how()

    return callback


def raise_error():
    raise RuntimeError("stop here")


def test_checkpoints_change_nothing(train, whole, tmp_path):
    assert end_of(train(run_dir=tmp_path / "run")) == end_of(whole)
    assert fingerprint(train().state) == fingerprint(whole.state)


FEW = (1, 6, 7, 8, STEPS)  # at the start, about the end of an epoch, at the end; the others are slow tests


@pytest.mark.parametrize(
    "step", [pytest.param(s, marks=[pytest.mark.slow] * (s not in FEW)) for s in range(1, STEPS + 1)]
)
def test_resumed_at_every_step(step, train, whole, tmp_path):
    shutil.copytree(whole.run_dir, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*.json"):
        if int(path.stem) > step:
            path.unlink()  # its folder stays, as after a save that was cut short
    steps = []
    result = train(run_dir=tmp_path / "run", resume=True, callbacks=[lambda e: steps.append((e.kind, e.step))])
    assert end_of(result) == end_of(whole)
    assert [at for kind, at in steps if kind == "step"] == list(range(step + 1, STEPS + 1))


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 14])
def test_resumed_between_the_replays_of_a_batch(step, train, tmp_path):
    whole = train(run_dir=tmp_path / "whole", replays=2)
    with pytest.raises(RuntimeError, match="stop here"):
        train(run_dir=tmp_path / "run", replays=2, callbacks=[stop_at(step, how=raise_error)])
    steps = []
    again = train(run_dir=tmp_path / "run", replays=2, resume=True, callbacks=[lambda e: steps.append(e.step)])
    assert end_of(again) == end_of(whole)
    assert steps[0] == step


@pytest.mark.slow
def test_three_resumes_in_a_row(train, whole, tmp_path):
    for step in (4, 7, 16):
        with pytest.raises(RuntimeError, match="stop here"):
            train(run_dir=tmp_path, resume=True, save_every=2, callbacks=[stop_at(step, how=raise_error)])
    seconds = []
    result = train(run_dir=tmp_path, resume=True, callbacks=[lambda event: seconds.append(event.step)])
    assert end_of(result) == end_of(whole)
    assert seconds[0] == 16  # what failed was no step: its state was written


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.parametrize("step", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (7, STEPS))])
def test_told_to_stop(number, error, step, train, whole, tmp_path):
    handlers = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
    kill = functools.partial(os.kill, os.getpid(), number)
    with pytest.raises(error, match=rf"stopped after step {step}; a checkpoint is in .*Go on with resume") as caught:
        train(run_dir=tmp_path, callbacks=[stop_at(step, how=kill)])
    if error is Preempted:
        assert caught.value.code == RESUME == 75
    assert [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)] == handlers
    assert end_of(train(run_dir=tmp_path, resume=True)) == end_of(whole)


def test_told_to_stop_writes_one_checkpoint(train, tmp_path, monkeypatch):
    written, write = [], run.save_checkpoint

    def counted(folder, net, state, **options):
        written.append(int(state.step))
        write(folder, net, state, **options)

    monkeypatch.setattr(run, "save_checkpoint", counted)
    with pytest.raises(KeyboardInterrupt):
        train(run_dir=tmp_path, callbacks=[stop_at(3, how=functools.partial(os.kill, os.getpid(), signal.SIGINT))])
    assert written == [3]


def test_a_signal_at_which_nobody_looked_comes_again_at_the_end():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt), interruption(True):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_no_signal_is_noted():
    def enter():
        with interruption(True) as came:
            return came()

    with ThreadPoolExecutor() as pool:
        assert pool.submit(enter).result() == 0


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(train, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(run_dir=tmp_path, callbacks=[stop_at(3, how=twice)])
    assert not caught.value.args


def test_a_finished_run_is_returned_as_it_is(train, whole):
    seen = []
    again = train(run_dir=whole.run_dir, resume=True, callbacks=[lambda event: seen.append(event.kind)])
    assert end_of(again) == end_of(whole)
    assert again.history == whole.history
    assert seen == []


@pytest.mark.slow
def test_resume_begins_where_there_is_nothing(train, whole, tmp_path):
    assert end_of(train(run_dir=tmp_path / "new", resume=True)) == end_of(whole)
    (tmp_path / "killed early").mkdir()
    (tmp_path / "killed early" / "metrics.jsonl").write_text('{"epoch": 1, "trai')
    assert end_of(train(run_dir=tmp_path / "killed early", resume=True)) == end_of(whole)


@pytest.mark.slow
def test_a_copied_folder_goes_on(train, whole, tmp_path):
    with pytest.raises(RuntimeError):
        train(run_dir=tmp_path / "run", callbacks=[stop_at(9, how=raise_error)])
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "copy")
    shutil.rmtree(tmp_path / "run")
    assert end_of(train(run_dir=tmp_path / "elsewhere" / "copy", resume=True)) == end_of(whole)


def test_a_damaged_checkpoint_is_passed_over(train, whole, tmp_path):
    with pytest.raises(RuntimeError):
        train(run_dir=tmp_path, save_every=4, keep=3, callbacks=[stop_at(14, how=raise_error)])
    assert sorted(int(path.stem) for path in (tmp_path / "checkpoints").glob("*.json")) == [8, 12, 14]
    victim = next(
        path for path in (tmp_path / "checkpoints" / "14.0").rglob("*") if path.is_file() and path.stat().st_size
    )
    victim.write_bytes(b"")
    (tmp_path / "checkpoints" / "12.json").write_text("{")
    with pytest.warns(UserWarning, match="The one of step 8 is taken") as warned:
        result = train(run_dir=tmp_path, resume=True)
    assert len(warned) == 2
    assert end_of(result) == end_of(whole)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"key": jax.random.key(4)}, "key"),
        ({"epochs": 4}, "epochs"),
        ({"batch_size": 5}, "batch_size"),
        ({"patience": 1}, "patience"),
        ({"min_delta": 0.1}, "min_delta"),
        ({"validation": None, "patience": None}, "validation"),
        ({"monitor": "accuracy"}, "monitor"),
        ({"metrics": {"accuracy": batch_accuracy, "again": batch_accuracy}}, "metrics"),
        ({"accumulate": 2}, "accumulate"),
        ({"replays": 2}, "replays"),
        ({"dtype": jnp.bfloat16}, "dtype"),
    ],
)
def test_another_run_is_refused_and_untouched(options, name, train, whole):
    before = {path: path.read_bytes() for path in whole.run_dir.rglob("*") if path.is_file()}
    with pytest.raises(
        ValueError, match=rf"^fit: expected the training that .* holds, got another {name} \(.* there, .*"
    ):
        train(run_dir=whole.run_dir, resume=True, **options)
    assert {path: path.read_bytes() for path in whole.run_dir.rglob("*") if path.is_file()} == before


def test_changed_data_are_refused(train, whole, easy):
    other = data.from_arrays(255 - easy["image"], easy["label"]).take(range(46))
    with pytest.raises(ValueError, match=r"got another train \("):
        fit(NET, other, **train.keywords, run_dir=whole.run_dir, resume=True)


def test_another_start_is_refused(train, whole):
    with pytest.raises(ValueError, match=r"got another start \(None there, "):
        train(run_dir=whole.run_dir, resume=True, start=(whole.state.params, whole.state.model_state))


def test_other_frozen_layers_are_refused(train, tmp_path):
    """The dropout has no parameters: in a checkpoint nothing else tells the two trainings apart."""
    train(run_dir=tmp_path, epochs=1, freeze=["norm"])
    with pytest.raises(ValueError, match=r"got another freeze \(\['norm'\] there, \['norm', 'drop'\] here\)"):
        train(run_dir=tmp_path, epochs=1, freeze=["norm", "drop"], resume=True)


def test_two_trainings_in_one_folder(train, tmp_path):
    def another():
        train(run_dir=tmp_path, resume=True)

    message = (
        f"fit: expected a run_dir that nobody else uses, got {tmp_path} (another process trains in it). Wait for it."
    )
    with pytest.raises(OSError, match=f"^{re.escape(message)}$"):
        train(run_dir=tmp_path, callbacks=[stop_at(2, how=another)])
    train(run_dir=tmp_path, resume=True)  # the lock is gone


@pytest.mark.parametrize(
    ("seconds", "options", "steps"),
    [
        (0.0, {}, [4, 7, 11, 14, 18, 21]),  # at each look, and at the end of each epoch
        (math.inf, {}, [STEPS]),
        (0.0, {"save_every": 10}, [10, 20, STEPS]),
    ],
)
def test_checkpoints_are_written_by_the_clock_unless_steps_are_given(
    seconds, options, steps, train, tmp_path, monkeypatch
):
    monkeypatch.setattr(run, "SAVE_SECONDS", seconds)
    monkeypatch.setattr(run, "LOOK_EVERY", 4)
    train(run_dir=tmp_path, keep=1000, **options)
    assert sorted(int(path.stem) for path in (tmp_path / "checkpoints").glob("*.json")) == steps


def test_resume_without_a_folder(train):
    with pytest.raises(ValueError, match=r"^fit: expected run_dir with resume=True, got None\. Pass the folder"):
        train(resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_stay(keep, train, tmp_path):
    train(run_dir=tmp_path, save_every=5, keep=keep)
    left = sorted(int(path.stem) for path in (tmp_path / "checkpoints").iterdir() if path.is_dir())
    assert left == [15, 20, 21][-keep:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "lock", "metrics.jsonl"]


# --- trouble while a checkpoint is written

PLACES = [
    (checkpoint, "_prepare"),
    (checkpoint, "_write"),
    (checkpoint, "_hashes"),
    (os, "fsync"),
    (os, "replace"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[name for _, name in PLACES])
def test_told_to_stop_while_saving(owner, name, train, whole, tmp_path, monkeypatch):
    done = getattr(owner, name)

    def signalled(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return done(*args, **options)

    monkeypatch.setattr(owner, name, signalled)
    with pytest.raises(Preempted, match=r"after step 4;|after step 5;"):
        train(run_dir=tmp_path, save_every=4)
    monkeypatch.undo()
    assert end_of(train(run_dir=tmp_path, resume=True)) == end_of(whole)


ERRORS = [OSError(28, "No space"), OSError(5, "I/O error"), PermissionError(13, "denied")]


@pytest.mark.parametrize(("place", "error"), [*zip(PLACES, itertools.cycle(ERRORS), strict=False)])
def test_a_save_that_fails_is_told_at_once_and_loses_nothing(place, error, train, whole, tmp_path, monkeypatch):
    owner, name = place
    done, calls = getattr(owner, name), []

    def fail(*args, **options):
        calls.append(1)
        if len(calls) >= 2:
            raise error
        return done(*args, **options)

    message = r"^(save_checkpoint: expected a folder that can be written, got|\[Errno).*(No space|I/O error|denied)"
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OSError, match=message):
        train(run_dir=tmp_path / "run", save_every=4)
    monkeypatch.undo()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert end_of(train(run_dir=tmp_path / "copy", resume=True)) == end_of(whole)
