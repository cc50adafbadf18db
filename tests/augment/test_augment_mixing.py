"""mixup and cutmix: images and labels in the same proportion, and how the proportions are distributed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcnn import augment, losses

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
COUNT = 400
# Image n is constant n / COUNT with the class n: what comes out tells what was mixed.
BATCH = {
    "image": jnp.broadcast_to(jnp.arange(COUNT)[:, None, None, None] / COUNT, (COUNT, 8, 6, 3)),
    "label": jnp.arange(COUNT, dtype=jnp.int32),
    "index": jnp.arange(COUNT),
}
both = pytest.mark.parametrize("mix", [augment.mixup, augment.cutmix])


def mixed(mix, batch=BATCH, **options):
    out = jax.jit(partial(mix, classes=COUNT, **options))(KEY, batch)
    return np.asarray(out["image"]), np.asarray(out["label"])


def partners(label) -> np.ndarray:
    """Return the class mixed into each image; its own where there is none."""
    others = label * (1 - np.eye(COUNT))
    return np.where(others.any(1), others.argmax(1), np.arange(COUNT))


@both
def test_labels_are_probabilities_of_two_classes(mix):
    image, label = mixed(mix)
    assert (image.shape, image.dtype) == (BATCH["image"].shape, np.float32)
    assert (label.shape, label.dtype) == ((COUNT, COUNT), np.float32)
    np.testing.assert_allclose(label.sum(1), 1, atol=1e-6)
    assert ((label > 0).sum(1) <= 2).all()
    assert label.min() >= 0


@both
def test_labels_of_few_bits_are_the_same_classes(mix):
    """More classes than the dtype has numbers: 256 would be 0."""
    batch = {name: value[:200] for name, value in BATCH.items()}
    few = dict(batch, label=batch["label"].astype(jnp.uint8))
    np.testing.assert_array_equal(mixed(mix, few)[1], mixed(mix, batch)[1])


@both
def test_labels_have_the_share_of_the_pixels(mix):
    image, label = mixed(mix)
    expected = label @ (np.arange(COUNT) / COUNT)
    np.testing.assert_allclose(image.mean((1, 2, 3)), expected, atol=1e-5)


@both
def test_partners_are_a_random_permutation(mix):
    partner = partners(mixed(mix)[1])
    unmixed = partner == np.arange(COUNT)
    others = partner[~unmixed]
    assert len(set(others)) == len(others)
    assert abs(np.corrcoef(np.arange(COUNT)[~unmixed], others)[0, 1]) < 0.12


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_proportions_of_mixup_are_beta(alpha):
    image, label = mixed(augment.mixup, alpha=alpha)
    ratio = label[np.arange(COUNT), np.arange(COUNT)]
    some = partners(label) != np.arange(COUNT)
    assert stats.kstest(ratio[some], stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert np.ptp(image, (1, 2, 3)).max() < 1e-6


def test_proportions_are_the_same_in_double_precision():
    batch = {"image": np.random.default_rng(0).random((4, 3, 3, 1), np.float32), "label": np.arange(4)}
    found = []
    for double in (False, True):
        with jax.enable_x64(double):
            label = augment.mixup(jax.random.key(0), jax.tree.map(jnp.asarray, batch), classes=4)["label"]
            assert label.dtype == jnp.float32
            found.append(np.sort(label.max(-1)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_cutmix_pastes_a_rectangle():
    image, label = mixed(augment.cutmix)
    partner = partners(label)
    for n in range(COUNT):
        inside = np.abs(image[n] - n / COUNT).max(-1) > 1e-6
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert inside.sum() == len(rows) * len(columns)
        if len(rows):
            assert np.ptp(rows) + 1 == len(rows)
            assert np.ptp(columns) + 1 == len(columns)
            np.testing.assert_allclose(image[n][inside], partner[n] / COUNT, atol=1e-6)
        np.testing.assert_allclose(1 - label[n, n], inside.mean(), atol=1e-6)


def test_rectangles_of_cutmix_have_torchvisions_distribution():
    """Compare the pasted shares with the definition, drawn by NumPy."""
    label = mixed(augment.cutmix, alpha=1.0)[1]
    ours = 1 - label[np.arange(COUNT), np.arange(COUNT)]
    draw = np.random.default_rng(0)
    half = 0.5 * np.sqrt(1 - draw.uniform(size=10**5))
    share = 1.0
    for side in (8, 6):
        reach, centre = (half * side).astype(int), draw.integers(0, side, 10**5)
        share = share * (np.minimum(centre + reach, side) - np.maximum(centre - reach, 0)) / side
    assert abs(ours.mean() - share.mean()) < 0.03
    assert abs(ours.std() - share.std()) < 0.02
    assert abs((ours == 0).mean() - (share == 0).mean()) < 0.06


@pytest.mark.slow
@both
def test_soft_labels_and_other_entries(mix):
    soft = dict(BATCH, label=0.9 * jax.nn.one_hot(BATCH["label"], COUNT) + 0.1 / COUNT)
    out = mix(KEY, soft, classes=COUNT)
    hard = mix(KEY, BATCH, classes=COUNT)
    np.testing.assert_allclose(out["label"], 0.9 * hard["label"] + 0.1 / COUNT, atol=1e-6)
    assert (out["image"] == hard["image"]).all()
    assert out["index"] is soft["index"]


@both
def test_the_loss_takes_the_labels_and_bfloat16_is_kept(mix):
    batch = dict(BATCH, image=BATCH["image"].astype(jnp.bfloat16))
    out = mix(KEY, batch, classes=COUNT)
    assert out["image"].dtype == jnp.bfloat16
    loss = losses.classification()(jnp.zeros((COUNT, COUNT)), out)
    np.testing.assert_allclose(loss, np.log(COUNT), rtol=1e-5)


@both
def test_consumes_each_key_once_and_lowers_for_every_platform(mix):
    with jax.debug_key_reuse(True):
        key = jax.eval_shape(lambda: jax.random.key(0))
        jax.export.export(jax.jit(partial(mix, classes=COUNT)), platforms=["cpu", "cuda", "tpu"])(key, BATCH)


@both
@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"image": None}, {}, r'expected a batch with "image" and "label", got \[\'label\', \'index\'\]\. Pass'),
        ({"label": None}, {}, r'expected a batch with "image" and "label", got \[\'image\', \'index\'\]\. Pass'),
        ({}, {"alpha": 0}, r"expected alpha above 0, got 0\."),
        ({}, {"alpha": float("inf")}, r"expected alpha above 0, got inf\."),
        ({}, {"classes": 0}, r"expected classes as a positive int, got 0\."),
        ({"image": np.zeros((8, 6, 3))}, {}, r"expected images \(N, H, W, C\), got shape \(8, 6, 3\)\. Mixing"),
        ({"label": np.zeros(3, int)}, {}, r"expected labels \(400,\), got shape \(3,\)\."),
        ({"label": np.zeros((400, 7))}, {}, r"expected probabilities \(400, 400\), got shape \(400, 7\)\."),
    ],
)
def test_bad_batches_and_options(mix, change, options, message):
    batch = {name: value for name, value in (BATCH | change).items() if value is not None}
    with pytest.raises(ValueError, match=rf"^{mix.__name__}: {message}.*\.$"):
        mix(KEY, batch, **{"classes": COUNT, **options})


@both
def test_images_are_floating(mix):
    batch = dict(BATCH, image=np.zeros((COUNT, 2, 2, 1), np.uint8))
    message = rf"^{mix.__name__}: expected image of a floating dtype, got uint8\."
    with pytest.raises(TypeError, match=message):
        mix(KEY, batch, classes=COUNT)
    with pytest.raises(ValueError, match=rf"^{mix.__name__}: expected a batch with .*, got ArrayImpl\."):
        mix(KEY, BATCH["image"], classes=COUNT)
