"""Losses of masks, against PyTorch, by hand, and with pixels that do not count."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.segmentation import cross_entropy, dice, focal, pixel_loss

LOGITS = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
LABELS = jax.random.randint(jax.random.key(1), (2, 4, 6), 0, 3).at[0, 0, :2].set(255).at[1, 0, 0].set(-1)
WEIGHTS = (0.5, 2.0, 1.0)


def test_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for weights in (None, WEIGHTS):
        found = cross_entropy(LOGITS, LABELS, weights=weights)
        for one, logits, labels in zip(found, LOGITS, jnp.where(LABELS < 0, 255, LABELS), strict=True):
            expected = torch.nn.functional.cross_entropy(
                torch.tensor(np.asarray(logits).transpose(2, 0, 1))[None],
                torch.tensor(np.asarray(labels))[None].long(),
                weight=None if weights is None else torch.tensor(weights),
                ignore_index=255,
            )
            np.testing.assert_allclose(one, expected.item(), rtol=1e-5)


@pytest.mark.slow
def test_cross_entropy_and_focal_loss_by_hand():
    p = np.asarray(jax.nn.softmax(LOGITS), np.float64)
    for image in range(2):
        total, sharp, weight = 0.0, 0.0, 0.0
        for at in np.ndindex(4, 6):
            label = int(LABELS[image][at])
            if 0 <= label < 3:
                own = p[image][at][label]
                total += WEIGHTS[label] * -np.log(own)
                sharp += WEIGHTS[label] * (1 - own) ** 3 * -np.log(own)
                weight += WEIGHTS[label]
        np.testing.assert_allclose(cross_entropy(LOGITS, LABELS, weights=WEIGHTS)[image], total / weight, rtol=1e-5)
        np.testing.assert_allclose(focal(LOGITS, LABELS, gamma=3, weights=WEIGHTS)[image], sharp / weight, rtol=1e-5)
    np.testing.assert_allclose(focal(LOGITS, LABELS, gamma=0), cross_entropy(LOGITS, LABELS), rtol=1e-6)


def test_focal_loss_of_gamma_0_is_cross_entropy_to_the_bit():
    sure = LOGITS.at[1, 0, :3].set(jnp.array([40.0, 0, -40]))
    for labels in (LABELS, jnp.where(LABELS == 255, 255, 0)):
        ours, theirs = (
            jax.value_and_grad(lambda z, loss=loss, labels=labels: loss(z, labels).sum())(sure)
            for loss in (lambda z, labels: focal(z, labels, gamma=0), cross_entropy)
        )
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("gamma", [0, 0.01, 0.5, 1, 2])
def test_slopes_of_the_focal_loss_are_those_of_float64_where_the_net_is_sure(gamma):
    """Of right and of void pixels with a probability of 1, to rounding; and of some that it is less sure of."""
    margins = np.array([0.0, 3, 10, 17, 40, 200, -40])
    logits = jnp.asarray(np.stack([margins, 0 * margins, 0 * margins - 1], -1)[:, None], jnp.float32)
    labels = jnp.zeros((7, 1), int)

    def slope(labels):
        return jax.grad(lambda z: focal(z, labels, gamma=gamma))(logits)

    beside = np.exp(np.stack([-margins, -1 - margins], -1))  # exp(z_c - z_t)
    total = beside.sum(-1)
    p, off, log_p = 1 / (1 + total), total / (1 + total), -np.log1p(total)
    of_log_p = -(off**gamma) + gamma * off ** (gamma - 1) * p * log_p
    expected = of_log_p[:, None] * np.concatenate([off[:, None], -beside * p[:, None]], -1) / 7
    np.testing.assert_allclose(slope(labels)[:, 0], expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(slope(jnp.full_like(labels, 255)), 0)


def test_dice_by_hand():
    soft = np.asarray(jax.nn.softmax(LOGITS), np.float64)
    for image in range(2):
        real = np.asarray((LABELS[image] >= 0) & (LABELS[image] < 3))
        ratios = []
        for label in range(3):
            truth, mine = (np.asarray(LABELS[image]) == label)[real], soft[image, ..., label][real]
            ratios.append((2 * mine[truth].sum() + 1) / (mine.sum() + truth.sum() + 1))
        np.testing.assert_allclose(dice(LOGITS, LABELS)[image], 1 - np.mean(ratios), rtol=1e-5)


@pytest.mark.slow
def test_perfect_masks_have_no_loss_and_classes_that_are_not_there_do_not_count():
    labels = jnp.zeros((4, 4), jnp.int32).at[:2].set(1)
    logits = 50 * jax.nn.one_hot(labels, 5)
    for loss in (cross_entropy, focal, dice):
        np.testing.assert_allclose(loss(logits, labels), 0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [cross_entropy, focal, dice])
def test_an_image_without_a_pixel_that_counts_has_loss_and_gradient_0(loss):
    void = jnp.full((2, 4, 6), 255)
    assert loss(LOGITS, void).tolist() == [0, 0]
    slope = jax.grad(lambda z: loss(z, void).sum())(LOGITS)
    assert not slope.any()


@pytest.mark.parametrize("loss", [cross_entropy, focal, dice, partial(cross_entropy, weights=(1, 2, 3))])
def test_losses_of_float32_are_float32_in_double_precision_too(loss):
    logits, labels = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32), np.arange(18) % 3
    labels = labels.reshape(2, 3, 3)
    expected = loss(logits, labels)
    with jax.enable_x64(True):
        found = loss(jnp.asarray(logits), jnp.asarray(labels))
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_the_trainers_loss():
    batch = {"image": LOGITS, "object_mask": LABELS[..., None].astype(jnp.uint8)}
    loss = pixel_loss("focal", weights=WEIGHTS, dice=0.5, name="object_mask")
    expected = focal(LOGITS, LABELS, weights=WEIGHTS) + 0.5 * dice(LOGITS, LABELS)
    np.testing.assert_allclose(loss(LOGITS, batch), expected, rtol=1e-6)
    assert loss == pixel_loss("focal", weights=WEIGHTS, dice=0.5, name="object_mask")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), r"expected masks \(N, 4, 6\), got \(2, 8, 8\)\. Resize them, without"),
        (np.full((2, 4, 6), 3, np.uint8), r"expected labels in 0\.\.2 for 3 classes, got \[3\]\. Number the"),
        (None, "expected a batch with 'mask', got"),
    ],
)
def test_bad_masks_are_refused_before_any_work(mask, message):
    arrays = {"image": np.zeros((2, 4, 6, 3))} | ({} if mask is None else {"mask": mask})
    with pytest.raises(ValueError, match=f"^pixel_loss: {message}"):
        pixel_loss(void=(255,)).validate(jax.ShapeDtypeStruct((2, 4, 6, 3), jnp.float32), arrays)


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        # Of images whose sides it cannot halve a net gives larger outputs: masks of that size would be stretched.
        ((60, 60), (60, 60), r"outputs of the images' size \(60, 60\), got \(64, 64\)\. Pad or crop images and masks"),
        ((60, 60), (64, 64), r"outputs of the images' size \(60, 60\), got \(64, 64\)\. Pad or crop images and masks"),
        ((64, 68), (64, 68), r"outputs of the images' size \(64, 68\), got \(64, 64\)\. Pad or crop images and masks"),
        ((128, 64), (128, 64), r"outputs of the images' size \(128, 64\), got \(64, 64\)\. Enlarge the outputs, or"),
        ((64, 64), (60, 60), r"masks \(N, 64, 64\), got \(2, 60, 60\)\. Resize them, without"),
    ],
)
def test_images_that_the_net_cannot_halve(image, mask, message):
    arrays = {"image": np.zeros((2, *image, 3)), "mask": np.zeros((2, *mask), int)}
    with pytest.raises(ValueError, match=f"^pixel_loss: expected {message}"):
        pixel_loss().validate(jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32), arrays)


@pytest.mark.parametrize("image", [(64, 64), (128, 192), (70, 70)])
def test_masks_may_be_of_fewer_pixels_than_the_images_or_of_a_part_of_them(image):
    arrays = {"image": np.zeros((2, *image, 3)), "mask": np.zeros((2, 64, 64), int)}
    pixel_loss().validate(jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32), arrays)


def test_void_labels_are_named():
    arrays = {"mask": np.full((2, 4, 6), 255)}
    outputs = jax.ShapeDtypeStruct((2, 4, 6, 3), jnp.float32)
    pixel_loss(void=(255,)).validate(outputs, arrays)
    with pytest.raises(ValueError, match=r"^pixel_loss: expected void labels outside 0\.\.2, got \[2\]"):
        pixel_loss(void=(255, 2)).validate(outputs, arrays)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cross_entropy(LOGITS, LABELS[0]), ValueError, r"labels of shape \(2, 4, 6\), got \(4, 6\)"),
        (lambda: cross_entropy(LOGITS, LABELS * 1.0), TypeError, "labels of an integer dtype"),
        (lambda: cross_entropy(LOGITS, LABELS, weights=(1, 2)), ValueError, "expected 3 weights, got 2"),
        (lambda: cross_entropy(LOGITS, LABELS, weights=(1, -2, 1)), ValueError, "expected weights as numbers >= 0"),
        (lambda: focal(LOGITS, LABELS, gamma=-1), ValueError, "focal: expected gamma >= 0, got -1"),
        (lambda: dice(LOGITS, LABELS, smooth=-1), ValueError, "dice: expected smooth >= 0, got -1"),
        (lambda: pixel_loss("tversky"), ValueError, 'pixel_loss: expected kind as "cross_entropy" or "focal"'),
        (lambda: pixel_loss()(LOGITS, {"image": LOGITS}), ValueError, "pixel_loss: expected a batch with 'mask'"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("loss", [cross_entropy, focal, dice])
def test_labels_that_are_neither_classes_nor_void(loss):
    wrong = LABELS.at[0, 0, 3].set(7)
    message = rf"^{loss.__name__}: expected labels in 0\.\.2 for 3 classes, got \[7\]\. .*void=\(255,\)\.$"
    with pytest.raises(ValueError, match=message):
        loss(LOGITS, wrong)
    with pytest.raises(ValueError, match=rf"^{loss.__name__}: expected labels in 0\.\.2 for 3 classes, got \[-1\]\."):
        loss(LOGITS, LABELS, void=(255,))
    with pytest.raises(ValueError, match=rf"^{loss.__name__}: expected void as a tuple of ints, got 255\. Pass"):
        loss(LOGITS, LABELS, void=255)
    named = loss(LOGITS, wrong, void=(255, -1, 7))
    np.testing.assert_allclose(named, loss(LOGITS, LABELS.at[0, 0, 3].set(255)), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(loss)(LOGITS, wrong), named, rtol=1e-5)  # there they are not known


def test_the_trainers_loss_knows_what_is_void():
    wrong = {"mask": LABELS.at[0, 0, 3].set(7)}
    with pytest.raises(ValueError, match=r"^cross_entropy: expected labels in .*, got \[7\]"):
        pixel_loss()(LOGITS, wrong)
    assert jnp.isfinite(pixel_loss(void=(-1, 7, 255), dice=1.0)(LOGITS, wrong)).all()
