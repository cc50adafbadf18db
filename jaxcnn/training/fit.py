"""The training loop: its arguments, checked, before the run begins or goes on."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxcnn import surgery
from jaxcnn.checking import expect, expect_count, expect_dtype, expect_flag, expect_key, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream
from jaxcnn.fingerprint import fingerprint
from jaxcnn.layers.layer import Layer, expect_net
from jaxcnn.surgery.tree import paths_in
from jaxcnn.training.arguments import (
    expect_callbacks,
    expect_outputs,
    expect_sets,
    expect_start,
    expect_trains,
    expect_watched,
    parted,
    steps_of,
    usual_optimizer,
)
from jaxcnn.training.checkpoint import latest_checkpoint
from jaxcnn.training.diagnosis import first_not_finite
from jaxcnn.training.early_stopping import early_stopping
from jaxcnn.training.evaluation import expect_hashes
from jaxcnn.training.feed import feed
from jaxcnn.training.files import RunFiles
from jaxcnn.training.interruption import interruption
from jaxcnn.training.mesh import device_mesh, state_shardings
from jaxcnn.training.optimizer import except_frozen, expect_optimizer
from jaxcnn.training.run import Event, FitResult, Plan, Run
from jaxcnn.training.state import TrainState, run_keys
from jaxcnn.training.step import (
    Attack,
    Augment,
    PerExample,
    expect_attack,
    expect_augment,
    make_train_step,
    with_defaults,
)

__all__ = ["fit"]


def fit(
    net: Layer,
    train: Dataset | Stream,
    *,
    validation: Dataset | Stream | float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    loss: PerExample | None = None,
    metrics: Mapping[str, PerExample] | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    key: jax.Array,
    augment: Augment | None = None,
    attack: Attack | None = None,
    replays: int = 1,
    dtype: Any = jnp.float32,
    accumulate: int = 1,
    rematerialize: Sequence[str] = (),
    start: tuple[Any, Any] | None = None,
    freeze: Sequence[str] = (),
    patience: int | None = None,
    min_delta: float = 0.0,
    monitor: str = "loss",
    mesh: Mesh | None = None,
    run_dir: Path | str | None = None,
    resume: bool = False,
    save_every: int | None = None,
    keep: int = 2,
    skip_limit: int = 10,
    callbacks: Sequence[Callable[[Event], None]] = (),
) -> FitResult:
    """Return the trained state and the history of training `net` on `train`.

    Every epoch goes through the training set in a new random order, in full batches (the ragged tail is left out of
    that epoch), then measures the validation set. The state with the best validation value is the result.

    Beside what the set holds a batch has "index", the number of each example, and "epoch", from 0, for augmentations
    that ask. Of a `Stream`, the entries of `history` also have "data_wait_ms", how long a step waited for its batch.

    A batch is spread over all devices of all processes, and the statistics of batch norm are those of the whole batch:
    the run is the same, to rounding, on any number of devices. With a `run_dir` a run can be killed at any moment and
    gone on with, `resume=True`: its end is the same to the bit. SIGTERM and Ctrl-C write a checkpoint first; after
    SIGTERM the process ends with the status 75 (`Preempted`).

    A step whose values are not all finite is skipped, as `make_train_step` says; "skipped" of an epoch counts them.

    Args:
        net: the net, from images in [0, 1] to outputs.
        train: the training set, in memory or a stream.
        validation: a data set; or a fraction of `train` to hold out, stratified; or None.
        optimizer: any optax transformation; `sgd(warmup_cosine(0.05, all steps))` unless given.
        loss, metrics, augment, attack, dtype, accumulate, rematerialize: as for `make_train_step`.
        epochs: passes through the training set.
        replays: how many steps in a row each batch is for; they draw the same augmentation and dropout.
        batch_size: images per step, on all devices together.
        key: decides everything random: initial values, held-out part, order, dropout, augmentation, attack.
        start: parameters and running statistics to begin with, in the place of new ones.
        freeze: paths of layers that stay as they are: see `surgery.freeze`.
        patience: stop after so many epochs without improvement; None trains to the end.
        min_delta: the least improvement that counts as one, for `patience` and for what is best.
        monitor: what is best: "loss" has its validation mean minimised, any other metric maximised.
        mesh: the devices, as `device_mesh` returns them; all there are unless given.
        run_dir: a folder for `metrics.jsonl` (a line per epoch) and `checkpoints/`.
        resume: go on from the latest whole checkpoint of `run_dir`, or begin where it has none. All other arguments
            have to be those of that run, but for `mesh`, `rematerialize`, `save_every`, `keep`, `skip_limit`,
            `callbacks`. What has no description of its own (loss, what a metric computes, augmentation, attack, the
            optimizer's numbers, a stream's crops) is not compared.
        save_every: steps between checkpoints; a minute and the end of the run unless given.
        keep: how many checkpoints stay; each holds the best state too.
        skip_limit: give up after so many skipped steps one after another.
        callbacks: functions of an `Event`.

    Returns:
        A `FitResult`.

    Raises:
        ValueError: options out of range, a batch larger than the set or not divided by the devices, an unknown
            monitor; `run_dir` holds a run and `resume` is False, or it holds another one.
        TypeError: arguments of another kind: no net, data set, optimizer, function or key.
        FloatingPointError: `skip_limit` steps in a row were skipped; the message names the first of them, and the
            first array that was not finite. Or the validation value never was finite.
        OSError: `run_dir` cannot be written, or another process trains in it.
        Preempted: SIGTERM came; KeyboardInterrupt: Ctrl-C. A checkpoint was written.
    """
    where = "fit"
    epochs = expect_count(where, "epochs", epochs)
    batch_size = expect_count(where, "batch_size", batch_size)
    accumulate = expect_count(where, "accumulate", accumulate)
    replays = expect_count(where, "replays", replays)
    keep = expect_count(where, "keep", keep)
    dtype = expect_dtype(where, dtype)
    skip_limit = expect_count(where, "skip_limit", skip_limit)
    save_every = None if save_every is None else expect_count(where, "save_every", save_every)
    expect_sets(where, train, validation)
    expect_net(where, net)
    if optimizer is not None:
        expect_optimizer(where, optimizer)
    loss, metrics = with_defaults(where, loss, metrics)
    if validation is not None:
        expect_hashes(where, loss, metrics)
    expect_augment(where, augment)
    expect_attack(where, attack)
    fix = "Pass device_mesh(), or leave it out."
    expect(mesh is None or isinstance(mesh, Mesh), where, "mesh as a jax.sharding.Mesh", shown(mesh), fix, TypeError)
    ok, fix = run_dir is None or isinstance(run_dir, str | Path), 'Pass "runs/first", say.'
    expect(ok, where, "run_dir as a path", shown(run_dir), fix, TypeError)
    expect_callbacks(where, callbacks)
    resume = expect_flag(where, "resume", resume)
    expect(not resume or run_dir is not None, where, "run_dir with resume=True", None, "Pass the folder of the run.")
    expect_key(where, key)
    mesh = device_mesh() if mesh is None else mesh
    keys = run_keys(key)
    train, validation = parted(where, train, validation, keys.split)
    steps_per_epoch = steps_of(where, train.size, batch_size) * replays
    parts = mesh.size * accumulate
    fix = "Change batch_size, or pass mesh=training.device_mesh(jax.devices()[:n])."
    what = f"a batch_size that {mesh.size} devices and accumulate={accumulate} divide"
    expect(batch_size % parts == 0, where, what, batch_size, fix)
    if optimizer is None:
        optimizer = usual_optimizer(epochs * steps_per_epoch)
    expect_watched(where, monitor, metrics, validation, patience)
    stopping = early_stopping(patience, min_delta=min_delta)
    expect_outputs(net, loss, train, validation, metrics=metrics)
    freeze = paths_in(where, freeze)
    frozen = surgery.freeze(net, freeze)  # says which paths are unknown
    expect_start(where, start)
    kept = except_frozen(optimizer, freeze)
    step = make_train_step(
        net,
        optimizer,
        loss,
        metrics=metrics,
        augment=augment,
        attack=attack,
        dtype=dtype,
        accumulate=accumulate,
        rematerialize=rematerialize,
        freeze=freeze,
    )

    def create(key: jax.Array, start: Any) -> TrainState:
        return TrainState.create(net, kept, key, train.spec, start=start)

    template = jax.eval_shape(create, keys.init, start)
    expect_trains(where, template.params, freeze)
    shardings = state_shardings(mesh, template)
    begin = jax.jit(create, out_shardings=shardings)
    settings = {
        "key": jax.random.key_data(key).tolist(),
        "train": train.info.fingerprint,
        "validation": None if validation is None else validation.info.fingerprint,
        "epochs": epochs,
        "batch_size": batch_size,
        "replays": replays,
        "accumulate": accumulate,
        "dtype": jnp.dtype(dtype).name,
        "patience": None if patience is None else int(patience),
        "min_delta": float(min_delta),
        "monitor": monitor,
        "metrics": sorted(metrics),
        "start": None if start is None else fingerprint(start),
        "freeze": freeze,
    }
    plan = Plan(
        net=net,
        train=train,
        validation=validation,
        loss=loss,
        metrics=metrics,
        epochs=epochs,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        monitor=monitor,
        stopping=stopping,
        save_every=save_every,
        keep=keep,
        skip_limit=skip_limit,
        callbacks=callbacks,
        diagnose=partial(first_not_finite, frozen, loss, augment, attack, dtype, accumulate),
        settings=settings,
    )
    with ExitStack() as stack:
        files = None if run_dir is None else stack.enter_context(RunFiles(run_dir, resume=resume))
        run = Run(plan, begin(keys.init, start), files, stack.enter_context(interruption(files is not None)))
        if files is not None and resume:
            _take_up(run, files, template, shardings)
        run.fed = stack.enter_context(closing(feed(step, train, batch_size, keys.order, mesh, run.step, replays)))
        return run.go()


def _take_up(run: Run, files: RunFiles, template: TrainState, shardings: Any) -> None:
    """Let the run go on from the latest checkpoint of its folder, if there is one."""
    as_placed = jax.tree.map(
        lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at), template, shardings
    )
    found = latest_checkpoint(files.checkpoints, run.plan.net, as_placed)
    if found is not None:
        there, here = found.record["settings"], run.plan.settings
        for name, value in here.items():
            expect(
                there.get(name) == value,
                "fit",
                f"the training that {files.directory} holds",
                f"another {name} ({there.get(name)} there, {value} here)",
                "Pass what it was begun with, or choose another folder.",
            )
        run.take_up(found)
    files.forget_after(run.step)
    files.set_epochs(run.lines)
