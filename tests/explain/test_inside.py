"""Looking inside: top images, class means, statistics of units, features and their neighbours, against all at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn import functional as F
from jaxcnn.explain import inside
from jaxcnn.explain.inside.activations import _read
from jaxcnn.layers import Conv, Dense, GlobalAvgPool, Sequential
from jaxcnn.surgery import activations, freeze
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
NUMBER = 23
IMAGES = np.random.default_rng(5).integers(0, 256, (NUMBER, 12, 12, 3), np.uint8)
LABELS = np.random.default_rng(6).integers(0, 4, NUMBER)
SET = data.from_arrays(IMAGES, LABELS, class_names=["a", "b", "c", "d"])
AT = "block1/branch/act"


@pytest.fixture
def case():
    """One net: what is looked at is what a layer gives, whatever the net."""
    return CASES["residual"]


@functools.cache
def given(at):
    """Return what a layer gives for all images at once, (N, positions, units)."""
    _, net, params, state = CASES["residual"]
    y = np.asarray(activations(net, params, state, data.to_float(IMAGES), [at])[1][at])
    return y.reshape(NUMBER, -1, y.shape[-1])


def identity(**layers):
    """A net whose units are the channels of the images, and then some layers."""
    return Sequential(same=lambda x: x, **layers)


# Top images


@pytest.mark.parametrize("batch_size", [4, 256])
def test_top_images_are_those_of_brute_force(case, batch_size):
    y = given(AT)
    side = round(y.shape[1] ** 0.5)
    best, place = y.max(1), y.argmax(1)
    order = np.argsort(-best, axis=0, kind="stable")[:5].T
    found = inside.top_images(case.net, case.params, case.state, IMAGES, AT, count=5, batch_size=batch_size)
    close(found.value, np.take_along_axis(best.T, order, 1), rtol=1e-5)
    np.testing.assert_array_equal(found.index, order)
    places = np.take_along_axis(place.T, order, 1)
    np.testing.assert_array_equal(found.position, np.stack([places // side, places % side], -1))
    assert found.units.tolist() == list(range(y.shape[-1]))


def test_top_images_of_some_units_and_of_a_set(case):
    every = inside.top_images(case.net, case.params, case.state, IMAGES, AT, count=2)
    found = inside.top_images(case.net, case.params, case.state, SET, AT, units=[5, 1], count=2)
    assert found.units.tolist() == [5, 1]
    for name in ("index", "position", "value"):
        np.testing.assert_array_equal(getattr(found, name), getattr(every, name)[[5, 1]])


def test_top_images_by_hand():
    images = np.zeros((4, 3, 5, 2), np.float32)
    images[2, 1, 3, 0] = 0.9
    images[0, 2, 4, 0] = 0.5
    images[3, 0, 1, 1] = 0.7
    found = inside.top_images(identity(), {}, {}, images, "same", count=3, batch_size=3)
    assert found.index.tolist() == [[2, 0, 1], [3, 0, 1]]  # of equal images the first
    assert found.position[:, 0].tolist() == [[1, 3], [0, 1]]
    assert found.position[0, 1].tolist() == [2, 4]
    assert found.position[1, 1].tolist() == [0, 0]
    close(found.value, [[0.9, 0.5, 0.0], [0.7, 0.0, 0.0]])


def test_what_pads_the_last_batch_is_no_image():
    images = np.zeros((3, 2, 2, 1), np.float32)
    images[2] = 1.0  # the one that padding repeats
    found = inside.top_images(identity(), {}, {}, images, "same", count=3, batch_size=2)
    assert found.index.tolist() == [[2, 0, 1]]
    close(found.value, [[1, 0, 0]])


def test_top_images_of_a_layer_without_a_map(case):
    y = given("head")
    found = inside.top_images(case.net, case.params, case.state, IMAGES, "head", count=3)
    np.testing.assert_array_equal(found.index, np.argsort(-y[:, 0], axis=0, kind="stable")[:3].T)
    assert not found.position.any()


@pytest.mark.slow
def test_one_program_serves_all_batches_weights_and_sets():
    case = CASES["plain"]
    before = _read._cache_size()
    for scale in (1.0, 2.0):
        params = jax.tree.map(lambda p, scale=scale: scale * p, case.params)
        for images in (IMAGES, IMAGES[::-1]):
            inside.top_images(case.net, params, case.state, images, "act1", units=[3], count=2, batch_size=4)
    assert _read._cache_size() == before + 1


# Class means


def test_class_means_are_those_of_brute_force(case):
    y = given(AT)
    expected = np.stack([y[k == LABELS].mean((0, 1)) for k in range(4)])
    for images in (IMAGES, SET):
        close(
            inside.class_means(case.net, case.params, case.state, images, LABELS, AT, batch_size=5), expected, rtol=1e-5
        )


def test_a_class_without_an_image_has_no_mean():
    images = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) / 4
    found = inside.class_means(identity(), {}, {}, images, np.array([0, 2, 2, 0]), "same")
    close(found[[0, 2], 0], [0.375, 0.375])
    assert np.isnan(found[1, 0])


def test_class_selectivity_by_hand():
    means = np.array([[4.0, 1.0, 0.0, 3.0], [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [np.nan] * 4])
    close(inside.class_selectivity(means), [1.0, 0.0, 0.0, (3 - 0.5) / (3 + 0.5)])


# Statistics of units


def test_statistics_are_those_of_brute_force(case):
    y = given(AT)
    found = inside.unit_statistics(case.net, case.params, case.state, IMAGES, AT, batch_size=6)
    close(found.mean, y.mean((0, 1)), rtol=1e-4)
    close(found.sd, y.std((0, 1)), rtol=1e-3)
    close(found.least, y.min((0, 1)))
    close(found.largest, y.max((0, 1)), rtol=1e-5)
    close(found.images, (y > 0).any(1).mean(0))
    close(found.positions, (y > 0).mean((0, 1)), rtol=1e-5)
    assert not found.saturated.any()


def test_a_small_deviation_far_from_zero():
    images = np.random.default_rng(0).random((10, 3, 3, 2), np.float32)
    seen = np.asarray(100 + jnp.asarray(images) / 16, np.float64)
    found = inside.unit_statistics(identity(far=lambda x: 100 + x / 16), {}, {}, images, "far", batch_size=4)
    close(found.sd, seen.std((0, 1, 2)), rtol=1e-4)
    close(found.mean, seen.mean((0, 1, 2)), rtol=1e-7)


def test_dead_and_stuck_units_by_hand():
    images = np.zeros((2, 1, 2, 3), np.float32)
    images[0, 0, 0, 1] = 0.5
    images[..., 2] = 1.0
    relu = inside.unit_statistics(identity(act=F.relu), {}, {}, images, "act")
    assert relu.dead.tolist() == [True, False, False]
    close(relu.images, [0, 0.5, 1])
    close(relu.positions, [0, 0.25, 1])
    assert not relu.saturated.any()  # its range has one end only
    far = identity(scale=lambda x: 100 * (x - 0.5), act=F.tanh)
    tanh = inside.unit_statistics(far, {}, {}, images, "act")
    close(tanh.saturated, [1, 0.75, 1])
    assert tanh.stuck.tolist() == [True, False, True]
    frozen = inside.unit_statistics(freeze(far, ["act"]), {}, {}, images, "act")
    close(frozen.saturated, tanh.saturated)


def test_bounds_may_be_given():
    images = np.array([0.0, 0.005, 0.5, 0.995, 1.0], np.float32).reshape(5, 1, 1, 1)
    found = inside.unit_statistics(identity(), {}, {}, images, "same", bounds=(0.0, 1.0))
    close(found.saturated, [4 / 5])


# Features


def test_embedding_is_the_mean_over_positions(case):
    found = inside.embedding(case.net, case.params, case.state, SET, AT, batch_size=10)
    close(found, given(AT).mean(1), rtol=1e-4, atol=1e-6)
    head = inside.embedding(case.net, case.params, case.state, IMAGES, "head")
    close(head, case.logits_fn(IMAGES), rtol=1e-4, atol=1e-5)


def test_principal_components_are_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    features = (
        np.random.default_rng(0).normal(size=(40, 6))
        * [5, 3, 1, 1, 1, 1]
        @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    )
    found = inside.project(features)
    theirs = decomposition.PCA(2).fit(features)
    close(np.abs(found.points), np.abs(theirs.transform(features)), rtol=1e-6, atol=1e-9)
    close(found.explained, theirs.explained_variance_ratio_)
    # The weight of largest magnitude of each direction is positive.
    directions = np.linalg.lstsq(features - features.mean(0), found.points, rcond=None)[0].T
    assert all(row[np.abs(row).argmax()] > 0 for row in directions)
    close(inside.project(features[::-1]).points[::-1], found.points, atol=1e-9)


def test_principal_components_of_a_line_and_of_nothing():
    line = inside.project(np.arange(5.0)[:, None])
    close(line.points, np.stack([np.arange(5) - 2, np.zeros(5)], 1), atol=1e-12)
    close(line.explained, [1, 0])
    alike = inside.project(np.ones((4, 3)))
    assert not alike.points.any()
    assert not alike.explained.any()


def test_tsne_keeps_groups_together_and_is_the_same_for_the_same_key():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    draw, labels = np.random.default_rng(0), np.repeat([0, 1], 15)
    features = draw.normal(size=(30, 5)) + 20 * labels[:, None]
    found = inside.project(features, "tsne", key=jax.random.key(3), perplexity=5)
    assert found.points.shape == (30, 2)
    assert found.explained is None
    index = inside.nearest(found.points.astype(np.float32), found.points.astype(np.float32), 4).index
    assert (labels[index] == labels[:, None]).all()
    again = inside.project(features, "tsne", key=jax.random.key(3), perplexity=5)
    np.testing.assert_array_equal(found.points, again.points)


def test_nearest_are_those_of_brute_force():
    draw = np.random.default_rng(0)
    features, query = (
        draw.normal(1000, 1, (200, 7)).astype(np.float32),
        draw.normal(1000, 1, (3, 4, 7)).astype(np.float32),
    )
    found = inside.nearest(features, query, 6)
    distance = np.linalg.norm(query[..., None, :].astype(np.float64) - features, axis=-1)
    np.testing.assert_array_equal(found.index, distance.argsort(axis=-1, kind="stable")[..., :6])
    close(found.distance, np.sort(distance, axis=-1)[..., :6], rtol=1e-5)
    one = inside.nearest(features, features[17], 1)
    assert one.index.tolist() == [17]
    assert one.distance.tolist() == [0]


def test_of_equally_near_ones_the_first_comes_first():
    features = np.array([[1.0], [0.0], [0.0], [1.0], [0.0]], np.float32)
    assert inside.nearest(features, np.array([0.0], np.float32), 4).index.tolist() == [1, 2, 4, 0]


# What is refused


def poisoned(case):
    return jax.tree.map(lambda p: p.at[(0,) * p.ndim].set(jnp.nan), case.params)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: inside.top_images(*c[1:], IMAGES, "act9"), ValueError, "act9.* Did you mean "),
        (lambda c: inside.top_images(*c[1:], IMAGES, "act1", units=[8]), ValueError, r"units from 0 to 7, got \[8\]\."),
        (lambda c: inside.top_images(*c[1:], IMAGES, "act1", units=[]), ValueError, r"units from 0 to 7, got \[\]\."),
        (lambda c: inside.top_images(*c[1:], IMAGES, "act1", count=24), ValueError, "count of at most 23, got 24"),
        (lambda c: inside.top_images(*c[1:], IMAGES[0], "act1"), ValueError, r"images \(N, H, W, C\) or a data set"),
        (lambda c: inside.embedding(*c[1:], {"label": LABELS}, "act1"), ValueError, r"^embedding: expected images"),
        (lambda c: inside.embedding(*c[1:], IMAGES[:0], "act1"), ValueError, "^embedding: expected at least one"),
        (lambda c: inside.embedding(*c[1:], IMAGES.astype(int), "act1"), TypeError, "uint8 or floating images"),
        (
            lambda c: inside.embedding(*c[1:], IMAGES.astype(np.float32), "act1"),
            ValueError,
            r"^embedding: expected images in \[0, 1\], got values from 0 to 255\. Divide 0\.\.255 by 255",
        ),
        (
            lambda c: inside.embedding(c.net, poisoned(c), c.state, IMAGES, "act1"),
            ValueError,
            "^embedding: expected finite activations at 'act1', got others for 23 of 23 images. ",
        ),
        (
            lambda c: inside.class_means(*c[1:], IMAGES, LABELS[1:], "act1"),
            ValueError,
            r"^class_means: expected labels \(23,\) of at least 0, ",
        ),
        (lambda c: inside.class_means(*c[1:], IMAGES, LABELS - 1, "act1"), ValueError, "^class_means: expected labels"),
        (lambda c: inside.class_means(*c[1:], IMAGES, LABELS / 2, "act1"), ValueError, "^class_means: expected labels"),
        (lambda c: inside.class_selectivity(np.ones((1, 3))), ValueError, "^class_selectivity: expected means of two"),
        (
            lambda c: inside.class_selectivity(-np.ones((2, 3))),
            ValueError,
            "^class_selectivity: expected means of at least 0, got -1. Take a layer after a ReLU.",
        ),
        (
            lambda c: inside.unit_statistics(*c[1:], IMAGES, "act1", bounds=(1, 1)),
            ValueError,
            r"^unit_statistics: expected bounds \(low, high\), low < high, got \(1, 1\)\.",
        ),
        (lambda c: inside.project(np.ones((2, 3))), ValueError, r"^project: expected features \(N, F\) of three"),
        (lambda c: inside.project(np.full((4, 3), np.nan)), ValueError, "^project: expected finite features"),
        (lambda c: inside.project(np.ones((4, 3)), "umap"), ValueError, '^project: expected method as "pca" or "tsne"'),
        (lambda c: inside.project(np.ones((4, 3)), "tsne"), TypeError, "^project: expected one PRNG key, got None"),
        (
            lambda c: inside.project(np.ones((4, 3)), "tsne", key=jax.random.key(0)),
            ValueError,
            "^project: expected a perplexity from 1 to 3, less than the number of images, got 30",
        ),
        (lambda c: inside.nearest(np.ones((4, 3)), np.ones(2)), ValueError, r"^nearest: expected a query"),
        (lambda c: inside.nearest(np.ones((4, 3)), np.ones(3)), ValueError, "^nearest: expected count of at most 4"),
        (lambda c: inside.nearest(np.ones(3), np.ones(3)), ValueError, r"^nearest: expected features \(N, F\)"),
        (lambda c: inside.nearest(np.ones((3, 3), int), np.ones(3)), TypeError, "^nearest: expected features of a"),
    ],
)  # fmt: skip
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call(CASES["plain"])


def test_layers_of_other_ranks_are_refused():
    net = identity(split=lambda x: x.reshape(*x.shape[:-1], 1, 1, 3))
    message = (
        r"^embedding: expected a layer that gives \(N, units\) or \(N, h, w, units\), got 'split' of shape \(1, 12,"
    )
    with pytest.raises(ValueError, match=message):
        inside.embedding(net, {}, {}, IMAGES, "split")


def test_a_stream_is_read_as_a_set_in_memory_is():
    pytest.importorskip("grain")
    pytest.importorskip("PIL")
    from tests.data.test_stream import stream

    images = stream(11)
    net = Sequential(a=Conv(3, 3), b=F.relu, p=GlobalAvgPool(), f=Dense(2))
    params, state = net.init(jax.random.key(0), images.spec)
    held = images.dataset()
    for found, expected in zip(
        *(inside.top_images(net, params, state, s, "b", count=3, batch_size=4) for s in (images, held)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    labels = images["label"]
    means = [inside.class_means(net, params, state, s, labels, "p", batch_size=4) for s in (images, held)]
    np.testing.assert_array_equal(*means)
