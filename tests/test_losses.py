"""Losses and metrics against optax, PyTorch, scikit-learn and figures worked out by hand."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import losses
from jaxcnn.losses import accuracy, classification

pytestmark = pytest.mark.usefixtures("quick_compilation")
# Compiled whole: operation by operation takes longer.
cross_entropy = jax.jit(losses.cross_entropy, static_argnames="label_smoothing")
squared_error = jax.jit(losses.squared_error)
top_k = jax.jit(losses.top_k, static_argnames="k")
confusion_matrix = jax.jit(losses.confusion_matrix, static_argnames="classes")
rng = np.random.default_rng(0)
LOGITS = jnp.asarray(3 * rng.normal(size=(7, 5)), jnp.float32)
LABELS = jnp.asarray(rng.integers(0, 5, 7), jnp.int32)
SOFT = jnp.asarray(rng.dirichlet(np.ones(5), 7), jnp.float32)


# Cross-entropy


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    assert cross_entropy(logits, jnp.array([0]))[0] == pytest.approx(np.log(2))
    assert cross_entropy(logits, jnp.array([1]))[0] == pytest.approx(np.log(4))
    assert cross_entropy(logits, jnp.array([[0.5, 0.5, 0.0]]))[0] == pytest.approx(1.5 * np.log(2))
    # Smoothing 0.3 puts 0.1 on every class and the other 0.7 on the label: 0.8 log 2 + 0.2 log 4.
    assert cross_entropy(logits, jnp.array([0]), label_smoothing=0.3)[0] == pytest.approx(1.2 * np.log(2))
    assert cross_entropy(jnp.zeros((1, 8)), jnp.array([3]))[0] == pytest.approx(np.log(8))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_log_sum_exp_less_the_mean_logit_of_the_targets(agree, smoothing):
    for labels, targets in [(LABELS, jax.nn.one_hot(LABELS, 5)), (SOFT, SOFT)]:
        mixed = (1 - smoothing) * targets + smoothing / 5
        agree(
            lambda logits, labels=labels: cross_entropy(logits, labels, label_smoothing=smoothing),
            lambda logits, mixed=mixed: jnp.log(jnp.exp(logits).sum(-1)) - (mixed * logits).sum(-1),
            LOGITS,
        )
    assert cross_entropy(LOGITS, LABELS).shape == (7,)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_agrees_with_torch(agree_with_torch, smoothing, soft):
    import torch

    labels = SOFT if soft else LABELS
    target = torch.tensor(np.asarray(labels)) if soft else torch.tensor(np.asarray(labels)).long()
    agree_with_torch(
        lambda logits: cross_entropy(logits, labels, label_smoothing=smoothing),
        lambda logits: torch.nn.functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing),
        LOGITS,
        axes=("as is",),
        output="as is",
    )


@given(st.integers(0, 2**31), st.floats(0, 0.99))
def test_smoothing_mixes_the_targets_with_the_uniform(seed, smoothing):
    draws = np.random.default_rng(seed)
    logits, soft = draws.normal(size=(3, 4)), draws.dirichlet(np.ones(4), 3)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = -((1 - smoothing) * soft + smoothing / 4) * log_p
    ours = cross_entropy(jnp.asarray(logits), jnp.asarray(soft), label_smoothing=smoothing)
    np.testing.assert_allclose(ours, expected.sum(axis=-1), rtol=1e-4)


def test_cross_entropy_stays_exact_in_half_precision_and_far_out():
    for dtype in (jnp.bfloat16, jnp.float16):
        half = cross_entropy(LOGITS.astype(dtype), LABELS)
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, cross_entropy(LOGITS.astype(dtype).astype(jnp.float32), LABELS), rtol=1e-6)
    far = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
    np.testing.assert_array_equal(cross_entropy(far, jnp.array([0, 0])), [0, 2e4])
    assert np.isfinite(jax.grad(lambda x: cross_entropy(x, jnp.array([0, 0])).sum())(far)).all()


@pytest.mark.slow
def test_any_leading_axes_and_integer_dtypes():
    logits, labels = LOGITS[:6].reshape(2, 3, 5), LABELS[:6].reshape(2, 3)
    for fn in (cross_entropy, squared_error, accuracy):
        whole = fn(LOGITS, LABELS)
        np.testing.assert_allclose(fn(logits, labels), whole[:6].reshape(2, 3), rtol=1e-6)
        np.testing.assert_allclose(fn(LOGITS[0], LABELS[0]), whole[0], rtol=1e-6)
        np.testing.assert_array_equal(fn(LOGITS, np.asarray(LABELS, np.uint8)), whole)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_that_is_no_class_gives_nan_and_leaves_the_others_as_they_are(dtype, smoothing):
    labels, logits = jnp.asarray([0, -1, 5, 4, -128]), LOGITS[:5].astype(dtype)
    loss = cross_entropy(logits, labels, label_smoothing=smoothing)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, True, False, True])
    valid = jnp.asarray([0, 3])
    alone = cross_entropy(logits[valid], labels[valid], label_smoothing=smoothing)
    np.testing.assert_allclose(loss[valid], alone, rtol=1e-6)

    def counted(logits):
        return cross_entropy(logits, labels, label_smoothing=smoothing)[valid].sum()

    assert jnp.isfinite(jax.grad(counted)(logits)[valid]).all()
    narrow = cross_entropy(logits, labels.astype(jnp.int8), label_smoothing=smoothing)
    np.testing.assert_array_equal(narrow, loss)
    np.testing.assert_array_equal(np.isnan(squared_error(logits, labels)), np.isnan(loss))


# Sum of squares


def test_squared_error_by_hand():
    outputs = jnp.array([[1.0, 2.0, 4.0]])
    assert squared_error(outputs, jnp.array([[0.0, 2.0, 1.0]]))[0] == 5
    assert squared_error(outputs, jnp.array([1]))[0] == 9  # (1 + 1 + 16) / 2
    gradient = jax.grad(lambda y: squared_error(y, jnp.array([1]))[0])(outputs)
    np.testing.assert_array_equal(gradient, [[1, 1, 4]])
    assert squared_error(outputs.astype(jnp.bfloat16), jnp.array([1])).dtype == jnp.float32


def test_squared_error_agrees_with_optax(agree):
    agree(lambda y: squared_error(y, SOFT), lambda y: optax.l2_loss(y, SOFT).sum(axis=-1), LOGITS)


def test_squared_error_agrees_with_torch(agree_with_torch):
    import torch

    target = torch.tensor(np.asarray(SOFT))
    agree_with_torch(
        lambda y: squared_error(y, SOFT),
        lambda y: 0.5 * torch.nn.functional.mse_loss(y, target, reduction="none").sum(dim=-1),
        LOGITS,
        axes=("as is",),
        output="as is",
    )


# Metrics


def test_accuracy_and_top_k_by_hand():
    logits = jnp.array([[1.0, 3.0, 2.0], [9.0, -1.0, 0.0]])
    np.testing.assert_array_equal(accuracy(logits, jnp.array([1, 1])), [1, 0])
    np.testing.assert_array_equal(top_k(logits, jnp.array([2, 1]), k=2), [1, 0])
    np.testing.assert_array_equal(top_k(logits, jnp.array([0, 1]), k=3), [1, 1])
    np.testing.assert_array_equal(accuracy(logits, jnp.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])), [1, 0])
    assert accuracy(logits, jnp.array([1, 1])).dtype == jnp.float32


def test_at_ties_the_first_class_wins_as_in_argmax():
    logits = jnp.array([[2.0, 2.0, 2.0, 1.0]])
    for k in (1, 2, 3):
        hits = [float(top_k(logits, jnp.array([label]), k=k)[0]) for label in range(4)]
        assert hits == [1.0] * k + [0.0] * (4 - k)
    assert int(jnp.argmax(logits)) == 0


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_top_k_counts_the_label_among_the_k_largest(seed, k):
    draws = np.random.default_rng(seed)
    logits, labels = draws.integers(0, 3, (20, 4)), draws.integers(0, 4, 20)  # many ties
    largest = np.argsort(-logits, axis=-1, kind="stable")[:, :k]
    expected = (largest == labels[:, None]).any(axis=-1)
    np.testing.assert_array_equal(top_k(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), k=k), expected)


@pytest.mark.parametrize("k", [1, 3])
def test_nan_logits_and_labels_out_of_range_are_wrong(k):
    nan = jnp.full((1, 3), jnp.nan)
    assert top_k(nan, jnp.array([0]), k=k) == 0
    assert top_k(nan.at[0, 1].set(5.0), jnp.array([1]), k=k) == 0  # argmax would say 0
    logits = jnp.array([[0.0, 1.0, 2.0]])
    for label in (-1, 3, 100):
        assert top_k(logits, jnp.array([label]), k=k) == 0
    infinite = jnp.array([[jnp.inf, -jnp.inf, 0.0]])
    assert accuracy(infinite, jnp.array([0])) == 1


@pytest.mark.parametrize(("dtype", "classes"), [(np.uint8, 256), (np.uint8, 300), (np.int8, 200), (np.int16, 40_000)])
def test_labels_of_few_bits_are_compared_with_all_classes(dtype, classes):
    labels = np.array([5, 100], dtype)
    logits = jax.nn.one_hot(labels.astype(np.int32), classes) * 9.0
    for fn in (
        accuracy,
        losses.squared_error,
        functools.partial(top_k, k=2),
        functools.partial(losses.cross_entropy, label_smoothing=0.1),
    ):
        np.testing.assert_array_equal(fn(logits, labels), fn(logits, labels.astype(np.int32)))
    assert (accuracy(logits, labels) == 1).all()
    if classes < 1000:
        assert np.argwhere(np.asarray(confusion_matrix(labels, labels, classes))).tolist() == [[5, 5], [100, 100]]


def test_confusion_matrix_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, predictions = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    ours = confusion_matrix(jnp.asarray(labels), jnp.asarray(predictions), 4)
    np.testing.assert_array_equal(ours, metrics.confusion_matrix(labels, predictions))
    assert ours.dtype == jnp.int32
    np.testing.assert_array_equal(confusion_matrix(labels.reshape(2, 100), predictions.reshape(2, 100), 4), ours)


def test_confusion_matrix_by_hand():
    ours = confusion_matrix(jnp.array([0, 0, 2, 1]), jnp.array([0, 2, 2, 0]), 3)
    np.testing.assert_array_equal(ours, [[1, 0, 1], [1, 0, 0], [0, 0, 1]])
    outside = confusion_matrix(jnp.array([0, -1, 3, 0, 0]), jnp.array([0, 0, 0, -1, 3]), 3)
    np.testing.assert_array_equal(outside, [[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(confusion_matrix(jnp.array([], int), jnp.array([], int), 2), np.zeros((2, 2)))


# The trainer's losses


def test_classification_is_cross_entropy_of_the_batch():
    batch = {"image": None, "label": LABELS}
    np.testing.assert_array_equal(classification()(LOGITS, batch), losses.cross_entropy(LOGITS, LABELS))
    smooth = classification(label_smoothing=0.1)
    expected = losses.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    np.testing.assert_array_equal(smooth(LOGITS, batch), expected)
    assert smooth == classification(0.1)
    assert hash(smooth) == hash(classification(0.1))
    assert smooth != classification()
    np.testing.assert_array_equal(losses.batch_accuracy(LOGITS, batch), accuracy(LOGITS, LABELS))


def test_a_net_with_heads_wants_a_loss_with_heads():
    outputs = {"logits": LOGITS, "aux": LOGITS}
    message = r"^classification: expected logits alone, got .*\. Pass losses\.with_auxiliary\("
    with pytest.raises(ValueError, match=message):
        classification().validate(outputs, {"label": np.asarray(LABELS)})


def test_a_loss_with_heads_asks_its_own_loss_about_the_data():
    """`pixel_loss` for one, which would leave out labels that are no classes without a word."""
    seen = []

    class Asking:
        whole_batch = True

        def __call__(self, outputs, batch):
            return outputs

        def validate(self, outputs, arrays):
            seen.append((outputs, arrays))

    outputs = {"aux": "of the head", "logits": "of the net"}
    losses.with_auxiliary(Asking()).validate(outputs, {})
    losses.with_auxiliary(Asking(), weight=0).validate(outputs, {})
    assert seen == [("of the net", {}), ("of the head", {}), ("of the net", {})]
    assert losses.with_auxiliary(Asking()).whole_batch
    assert not losses.with_auxiliary(classification()).whole_batch
    losses.with_auxiliary(losses.batch_accuracy).validate(outputs, {})  # has nothing to say
    with pytest.raises(ValueError, match=r'^with_auxiliary: expected outputs by name, "logits" among them, got '):
        losses.with_auxiliary(classification()).validate(LOGITS, {"label": LABELS})


# Bad input


PAIRS = {
    "accuracy": accuracy,
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
    "top_k": lambda a, b: top_k(a, b, k=1),
}


@pytest.mark.parametrize("name", PAIRS)
def test_bad_logits_and_labels(name):
    fn = PAIRS[name]
    first, second = ("outputs", "targets") if name == "squared_error" else ("logits", "labels")
    for labels in (LABELS[:3], LABELS[:, None], SOFT[:, :4], SOFT[:3], LABELS > 2):
        with pytest.raises(
            ValueError,
            match=rf"^{name}: expected {second} of shape \(7,\) \(class indices\) or \(7, 5\) \(floating targets\), "
            rf"got \w+ {second} of shape \(.*\)\. Squeeze or convert the {second}\.",
        ):
            fn(LOGITS, labels)
    with pytest.raises(TypeError, match=rf"^{name}: expected {first} of a floating dtype, got int32\. "):
        fn(LABELS, LABELS)
    with pytest.raises(
        ValueError, match=rf"^{name}: expected {first} of shape \(\.\.\., classes\), got \(\)\. Add the class"
    ):
        fn(jnp.float32(1), LABELS)
    with pytest.raises(ValueError, match=rf"^{name}: expected {first} of shape .*, got \(7, 0\)\. "):
        fn(LOGITS[:, :0], LABELS)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2, float("nan")])
def test_bad_smoothing(smoothing):
    with pytest.raises(
        ValueError, match=r"^cross_entropy: expected label_smoothing in \[0, 1\), got .*\. 0\.1 is a usual"
    ):
        cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    with pytest.raises(ValueError, match=r"^classification: expected label_smoothing in \[0, 1\), got .*\. 0\.1 is a"):
        classification(smoothing)


@pytest.mark.parametrize("k", [0, 6, -1])
def test_bad_k(k):
    with pytest.raises(
        ValueError, match=rf"^top_k: expected k in 1\.\.5, got {k}\. k guesses of the classes there are\."
    ):
        top_k(LOGITS, LABELS, k=k)


def test_bad_confusion_matrix():
    with pytest.raises(
        ValueError, match=r"^confusion_matrix: expected predictions of shape \(7,\), .*, got \(7, 5\)\. Pass"
    ):
        confusion_matrix(LABELS, LOGITS, 5)
    with pytest.raises(TypeError, match=r"^confusion_matrix: expected predictions of an integer dtype, got float32\. "):
        confusion_matrix(LABELS, LABELS.astype(jnp.float32), 5)


def test_options_are_keyword_only():
    for fn in (losses.cross_entropy, losses.top_k):
        options = list(inspect.signature(fn).parameters.values())[2:]
        assert all(p.kind is p.KEYWORD_ONLY for p in options)
