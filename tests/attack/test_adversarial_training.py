"""Adversarial trainings: closed forms on linear nets, steps written by hand, and nets that withstand attacks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, losses, training
from jaxcnn.attack.defence import fast_training, free_training, pgd_training, trades
from jaxcnn.attack.fgsm import fgsm
from jaxcnn.layers import BatchNorm, Dense, Flatten, Sequential
from jaxcnn.training import TrainState, make_train_step, predictor
from tests.attack.conftest import DIGITS_NET

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(2)
EPSILON = 0.1
# Two classes: the gradient has one direction everywhere.
NET = Sequential(flatten=Flatten(), head=Dense(2))
SPEC = jax.ShapeDtypeStruct((1, 3, 3, 1), jnp.float32)
BATCH = {
    "image": jax.random.uniform(jax.random.key(1), (6, 3, 3, 1)).at[0].set(0.0).at[1].set(1.0),
    "label": jnp.arange(6) % 2,
}
ATTACKS = {
    "pgd": pgd_training(epsilon=EPSILON),
    "pgd l2": pgd_training(epsilon=EPSILON, norm="l2"),
    "pgd l1": pgd_training(epsilon=EPSILON, norm="l1"),
    "fast": fast_training(epsilon=EPSILON),
    "trades": trades(epsilon=EPSILON),
}


def net_of(seed=0):
    params, state = NET.init(jax.random.key(seed), SPEC)
    return params, predictor(NET, params, state)


def uphill(params):
    """Return the sign of the gradient of the loss of each image of BATCH, (6, 3, 3, 1)."""
    kernel = params["head"]["kernel"]
    way = kernel[:, 1 - BATCH["label"]] - kernel[:, BATCH["label"]]
    return jnp.sign(way.T).reshape(6, 3, 3, 1)


def length(delta, name):
    flat = jnp.abs(delta).reshape(len(delta), -1)
    return {"l2": jnp.sqrt((flat**2).sum(-1)), "l1": flat.sum(-1)}.get(name[-2:], flat.max(-1))


# --- attacks on a batch


@pytest.mark.slow
def test_pgd_ends_in_the_corner_of_a_linear_net():
    params, logits_fn = net_of()
    found = ATTACKS["pgd"]["attack"](KEY, logits_fn, BATCH)
    close(found["image"], jnp.clip(BATCH["image"] + EPSILON * uphill(params), 0, 1), atol=1e-6)
    np.testing.assert_array_equal(found["label"], BATCH["label"])


def test_one_fast_step_by_hand():
    params, logits_fn = net_of()
    image = BATCH["image"][2:] * 0.5 + 0.25  # no pixel meets its bounds
    batch = {"image": image, "label": BATCH["label"][2:]}
    along = (ATTACKS["fast"]["attack"](KEY, logits_fn, batch)["image"] - image) * uphill(params)[2:] / EPSILON
    # From u in (-1, 1) to min(1, u + 1.25): an eighth of the pixels end before 1.
    assert 0.25 <= along.min() < 0.999
    assert along.max() == pytest.approx(1, abs=1e-5)
    fixed = fast_training(epsilon=EPSILON, step_size=EPSILON, random_start=False)["attack"](KEY, logits_fn, batch)
    close(fixed["image"], image + EPSILON * uphill(params)[2:], atol=1e-6)
    tiny = fast_training(epsilon=EPSILON, step_size=0.0)["attack"](KEY, logits_fn, batch)["image"] - image
    assert -1 <= tiny.min() / EPSILON < -0.8
    assert 0.8 < tiny.max() / EPSILON <= 1.0001


@pytest.mark.slow
def test_without_a_random_start_it_is_fgsm(digits):
    attack = fast_training(epsilon=EPSILON, step_size=EPSILON, random_start=False)["attack"]
    found = attack(KEY, digits.logits_fn, {"image": digits.x, "label": digits.y})["image"]
    right = digits.logits_fn(digits.x).argmax(-1) == digits.y  # fgsm leaves the others as they are
    close(found[right], fgsm(digits.logits_fn, digits.x, digits.y, epsilon=EPSILON)[right], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_images_stay_in_ball_and_bounds_and_are_harder(name, digits):
    batch = {"image": digits.x, "label": digits.y}
    attack = jax.jit(ATTACKS[name]["attack"])
    found = attack(KEY, digits.logits_fn, batch)["image"]
    if name == "trades":
        np.testing.assert_array_equal(found[:, 0], digits.x)
        found = found[:, 1]
    assert found.shape == digits.x.shape and found.dtype == digits.x.dtype
    assert found.min() >= 0 and found.max() <= 1
    assert length(found - digits.x, name).max() <= EPSILON * (1 + 1e-5)
    loss = lambda x: losses.cross_entropy(digits.logits_fn(x), digits.y).mean()  # noqa: E731
    assert loss(found) > 1.2 * loss(digits.x)
    np.testing.assert_array_equal(found, attack(KEY, digits.logits_fn, batch)["image"].reshape(32, -1, 8, 8, 1)[:, -1])
    other = attack(jax.random.key(9), digits.logits_fn, batch)["image"].reshape(32, -1, 8, 8, 1)[:, -1]
    assert (other != found).any()


@pytest.mark.slow
def test_a_radius_of_0_is_ordinary_training(digits):
    batch = {"image": digits.x, "label": digits.y}
    for make in (pgd_training, fast_training):
        found = make(epsilon=0.0)["attack"](KEY, digits.logits_fn, batch)["image"]
        np.testing.assert_array_equal(found, digits.x)


@pytest.mark.slow
def test_more_steps_are_harder(digits):
    batch = {"image": digits.x, "label": digits.y}
    loss = []
    for steps in (1, 3, 20):
        found = pgd_training(epsilon=EPSILON, steps=steps)["attack"](KEY, digits.logits_fn, batch)["image"]
        loss.append(float(losses.cross_entropy(digits.logits_fn(found), digits.y).mean()))
    assert loss[0] < loss[1] < loss[2]


@pytest.mark.slow
def test_the_steps_are_as_long_as_is_said_and_half_precision_stays():
    _, logits_fn = net_of()
    found = pgd_training(epsilon=0.5, steps=3, step_size=0.02)["attack"](KEY, logits_fn, BATCH)["image"]
    other = pgd_training(epsilon=0.5, steps=1, step_size=0.0)["attack"](KEY, logits_fn, BATCH)["image"]
    assert 0.059 < jnp.abs(found - other).max() < 0.061
    half = dict(BATCH, image=BATCH["image"].astype(jnp.bfloat16))
    assert ATTACKS["pgd"]["attack"](KEY, logits_fn, half)["image"].dtype == jnp.bfloat16


# --- TRADES


@pytest.mark.slow
def test_the_loss_of_trades_by_hand():
    draw = np.random.default_rng(0).normal(size=(5, 2, 4)).astype(np.float32)
    label = jnp.arange(5) % 4
    p, q = np.exp(draw) / np.exp(draw).sum(-1, keepdims=True) @ np.eye(4), None
    p, q = p[:, 0], p[:, 1]
    expected = -np.log(p[np.arange(5), label]) + 3 * (p * np.log(p / q)).sum(-1)
    loss = trades(epsilon=EPSILON, beta=3.0)["loss"]
    close(loss(jnp.asarray(draw), {"label": label}), expected, rtol=1e-4)
    close(loss(jnp.asarray(draw[:, 0]), {"label": label}), -np.log(p[np.arange(5), label]), rtol=1e-4)
    smooth = trades(epsilon=EPSILON, beta=0.0, label_smoothing=0.1)["loss"]
    usual = losses.classification(0.1)(jnp.asarray(draw[:, 0]), {"label": label})
    close(smooth(jnp.asarray(draw), {"label": label}), usual, rtol=1e-5)
    accuracy = trades(epsilon=EPSILON)["metrics"]["accuracy"]
    found = accuracy(jnp.asarray(draw), {"label": label})
    np.testing.assert_array_equal(found, draw[:, 0].argmax(-1) == label)
    np.testing.assert_array_equal(found, accuracy(jnp.asarray(draw[:, 0]), {"label": label}))


@pytest.mark.slow
def test_trades_needs_no_label_for_its_attack_and_climbs_the_divergence(digits):
    attack = trades(epsilon=EPSILON)["attack"]
    found = [attack(KEY, digits.logits_fn, {"image": digits.x, "label": y})["image"] for y in (digits.y, 9 - digits.y)]
    np.testing.assert_array_equal(*found)
    apart = trades(epsilon=EPSILON, beta=1.0)["loss"]
    loss = [float(apart(digits.logits_fn(each), {"label": digits.y}).mean()) for each in (found[0], found[0][:, :1])]
    assert loss[0] > 1.2 * float(losses.cross_entropy(digits.logits_fn(digits.x), digits.y).mean())
    # It goes to the boundary of the ball, although the divergence has no slope at x.
    assert (length(found[0][:, 1] - digits.x, "linf") > 0.99 * EPSILON).all()


@pytest.mark.slow
def test_a_step_of_trades_by_hand():
    """Batch norm sees both images of a pair; the gradient goes through both outputs."""
    net = Sequential(flatten=Flatten(), norm=BatchNorm(), head=Dense(2))
    options, optimizer = trades(epsilon=EPSILON, beta=2.0), optax.sgd(0.1)
    state = TrainState.create(net, optimizer, KEY, SPEC)
    after, measured = jax.jit(make_train_step(net, optimizer, **options))(state, BATCH)
    key = jax.random.split(jax.random.split(jax.random.fold_in(state.key, 0))[0])[0]
    pair = options["attack"](key, predictor(net, state.params, state.model_state), BATCH)["image"]

    def loss(params):
        both, moved = net.apply(params, state.model_state, pair.reshape(12, 3, 3, 1), train=True)
        clean, near = jax.nn.log_softmax(both[0::2]), jax.nn.log_softmax(both[1::2])
        own = -clean[jnp.arange(6), BATCH["label"]]
        return jnp.mean(own + 2 * (jnp.exp(clean) * (clean - near)).sum(-1)), moved

    (value, moved), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
    close(measured["loss"], value, rtol=1e-4)
    expected = jax.tree.map(lambda w, g: w - 0.1 * g, state.params, gradient)
    jax.tree.map(functools.partial(close, rtol=1e-4, atol=1e-5), (after.params, after.model_state), (expected, moved))


# --- free training


@pytest.mark.slow
def test_free_steps_by_hand():
    """Two batches of three replays: one gradient moves the weights down and the perturbation up."""
    options = free_training(NET, optax.sgd(0.2), epsilon=EPSILON, replays=3, batch_size=6, step_size=0.06)
    assert (options["batch_size"], options["replays"]) == (6, 3)
    state = TrainState.create(options["net"], options["optimizer"], KEY, SPEC)
    step = jax.jit(make_train_step(options["net"], options["optimizer"]))
    params = {"head": state.params["head"]}
    shift = jnp.zeros((6, 3, 3, 1))
    batches = [BATCH, {"image": BATCH["image"][::-1], "label": BATCH["label"]}]

    def loss(params, image, label):
        return losses.cross_entropy(NET.apply(params, {}, image, train=True)[0], label).mean()

    for batch in batches:
        for _ in range(3):
            image = jnp.clip(batch["image"] + shift, 0, 1)
            down, up = jax.grad(loss, (0, 1))(params, image, batch["label"])
            params = jax.tree.map(lambda w, g: w - 0.2 * g, params, down)
            shift = jnp.clip(shift + 0.06 * jnp.sign(up), -EPSILON, EPSILON)
            state, _ = step(state, batch)
            close(state.params["head"]["kernel"], params["head"]["kernel"], rtol=1e-5, atol=1e-6)
            close(state.params["perturbation"]["shift"], shift, atol=1e-6)
    assert shift.min() == -EPSILON and shift.max() == EPSILON


def test_a_pixel_comes_back_from_beyond_its_bounds():
    """Black pixels that were pushed down go up as soon as their gradient turns."""
    net = free_training(NET, optax.sgd(0.0), epsilon=EPSILON, batch_size=6)["net"]
    params, state = net.init(KEY, SPEC)
    params["perturbation"]["shift"] = jnp.full((6, 3, 3, 1), -EPSILON)
    black = jnp.zeros((6, 3, 3, 1))

    def out(params):
        return net.apply(params, state, black, train=True)[0][:, 0].sum()

    gradient = jax.grad(out)(params)["perturbation"]["shift"]
    close(gradient, jnp.broadcast_to(params["head"]["kernel"][:, 0].reshape(3, 3, 1), gradient.shape), rtol=1e-5)
    assert out(params) == pytest.approx(float(6 * params["head"]["bias"][0]), abs=1e-6)  # it sees black


def test_free_training_leaves_the_net_as_it_would_be():
    options = free_training(NET, optax.adam(0.01), epsilon=EPSILON, batch_size=6)
    plain = TrainState.create(NET, optax.adam(0.01), KEY, SPEC)
    state = TrainState.create(options["net"], options["optimizer"], KEY, SPEC)
    np.testing.assert_array_equal(state.params["head"]["kernel"], plain.params["head"]["kernel"])
    assert jax.tree.structure(state.opt_state) == jax.tree.structure(plain.opt_state)
    x = BATCH["image"][:2]
    full = options["net"].apply(state.params, state.model_state, x, train=False)[0]
    np.testing.assert_array_equal(predictor(NET, state.params, state.model_state)(x), full)
    np.testing.assert_array_equal(predictor(NET, plain.params, plain.model_state)(x), full)
    with pytest.raises(
        ValueError, match=r"^Perturbation: expected a batch of shape \(6, 3, 3, 1\), got \(2, 3, 3, 1\)"
    ):
        options["net"].apply(state.params, state.model_state, x, train=True)


# --- trainings


def robust(logits_fn, x, y):
    """Return the accuracy on images and under an attack of 20 steps."""
    found = pgd_training(epsilon=EPSILON, steps=20)["attack"](KEY, logits_fn, {"image": x, "label": y})["image"]
    return [float((logits_fn(image).argmax(-1) == y).mean()) for image in (x, found)]


def trained(epochs, **options):
    train, test = data.load("digits")
    options = {"net": DIGITS_NET, "optimizer": optax.adam(0.005), "batch_size": 64} | options
    result = training.fit(train=train, epochs=epochs, key=jax.random.key(0), **options)
    return result, data.to_float(test["image"]), jnp.asarray(test["label"])


@pytest.mark.slow
def test_the_step_is_compiled_once(caplog):
    with jax.log_compiles():
        trained(2, **trades(epsilon=EPSILON, steps=2))
    assert sum("Finished XLA compilation of jit(one)" in message for message in caplog.messages) == 1


@pytest.mark.slow
def test_validation_is_clean_and_free_training_goes_through_fit():
    options = free_training(DIGITS_NET, training.sgd(0.1), epsilon=EPSILON, replays=2, batch_size=50)
    result, x, _ = trained(2, validation=0.2, **options)
    assert [entry["step"] for entry in result.history] == [46, 92]
    assert "validation_accuracy" in result.history[-1]
    shift = result.state.params["perturbation"]["shift"]
    assert shift.shape == (50, 8, 8, 1)
    assert jnp.abs(shift).max() == pytest.approx(EPSILON, rel=1e-5)
    logits_fn = predictor(DIGITS_NET, result.state.params, result.state.model_state)
    assert logits_fn(x).shape == (len(x), 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pgd", "fast", "trades", "free"])
def test_every_defence_defends(name, digits):
    options = ATTACKS.get(name) or free_training(DIGITS_NET, optax.adam(0.005), epsilon=EPSILON, replays=4)
    result, x, y = trained(5 if name == "free" else 15, **options)
    clean, attacked = robust(predictor(DIGITS_NET, result.state.params, result.state.model_state), x, y)
    assert clean > 0.9
    assert attacked > robust(digits.logits_fn, x, y)[1] + 0.3  # which is 0.26 of the plain net
    assert result.history[-1].keys() >= {"train_loss", "train_accuracy", "seconds"}
    if name == "pgd":  # in training the accuracy is that on attacked images
        assert result.history[-1]["train_accuracy"] < clean - 0.05


# --- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pgd_training(epsilon=-0.1), r"pgd_training: expected epsilon >= 0, got -0\.1\. "),
        (lambda: pgd_training(epsilon=8), r"pgd_training: expected epsilon of at most 1, the width of the bounds"),
        (lambda: fast_training(epsilon=8), r"fast_training: expected epsilon of at most 1, "),
        (lambda: free_training(NET, optax.sgd(0.1), epsilon=8), r"free_training: expected epsilon of at most 1, "),
        (lambda: pgd_training(epsilon="much"), r"pgd_training: expected epsilon >= 0, got 'much'\. "),
        (lambda: pgd_training(epsilon=0.1, steps=0), r"pgd_training: expected steps as a positive int, got 0\. "),
        (lambda: pgd_training(epsilon=0.1, norm="l0"), r"pgd_training: expected norm as one of \('linf', 'l2', 'l1'\)"),
        (lambda: fast_training(epsilon=0.1, step_size=-1), r"fast_training: expected step_size >= 0, got -1\. "),
        (lambda: trades(epsilon=0.1, beta=-1), r"trades: expected beta >= 0, got -1\. "),
        (lambda: trades(epsilon=0.1, label_smoothing=1), r"classification: expected label_smoothing in \[0, 1\)"),
        (lambda: free_training(NET, optax.sgd(0.1), epsilon=0.1, replays=0), r"free_training: expected replays as a"),
        (lambda: free_training(NET, optax.sgd(0.1), epsilon=0.1, bounds=1), r"free_training: expected bounds as"),
        (
            lambda: free_training(Sequential(perturbation=Flatten()), optax.sgd(0.1), epsilon=0.1),
            r"free_training: expected a net without a layer called 'perturbation', got \['perturbation'\]\. ",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_other_bad_input():
    with pytest.raises(TypeError, match=r"^fast_training: expected random_start as a Python bool, got 1\."):
        fast_training(epsilon=0.1, random_start=1)
    with pytest.raises(TypeError, match=r"^free_training: expected a Sequential as net, got Flatten\(\)\."):
        free_training(Flatten(), optax.sgd(0.1), epsilon=0.1)
    with pytest.raises(TypeError, match=r"^free_training: expected an optax transformation as optimizer, got 0\.1"):
        free_training(NET, 0.1, epsilon=0.1)
    _, logits_fn = net_of()
    for attack in (options["attack"] for options in ATTACKS.values()):
        with pytest.raises(ValueError, match=r'^\w+: expected a batch with "label", got \[\'image\'\]\.'):
            attack(KEY, logits_fn, {"image": BATCH["image"]})
        with pytest.raises(TypeError, match=r"^\w+: expected y as a class, an array of classes, got"):
            attack(KEY, logits_fn, {"image": BATCH["image"], "label": jnp.ones((6, 2)) / 2})
