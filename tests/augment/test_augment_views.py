"""Averages over views: closed forms with a linear net."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment

IMAGES = np.asarray(jax.random.uniform(jax.random.key(0), (4, 5, 6, 2)))
WEIGHTS = np.asarray(jax.random.normal(jax.random.key(1), (60, 3)))
VIEWS = (lambda images: images, augment.mirrored, partial(augment.shifted, down=1))


def logits_fn(images):
    return jnp.reshape(images, (*images.shape[:-3], -1)) @ WEIGHTS


def close(a, b):
    np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)


def test_mirror_images():
    assert (augment.mirrored(IMAGES) == IMAGES[:, :, ::-1]).all()
    assert (augment.mirrored(IMAGES[0]) == IMAGES[0, :, ::-1]).all()


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (-1, 3), (1, -2)])
@pytest.mark.parametrize("mode", ["reflect", "edge", "constant"])
def test_shifted(down, right, mode):
    options = {"constant_values": 0.5} if mode == "constant" else {}
    around = np.pad(IMAGES, ((0, 0), (3, 3), (3, 3), (0, 0)), mode, **options)
    expected = around[:, 3 - down : 8 - down, 3 - right : 9 - right]
    assert (augment.shifted(IMAGES, down=down, right=right, padding_mode=mode, fill=0.5) == expected).all()
    levels = np.round(255 * IMAGES[0]).astype(np.uint8)
    assert augment.shifted(levels, down=down, right=right).dtype == np.uint8


def test_bytes_are_filled_with_bytes():
    images = jnp.full((2, 2, 1), 200, jnp.uint8)
    moved = augment.shifted(images, down=1, padding_mode="constant", fill=1.0)
    assert moved[..., 0].tolist() == [[255, 255], [200, 200]]


def test_averages_logits():
    each = [logits_fn(view(IMAGES)) for view in VIEWS]
    close(augment.test_time(logits_fn)(IMAGES), (each[0] + each[1]) / 2)
    close(augment.test_time(logits_fn, VIEWS)(IMAGES), sum(each) / 3)
    weighted = augment.test_time(logits_fn, VIEWS, weights=(2, 1, 0))
    close(weighted(IMAGES), (2 * each[0] + each[1]) / 3)
    close(jax.jit(weighted)(IMAGES[0]), weighted(IMAGES)[0])


KERNEL = np.asarray(jax.random.normal(jax.random.key(2), (2, 3)))


def maps_fn(images):
    """Return maps of logits, each of which sees its own pixel alone: they move exactly as the images do."""
    return jax.nn.tanh(images) @ KERNEL


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_maps_are_moved_back_before_they_are_averaged(average):
    expected = maps_fn(IMAGES) if average == "logits" else jax.nn.log_softmax(maps_fn(IMAGES))
    upside_down = lambda images: jnp.flip(images, -3)  # noqa: E731
    upside_down.back = upside_down
    for views in ((lambda images: images, augment.mirrored), (augment.mirrored, upside_down)):
        averaged = augment.test_time(maps_fn, views, average=average)
        close(averaged(IMAGES), expected)
        close(averaged(IMAGES[0]), expected[0])
        close(averaged(IMAGES[None]), expected[None])
    close(augment.test_time(maps_fn, average=average)(IMAGES), expected)


def test_outputs_by_name_are_averaged_each():
    both = augment.test_time(lambda images: {"logits": logits_fn(images), "maps": maps_fn(images)})(IMAGES)
    close(both["maps"], maps_fn(IMAGES))
    close(both["logits"], augment.test_time(logits_fn)(IMAGES))


def test_maps_of_views_without_an_inverse_are_refused():
    moved = partial(augment.shifted, down=1)
    message = r"^test_time: expected views with an inverse, `back`, for maps, got functools\.partial\(.*\. Give it one"
    for outputs in (maps_fn, lambda images: {"heat": maps_fn(images)}):
        with pytest.raises(ValueError, match=message):
            augment.test_time(outputs, (augment.mirrored, moved))(IMAGES)
    points = lambda images: jnp.zeros((*images.shape[:-3], 5, 2))  # noqa: E731
    with pytest.raises(
        ValueError, match=r"^test_time: expected outputs \(\.\.\., classes\) or .*, got \(4, 5, 2\)\. Leave"
    ):
        augment.test_time(points)(IMAGES)
    close(augment.test_time(points, (lambda images: images,))(IMAGES), points(IMAGES))


def test_averages_probabilities():
    each = [jax.nn.softmax(logits_fn(view(IMAGES))) for view in VIEWS]
    out = augment.test_time(logits_fn, VIEWS, weights=(1, 2, 1), average="probabilities")(IMAGES)
    close(jax.nn.softmax(out), (each[0] + 2 * each[1] + each[2]) / 4)
    close(jnp.exp(out).sum(-1), 1)


def test_probabilities_too_small_for_float32_keep_a_finite_logarithm():
    out = augment.test_time(lambda images: jnp.array([[0.0, -200.0]]), average="probabilities")(IMAGES)
    close(out, [[0.0, -200.0]])


def test_bfloat16_logits_are_averaged_in_float32():
    half = augment.test_time(lambda images: logits_fn(images).astype(jnp.bfloat16))
    assert half(IMAGES).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(augment.test_time, logits_fn, ()), r"^test_time: expected at least one view, got 0\."),
        (partial(augment.test_time, logits_fn, weights=(1,)), r"^test_time: expected 2 weights, got 1\."),
        (
            partial(augment.test_time, logits_fn, weights=(1, -1)),
            r"^test_time: expected weights of at least 0, not all 0, got \(1, -1\)\.",
        ),
        (
            partial(augment.test_time, logits_fn, weights=(0, 0)),
            r"^test_time: expected weights of at least 0, not all 0, got \(0, 0\)\.",
        ),
        (
            partial(augment.test_time, logits_fn, average="votes"),
            r"^test_time: expected average to be one of \('logits', 'probabilities'\), got 'votes'\.",
        ),
        (
            partial(augment.shifted, IMAGES, down=0.5),
            r"^shifted: expected moves in whole pixels, got \(0\.5, 0\)\.",
        ),
        (partial(augment.shifted, IMAGES, padding_mode="wrap"), r"^shifted: expected padding_mode .*, got 'wrap'\."),
        (partial(augment.shifted, IMAGES, fill=3), r"^shifted: expected fill in \[0, 1\], got 3\."),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call()
