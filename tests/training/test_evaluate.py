"""Evaluation in padded batches equals evaluation at once; a trained net is a function of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment, losses, matching, segmentation
from jaxcnn.layers import Auxiliary, Conv, Dense, Flatten, Sequential
from jaxcnn.training import evaluate, predict, predictor

SIZE = 13


@pytest.fixture(scope="module")
def some(easy):
    return easy.take(np.arange(SIZE))


@pytest.fixture(scope="module")
def outputs(net, weights, some):
    return net.apply(*weights, jnp.float32(some["image"]) / 255, train=False)[0]


def number(outputs, batch):
    return batch["number"].astype(jnp.float32)


# --- evaluate


@pytest.mark.parametrize("batch_size", [1, 4, SIZE - 1, SIZE, 1000])
def test_every_batch_size_gives_the_means_over_the_set(batch_size, net, weights, some, outputs):
    found = evaluate(net, *weights, some, batch_size=batch_size)
    assert found == {
        "loss": pytest.approx(float(losses.cross_entropy(outputs, some["label"]).mean()), rel=1e-5),
        "accuracy": pytest.approx(float((outputs.argmax(-1) == some["label"]).mean())),
    }
    assert all(type(value) is float for value in found.values())


def test_one_example_is_enough(net, weights, some, outputs):
    found = evaluate(net, *weights, some.take([3]))
    assert found["accuracy"] == float(outputs[3].argmax() == some["label"][3])


def test_loss_and_metrics_of_ones_own(net, weights, some, outputs):
    def loss(outputs, batch):
        return losses.squared_error(outputs, batch["label"])

    found = evaluate(net, *weights, some, loss=loss, metrics={"number": number}, batch_size=5)
    target = np.eye(3)[some["label"]]
    assert found == {
        "loss": pytest.approx(float(0.5 * ((outputs - target) ** 2).sum(-1).mean()), rel=1e-5),
        "number": 6.0,  # the mean of 0..12: padded rows would pull it up
    }
    assert evaluate(net, *weights, some, loss=loss).keys() == {"loss"}
    smooth = losses.classification(label_smoothing=0.1)
    assert evaluate(net, *weights, some, loss=smooth).keys() == {"loss", "accuracy"}


def test_a_mapping_of_arrays_will_do(net, weights, some):
    host = {"image": np.float32(some["image"]) / 255, "label": some["label"]}
    device = jax.tree.map(jnp.asarray, host)
    expected = pytest.approx(evaluate(net, *weights, some), rel=1e-5)
    assert evaluate(net, *weights, host) == expected
    assert evaluate(net, *weights, device) == expected


def test_one_program_for_all_batches_and_calls(some):
    traces = []

    def look(x):
        traces.append(x.shape)
        return x

    net = Sequential(look=look, flatten=Flatten())
    for _ in range(3):
        evaluate(net, {}, {}, some, loss=number, batch_size=4)
    assert traces == [(4, 4, 4, 1)]


@pytest.mark.parametrize("batch_size", [5, SIZE, 1000])
def test_what_compares_examples_does_not_see_padding(batch_size, net, weights, some, outputs):
    loss = matching.pair_loss(100.0)  # of which other classes are not far
    parts = [slice(start, start + batch_size) for start in range(0, SIZE, batch_size)]
    expected = np.concatenate([loss(outputs[part], {"label": some["label"][part]}) for part in parts]).mean()
    found = evaluate(net, *weights, some, loss=loss, metrics={"accuracy": losses.batch_accuracy}, batch_size=batch_size)
    assert found["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((outputs.argmax(-1) == some["label"]).mean()))
    as_metric = evaluate(net, *weights, some, metrics={"pairs": loss}, batch_size=batch_size)
    assert as_metric["pairs"] == pytest.approx(float(expected), rel=1e-5)


def test_nan_in_one_example_is_not_hidden(net, weights, some):
    image = np.float32(some["image"]) / 255
    image[-1, 0, 0, 0] = np.nan  # the one that padding repeats
    found = evaluate(net, *weights, {"image": image, "label": some["label"]}, batch_size=5)
    assert np.isnan(found["loss"])
    clean = evaluate(net, *weights, some.take(np.arange(SIZE - 1)))
    assert found["accuracy"] * SIZE == pytest.approx(clean["accuracy"] * (SIZE - 1), abs=1e-4)


def test_masks_over_views_are_those_of_a_net_that_moves_with_its_images():
    """A convolution of 1x1 pixels sees what a view shows where it shows it: the average is what it says anyway."""
    net = Sequential(conv=Conv(3, 1))
    image = np.random.default_rng(0).random((5, 4, 6, 2), np.float32)
    params, state = net.init(jax.random.key(0), image)
    mask = predict(net, params, state, {"image": image}).argmax(-1)
    some = {"image": image, "mask": mask}
    options = {"loss": segmentation.pixel_loss(), "metrics": {"overlap": segmentation.mean_overlap(3)}}
    views = (lambda images: images, augment.mirrored)
    found = evaluate(net, params, state, some, views=views, batch_size=2, **options)
    assert found == pytest.approx(evaluate(net, params, state, some, batch_size=2, **options), rel=1e-5)
    assert found["overlap"] == 1
    with pytest.raises(ValueError, match=r"^test_time: expected views with an inverse, `back`, for maps, got "):
        evaluate(net, params, state, some, views=(lambda images: images[:, ::-1],), **options)


@pytest.mark.parametrize("function", [evaluate, predict])
def test_bad_sets_and_batches(function, net, weights, some):
    name = function.__name__
    empty = {key: array[:0] for key, array in some.items()}
    with pytest.raises(ValueError, match=rf"^{name}: expected at least one example, got none\. Pass"):
        function(net, *weights, empty)
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=rf"^{name}: expected batch_size as a positive int, got {batch_size}\."):
            function(net, *weights, some, batch_size=batch_size)


# --- predict


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_predict_keeps_order_and_drops_padding(batch_size, net, weights, some, outputs):
    found = predict(net, *weights, some, batch_size=batch_size)
    assert isinstance(found, np.ndarray)
    assert found.shape == (SIZE, 3)
    np.testing.assert_allclose(found, outputs, rtol=1e-5, atol=1e-5)


def test_predict_gives_each_output_of_a_net_with_heads(some):
    net = Auxiliary({"aux": "flatten"}, flatten=Flatten(), head=Dense(3), aux=Dense(2))
    weights = net.init(jax.random.key(0), some.spec)
    found = predict(net, *weights, some, batch_size=4)
    expected, _ = net.apply(*weights, jnp.float32(some["image"]) / 255, train=False)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        np.testing.assert_allclose(found[name], rows, rtol=1e-5, atol=1e-6)


def test_predict_needs_images_alone(net, weights, some, outputs):
    np.testing.assert_allclose(predict(net, *weights, {"image": some["image"]}), outputs, rtol=1e-5, atol=1e-5)


# --- predictor


def test_predictor_takes_uint8_and_floats(net, weights, some, outputs):
    logits_fn = predictor(net, *weights)
    for image in (some["image"], np.float32(some["image"]) / 255):
        np.testing.assert_allclose(logits_fn(image), outputs, rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match=r"^to_float: expected uint8 or floating images, got int32\."):
        logits_fn(np.int32(some["image"]))


def test_predictor_takes_any_leading_axes(net, weights, some, outputs):
    logits_fn = predictor(net, *weights)
    np.testing.assert_allclose(logits_fn(some["image"][3]), outputs[3], rtol=1e-5, atol=1e-5)
    nested = logits_fn(some["image"][:12].reshape(2, 2, 3, 4, 4, 1))
    np.testing.assert_allclose(nested.reshape(12, 3), outputs[:12], rtol=1e-5, atol=1e-5)


def test_predictor_passes_through_jit_as_an_argument(net, weights, some, outputs):
    traces = []

    @jax.jit
    def attack(logits_fn, x):
        traces.append(1)
        return jax.grad(lambda x: logits_fn(x)[:, 0].sum())(x)

    x = jnp.float32(some["image"]) / 255
    gradient = attack(predictor(net, *weights), x)
    assert gradient.shape == x.shape and (gradient != 0).any()
    doubled = jax.tree.map(lambda leaf: 2 * leaf, weights)
    assert (attack(predictor(net, *doubled), x) != gradient).any()  # other weights, the same program
    assert len(traces) == 1


def test_predictor_does_not_train(net, weights, some):
    logits_fn = predictor(net, *weights)
    alone, together = logits_fn(some["image"][:1]), logits_fn(some["image"])
    np.testing.assert_allclose(alone, together[:1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(together, logits_fn(some["image"]))
