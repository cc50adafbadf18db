"""Contrastive and triplet loss: by hand, against other libraries, and of all pairs of a batch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import layers
from jaxcnn.matching import contrastive, cosine_similarity, pair_loss, triplet_loss, unit_length

pytestmark = pytest.mark.usefixtures("quick_compilation")
Z = jax.random.normal(jax.random.key(0), (6, 3))
LABEL = jnp.array([0, 1, 0, 2, 1, 0])  # the image of class 2 has no partner


def distances() -> np.ndarray:
    z = np.asarray(Z, np.float64)
    return np.linalg.norm(z[:, None] - z[None], axis=-1)


@pytest.mark.slow
def test_directions_by_hand():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(unit_length(x), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(
        cosine_similarity(x, jnp.array([[1.0, 0], [-6, -8], [0, 2]])), [[0.6, -1, 0.8], [0, 0, 0]], rtol=1e-6
    )
    assert unit_length(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert cosine_similarity(x.astype(jnp.bfloat16), x.astype(jnp.bfloat16)).dtype == jnp.float32
    assert jnp.isfinite(jax.grad(lambda v: unit_length(v).sum())(jnp.zeros(4))).all()


def test_unit_length_is_a_layer_that_is_saved():
    net = layers.Sequential(embed=layers.Dense(2), unit=unit_length)
    assert layers.from_json(layers.to_json(net)) == net


def test_similarities_agree_with_sklearn():
    from sklearn.metrics.pairwise import cosine_similarity as reference

    np.testing.assert_allclose(cosine_similarity(Z, Z[:4]), reference(np.asarray(Z), np.asarray(Z[:4])), atol=1e-6)


def test_similarities_and_triplets_agree_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    z = torch.tensor(np.asarray(Z))
    expected = torch.nn.functional.cosine_similarity(z[:, None], z[None], dim=-1)
    np.testing.assert_allclose(cosine_similarity(Z, Z), expected, atol=1e-6)
    np.testing.assert_allclose(unit_length(Z), torch.nn.functional.normalize(z, eps=1e-8), atol=1e-6)
    between = distances()
    positive, negative = [None] * 6, [None] * 6
    for n, (row, label) in enumerate(zip(between, LABEL, strict=True)):
        same = [m for m in range(6) if LABEL[m] == label and m != n]
        positive[n] = max(same, key=lambda m, row=row: row[m]) if same else None
        negative[n] = min((m for m in range(6) if LABEL[m] != label), key=lambda m, row=row: row[m])
    known = [n for n in range(6) if positive[n] is not None]
    loss = torch.nn.TripletMarginLoss(margin=0.7, reduction="none")
    expected = loss(z[known], z[[positive[n] for n in known]], z[[negative[n] for n in known]])
    found = triplet_loss(0.7)(Z, {"label": LABEL})
    np.testing.assert_allclose(found[jnp.array(known)], expected, atol=1e-5)
    assert found[3] == 0


@pytest.mark.parametrize(
    ("distance", "same", "expected"),
    [(0.0, True, 0.0), (2.0, True, 2.0), (0.0, False, 1.125), (0.5, False, 0.5), (1.5, False, 0.0), (9.0, False, 0.0)],
)
def test_contrastive_by_hand(distance, same, expected):
    x, y = jnp.zeros(2), jnp.array([0.6, 0.8]) * distance
    value, slope = jax.value_and_grad(contrastive, argnums=1)(x, y, jnp.bool_(same), margin=1.5)
    assert value == pytest.approx(expected, abs=1e-6)
    size = distance if same else -max(0.0, 1.5 - distance) * (distance > 0)
    np.testing.assert_allclose(slope, size * np.array([0.6, 0.8]), atol=1e-6)


def test_all_pairs_of_a_batch():
    between, label = distances(), np.asarray(LABEL)
    expected = []
    for n in range(6):
        same = [between[n, m] ** 2 / 2 for m in range(6) if m != n and label[m] == label[n]]
        other = [max(0, 2 - between[n, m]) ** 2 / 2 for m in range(6) if label[m] != label[n]]
        expected.append((np.mean(same) if same else 0) / 2 + np.mean(other) / 2)
    loss = pair_loss(2.0)
    np.testing.assert_allclose(jax.jit(loss)(Z, {"label": LABEL}), expected, rtol=1e-5)
    assert loss == pair_loss(2.0)
    assert pair_loss(name="kind")(Z, {"kind": LABEL}).shape == (6,)


def test_hardest_triplets_of_a_batch():
    between, label = distances(), np.asarray(LABEL)
    expected = []
    for n in range(6):
        same = [between[n, m] for m in range(6) if m != n and label[m] == label[n]]
        other = [between[n, m] for m in range(6) if label[m] != label[n]]
        expected.append(max(0, 0.5 + max(same) - min(other)) if same else 0)
    np.testing.assert_allclose(jax.jit(triplet_loss(0.5))(Z, {"label": LABEL}), expected, atol=1e-5)
    assert not triplet_loss()(Z, {"label": jnp.zeros(6, jnp.int32)}).any()


@pytest.mark.parametrize("make", [pair_loss, triplet_loss])
def test_of_parts_of_a_batch_they_are_others_and_say_so(make):
    loss, halves = make(), []
    for part in (slice(0, 3), slice(3, 6)):
        halves.append(loss(Z[part], {"label": LABEL[part]}))
    assert loss.whole_batch
    assert not np.allclose(jnp.concatenate(halves), loss(Z, {"label": LABEL}))


@pytest.mark.parametrize("make", [pair_loss, triplet_loss])
def test_descent_separates_the_classes(make):
    loss = make(1.0)
    step = jax.jit(jax.value_and_grad(lambda z: loss(z, {"label": LABEL}).mean()))
    z = 0.1 * Z
    before = step(z)[0]
    for _ in range(300):
        z = z - 0.3 * step(z)[1]
    assert step(z)[0] < 0.05 * before
    between = np.linalg.norm(np.asarray(z)[:, None] - np.asarray(z)[None], axis=-1)
    pairs = list(itertools.combinations(range(6), 2))
    same = max(between[pair] for pair in pairs if LABEL[pair[0]] == LABEL[pair[1]])
    assert same < min(between[pair] for pair in pairs if LABEL[pair[0]] != LABEL[pair[1]]) - 0.5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: contrastive(Z, Z[:, :2], LABEL == 0), ValueError, r"^contrastive: expected x and y \(\.\.\., D\) and"),
        (lambda: contrastive(Z, Z[:4], LABEL == 0), ValueError, r"^contrastive: expected x and y \(\.\.\., D\) and"),
        (lambda: contrastive(Z, Z, LABEL), TypeError, r"^contrastive: expected same as bools, got int32\. "),
        (lambda: contrastive(LABEL, Z, LABEL == 0), TypeError, r"^contrastive: expected x of a floating dtype"),
        (lambda: pair_loss(0), ValueError, r"^pair_loss: expected a finite margin > 0, got 0\. "),
        (lambda: triplet_loss(-1), ValueError, r"^triplet_loss: expected a finite margin > 0, got -1\. "),
        (lambda: pair_loss()(Z, {"image": Z}), ValueError, r"^pair_loss: expected a batch with 'label', got"),
        (lambda: pair_loss()(Z[:, None], {"label": LABEL}), ValueError, r"^pair_loss: expected outputs \(N, D\) and a"),
        (lambda: unit_length(jnp.float32(1)), ValueError, r"^unit_length: expected x \(\.\.\., D\), got"),
        (lambda: cosine_similarity(Z, Z[0]), ValueError, r"^cosine_similarity: expected x \(\.\.\., N, D\) and y"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("shape", "arrays", "message"),
    [
        ((6, 4, 3), {"label": np.arange(6)}, r"expected outputs \(N, D\), got \(6, 4, 3\)\. End the net"),
        ((6, 3), {"image": np.zeros(6)}, r"expected data with 'label', got \['image'\]\. Pass"),
        ((6, 3), {"label": np.zeros(6, int)}, r"expected labels \(N,\) of two classes or more, got shape \(6,\), 1 of"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_any_work(shape, arrays, message):
    for loss in (pair_loss(), triplet_loss()):
        with pytest.raises(ValueError, match=message):
            loss.validate(jax.ShapeDtypeStruct(shape, jnp.float32), arrays)
