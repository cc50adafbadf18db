"""CKA: its closed forms, its unbiased estimate, and between the layers of nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import probes
from jaxcnn.explain.probes import similarity
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
DRAW = np.random.default_rng(0)
A = DRAW.normal(size=(40, 7)).astype(np.float32)
B = (A[:, :3] @ DRAW.normal(size=(3, 5)) + 0.5 * DRAW.normal(size=(40, 5))).astype(np.float32)


def by_definition(a, b):
    """Return CKA in feature space, in float64: |B^T A|^2 / (|A^T A| |B^T B|)."""
    a, b = (np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64) for x in (a, b))
    norm = np.linalg.norm
    return norm(b.T @ a) ** 2 / (norm(a.T @ a) * norm(b.T @ b))


def hsic_1(a, b):
    """Return the unbiased estimate as Song et al. write it."""
    n = len(a)
    k, ll = (np.asarray(x, np.float64) @ np.asarray(x, np.float64).T for x in (a, b))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(ll, 0)
    one = np.ones(n)
    total = np.trace(k @ ll) + (one @ k @ one) * (one @ ll @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * one @ k @ ll @ one) / (n * (n - 3))


@pytest.mark.slow
def test_it_is_the_share_of_shared_variance():
    close(probes.cka(A, B), by_definition(A, B), rtol=1e-4)
    close(probes.cka(A.reshape(40, 7, 1, 1), B), by_definition(A, B), rtol=1e-4)
    for n in (5, 40):
        a, b = A[:n], B[:n]
        expected = hsic_1(a, b) / np.sqrt(hsic_1(a, a) * hsic_1(b, b))
        close(probes.cka(a, b, unbiased=True), expected, rtol=1e-3)


@pytest.mark.parametrize("unbiased", [False, True])
def test_closed_forms(unbiased):
    close(probes.cka(A, A, unbiased=unbiased), 1, rtol=1e-5)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))
    close(probes.cka(A, 1e4 * A @ turn + 5, unbiased=unbiased), 1, rtol=1e-3)
    close(probes.cka(A, B, unbiased=unbiased), probes.cka(B, A, unbiased=unbiased), rtol=1e-5)
    stretched = A * np.array([30, 1, 1, 1, 1, 1, 1])
    assert probes.cka(A, stretched, unbiased=unbiased) < 0.8


def test_orthogonal_designs_are_unrelated():
    design = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]] * 3, np.float32)
    close(probes.cka(design[:, :1], design[:, 1:]), 0, atol=1e-6)
    close(probes.cka(design, design[:, :1]), 1 / np.sqrt(2), rtol=1e-5)


def test_many_features_of_few_images_look_alike_unless_unbiased():
    draw = np.random.default_rng(4)
    a, b = draw.normal(size=(2, 20, 500))
    assert probes.cka(a, b) > 0.9
    assert abs(float(probes.cka(a, b, unbiased=True))) < 0.15


@pytest.mark.slow
def test_what_is_the_same_for_all_images_is_like_nothing():
    for still in (np.zeros((40, 3)), np.full((40, 3), 0.3, np.float32)):
        assert probes.cka(A, still) == 0
        assert probes.cka(A, still, unbiased=True) == 0
    slope = jax.grad(lambda a: probes.cka(a, B))(jnp.full((40, 3), 0.3))
    assert np.isfinite(slope).all()


@pytest.mark.slow
def test_layers_of_two_nets(images):
    first, second = CASES["plain"], CASES["residual"]
    many = jax.random.uniform(jax.random.key(2), (24, 12, 12, 3))
    one = probes.layer_outputs(first.net, first.params, first.state, ["pool2", "act1", "fc2"])
    other = probes.layer_outputs(second.net, second.params, second.state, ["act3", "head"])
    found = probes.cka_matrix(one, other, many)
    assert found.rows == ("pool2", "act1", "fc2")
    assert found.columns == ("act3", "head")
    rows, columns = one(many), other(many)
    expected = [[probes.cka(rows[r], columns[c], unbiased=True) for c in found.columns] for r in found.rows]
    close(found.values, expected, rtol=1e-3, atol=1e-4)
    own = probes.cka_matrix(one, one, many).values
    close(np.diagonal(own), 1, rtol=1e-5)
    close(own, own.T, rtol=1e-4)


def test_batches_are_summed_before_the_ratio_and_the_tail_is_left_out():
    fn = lambda x: {"a": x.reshape(len(x), -1)[:, :7], "b": x.reshape(len(x), -1)[:, 7:]}  # noqa: E731
    joined = np.concatenate([A, B], axis=1)[:39].reshape(39, 3, 4, 1)
    found = probes.cka_matrix(fn, fn, joined, batch_size=13).values
    parts = [slice(0, 13), slice(13, 26), slice(26, 39)]
    total = lambda x, y: sum(hsic_1(x[s], y[s]) for s in parts)  # noqa: E731
    close(found[0, 1], total(A, B) / np.sqrt(total(A, A) * total(B, B)), rtol=1e-3)
    longer = np.concatenate([joined, 100 * joined[:12]])
    close(probes.cka_matrix(fn, fn, longer, batch_size=13).values, found, rtol=1e-5)


def test_the_mean_over_batches_is_what_all_images_give():
    draw = np.random.default_rng(6)
    a = draw.normal(size=(1200, 20))
    b = a[:, :10] + draw.normal(size=(1200, 10))
    fn = lambda x: {"a": x.reshape(len(x), -1)[:, :20], "b": x.reshape(len(x), -1)[:, 20:]}  # noqa: E731
    x = np.concatenate([a, b], axis=1).reshape(1200, 5, 6, 1).astype(np.float32)
    found = probes.cka_matrix(fn, fn, x, batch_size=40).values[0, 1]
    assert abs(found - by_definition(a, b)) < 0.03
    biased = np.mean([probes.cka(x[s : s + 40, :, :, 0].reshape(40, -1)[:, :20], b[s : s + 40]) for s in (0, 40, 80)])
    assert biased - by_definition(a, b) > 0.05


def test_one_program_for_other_weights_and_images(images):
    case, traces = CASES["batchnorm"], similarity._inner_products._cache_size()
    many = jnp.concatenate([images, images[::-1]])
    for scale in (1.0, 2.0):
        fn = probes.layer_outputs(case.net, jax.tree.map(lambda p, s=scale: s * p, case.params), case.state, ["act1"])
        probes.cka_matrix(fn, fn, many * scale / 2, batch_size=4)
    assert similarity._inner_products._cache_size() == traces + 1
    close(jax.jit(probes.cka)(A, B), probes.cka(A, B), rtol=1e-5)
    lost = probes.layer_outputs(case.net, jax.tree.map(lambda p: p * jnp.nan, case.params), case.state, ["act1"])
    with pytest.raises(ValueError, match=r"^cka_matrix: expected finite activations, got others\. Look at the weights"):
        probes.cka_matrix(lost, lost, many, batch_size=4)
    with pytest.raises(ValueError, match=r"^cka: expected finite values in the CKA, got 1 that are not\. Look at the"):
        probes.cka(A * np.nan, B)


@pytest.mark.parametrize(
    ("a", "b", "options", "error", "message"),
    [
        (A, B[:5], {}, ValueError, r"^cka: expected a \(n, \.\.\.\) and b \(n, \.\.\.\), got \(40, 7\) and \(5, 5\)"),
        (A[:1], B[:1], {}, ValueError, r"^cka: expected at least 2 images, got 1"),
        (A[:3], B[:3], {"unbiased": True}, ValueError, r"^cka: expected at least 4 images, got 3"),
        (A.astype(int), B, {}, TypeError, r"^cka: expected a of a floating dtype, got int"),
        (A, B, {"unbiased": 1}, TypeError, r"^cka: expected unbiased as a Python bool, got 1"),
    ],
)
def test_cka_refuses(a, b, options, error, message):
    with pytest.raises(error, match=message):
        probes.cka(a, b, **options)


def test_cka_matrix_refuses(images):
    fn = lambda x: {"a": x}  # noqa: E731
    with pytest.raises(ValueError, match=r"^cka_matrix: expected at least 4 images, got 3"):
        probes.cka_matrix(fn, fn, images[:3])
    with pytest.raises(ValueError, match=r"^cka_matrix: expected batch_size as an int >= 4, got 2"):
        probes.cka_matrix(fn, fn, images, batch_size=2)
    with pytest.raises(ValueError, match=r"^cka_matrix: expected second to give arrays \(n, \.\.\.\) by name, got"):
        probes.cka_matrix(fn, lambda x: x, images)
    with pytest.raises(ValueError, match=r"^cka_matrix: expected first to give arrays \(n, \.\.\.\) by name"):
        probes.cka_matrix(lambda x: {"a": x.sum()}, fn, images)
    with pytest.raises(ValueError, match=r"^cka_matrix: expected images \(N, H, W, C\), got \(12, 12, 3\)"):
        probes.cka_matrix(fn, fn, images[0])
