"""The speed recipes: their schedules, nets and views by hand, their program, and the record of a small run."""

import dataclasses
import itertools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import cifar_speedrun
from experiments.apparatus.speed_optimizer import average_kept, kind, part_of_peak, speed_optimizer
from experiments.apparatus.speed_recipes import RECIPES, halved, speed_net
from experiments.apparatus.speed_training import Images, SpeedTraining, in_parts
from experiments.cifar_speedrun import Config, misses
from experiments.framework.machine import driver, machine
from jaxcnn import data, summarize
from jaxcnn import functional as F
from jaxcnn.layers import MaxPool, Normalize
from jaxcnn.training.muon import COEFFICIENTS

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
INFO = data.DatasetInfo("chance", ("a", "b", "c"), (0.5, 0.4, 0.3), (0.3, 0.2, 0.25), "drawn", "")
SMALL = dataclasses.replace(RECIPES["94"], batch_size=4, epochs=2.5, whitening_epochs=1, narrow=8, wide_head=True)
DRAWN = np.random.default_rng(0).integers(0, 256, (10, 10, 10, 3), np.uint8)
SMOOTH = DRAWN // 2 + np.roll(DRAWN, 1, 2) // 2  # its patches are not white
TRAIN = Images(jnp.asarray(SMOOTH), jnp.arange(10, dtype=jnp.int32) % 3)
TRAINING = SpeedTraining(SMALL, INFO, 10)


@pytest.fixture(scope="module")
def begun():
    """Return the learner before the first step, the lessons, and what chance is drawn from."""
    return jax.jit(TRAINING.start)(KEY, TRAIN)


@pytest.fixture(scope="module")
def learned(begun):
    """Return the learner before the first step and after each."""
    begin, lessons, own = begun
    step, learners = jax.jit(TRAINING.step), [begin]
    for at in range(TRAINING.steps):
        lesson = jax.tree.map(lambda array, at=at: array[at], lessons)
        learners.append(step(learners[-1], lesson, own, TRAIN))
    return learners


@pytest.mark.parametrize(
    ("name", "steps", "parameters", "whitening"),
    [
        ("94", 476, 1_971_640, 144),
        ("muon", 200, 1_971_640, 75),
        ("hiverge", 243, 1_971_640, 7),
        ("95", 720, 4_604_728, 144),
        ("96", 1776, 9_915_704, 144),
    ],
)
def test_recipes_have_the_published_steps_and_parameters(name, steps, parameters, whitening):
    recipe = RECIPES[name]
    assert recipe.steps(50_000) == steps
    net = speed_net(recipe, 10, 3, tiled=True)
    assert summarize(net, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)).parameters == parameters
    rate = lambda step: float(rate_of_whitening(recipe, steps, 50_000 // recipe.batch_size, step))  # noqa: E731
    assert rate(0) > 0 and rate(whitening - 1) > 0 == rate(whitening)


def rate_of_whitening(recipe, steps, per_epoch, step):
    """Return by how much a whitening bias moves at a step, for a gradient of 1 and nothing else."""
    params = {"stem": {"conv": {"bias": jnp.zeros(1)}}}
    plain = dataclasses.replace(recipe, momentum=0.0)
    optimizer = speed_optimizer(plain, steps, per_epoch, jnp.float32)
    state = jax.tree.map(
        lambda leaf: jnp.full_like(leaf, step) if leaf.dtype == jnp.int32 else leaf, optimizer.init(params)
    )
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    return -updates["stem"]["conv"]["bias"][0]


@pytest.mark.parametrize(
    ("name", "steps", "points"),
    [
        ("94", 100, {0: 0.2, 23: 1.0, 100: 0.07, 11.5: 0.6, 61.5: 0.535}),
        ("96", 100, {0: 0.2, 10: 1.0, 100: 0.0, 55: 0.5}),
        ("muon", 200, {0: 1.0, 50: 0.75, 200: 0.0}),
    ],
)
def test_schedules(name, steps, points):
    for step, wanted in points.items():
        assert part_of_peak(RECIPES[name], jnp.float32(step), steps) == pytest.approx(wanted, abs=1e-6)


def test_rates_are_those_of_the_recipe():
    # 11.5 of a unit of 1,024 examples with momentum: 1 / 7,850.7.
    sgd = RECIPES["94"]
    assert sgd.rate == pytest.approx(11.5 / 7850.67, rel=1e-5)
    assert sgd.bias_rate == pytest.approx(64 * sgd.rate)
    assert sgd.decay == pytest.approx(0.0153 * 1024 / 7850.67, rel=1e-5)
    assert RECIPES["96"].decay == pytest.approx(0.012 * 1024 / 7850.67, rel=1e-5)
    assert RECIPES["95"].rate == pytest.approx(10 / 7850.67, rel=1e-5)
    assert RECIPES["muon"].decay == pytest.approx(0.004)
    assert RECIPES["muon"].coefficients == COEFFICIENTS


def test_the_average_is_kept_more_and_more():
    assert average_kept(jnp.int32(50), 100) == pytest.approx(0.95**5 / 8)
    assert average_kept(jnp.int32(100), 100) == pytest.approx(0.95**5)
    assert average_kept(jnp.int32(476), 476) == 1


def test_kinds_of_parameters():
    params, _ = jax.eval_shape(lambda: TRAINING.net.init(KEY, jnp.zeros((1, 10, 10, 3))))
    kinds = {jax.tree_util.keystr(p, simple=True, separator="/"): kind(p) for p, _ in jax.tree.leaves_with_path(params)}
    assert kinds["stem/conv/kernel"] == "frozen"
    assert kinds["stem/conv/bias"] == "whitening"
    assert kinds["stage2/norm1/bias"] == "biases"
    assert kinds["stage3/conv2/kernel"] == "kernels"
    assert kinds["head/kernel"] == "head"
    assert len(kinds) == 2 + 3 * 4 + 1


def test_plain_parameters_move_as_by_torchs_rule():
    recipe = RECIPES["94"]
    optimizer = speed_optimizer(recipe, 10, 5, jnp.float32)
    w, params = np.float64(0.7), {"head": {"kernel": jnp.full((1, 1), 0.7)}}
    state, velocity = optimizer.init(params), 0.0
    for step, g in enumerate((0.3, -0.2, 0.5)):
        updates, state = optimizer.update({"head": {"kernel": jnp.full((1, 1), g)}}, state, params)
        params = optax.apply_updates(params, updates)
        pulled = g + recipe.decay / recipe.head_rate * w
        velocity = 0.85 * velocity + pulled
        w -= recipe.head_rate * float(part_of_peak(recipe, step, 10)) * (pulled + 0.85 * velocity)
    assert params["head"]["kernel"].item() == pytest.approx(w, abs=1e-6)


def test_tiles_are_max_pooling():
    x, g = jax.random.normal(KEY, (2, 7, 6, 3)), jax.random.normal(KEY, (2, 3, 3, 3))
    both = [jax.jit(lambda x, g, fn=fn: jax.vjp(fn, x)[1](g)[0]) for fn in (halved, partial(F.max_pool, window=2))]
    np.testing.assert_array_equal(both[0](x, g), both[1](x, g))
    np.testing.assert_array_equal(halved(x[0]), F.max_pool(x[0], 2))


def test_what_recipes_change_of_the_nets():
    plain = speed_net(RECIPES["94"], 10, 3, tiled=False)
    assert plain["stage1"]["pool"] == MaxPool(2)
    net = speed_net(RECIPES["hiverge"], 10, 3, tiled=True)
    assert net["stage1"]["pool"] is halved
    assert net["stage1"]["act1"] is F.silu
    assert net["stage3"]["norm2"].decay == 0.5566
    assert net["scale"] == Normalize(0, 256)


def test_the_first_responses_are_white_and_the_head_has_deviation_1(learned):
    params = learned[0].params
    conv, x = TRAINING.net["stem"]["conv"], TRAINING.normalized(TRAIN.image)
    y, _ = conv.apply(params["stem"]["conv"], {}, x, train=False)
    np.testing.assert_allclose(np.cov(np.asarray(y)[..., :12].reshape(-1, 12).T), np.eye(12), atol=0.02)
    assert np.std(params["head"]["kernel"]) == pytest.approx(1, rel=1e-5)


def test_every_image_is_seen_both_ways_and_runs_have_coins_of_their_own():
    still = SpeedTraining(dataclasses.replace(SMALL, shift=0), INFO, 10)
    batch = lambda epoch, first: {  # noqa: E731
        "image": data.to_float(TRAIN.image),
        "index": jnp.arange(10) + first,
        "epoch": jnp.full(10, epoch),
    }
    look = jax.jit(lambda epoch, first: still.augmentation(KEY, batch(epoch, first))["image"])
    first, second, other = look(0, 0), look(1, 0), look(0, 1000)
    image = data.to_float(TRAIN.image)
    as_is = np.array([np.allclose(a, b) for a, b in zip(first, image, strict=True)])
    assert 0 < as_is.sum() < 10
    np.testing.assert_array_equal(second, first[:, :, ::-1])
    assert not np.array_equal(other, first)


def test_lessons_are_full_batches_of_every_epoch(begun):
    _, lessons, _ = begun
    assert TRAINING.steps == 5  # of 2 an epoch
    np.testing.assert_array_equal(lessons.epoch, [0, 0, 1, 1, 2])
    assert lessons.rows.shape == (5, 4)
    for epoch in (0, 1):
        assert len(set(lessons.rows[lessons.epoch == epoch].ravel().tolist())) == 8
    assert not np.array_equal(lessons.rows[:2], lessons.rows[2:4])


def test_the_whitening_kernel_stays_and_the_rest_moves(learned):
    first, last = (
        {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in jax.tree.leaves_with_path(one.params)}
        for one in (learned[0], learned[-1])
    )
    still = {name for name in first if np.array_equal(first[name], last[name])}
    assert still == {"stem/conv/kernel"}
    biases = [one.params["stem"]["conv"]["bias"] for one in learned]
    assert not np.array_equal(biases[1], biases[2])
    before = jax.tree.leaves(learned[-2].params["stem"]["conv"]["bias"])
    np.testing.assert_array_equal(before[0], biases[2])  # an epoch of 2 steps, then it stays; the average comes last


def test_the_last_step_goes_back_to_the_average(learned):
    for earlier, later in itertools.pairwise(learned[:-1]):
        for a, b in zip(jax.tree.leaves(earlier.average), jax.tree.leaves(later.average), strict=True):
            np.testing.assert_array_equal(a, b)  # no fifth step yet
    last = learned[-1]
    for slow, fast in zip(jax.tree.leaves(last.average), jax.tree.leaves((last.params, last.stats)), strict=True):
        np.testing.assert_array_equal(slow, fast)


@pytest.mark.slow
def test_one_program_and_step_by_step_are_the_same(learned):
    together = jax.jit(TRAINING.program)(KEY, TRAIN, TRAIN)
    one_by_one = TRAINING.in_turn()(KEY, TRAIN, TRAIN)
    assert together == one_by_one
    wanted = TRAINING.accuracy(learned[-1].params, learned[-1].stats, TRAIN)
    assert together == wanted


@pytest.mark.slow
def test_views_are_averaged_by_hand(learned):
    params, stats = learned[0].params, learned[0].stats
    image = data.to_float(TRAIN.image)
    net = jax.jit(lambda x: TRAINING.net.apply(params, stats, TRAINING.normalized(x), train=False)[0])
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    both = lambda x: (net(x) + net(x[:, :, ::-1])) / 2  # noqa: E731
    near, far = both(image), (both(padded[:, :10, :10]) + both(padded[:, 2:, 2:])) / 2
    found = jax.jit(lambda image: TRAINING.logits(params, stats, image))(image)
    np.testing.assert_allclose(found, (near + far) / 2, atol=1e-5)
    unsure = SpeedTraining(dataclasses.replace(SMALL, unsure=0.2), INFO, 10)
    found = jax.jit(lambda image: unsure.logits(params, stats, image))(image)
    asked = np.argsort(jax.nn.softmax(near).max(-1))[:2]
    wanted = np.array(near)
    wanted[asked] = (wanted[asked] + np.asarray(far)[asked]) / 2
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_parts_of_images_are_put_together(monkeypatch):
    monkeypatch.setattr("experiments.apparatus.speed_training.TOGETHER", 4)
    x = jax.random.normal(KEY, (10, 2, 2, 1))
    np.testing.assert_array_equal(in_parts(lambda x: x[:, 0, 0], x), x[:, 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["muon", pytest.param("96", marks=pytest.mark.slow)])
def test_it_lowers_for_a_gpu_in_bfloat16(name):
    training = SpeedTraining(RECIPES[name], INFO, 50_000, jnp.bfloat16)
    like = lambda n: Images(  # noqa: E731
        jax.ShapeDtypeStruct((n, 32, 32, 3), jnp.uint8), jax.ShapeDtypeStruct((n,), jnp.int32)
    )
    program = jax.jit(lambda seed, train, test: training.program(jax.random.key(seed), train, test))
    arguments = jax.ShapeDtypeStruct((), jnp.int32), like(50_000), like(10_000)
    exported = jax.export.export(program, platforms=["cuda"])(*arguments)
    text = exported.mlir_module()
    assert "stablehlo.convolution" in text and "bf16" in text
    assert [out.shape for out in exported.out_avals] == [()]


def test_a_small_run_and_its_record(tmp_path):
    result = cifar_speedrun.main(Config(quick=True, run=str(tmp_path)))
    record = json.loads(json.dumps(result.figures, allow_nan=False))
    assert record["runs"] == record["accuracy"]["n"] == record["seconds"]["n"] == 2
    assert record["accuracy"]["mean"] > 0.2  # ten classes: it has learned something
    assert {"device", "driver", "versions", "date", "commit", "command"} <= record.keys()
    assert result.holds and "not judged (that takes 200 runs on all of CIFAR-10, on a GPU)" in result.verdict
    assert [section.title for section in result.pictures] == ["Runs", "Recipe"]


@pytest.mark.slow
def test_a_small_run_with_several_at_once():
    result = cifar_speedrun.main(Config(quick=True, at_once=2, recipe="96"))
    together = result.figures["together"]
    assert together["runs"] == 2 and together["runs_per_minute"] > 0
    assert "2 at once" in result.verdict
    assert [section.title for section in result.pictures] == ["Runs", "Several runs as one program", "Recipe"]


def test_what_does_not_fit_at_once_is_told():
    def program(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")

    found = cifar_speedrun.at_once(program, jnp.arange(3), None, None, None)
    assert found == {"runs": 3, "failed": "RESOURCE_EXHAUSTED: Out of memory"}


def test_what_is_promised_is_judged_on_a_gpu():
    figures = {
        "runs": 200,
        "dataset": {"train": 50_000},
        "device": "gpu: a large one",
        "accuracy": {"mean": 0.9401},
        "seconds": {"mean": 1.1},
    }
    assert misses("94", figures) == []
    assert misses("94", figures | {"accuracy": {"mean": 0.9399}}) == ["MISSED: accuracy 0.9399 < 0.94"]
    assert misses("muon", figures | {"seconds": {"mean": 1.3}}) == ["MISSED: 1.300 s a run > 1.2"]
    assert misses("96", figures | {"seconds": {"mean": 30.0}}) == ["MISSED: accuracy 0.9401 < 0.96"]
    for other in ({"runs": 199}, {"device": "cpu"}, {"dataset": {"train": 320}}):
        assert misses("94", figures | other) is None


def test_no_run_begins_after_the_budget():
    program = lambda key, train, test: 0.5  # noqa: E731
    found, seconds = cifar_speedrun.one_by_one(program, list(range(9)), None, None, -1.0)
    assert len(found) == len(seconds) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"runs": 1}, "expected 2 runs or more, got 1"), ({"at_once": -1}, "expected at_once >= 0, got -1")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^cifar_speedrun: {message}"):
        cifar_speedrun.main(Config(**options))


def test_the_machine_is_told(monkeypatch):
    monkeypatch.setattr("experiments.framework.machine.driver", lambda: "580.1")
    told, backend = machine(), jax.default_backend()
    assert told["device"].split(":")[0] == backend
    assert told["driver"] == ("580.1" if backend == "gpu" else None)
    assert told["versions"]["jax"] == jax.__version__
    assert json.loads(json.dumps(told)) == told


def test_the_driver_is_that_of_nvidia_smi(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 580.1\necho 580.1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert driver() == "580.1"
    tool.write_text("#!/bin/sh\nexit 3\n")
    assert driver() is None
