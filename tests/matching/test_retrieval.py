"""Recall at k and average precision: by hand, against scikit-learn, in ties, and of whole sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.matching import average_precision, recall_at, retrieval, retrieve

pytestmark = pytest.mark.usefixtures("quick_compilation")
S = jnp.array([0.9, 0.8, 0.7, 0.6, 0.5])
RIGHT = jnp.array([False, True, False, False, True])


@pytest.mark.slow
def test_by_hand():
    assert [float(recall_at(S, RIGHT, k=k)) for k in (1, 2, 5)] == [0, 1, 1]
    assert average_precision(S, RIGHT) == pytest.approx((1 / 2 + 2 / 5) / 2)
    order = jnp.array([3, 0, 4, 2, 1])
    assert average_precision(S[order], RIGHT[order]) == pytest.approx(0.45)
    assert float(recall_at(S[order], RIGHT[order], k=2)) == 1
    assert average_precision(S, S > 0.75) == 1


@pytest.mark.slow
def test_some_candidates_are_left_out():
    among = jnp.array([False, True, True, True, True])
    assert float(recall_at(S, RIGHT, k=1, among=among)) == 1
    assert average_precision(S, RIGHT, among=among) == pytest.approx((1 + 2 / 4) / 2)
    gone = jnp.array([True, False, True, True, False])
    assert jnp.isnan(recall_at(S, RIGHT, k=5, among=gone))
    assert jnp.isnan(average_precision(S, RIGHT, among=gone))


@pytest.mark.slow
def test_a_net_to_which_all_is_alike_gains_nothing():
    same, right = jnp.ones(10), jnp.arange(10) < 2
    assert [float(recall_at(same, right, k=k)) for k in (1, 8, 9)] == [0, 0, 1]
    assert average_precision(same, right) == pytest.approx(0.2)
    lost = jnp.full(10, jnp.nan)
    assert [float(recall_at(lost, right, k=k)) for k in (1, 8, 9)] == [0, 0, 1]
    assert average_precision(lost, right) == pytest.approx(0.2)


@pytest.mark.parametrize("decimals", [1, 6])
def test_agrees_with_sklearn_in_ties_too(decimals):
    from sklearn.metrics import average_precision_score

    draw = np.random.default_rng(0)
    s, right = draw.random((3, 4, 50)).round(decimals).astype(np.float32), draw.random((3, 4, 50)) < 0.2
    found = jax.jit(average_precision)(s, right)
    for at in np.ndindex(3, 4):
        assert found[at] == pytest.approx(average_precision_score(right[at], s[at]), rel=1e-5)
    for k in (1, 3, 10):
        worst = [np.lexsort((r, -x))[:k] for x, r in zip(s.reshape(-1, 50), right.reshape(-1, 50), strict=True)]
        hits = [right.reshape(-1, 50)[n][chosen].any() for n, chosen in enumerate(worst)]
        np.testing.assert_array_equal(recall_at(s, right, k=k).ravel(), np.array(hits, float))


@pytest.mark.slow
@pytest.mark.parametrize("gallery", [False, True])
def test_whole_sets_are_their_queries_one_by_one(gallery, monkeypatch):
    monkeypatch.setattr(retrieval, "TOGETHER", 4)
    draw = np.random.default_rng(1)
    z, label = draw.normal(size=(11, 3)).astype(np.float32), draw.integers(0, 3, 11)
    label[4] = 7  # without a partner
    others, theirs = (draw.normal(size=(9, 3)).astype(np.float32), draw.integers(0, 3, 9)) if gallery else (z, label)
    found = retrieve(z, label, *((others, theirs) if gallery else ()), at=(3, 1))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (z, others)]
    cosines = unit[0] @ unit[1].T
    for n in range(11):
        order = [m for m in np.argsort(-cosines[n]) if gallery or m != n]
        assert found.nearest[n].tolist() == order[:3]
        np.testing.assert_allclose(found.similarity[n], cosines[n][order[:3]], atol=1e-6)
        right = theirs[order] == label[n]
        if not right.any():
            assert jnp.isnan(found.recall[n]).all()
            assert jnp.isnan(found.average_precision[n])
            continue
        assert found.recall[n].tolist() == [right[:3].any(), right[:1].any()]
        places = np.flatnonzero(right) + 1
        np.testing.assert_allclose(
            found.average_precision[n], np.mean(np.arange(1, len(places) + 1) / places), rtol=1e-5
        )
    assert jnp.isnan(found.average_precision[4])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: recall_at(S, RIGHT, k=6), ValueError, r"^recall_at: expected k in 1\.\.5, got 6\. "),
        (
            lambda: recall_at(S, RIGHT[:3], k=1),
            ValueError,
            r"^recall_at: expected relevant of shape \(5,\), got \(3,\)",
        ),
        (
            lambda: average_precision(S, RIGHT * 1),
            TypeError,
            r"^average_precision: expected relevant as bools, got int",
        ),
        (
            lambda: average_precision(S, RIGHT, among=RIGHT[None]),
            ValueError,
            r"^average_precision: expected among of shape \(5,\), got \(1, 5\)\. ",
        ),
        (lambda: average_precision(jnp.float32(1), RIGHT), ValueError, r"expected similarity \(\.\.\., G\), got \(\)"),
        (lambda: retrieve(S, jnp.arange(5)), ValueError, r"^retrieve: expected queries \(N, D\) with a label of each"),
        (lambda: retrieve(S[:, None], S), TypeError, r"^retrieve: expected labels of an integer dtype"),
        (
            lambda: retrieve(S[:, None], jnp.arange(5), S[:, None]),
            ValueError,
            r"^retrieve: expected gallery and gallery_labels, or neither, got one of them\. ",
        ),
        (
            lambda: retrieve(S[:, None], jnp.arange(5), jnp.ones((5, 2)), jnp.arange(5)),
            ValueError,
            r"^retrieve: expected a gallery of 1 numbers each, got 2\. ",
        ),
        (lambda: retrieve(S[:, None], jnp.arange(5), at=(5,)), ValueError, r"^retrieve: expected at of at most 4, got"),
        (
            lambda: retrieve(S[:, None], jnp.arange(5), at=()),
            ValueError,
            r"^retrieve: expected at as a list of positive",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
