"""The training loop: what it returns, writes, tells and refuses, and that a seed decides all of it."""

import functools
import importlib
import inspect
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcnn
from jaxcnn import data, fingerprint, initializers, models
from jaxcnn.layers import BatchNorm, Dense, Flatten, Sequential
from jaxcnn.training import TrainState, evaluate, fit, load_checkpoint, read_metrics, sgd

KEY = jax.random.key(0)
EPOCHS = 8

# One weight per pixel, all growing by 0.1 a step on images of ones: after t steps the output is 0.4 t.
DRIFT = Sequential(flatten=Flatten(), head=Dense(1, use_bias=False, kernel_init=initializers.zeros))
ONES = data.from_arrays(np.ones((6, 2, 2, 1), np.float32), number=np.arange(6), held=np.zeros(6))
HELD = data.from_arrays(np.ones((4, 2, 2, 1), np.float32), number=np.arange(4), held=np.ones(4))


def drift(outputs, batch):
    """Fall by 0.4 a step on training images, and be least where the output is 2.4, after 6 steps, on held-out ones."""
    return jnp.where(batch["held"] == 1, (outputs[:, 0] - 2.4) ** 2, -outputs[:, 0])


def near(outputs, batch):
    return -((outputs[:, 0] - 2.4) ** 2)


def breaking(at):
    """A loss that is NaN from step `at` on."""

    def loss(outputs, batch):
        return jnp.where(outputs[:, 0] > 0.4 * (at - 1) - 0.2, jnp.nan, -outputs[:, 0])

    return loss


fit_drift = functools.partial(
    fit, DRIFT, ONES, loss=drift, optimizer=sgd(0.1, momentum=0, weight_decay=0), batch_size=3, key=KEY
)


def template(net, dataset, optimizer):
    return jax.eval_shape(lambda: TrainState.create(net, optimizer, KEY, dataset.spec))


def written(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- an ordinary training


@pytest.fixture(scope="module")
def optimizer():
    return sgd(0.1)


@pytest.fixture(scope="module")
def run(net, easy, optimizer, tmp_path_factory):
    """One training, with everything on: (result, events, folder)."""
    folder, events = tmp_path_factory.mktemp("runs") / "new" / "run", []
    result = fit(
        net,
        easy,
        validation=0.2,
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=8,
        key=KEY,
        run_dir=folder,
        save_every=18,
        callbacks=[events.append],
    )
    return result, events, folder


def test_loss_falls_and_the_classes_are_learned(run):
    history = run[0].history
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    assert history[-1]["validation_accuracy"] > 0.9
    assert len(history) == EPOCHS


def test_history(run, easy):
    for number, entry in enumerate(run[0].history, start=1):
        assert entry.keys() == {
            "epoch",
            "step",
            "train_loss",
            "train_accuracy",
            "skipped",
            "validation_loss",
            "validation_accuracy",
            "seconds",
            "images_per_second",
        }
        assert (entry["epoch"], entry["step"]) == (number, 6 * number)
        assert entry["images_per_second"] == pytest.approx(48 / entry["seconds"])
        assert all(type(value) in (int, float) for value in entry.values())


def test_parts_are_disjoint_and_stratified(run, easy):
    train, held = run[0].train["number"], run[0].validation["number"]
    assert sorted([*train, *held]) == list(range(60))
    assert np.bincount(run[0].validation["label"]).tolist() == [4, 4, 4]


def test_the_state_is_that_of_the_best_epoch(run, net):
    result = run[0]
    best = min(result.history, key=lambda entry: entry["validation_loss"])
    assert result.best_epoch == best["epoch"]
    assert result.state.step == best["step"]
    again = evaluate(net, result.state.params, result.state.model_state, result.validation)
    assert again == {"loss": best["validation_loss"], "accuracy": best["validation_accuracy"]}


def test_metrics_are_written_with_a_hash_of_the_parameters(run):
    result, _, folder = run
    lines = read_metrics(folder)
    assert [{k: v for k, v in line.items() if k != "params_sha256"} for line in lines] == result.history
    assert lines[result.best_epoch - 1]["params_sha256"] == fingerprint(result.state.params)
    assert len({line["params_sha256"] for line in lines}) == EPOCHS
    assert result.run_dir == folder


def test_the_checkpoint_is_the_best_state(run, net, optimizer):
    result, _, folder = run
    restored = load_checkpoint(folder / "checkpoints", net, template(net, result.train, optimizer))
    assert fingerprint(restored) == fingerprint(result.state)
    assert {int(path.stem) for path in (folder / "checkpoints").glob("*.json")} == {36, 48}
    last = load_checkpoint(folder, net, template(net, result.train, optimizer), last=True)
    assert last.step == 48
    assert fingerprint(last.params) == read_metrics(folder)[-1]["params_sha256"]


def test_callbacks_are_told_in_order(run):
    events = run[1]
    epoch = ["step"] * 6 + ["epoch"]
    assert [event.kind for event in events] == ["start", "compiled", *epoch * EPOCHS]
    assert [event.step for event in events if event.kind == "step"] == list(range(1, 6 * EPOCHS + 1))
    assert {(event.epochs, event.steps_per_epoch, event.batch_size) for event in events} == {(EPOCHS, 6, 8)}
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    for event in events:
        if event.kind == "step":
            assert event.metrics.keys() == {"loss", "accuracy", "skipped"}
            assert event.epoch == (event.step - 1) // 6 + 1
    ends = [event for event in events if event.kind == "epoch"]
    assert [event.metrics for event in ends] == run[0].history
    assert [event.state is not None for event in events] == [event.kind == "epoch" for event in events]


def test_means_of_an_epoch_are_those_of_its_steps(run):
    result, events, _ = run
    for entry in result.history:
        steps = [e.metrics for e in events if e.kind == "step" and e.epoch == entry["epoch"]]
        for name in ("loss", "accuracy"):
            assert entry[f"train_{name}"] == pytest.approx(np.mean([float(step[name]) for step in steps]), rel=1e-6)


# --- the seed


def test_same_key_same_bits_other_key_others(run, net, easy, optimizer):
    # Neither the folder nor callbacks have a say in it.
    options = {"validation": 0.2, "optimizer": optimizer, "epochs": EPOCHS, "batch_size": 8}
    again = fit(net, easy, key=jax.random.key(0), **options)
    assert fingerprint(again.state) == fingerprint(run[0].state)
    timeless = [{k: v for k, v in e.items() if "second" not in k} for r in (again, run[0]) for e in r.history]
    assert timeless[:EPOCHS] == timeless[EPOCHS:]
    other = fit(net, easy, key=jax.random.key(1), **options)
    assert fingerprint(other.state.params) != fingerprint(run[0].state.params)
    assert other.train.info.fingerprint != run[0].train.info.fingerprint


def small_training():
    """Return the fingerprint of a small training; self-contained, as another process runs its source too."""
    import jax
    import numpy as np

    from jaxcnn import data, fingerprint, layers, training

    net = layers.Sequential(
        flat=layers.Flatten(), norm=layers.BatchNorm(), drop=layers.Dropout(0.5), head=layers.Dense(2)
    )
    image = np.random.default_rng(0).integers(0, 256, (16, 2, 2, 1), np.uint8)
    dataset = data.from_arrays(image, np.arange(16) % 2)
    result = training.fit(net, dataset, validation=0.25, epochs=2, batch_size=4, key=jax.random.key(7))
    return fingerprint(result.state)


@pytest.mark.newest
def test_same_key_same_bits_in_another_process():
    there = subprocess.run(
        [sys.executable, "-c", f"{inspect.getsource(small_training)}\nprint(small_training())"],
        env=os.environ | {"PYTHONPATH": str(Path(jaxcnn.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == small_training()


@pytest.mark.slow
def test_without_jit_the_same_to_rounding(easy):
    net = Sequential(flatten=Flatten(), norm=BatchNorm(), head=Dense(3, kernel_init=initializers.Constant(0.1)))
    # Six to train, three to validate: every batch has one shape, as each operation is compiled for each shape.
    options = {"validation": 1 / 3, "epochs": 2, "batch_size": 3, "key": KEY}
    compiled = fit(net, easy.take(np.arange(9)), **options)
    with jax.disable_jit():
        eager = fit(net, easy.take(np.arange(9)), **options)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        (eager.state.params, eager.state.model_state),
        (compiled.state.params, compiled.state.model_state),
    )


def order_of_examples(key, epochs=3):
    """Return the numbers of the examples of each step, read from a sum of powers of two."""
    dataset = data.from_arrays(np.ones((10, 2, 2, 1), np.float32), number=np.arange(10), held=np.zeros(10))

    def bits(outputs, batch):
        return jnp.sum(2.0 ** batch["number"]) * jnp.ones(len(outputs))

    seen = []
    fit(
        DRIFT,
        dataset,
        loss=drift,
        metrics={"bits": bits},
        optimizer=sgd(0.1),
        epochs=epochs,
        batch_size=3,
        key=key,
        callbacks=[lambda event: seen.append(event.metrics.get("bits")) if event.kind == "step" else None],
    )
    sums = [int(value) for value in seen]
    return [[{n for n in range(10) if total >> n & 1} for total in sums[3 * e : 3 * e + 3]] for e in range(epochs)]


@pytest.mark.slow
def test_epochs_go_through_the_set_in_new_orders():
    epochs = order_of_examples(KEY)
    for steps in epochs:
        assert [len(examples) for examples in steps] == [3, 3, 3]  # the tail of one is left out
        assert len(set.union(*steps)) == 9
    assert epochs[0] != epochs[1] != epochs[2]
    assert order_of_examples(KEY, epochs=2) == epochs[:2]
    assert order_of_examples(jax.random.key(1)) != epochs


# --- which state is best, and when it ends


@pytest.mark.parametrize("options", [{"monitor": "near", "metrics": {"near": near}}, {}], ids=["metric", "loss"])
def test_early_stopping_returns_the_best_and_stops_in_time(options, tmp_path):
    result = fit_drift(validation=HELD, epochs=20, patience=2, run_dir=tmp_path / "run", **options)
    # The output is 0.8 a epoch: 2.4 after the third; two more are borne.
    assert (result.best_epoch, len(result.history)) == (3, 5)
    assert result.state.step == 6
    np.testing.assert_allclose(result.state.params["head"]["kernel"], 0.6, rtol=1e-5)
    np.testing.assert_allclose(
        [entry["train_loss"] for entry in result.history], [-0.2, -1, -1.8, -2.6, -3.4], rtol=1e-5
    )
    np.testing.assert_allclose([e["validation_loss"] for e in result.history], [2.56, 0.64, 0, 0.64, 2.56], atol=1e-5)
    restored = load_checkpoint(tmp_path / "run" / "checkpoints", DRIFT, template(DRIFT, ONES, sgd(0.1, momentum=0)))
    assert restored.step == 6
    assert len(read_metrics(tmp_path / "run")) == 5


def test_without_patience_it_trains_to_the_end_and_returns_the_best():
    result = fit_drift(validation=HELD, epochs=6, min_delta=1.0)
    # 2.56, 0.64, 0: the third is better by less than 1.
    assert (result.best_epoch, len(result.history)) == (2, 6)


def test_without_validation_the_last_state_is_returned():
    result = fit_drift(epochs=4)
    assert (result.best_epoch, int(result.state.step), result.validation) == (4, 8, None)
    np.testing.assert_allclose(result.state.params["head"]["kernel"], 0.8, rtol=1e-5)
    assert not [name for name in result.history[0] if name.startswith("validation")]
    assert result.train is ONES and result.run_dir is None


def test_the_usual_optimizer_by_hand():
    result = fit_drift(epochs=2, optimizer=None)
    counts = [int(leaf) for leaf in jax.tree.leaves(result.state.opt_state) if jnp.shape(leaf) == ()]
    assert counts == [4]
    # Of 4 steps none warms up: 0.05 (1 + cos(pi t / 4)) / 2, with Nesterov momentum.
    rates = 0.025 * (1 + np.cos(np.pi * np.arange(4) / 4))
    weight, velocity = 0.0, 0.0
    for rate in rates:
        gradient = -1 + 5e-4 * weight
        velocity = 0.9 * velocity + gradient
        weight -= rate * (gradient + 0.9 * velocity)
    np.testing.assert_allclose(result.state.params["head"]["kernel"], weight, rtol=1e-5)


def test_any_optimizer_will_do():
    result = fit_drift(epochs=1, optimizer=optax.adam(0.1))
    np.testing.assert_allclose(result.state.params["head"]["kernel"], 0.2, rtol=1e-4)


def test_augmentation_is_for_training_alone():
    seen = []

    def twice(key, batch):
        seen.append(batch["image"].shape)
        return dict(batch, image=2 * batch["image"])

    result = fit_drift(validation=HELD, epochs=1, augment=twice)
    assert seen == [(3, 2, 2, 1)]
    # Steps of 0.2 on images of twos; measured on images of ones.
    assert result.history[0]["validation_loss"] == pytest.approx((4 * 0.4 - 2.4) ** 2, rel=1e-5)


def test_an_attack_is_for_training_alone():
    seen = []

    def twice(key, logits_fn, batch):
        seen.append(batch["image"].shape)
        return dict(batch, image=2 * batch["image"])

    result = fit_drift(validation=HELD, epochs=1, attack=twice)
    assert seen == [(3, 2, 2, 1)]
    assert result.history[0]["validation_loss"] == pytest.approx((4 * 0.4 - 2.4) ** 2, rel=1e-5)


@pytest.mark.slow
def test_an_attack_that_breaks_is_named():
    def breaking(key, logits_fn, batch):
        return dict(batch, image=batch["image"] / (logits_fn(batch["image"]).max() < 0.7))  # after two steps

    message = r"at step 3 \(epoch 2\), first in the attacked images, and in 2 steps one after another"
    with pytest.raises(FloatingPointError, match=message):
        fit_drift(epochs=3, attack=breaking, skip_limit=2)


def test_replays_are_steps_in_a_row_of_one_batch_and_one_draw():
    seen = []

    def drawn(key, batch):
        return dict(batch, drawn=jnp.broadcast_to(jax.random.uniform(key), 3))

    def note(event):
        if event.kind == "step":
            seen.append((float(event.metrics["drawn"]), float(event.metrics["bits"])))

    metrics = {"drawn": lambda y, batch: batch["drawn"], "bits": lambda y, batch: 2.0 ** batch["number"]}
    result = fit_drift(
        epochs=2,
        replays=3,
        augment=drawn,
        metrics=metrics,
        callbacks=[note],
    )
    batches = [seen[at : at + 3] for at in range(0, 12, 3)]
    assert all(len(set(rows)) == 1 for rows in batches)
    assert len({rows[0][0] for rows in batches}) == 4
    assert [sum(3 * rows[0][1] for rows in batches[at : at + 2]) for at in (0, 2)] == pytest.approx([63, 63])
    assert [entry["step"] for entry in result.history] == [6, 12]
    np.testing.assert_allclose(result.state.params["head"]["kernel"], 1.2, rtol=1e-5)


@pytest.mark.slow
def test_the_replay_that_goes_wrong_is_named_by_its_step_and_found_by_its_draw():
    def augment(key, batch):
        return dict(batch, drawn=jnp.broadcast_to(jax.random.uniform(key), 3))

    draws = []
    note = {"drawn": lambda y, batch: batch["drawn"]}
    fit_drift(
        epochs=2,
        replays=2,
        augment=augment,
        metrics=note,
        callbacks=[lambda e: draws.append(float(e.metrics["drawn"])) if e.kind == "step" else None],
    )
    third = draws[4]  # of the third batch, whose first step is the fifth

    def loss(outputs, batch):
        return jnp.where(jnp.abs(batch["drawn"] - third) < 1e-6, jnp.nan, -outputs[:, 0])

    message = r"at step 5 \(epoch 2\), first in the loss, and in 2 steps one after another"
    with pytest.raises(FloatingPointError, match=message):
        fit_drift(epochs=2, replays=2, augment=augment, loss=loss, skip_limit=2)


# --- interruptions


def test_ctrl_c_keeps_the_checkpoint(tmp_path):
    def interrupt(event):
        if event.kind == "step" and event.step == 5:  # the first step of the third epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_drift(epochs=9, run_dir=tmp_path / "run", callbacks=[interrupt])
    restored = load_checkpoint(tmp_path / "run" / "checkpoints", DRIFT, template(DRIFT, ONES, sgd(0.1, momentum=0)))
    assert restored.step == 4
    np.testing.assert_allclose(restored.params["head"]["kernel"], 0.4, rtol=1e-5)
    assert [entry["epoch"] for entry in read_metrics(tmp_path / "run")] == [1, 2]


@pytest.mark.parametrize(("step", "epoch"), [(1, 1), (4, 2), (5, 3)])
def test_losses_that_are_not_finite_stop_it_and_name_the_step(step, epoch, tmp_path):
    message = rf"at step {step} \(epoch {epoch}\), first in the loss, and in 3 steps one after another\. Lower the"
    with pytest.raises(FloatingPointError, match=message):
        fit_drift(loss=breaking(step), epochs=9, run_dir=tmp_path, skip_limit=3)
    last = load_checkpoint(tmp_path, DRIFT, template(DRIFT, ONES, sgd(0.1, momentum=0)), last=True)
    np.testing.assert_allclose(last.params["head"]["kernel"], 0.1 * (step - 1), rtol=1e-5)
    assert len(read_metrics(tmp_path)) == (last.step - 1) // 2


@pytest.mark.parametrize("look_every", [1, 2, 5])
def test_the_step_is_named_right_between_looks_at_the_device(look_every, monkeypatch):
    monkeypatch.setattr(importlib.import_module("jaxcnn.training.run"), "LOOK_EVERY", look_every)
    with pytest.raises(FloatingPointError, match=r"at step 3 \(epoch 1\).* in 2 steps one after another"):
        fit_drift(loss=breaking(3), epochs=2, batch_size=1, skip_limit=2)


def test_a_few_skipped_steps_are_counted_and_left_out():
    def loss(outputs, batch):
        bad = jnp.any(batch["number"] == 2)  # the batch that this example is in, once an epoch
        return jnp.where(bad, jnp.inf, -outputs[:, 0])

    result = fit_drift(loss=loss, epochs=4, batch_size=2, skip_limit=3)
    assert [entry["skipped"] for entry in result.history] == [1, 1, 1, 1]
    assert all(np.isfinite(entry["train_loss"]) for entry in result.history)
    assert int(result.state.step) == 12
    np.testing.assert_allclose(result.state.params["head"]["kernel"], 0.8, rtol=1e-5)


def test_validation_that_never_is_finite(tmp_path):
    def loss(outputs, batch):
        return jnp.where(batch["held"] == 1, jnp.nan, -outputs[:, 0])

    with pytest.raises(
        FloatingPointError, match=r"^fit: expected a finite validation loss in one epoch at least, got \[nan, nan\]\."
    ):
        fit_drift(loss=loss, validation=HELD, epochs=2, run_dir=tmp_path)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()  # which JSON does not know
    assert [math.isnan(line["validation_loss"]) for line in read_metrics(tmp_path)] == [True, True]


# --- bad input, which leaves files as they were


def test_a_folder_with_a_run_is_refused_and_untouched(run, net, easy):
    folder = run[2]
    before = written(folder)
    with pytest.raises(ValueError, match=r"^fit: expected a run_dir without a run, got .*run\. Choose another folder"):
        fit(net, easy, epochs=1, batch_size=8, key=KEY, run_dir=folder)
    assert written(folder) == before


def test_a_folder_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "run"):
        with pytest.raises(
            OSError, match=r"^fit: expected a run_dir that can be written, got .*file.* \(.+\)\. Choose"
        ):
            fit_drift(epochs=1, run_dir=folder)
    assert written(tmp_path) == {file: b"mine"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"fit: expected epochs as a positive int, got 0\."),
        ({"epochs": 1.5}, r"fit: expected epochs as a positive int, got 1\.5\."),
        ({"epochs": True}, r"fit: expected epochs as a positive int, got True\."),
        ({"batch_size": 0}, r"fit: expected batch_size as a positive int, got 0\."),
        ({"batch_size": 8.0}, r"fit: expected batch_size as a positive int, got 8\.0\."),
        ({"save_every": 0}, r"fit: expected save_every as a positive int, got 0\."),
        ({"replays": 0}, r"fit: expected replays as a positive int, got 0\."),
        ({"keep": 0}, r"fit: expected keep as a positive int, got 0\."),
        ({"skip_limit": 0}, r"fit: expected skip_limit as a positive int, got 0\."),
        ({"accumulate": 3}, r"fit: expected a batch_size that 1 devices and accumulate=3 divide, got 8\."),
        ({"batch_size": 61}, r"fit: expected a batch_size of at most the 60 training examples, got 61\. Lower"),
        ({"batch_size": 50, "validation": 0.2}, r"fit: expected a batch_size of at most the 48 training examples"),
        ({"validation": 0.0}, r"fit: expected validation as a fraction in \(0, 1\), got 0\.0\."),
        ({"validation": 1}, r"fit: expected validation as a fraction in \(0, 1\), got 1\."),
        ({"validation": 0.001}, r"split: expected a fraction that leaves examples on both sides"),
        ({"validation": 0.2, "monitor": "recall"}, r"fit: expected monitor as one of \['loss', 'accuracy'\]"),
        ({"validation": 0.2, "patience": 0}, r"early_stopping: expected patience >= 1 or None, got 0\."),
        ({"patience": 3}, r"fit: expected validation with patience=3 and monitor='loss', got None\. Pass validation"),
        ({"monitor": "accuracy"}, r"fit: expected validation with patience=None and monitor='accuracy', got None\."),
    ],
)
def test_bad_options(options, message, net, easy, tmp_path):
    with pytest.raises(ValueError, match=f"^{message}"):
        fit(net, easy, key=KEY, **{"epochs": 1, "batch_size": 8, "run_dir": tmp_path / "run", **options})
    assert not (tmp_path / "run").exists()


def test_nets_and_losses_that_do_not_fit_the_data(net, easy, tmp_path):
    options = {"epochs": 1, "batch_size": 8, "key": KEY, "run_dir": tmp_path / "run"}
    with pytest.raises(ValueError, match=r"^classification: expected labels in 0\.\.1 for a net with 2 outputs"):
        fit(Sequential(**{**net.layers, "head": Dense(2)}), easy, **options)
    with pytest.raises(ValueError, match=r"^classification: expected data with \"label\", got \['image'\]"):
        fit(net, data.from_arrays(easy["image"]), **options)
    with pytest.raises(ValueError, match=r"^conv: expected an image of at least 5x5 pixels"):
        fit(models.create("lenet5", classic=True), easy, **options)
    assert not (tmp_path / "run").exists()


# --- reading the figures again


def test_a_line_cut_off_by_a_crash_ends_the_figures(tmp_path):
    lines = [json.dumps({"epoch": epoch, "train_loss": 0.5}) for epoch in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines)[:-5])
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [1, 2]
    (tmp_path / "metrics.jsonl").write_text("")
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": {"image": np.zeros((4, 8, 8, 1))}}, "train as a data.Dataset, got {'image': an array of shape"),
        ({"validation": (1, 2)}, "validation as a data.Dataset, a fraction or None, got (1, 2)"),
        ({"optimizer": 0.1}, "an optax transformation as optimizer, got 0.1"),
        ({"key": 0}, "one PRNG key, got 0"),
        ({"attack": 0.1}, "attack as a function of key, logits_fn and batch, got 0.1"),
    ],
)
def test_arguments_of_another_type(options, message, net, easy):
    with pytest.raises(TypeError, match=f"^fit: expected {re.escape(message)}"):
        fit(net, **{"train": easy, "epochs": 1, "key": jax.random.key(0), **options})


@pytest.mark.slow
def test_the_result_prints_short(net, easy):
    assert len(repr(fit(net, easy, epochs=1, batch_size=30, key=jax.random.key(0)))) < 1000
