"""One step of training: against a step written out by hand, pure, and random by (seed, step) alone."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxcnn import functional as F
from jaxcnn import losses
from jaxcnn.functional import BatchStats
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, Sequential
from jaxcnn.training import TrainState, evaluate, make_train_step, predictor, sgd

pytestmark = pytest.mark.usefixtures("quick_compilation")
RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.01
SHOWING = Sequential(drop=Dropout(0.5), show=Flatten())


@pytest.fixture(scope="module")
def batch(easy):
    return {name: array[:12] for name, array in easy.items()}


def noisy(key, batch):
    """Brighten half of the columns, drawn along one axis, which compiles faster."""
    return dict(batch, image=batch["image"] + 2 * jax.random.bernoulli(key, 0.5, (4,))[None, None, :, None])


@pytest.fixture(scope="module")
def step(net):
    """The usual step, compiled once for the tests that need no other."""
    return jax.jit(make_train_step(net, sgd(RATE), augment=noisy))


@pytest.fixture(scope="module")
def start(net, easy):
    return TrainState.create(net, sgd(RATE), jax.random.key(0), easy.spec)


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(data_of(x), data_of(y), strict=True), a, b)


def data_of(leaf):
    typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if typed else np.asarray(leaf)


def close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


# --- what a step does


def test_steps_equal_steps_written_by_hand(batch, easy):
    net = Sequential(conv=Conv(2), norm=BatchNorm(), act=F.tanh, pool=GlobalAvgPool(), head=Dense(3))
    optimizer = sgd(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    state = TrainState.create(net, optimizer, jax.random.key(0), easy.spec)
    params, velocity = state.params, jax.tree.map(jnp.zeros_like, state.params)
    running = (jnp.zeros(2), jnp.ones(2))
    x, label = jnp.float32(batch["image"]) / 255, batch["label"]

    @functools.partial(jax.grad, has_aux=True)
    @jax.numpy_rank_promotion("allow")  # as one writes by hand
    def gradient_of(params, x):
        y = lax.conv_general_dilated(
            x, params["conv"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = y + params["conv"]["bias"]
        mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
        y = jnp.tanh((y - mean) / jnp.sqrt(var + 1e-5) * params["norm"]["scale"] + params["norm"]["bias"])
        logits = y.mean((1, 2)) @ params["head"]["kernel"] + params["head"]["bias"]
        loss = -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(label)), label])
        right = jnp.mean(logits.argmax(-1) == label)
        return loss, ((mean, var), {"loss": loss, "accuracy": right})

    step = jax.jit(make_train_step(net, optimizer))
    for count in range(1, 4):
        gradient, (moments, measured) = jax.jit(gradient_of)(params, x)
        for layer, name in (("conv", "kernel"), ("head", "kernel")):
            gradient[layer][name] += DECAY * params[layer][name]
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
        params = jax.tree.map(lambda w, g, v: w - RATE * (g + MOMENTUM * v), params, gradient, velocity)
        running = tuple(0.9 * old + 0.1 * new for old, new in zip(running, moments, strict=True))
        state, metrics = step(state, batch)
        close(metrics, measured | {"skipped": 0.0})
        close(state.params, params)
        close(state.model_state, {"norm": BatchStats(*running)})
        assert state.step == count


def test_loss_and_metrics_of_ones_own(net, start, batch):
    def loss(outputs, batch):
        return losses.squared_error(outputs, batch["label"])

    def numbers(outputs, batch):
        return batch["number"].astype(jnp.float32)

    def measured(*args, **options):
        return jax.eval_shape(make_train_step(net, sgd(RATE), *args, **options), start, batch)[1]

    assert measured(loss).keys() == {"loss", "skipped"}  # accuracy is classification's
    assert measured().keys() == {"loss", "accuracy", "skipped"}
    assert measured(metrics={}).keys() == {"loss", "skipped"}
    step = make_train_step(SHOWING, sgd(RATE), lambda y, _: y[:, 0], metrics={"number": numbers})
    _, found = step(start.replace(params={}, model_state={}, opt_state=sgd(RATE).init({})), batch)
    assert found.keys() == {"loss", "number", "skipped"}
    assert found["number"] == 5.5  # the mean of 0..11
    assert {value.shape for value in found.values()} == {()}


@pytest.mark.slow
def test_uint8_and_float_images_are_the_same(step, start, batch):
    as_float = dict(batch, image=np.float32(batch["image"]) / 255)
    close(step(start, batch)[0].params, step(start, as_float)[0].params)


def test_the_compute_dtype_is_that_of_the_images(net, start, batch):
    seen = []

    def look(y):
        seen.append(y.dtype)
        return y

    step = make_train_step(Sequential(look=look, **net.layers), sgd(RATE), dtype=jnp.bfloat16)
    after, measured = jax.eval_shape(step, start, batch)
    assert seen == [jnp.bfloat16]
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype(jnp.float32)}
    assert measured["loss"].dtype == jnp.float32


# --- an attack


STILL = Sequential(flatten=Flatten(), norm=BatchNorm(), head=Dense(3))


@pytest.fixture(scope="module")
def still(easy):
    """A state whose running statistics are those of no batch."""
    state = TrainState.create(STILL, sgd(RATE), jax.random.key(0), easy.spec)
    return state.replace(model_state={"norm": BatchStats(jnp.full(16, 0.3), jnp.full(16, 0.2))})


def climbed(key, logits_fn, batch):
    """One step of the size 0.1 along the sign of the gradient."""
    slope = jax.grad(lambda x: losses.cross_entropy(logits_fn(x), batch["label"]).sum())(batch["image"])
    return dict(batch, image=batch["image"] + 0.1 * jnp.sign(slope))


@pytest.mark.slow
def test_an_attack_is_of_the_parameters_and_statistics_that_the_step_begins_with(still, batch):
    plain = jax.jit(make_train_step(STILL, sgd(RATE)))
    step = jax.jit(make_train_step(STILL, sgd(RATE), attack=climbed))
    state = still
    for _ in range(3):
        logits_fn = predictor(STILL, state.params, state.model_state)
        by_hand = climbed(None, logits_fn, dict(batch, image=np.float32(batch["image"]) / 255))
        expected, state = plain(state, by_hand), step(state, batch)
        close(state[1], expected[1])
        close(state[0].params, expected[0].params)
        close(state[0].model_state, expected[0].model_state)
        state = state[0]
    assert jnp.abs(state.params["head"]["kernel"] - still.params["head"]["kernel"]).max() > 0.01


@pytest.mark.slow
def test_an_attack_comes_after_the_augmentation_and_sees_no_dropout(net, start, batch):
    def look(key, logits_fn, batch):
        return dict(batch, seen=logits_fn(batch["image"])[:, 0], pixel=batch["image"][:, 0, 0, 0])

    metrics = {name: lambda y, batch, name=name: batch[name] for name in ("seen", "pixel")}
    brighter = lambda key, batch: dict(batch, image=batch["image"] + 2)  # noqa: E731
    step = jax.jit(make_train_step(net, sgd(RATE), metrics=metrics, augment=brighter, attack=look))
    x = np.float32(batch["image"]) / 255 + 2
    measured = step(start, batch)[1]
    logits = predictor(net, start.params, start.model_state)(x)
    close((measured["seen"], measured["pixel"]), (logits[:, 0].mean(), x[:, 0, 0, 0].mean()))


@pytest.mark.slow
def test_several_views_of_an_image_are_one_batch_to_batch_norm(still, batch):
    def views(key, logits_fn, batch):
        return dict(batch, image=jnp.stack([batch["image"], climbed(key, logits_fn, batch)["image"]], 1))

    def mean(outputs, batch):
        return losses.cross_entropy(outputs, jnp.repeat(batch["label"][:, None], 2, 1)).mean(1)

    step = make_train_step(STILL, sgd(RATE), mean, attack=views)
    found, measured = jax.jit(step)(still, batch)
    batch = dict(batch, image=np.float32(batch["image"]) / 255)
    other = climbed(None, predictor(STILL, still.params, still.model_state), batch)
    both = {name: np.concatenate([batch[name], other[name]]) for name in ("image", "label")}
    expected, of_both = jax.jit(make_train_step(STILL, sgd(RATE)))(still, both)
    close((found.params, found.model_state), (expected.params, expected.model_state))
    close(measured["loss"], of_both["loss"])


def test_an_attack_draws_by_seed_and_step_and_apart_from_the_rest(batch, easy):
    def attack(key, logits_fn, batch):
        return dict(batch, attacked=jax.random.uniform(key, 12))

    def augment(key, batch):
        return dict(batch, augmented=jax.random.uniform(key, 12))

    metrics = {name: lambda y, batch, name=name: batch[name] for name in ("attacked", "augmented")}
    step = make_train_step(SHOWING, sgd(RATE), lambda y, _: y[:, 0], metrics=metrics, augment=augment, attack=attack)
    with jax.debug_key_reuse(True):
        step = jax.jit(step)
        state = TrainState.create(SHOWING, sgd(RATE), jax.random.key(0), easy.spec)
        seen = []
        for _ in range(3):
            state, measured = step(state, batch)
            seen += [float(measured["attacked"]), float(measured["augmented"])]
    assert len(set(seen)) == 6
    again = step(state.replace(step=jnp.int32(1)), batch)[1]
    assert [float(again["attacked"]), float(again["augmented"])] == seen[2:4]


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 12])
def test_an_attack_on_parts_is_that_on_the_whole(parts, blocks, batch):
    whole, measured = jax.jit(make_train_step(BLOCKS, sgd(RATE), attack=climbed))(blocks, batch)
    accumulated = jax.jit(make_train_step(BLOCKS, sgd(RATE), attack=climbed, accumulate=parts))(blocks, batch)
    close(accumulated[0].params, whole.params)
    close(accumulated[1], measured)
    assert measured["loss"] > jax.jit(make_train_step(BLOCKS, sgd(RATE)))(blocks, batch)[1]["loss"]


def test_attacks_that_are_none(net, start, batch):
    with pytest.raises(TypeError, match=r"^make_train_step: expected attack as a function of key, logits_fn and batch"):
        make_train_step(net, sgd(RATE), attack=0.1)
    with pytest.raises(TypeError, match=r"^attack: expected a batch as a dict of arrays with \"image\", got an array"):
        make_train_step(net, sgd(RATE), attack=lambda key, logits_fn, batch: batch["image"])(start, batch)


# --- purity


def test_same_inputs_same_outputs(step, start, batch):
    before = jax.tree.map(lambda leaf: data_of(leaf).copy(), start)
    same(step(start, batch), step(start, batch))
    jax.tree.map(lambda was, leaf: np.testing.assert_array_equal(was, data_of(leaf)), before, start)


def test_a_scan_of_steps_is_the_loop(step, start, batch):
    end, measured = jax.jit(lambda state: lax.scan(lambda s, _: step(s, batch), state, None, length=3))(start)
    state = start
    for count in range(3):
        state, one = step(state, batch)
        close(jax.tree.map(lambda values, count=count: values[count], measured), one)
    close(end.params, state.params)
    same(end.key, start.key)


def test_vmap_over_states_is_the_loop(net, step, batch, easy):
    create = jax.jit(jax.vmap(lambda key: TrainState.create(net, sgd(RATE), key, easy.spec)))
    states = create(jax.random.split(jax.random.key(5), 3))
    together, measured = jax.jit(jax.vmap(step, in_axes=(0, None)))(states, batch)
    for lane in range(3):
        of_lane = functools.partial(jax.tree.map, lambda leaf, lane=lane: leaf[lane])
        alone, one = step(of_lane(states), batch)
        trained = [(s.params, s.model_state, s.opt_state) for s in (of_lane(together), alone)]
        close((trained[0], of_lane(measured)), (trained[1], one))
        same(of_lane(together).key, alone.key)
    assert jnp.unique(measured["loss"]).size == 3


# --- randomness


@functools.cache
def showing_step():
    """A step whose metrics are the pixels of the first image after augmentation and dropout."""

    def pixel(at):
        return lambda outputs, batch: jnp.broadcast_to(outputs[0, at], len(outputs))

    metrics = {str(at): pixel(at) for at in range(16)}
    return jax.jit(make_train_step(SHOWING, sgd(RATE), lambda y, _: y[:, 0], metrics=metrics, augment=noisy))


def drawn(state, batch, count):
    """Return those pixels, 0 where dropped, else 2, or 6 where brightened, of `count` steps from `state`."""
    ones = dict(batch, image=np.ones_like(batch["image"], np.float32))
    seen = []
    for _ in range(count):
        state, measured = showing_step()(state, ones)
        seen.append([float(measured[str(at)]) for at in range(16)])
    return seen


def test_randomness_is_of_seed_and_step_alone(batch, easy):
    start = TrainState.create(SHOWING, sgd(RATE), jax.random.key(0), easy.spec)
    seen = drawn(start, batch, 4)
    assert {value for row in seen for value in row} == {0.0, 2.0, 6.0}
    assert len(set(map(tuple, seen))) == 4  # every step its own
    assert len({tuple(value == 0 for value in row) for row in seen}) == 4
    assert len({tuple(max(row[column::4]) for column in range(4)) for row in seen}) > 1
    assert drawn(start, batch, 4) == seen
    # A state that is set to step 2, as a resumed run is, goes on as the run that came there by itself.
    assert drawn(start.replace(step=jnp.int32(2)), batch, 2) == seen[2:]
    assert drawn(TrainState.create(SHOWING, sgd(RATE), jax.random.key(1), easy.spec), batch, 4) != seen


def test_create_starts_at_step_0_and_keeps_two_keys_apart(net, start, easy):
    assert (start.step.dtype, int(start.step)) == (jnp.int32, 0)
    again = TrainState.create(net, sgd(RATE), jax.random.key(0), easy.spec)
    same(start, again)
    init_key, step_key = jax.random.split(jax.random.key(0))
    same(start.key, step_key)
    same(start.params, net.init(init_key, easy.spec)[0])


@pytest.mark.slow
def test_a_loss_or_metric_of_another_shape_is_refused(net, easy, weights):
    """A mean over the batch could not be masked where evaluation pads: its value would be wrong in silence."""
    params, state = weights
    batch = {name: jnp.asarray(array) for name, array in easy.items()}
    mean = {"loss": lambda y, batch: y.mean()}
    metric = {"metrics": {"spread": lambda y, batch: y}}
    train = TrainState.create(net, optax.sgd(0.1), jax.random.key(0), easy.spec)
    for name, options, got in (("loss", mean, "()"), ("spread", metric, "(60, 3)")):
        message = re.escape(f"{name}: expected one number per image, shape (60,), got shape {got}.")
        with pytest.raises(ValueError, match=message):
            make_train_step(net, optax.sgd(0.1), **options)(train, batch)
        with pytest.raises(ValueError, match=message):
            evaluate(net, params, state, easy, **options)


# --- memory: a batch in parts, blocks computed twice


BLOCKS = Sequential(
    block1=Sequential(conv=Conv(4), act=F.relu),
    block2=Sequential(conv=Conv(4), drop=Dropout(0.0), act=F.relu),
    pool=GlobalAvgPool(),
    head=Dense(3),
)


@pytest.fixture(scope="module")
def blocks(easy):
    return TrainState.create(BLOCKS, sgd(RATE), jax.random.key(0), easy.spec)


@pytest.mark.parametrize("parts", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 12))])
def test_a_batch_in_parts_is_the_step_of_the_whole(parts, blocks, batch):
    whole, measured = jax.jit(make_train_step(BLOCKS, sgd(RATE), augment=noisy))(blocks, batch)
    accumulated = jax.jit(make_train_step(BLOCKS, sgd(RATE), augment=noisy, accumulate=parts))(blocks, batch)
    close(accumulated[0].params, whole.params)
    close(accumulated[1], measured)


def test_parts_draw_their_own_masks_and_move_the_statistics_in_turn(batch, easy):
    def state_after(net, parts):
        state = TrainState.create(net, sgd(RATE), jax.random.key(0), easy.spec)
        return jax.jit(make_train_step(net, sgd(RATE), lambda y, _: y.reshape(len(y), -1)[:, 0], accumulate=parts))(
            state, dict(batch, image=np.ones((12, 4, 4, 1), np.float32))
        )

    # The mean of the first pixel over the parts: with one mask for all it would be 0 or 2.
    means = state_after(Sequential(drop=Dropout(0.5)), 12)[1]["loss"]
    assert 0 < means < 2
    moved = state_after(Sequential(norm=BatchNorm()), 3)[0].model_state["norm"].mean
    np.testing.assert_allclose(moved, 1 - 0.9**3, rtol=1e-5)


def test_parts_that_do_not_divide_the_batch(blocks, batch):
    with pytest.raises(ValueError, match=r"^make_train_step: expected a batch that accumulate=5 divides, got 12\."):
        make_train_step(BLOCKS, sgd(RATE), accumulate=5)(blocks, batch)
    with pytest.raises(ValueError, match=r"^make_train_step: expected accumulate as a positive int, got 0\."):
        make_train_step(BLOCKS, sgd(RATE), accumulate=0)


def test_a_loss_that_compares_the_examples_of_a_batch_takes_no_parts_of_it():
    class Spread:
        whole_batch = True

        def __call__(self, outputs, batch):
            return ((outputs - outputs.mean(0)) ** 2).sum(-1)

    for loss in (Spread(), losses.with_auxiliary(Spread())):
        make_train_step(BLOCKS, sgd(RATE), loss)
        with pytest.raises(
            ValueError,
            match=r"^make_train_step: expected accumulate=1 with a loss or metric that compares the examples of a ",
        ):
            make_train_step(BLOCKS, sgd(RATE), loss, accumulate=2)
    with pytest.raises(
        ValueError, match=r"^make_train_step: expected accumulate=1 with a loss or metric that compares"
    ):
        make_train_step(BLOCKS, sgd(RATE), metrics={"spread": Spread()}, accumulate=2)


@pytest.mark.slow
def test_blocks_computed_twice_change_nothing_but_the_memory(net, start, batch):
    once = jax.jit(make_train_step(BLOCKS, sgd(RATE)))
    twice = jax.jit(make_train_step(BLOCKS, sgd(RATE), rematerialize=["block1", "block2"]))
    state = TrainState.create(BLOCKS, sgd(RATE), jax.random.key(0), jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32))
    close(twice(state, batch)[0].params, once(state, batch)[0].params)
    jaxpr = str(jax.make_jaxpr(make_train_step(BLOCKS, sgd(RATE), rematerialize=["block1"]))(state, batch))
    assert "remat" in jaxpr or "checkpoint" in jaxpr
    with pytest.raises(ValueError, match=r"^rematerialize: expected the path of a layer, got 'block3'\."):
        make_train_step(BLOCKS, sgd(RATE), rematerialize=["block3"])


def test_a_program_grows_with_the_layers_and_not_with_their_square(easy):
    """What all parameters wait for, that everything is finite, is computed once."""
    blocks = {f"block{n}": Sequential(dense=Dense(3), act=F.relu) for n in range(20)}
    net, optimizer = Sequential(flatten=Flatten(), **blocks, head=Dense(10)), sgd(0.1)
    state = TrainState.create(net, optimizer, jax.random.key(0), easy.spec)
    batch = {"image": easy["image"][:4], "label": easy["label"][:4]}
    program = jax.jit(make_train_step(net, optimizer)).lower(state, batch).compile().as_text()
    leaves = len(jax.tree.leaves((state.params, state.opt_state)))
    assert program.count(" and(") < 6 * leaves
