"""Ensembles: closed forms of the mean, the disagreement, the calibration, and the temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.layers import Auxiliary, Dense, Flatten, Sequential
from jaxcnn.search import calibration_error, disagreement, ensemble, fit_temperature
from jaxcnn.training import predictor

pytestmark = pytest.mark.usefixtures("quick_compilation")

NET = Sequential(flatten=Flatten(), head=Dense(3))
X = jax.random.uniform(jax.random.key(1), (5, 2, 2, 1))


@pytest.fixture(scope="module")
def nets():
    return jax.vmap(lambda key: NET.init(key, X))(jax.random.split(jax.random.key(0), 4))


def test_an_ensemble_has_the_mean_probabilities(nets):
    params, state = nets
    each = []
    for lane in range(4):
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (params, state))
        each.append(jax.nn.softmax(predictor(NET, *own)(X)))
    logits = ensemble(NET, params, state)(X)
    np.testing.assert_allclose(jax.nn.softmax(logits), np.mean(each, axis=0), rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(logits).sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda f, x: f(x))(ensemble(NET, params, state), X), logits, rtol=1e-5)


def test_an_ensemble_takes_bytes_as_images(nets):
    pixels = np.array([0, 51, 102, 255], np.uint8).reshape(1, 2, 2, 1)
    images = np.array([0, 0.2, 0.4, 1], np.float32).reshape(1, 2, 2, 1)
    logits_fn = ensemble(NET, *nets)
    np.testing.assert_allclose(logits_fn(pixels), logits_fn(images), rtol=1e-5)


def test_an_ensemble_of_nets_with_heads_is_of_their_logits(nets):
    params, state = nets
    net = Auxiliary({"aux": "flatten"}, flatten=Flatten(), head=Dense(3), aux=Dense(2))
    with_heads = jax.vmap(lambda key: net.init(key, X))(jax.random.split(jax.random.key(0), 4))
    found = ensemble(net, {**with_heads[0], **params}, with_heads[1])(X)
    np.testing.assert_allclose(found, ensemble(NET, params, state)(X), rtol=1e-5)


@pytest.mark.slow
def test_nets_that_agree_do_not_disagree():
    logits = jax.random.normal(jax.random.key(0), (1, 6, 4)).repeat(3, 0)
    np.testing.assert_allclose(disagreement(logits), 0, atol=1e-6)


@pytest.mark.slow
def test_nets_that_are_sure_of_different_classes_disagree_most():
    logits = jnp.array([[[50.0, 0.0]], [[0.0, 50.0]]])
    np.testing.assert_allclose(disagreement(logits), np.log(2), rtol=1e-5)
    unsure = jnp.zeros((2, 1, 2))  # both doubt, and agree on that
    np.testing.assert_allclose(disagreement(unsure), 0, atol=1e-6)


def test_probabilities_of_zero():
    assert np.isfinite(disagreement(jnp.array([[[0.0, -jnp.inf]], [[0.0, 0.0]]]))).all()


def test_calibration_error_of_a_net_that_is_right_as_often_as_it_thinks():
    # confidence 0.75 in all; three of four are right
    logits = jnp.log(jnp.tile(jnp.array([[0.75, 0.25]]), (4, 1)))
    assert calibration_error(logits, jnp.array([0, 0, 0, 1])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(logits, jnp.array([1, 1, 1, 1])) == pytest.approx(0.75, rel=1e-5)


def test_calibration_error_weighs_its_bins():
    logits = jnp.log(jnp.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.65, 0.35]]))
    labels = jnp.array([0, 1, 0, 0])
    expected = 0.5 * abs(0.5 - 0.95) + 0.5 * abs(1.0 - 0.65)
    assert calibration_error(logits, labels, bins=10) == pytest.approx(expected, rel=1e-5)
    assert calibration_error(logits, labels, bins=1) == pytest.approx(abs(0.75 - 0.8), rel=1e-4)


def test_the_temperature_is_where_the_loss_is_least():
    logits = 4 * jax.random.normal(jax.random.key(0), (400, 5))
    labels = jax.random.categorical(jax.random.key(1), logits / 2.5)  # sharper than the truth by 2.5
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(2.5, rel=0.15)

    def loss(t):
        return optax.softmax_cross_entropy_with_integer_labels(logits / t, labels).mean()

    assert abs(jax.grad(loss)(found)) < 1e-4
    assert fit_temperature(10 * logits, labels) == pytest.approx(10 * float(found), rel=1e-3)
    assert calibration_error(logits / found, labels) < calibration_error(logits, labels)


MISTAKES = {
    r"disagreement: expected logits of shape \(nets, .*, got \(3,\)\.": lambda: disagreement(jnp.zeros(3)),
    r"calibration_error: expected logits .*, got \(2, 3\) and \(3,\)\.": lambda: calibration_error(
        jnp.zeros((2, 3)), jnp.zeros(3, int)
    ),
    r"calibration_error: expected bins as a positive int, got 0\.": lambda: calibration_error(
        jnp.zeros((2, 3)), jnp.zeros(2, int), bins=0
    ),
    r"fit_temperature: expected labels of an integer dtype, got float32\.": lambda: fit_temperature(
        jnp.zeros((2, 3)), jnp.zeros(2)
    ),
    r"ensemble: expected a layer, got 3\.": lambda: ensemble(3, {}, {}),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_bad_input(message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        MISTAKES[message]()
