"""Tints and principal components: closed forms, NumPy, and the distribution of what is drawn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment

pytestmark = pytest.mark.usefixtures("quick_compilation")
GREY = jnp.full((2, 3, 3), 0.5)
KEYS = jax.random.split(jax.random.key(1), 600)


def test_a_cast_adds_one_amount_to_chosen_channels():
    out = np.asarray(jax.vmap(partial(augment.colour_cast, delta=(0.1, 0.3), p=0.4), (0, None))(KEYS, GREY)) - 0.5
    assert np.ptp(out, (1, 2)).max() < 1e-6
    amounts = out[:, 0, 0]
    chosen = amounts != 0
    assert np.abs(chosen.mean(0) - 0.4).max() < 0.06
    assert np.abs(np.corrcoef(chosen.T) - np.eye(3)).max() < 0.12
    some = amounts[chosen]
    assert 0.1 - 1e-6 < some.min() < 0.103
    assert 0.297 < some.max() < 0.3 + 1e-6
    assert abs(some.mean() - 0.2) < 0.01
    both = chosen.all(1)
    assert abs(np.corrcoef(amounts[both].T)[0, 1]) < 0.4


def test_a_cast_clips_and_goes_up_to_twenty_levels():
    out = jax.vmap(augment.colour_cast, (0, None))(KEYS, GREY) - 0.5
    assert 19 / 255 < jnp.abs(out).max() <= 20 / 255 + 1e-6
    white = jax.vmap(partial(augment.colour_cast, delta=1.0), (0, None))(KEYS, jnp.ones((1, 1, 3)))
    assert white.max() == 1
    assert white.min() < 0.1


def test_lighting_adds_multiples_of_the_components():
    values, vectors = np.array([0.3, 0.1]), np.array([[0.6, 0.8], [0.8, -0.6]])
    fn = partial(augment.pca_lighting, std=0.2, eigenvalues=values, eigenvectors=vectors)
    out = np.asarray(jax.vmap(fn, (0, None))(KEYS, jnp.full((2, 3, 2), 0.5))) - 0.5
    assert np.ptp(out, (1, 2)).max() < 1e-6
    multiples = out[:, 0, 0] @ vectors / values
    assert np.abs(multiples.mean(0)).max() < 0.03
    assert np.abs(np.cov(multiples.T) - 0.04 * np.eye(2)).max() < 0.006


def test_lighting_of_imagenet_is_a_tenth_of_the_eigenvalues():
    out = np.asarray(jax.vmap(augment.pca_lighting, (0, None))(KEYS, GREY))[:, 0, 0] - 0.5
    values, vectors = np.linalg.eigh(np.cov(out.T))
    np.testing.assert_allclose(np.sqrt(values[::-1]), [0.02175, 0.00188, 0.00045], rtol=0.1)
    assert abs(vectors[:, -1] @ [-0.5675, -0.5808, -0.5836]) > 0.999


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_principal_components_are_those_of_the_covariance(dtype):
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3)).astype(np.uint8)
    image[..., 1] = image[..., 0] // 2 + image[..., 1] // 8
    values, vectors = augment.principal_components(image if dtype == np.uint8 else (image / 255).astype(dtype))
    covariance = np.cov(image.reshape(-1, 3).T / 255, bias=True)
    assert values.dtype == vectors.dtype == np.float32
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, covariance, atol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-6)
    augment.pca_lighting(KEYS[0], GREY, eigenvalues=values, eigenvectors=vectors)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(augment.colour_cast, delta=(1, 0)), r"^colour_cast: expected delta \(low, high\) .*, got \(1, 0\)\."),
        (partial(augment.colour_cast, p=-0.1), r"^colour_cast: expected p in \[0, 1\], got -0\.1\. Pass"),
        (partial(augment.pca_lighting, std=-1), r"^pca_lighting: expected std of at least 0, got -1\."),
        (partial(augment.pca_lighting, std=float("inf")), r"^pca_lighting: expected std of at least 0, got inf\."),
        (
            partial(augment.pca_lighting, eigenvalues=(1, 2)),
            r"^pca_lighting: expected eigenvalues of shape \(3,\), got \(2,\)\.",
        ),
        (
            partial(augment.pca_lighting, eigenvectors=np.eye(2)),
            r"^pca_lighting: expected eigenvectors of shape \(3, 3\), got \(2, 2\)\.",
        ),
        (
            lambda key, image: augment.principal_components(image),
            r"^principal_components: expected images \(N, H, W, C\), got \(2, 3, 3\)\. Pass",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEYS[0], GREY)
