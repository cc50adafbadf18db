"""The short experiments of the course: each runs small, its parts are right where the answer is known, and says no."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import (
    activations,
    backpropagation,
    connectivity,
    convolution,
    depth,
    dropout,
    hidden_features,
    joint_training,
    momentum,
    neuron,
    normalization,
    perceptron,
    pooling,
    shallow_vs_deep,
    text_1d,
)
from experiments.__main__ import experiments
from jaxcnn import data
from jaxcnn import functional as F

pytestmark = pytest.mark.usefixtures("quick_compilation")
COURSE = (
    activations,
    backpropagation,
    connectivity,
    convolution,
    depth,
    dropout,
    hidden_features,
    joint_training,
    momentum,
    neuron,
    normalization,
    perceptron,
    pooling,
    shallow_vs_deep,
    text_1d,
)
KEY = jax.random.key(0)


def named(module) -> str:
    return module.__name__.removeprefix("experiments.")


SMALL = [pytest.param(m, marks=pytest.mark.slow) if m is activations else m for m in COURSE]


@pytest.mark.parametrize("module", SMALL, ids=named)
def test_a_small_run_and_its_record(module, tmp_path):
    if module is shallow_vs_deep:
        pytest.importorskip("skimage")
    result = module.main(module.Config(quick=True, run=str(tmp_path)))
    assert result.holds, result.verdict
    json.dumps(result.figures, allow_nan=False)
    assert result.pictures
    assert all(block for section in result.pictures for block in section.blocks)
    assert result.verdict.endswith((".", ")"))


@pytest.mark.parametrize("module", COURSE, ids=named)
def test_it_is_listed_with_a_question(module):
    assert experiments()[named(module)].count("?") == 1


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (perceptron, {"classes": (1, 1)}, r"^perceptron: expected two different digits, got \(1, 1\)\. "),
        (perceptron, {"orders": 1}, "^perceptron: expected at least 2 orders, got 1. "),
        (neuron, {"seeds": 1}, "^neuron: expected at least 2 seeds, got 1. "),
        (backpropagation, {"images": 0}, "^backpropagation: expected 1 to [0-9]+ images, got 0. "),
        (backpropagation, {"depth": 1}, "^backpropagation: expected at least 2 layers, got 1. "),
        (connectivity, {"shifts": (-1,)}, r"^connectivity: expected shifts of 0 pixels or more, got \(-1,\)"),
        (convolution, {"shift": 3}, "^convolution: expected a shift of 2, 4, 6 or 8 pixels, got 3. "),
        (pooling, {"shifts": (1, 2)}, r"^pooling: expected shifts that rise from 0, got \(1, 2\)"),
        (momentum, {"rates": (0.1, 0.1)}, "^momentum: expected two rates or more, positive and rising, got "),
        (momentum, {"momentum": 1.0}, "^momentum: expected a momentum between 0 and 1, got 1.0. "),
        (dropout, {"rate": 1.0}, "^dropout: expected a rate between 0 and 1, got 1.0. "),
        (dropout, {"masks": (3, 1)}, r"^dropout: expected numbers of masks that rise from 1, got \(3, 1\)"),
        (activations, {"rates": ()}, r"^activations: expected positive rates, got \(\)"),
        (normalization, {"seeds": 1}, "^normalization: expected at least 2 seeds, got 1. "),
        (depth, {"depths": (2, 1)}, r"^depth: expected two depths or more, rising from 1, got \(2, 1\)"),
        (joint_training, {"seeds": 1}, "^joint_training: expected at least 2 seeds, got 1. "),
        (hidden_features, {"seeds": 1}, "^hidden_features: expected at least 2 seeds, got 1. "),
        (shallow_vs_deep, {"per_class": (3, 5)}, "^shallow_vs_deep: expected two or more rising numbers of images "),
        (text_1d, {"length": 3}, "^text_1d: expected pieces of at least 16 characters, got 3. "),
    ],
    ids=lambda value: named(value) if hasattr(value, "__name__") else "",
)
def test_bad_options(module, options, message):
    with pytest.raises(ValueError, match=message):
        module.main(dataclasses.replace(module.Config(), **options))


def test_rosenblatts_rule_on_two_points_and_its_bound():
    x, y = perceptron.with_bias(np.array([[1.0], [-1.0]], np.float32)), np.array([1, -1], np.float32)
    weights, mistakes = perceptron.rosenblatt(KEY, x, y, epochs=5)
    assert int(mistakes.sum()) == 2 or int(mistakes.sum()) == 1
    assert bool((y * (x @ weights) > 0).all())
    # (1, 1) and (-1, 1): the plane (1, 0) has margin 1, R^2 = 2.
    assert perceptron.widest_margin(x, y) == pytest.approx(1.0, rel=1e-3)
    assert perceptron.widest_margin(x, -y) == pytest.approx(1.0, rel=1e-3)


def test_layers_of_seven_inputs_are_counted_in_their_arrays():
    counts = {name: connectivity.weights(layer) for name, layer in connectivity.small_layers().items()}
    assert counts == {"dense": 21, "local": 9, "convolution": 3}


def test_images_are_shifted_with_zeros():
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    moved = connectivity.shifted(data.from_arrays(image, np.zeros(1, np.int64)), 1)["image"][0, ..., 0]
    assert moved.tolist() == [[0, 0, 0], [0, 1, 2], [0, 4, 5]]


def test_the_gradient_of_one_unit_by_hand():
    x, w, t = 0.5, 2.0, 0.0  # a = s(1); dE/dw = (a - t) a (1 - a) x
    a = 1 / (1 + np.exp(-1.0))
    weights = [(jnp.array([[w]]), jnp.zeros(1))]
    ((matrix, bias),) = backpropagation.by_hand(weights, jnp.array([[x]]), jnp.array([[t]]))
    assert float(matrix[0, 0]) == pytest.approx(a * a * (1 - a) * x, rel=1e-6)
    assert float(bias[0]) == pytest.approx(a * a * (1 - a), rel=1e-6)


@pytest.mark.slow
def test_a_wrong_recursion_is_seen(monkeypatch):
    right = backpropagation.by_hand
    monkeypatch.setattr(backpropagation, "by_hand", lambda *args: jax.tree.map(lambda g: g * 1.001, right(*args)))
    result = backpropagation.main(backpropagation.Config(quick=True))
    assert not result.holds
    assert result.verdict.startswith("NOT as promised: by hand equals jax.grad to 1e-06")


def test_gradients_shrink_by_a_quarter_at_most_through_sigmoids_at_zero():
    identity = lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)  # noqa: E731
    config = backpropagation.Config(width=4, depth=3)
    norms = backpropagation.gradient_norms(KEY, np.zeros((2, 4), np.float32), config, F.sigmoid, identity)
    slopes = norms[:-1] / norms[1:]  # s(0) = 1/2 enters the next layer: slopes of s at 0.5, 0.622...
    expected = [float(jax.grad(F.sigmoid)(z)) for z in (0.5, float(F.sigmoid(0.5)))]
    np.testing.assert_allclose(slopes, expected, rtol=1e-5)


def test_conv_is_seen_to_differ_where_the_kernel_is_turned():
    image = np.asarray(jax.random.uniform(KEY, (6, 6, 3)))
    kernel = jax.random.normal(KEY, (3, 3, 3, 2))
    assert convolution.by_loops(image, kernel) < 1e-5
    flipped = F.conv(jnp.asarray(image), kernel[::-1, ::-1], padding="VALID")
    assert float(jnp.abs(flipped - F.conv(jnp.asarray(image), kernel, padding="VALID")).max()) > 0.1


def test_plain_descent_takes_the_steps_of_theory():
    config = momentum.Config(steepness=9.0)
    plain = momentum.ravine(9.0)["plain"]
    path = momentum.descended(plain, config)
    # Both directions shrink by (9 - 1) / (9 + 1) a step: the height by 0.64, to a millionth in ln 1e-6 / ln 0.64 = 31.
    assert momentum.needed(path, 9.0) == 31
    np.testing.assert_allclose(path[1], np.array(momentum.START) * [0.8, -0.8], rtol=1e-5)
    slower = momentum.descended(optax.sgd(0.01), config)
    assert momentum.needed(slower, 9.0) > 300


def test_all_masks_of_a_layer_are_its_scaled_weights():
    assert dropout.all_masks(KEY) < 1e-5


def test_batch_norm_is_its_four_equations():
    assert normalization.four_equations(KEY) < 1e-5


def test_a_line_parts_some_points_and_not_xor():
    points, label = hidden_features.XOR
    assert not hidden_features.separable(points, label[:, 0])
    assert hidden_features.separable(points, np.array([0, 0, 0, 1]))


@pytest.mark.slow
def test_nets_of_a_depth_keep_to_their_parameters():
    train_set = data.from_arrays((np.arange(640) % 256).astype(np.uint8).reshape(10, 8, 8, 1), np.arange(10))
    for kind in depth.KINDS.values():
        for layers in (1, 3):
            make = lambda width, kind=kind, layers=layers: kind(train_set.info, layers, width)  # noqa: E731
            width, size = depth.widest(make, train_set.spec, 3000)
            wider = sum(
                leaf.size for leaf in jax.tree.leaves(make(width + 1).init(KEY, train_set.spec)[0])
            )  # fmt: skip
            assert size <= 3000 < wider


def test_pieces_are_read_back_and_shuffled_within():
    text = "def f(x):\n    return x + 1  # \N{SNOWMAN}\n" * 20
    drawn = text_1d.pieces([text] * len(text_1d.PACKAGES), 24, 2, KEY)
    assert drawn["image"].shape == (2 * len(text_1d.PACKAGES), 1, 24, 1)
    plain = text.replace("\n", " ").replace("\N{SNOWMAN}", "?")
    assert all(text_1d.read(image) in plain for image in drawn["image"])
    mixed = text_1d.of_shuffled(KEY, drawn["image"])
    assert (mixed != drawn["image"]).any()
    np.testing.assert_array_equal(np.sort(mixed, axis=2), np.sort(drawn["image"], axis=2))
    one = text_1d.one_hot(jnp.asarray(drawn["image"][:1]) / 255)
    assert one.shape == (1, 1, 24, text_1d.ALPHABET)
    np.testing.assert_array_equal(one.argmax(-1).ravel(), drawn["image"][0].ravel())
