"""Linear probes: how well a linear classifier reads the classes from what a layer gives."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxcnn.checking import expect, expect_count, expect_flag, floating, integral, number, shown
from jaxcnn.explain.probes.features import layer_features
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.losses import accuracy, cross_entropy

__all__ = ["Probe", "linear_probe", "linear_probes"]


class Probe(NamedTuple):
    """A linear classifier, logits = x kernel + bias, and how well it does.

    `accuracy` and `loss` (mean cross-entropy, nats) are those of the test set, `train_accuracy` and `train_loss` of
    the set that it learned. `kernel` is (features, classes), `bias` (classes,). `slope` is the largest entry of the
    objective's gradient where the last of `steps` steps began.
    """

    accuracy: jax.Array
    loss: jax.Array
    train_accuracy: jax.Array
    train_loss: jax.Array
    kernel: jax.Array
    bias: jax.Array
    slope: jax.Array
    steps: jax.Array


def linear_probe(
    features_train: ArrayLike,
    labels_train: ArrayLike,
    features_test: ArrayLike,
    labels_test: ArrayLike,
    *,
    classes: int | None = None,
    l2: float = 1e-3,
    standardize: bool = True,
    steps: int = 1000,
    tolerance: float = 1e-5,
) -> Probe:
    """Return the multinomial logistic regression of features, and its accuracy: how linearly separable are classes?

        min over (W, b) of  1/n sum_i -log softmax(z_i W + b)[y_i] + l2/2 |W|^2,    z = (x - mean) / sd

    The problem is convex, and its solution unique: no seed, no learning rate. L-BFGS goes on until no entry of the
    gradient is larger than `tolerance`.

    Args:
        features_train, features_test: (n, ...) and (m, ...), floating; flattened.
        labels_train, labels_test: (n,) and (m,), classes from 0 on.
        classes: how many there are; one more than the largest label unless given.
        l2: the penalty, > 0: scikit-learn's C is 1 / (n l2).
        standardize: whether each feature is brought to mean 0 and standard deviation 1 (over the training set) first,
            so that the penalty means the same in every layer; the kernel that is returned takes features as they were.
        steps: at most.
        tolerance: where the solver stops.

    Returns:
        A `Probe`.

    Raises:
        ValueError: shapes that do not match, labels out of range, features that are not finite, an l2 not above 0.
        TypeError: features that are not floating, labels that are not integers.

    Source: Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes"; agrees with
    `sklearn.linear_model.LogisticRegression`.
    """
    where = "linear_probe"
    l2 = number(where, "l2 > 0", l2, lambda v: 0 < v < np.inf, "Pass l2=1e-3, say.")
    tolerance = number(where, "tolerance > 0", tolerance, lambda v: 0 < v < np.inf, "Pass tolerance=1e-5, say.")
    steps = expect_count(where, "steps", steps)
    x, labels = _examples(where, "train", features_train, labels_train)
    test_x, test_labels = _examples(where, "test", features_test, labels_test)
    fix = "Take both from one layer."
    expect(x.shape[1:] == test_x.shape[1:], where, f"test features of shape {x.shape[1:]}", test_x.shape[1:], fix)
    known = [np.asarray(y) for y in (labels, test_labels) if not isinstance(y, jax.core.Tracer)]
    if classes is None:
        fix = "Pass classes=10, say."
        expect(len(known) == 2, where, "the number of classes, where labels are traced", "None", fix)
        classes = 1 + max(int(y.max()) for y in known)
    classes = expect_count(where, "classes", classes, least=2)
    ok = all(int(y.min()) >= 0 and int(y.max()) < classes for y in known)
    expect(ok, where, f"labels in 0..{classes - 1}", "others", "Pass the number of classes as classes.")
    options = {"classes": classes, "standardize": expect_flag(where, "standardize", standardize)}
    return _fitted(x, labels, test_x, test_labels, l2, tolerance, steps, **options)


def linear_probes(
    net: Layer,
    params: Params,
    state: State,
    train: Any,
    test: Any,
    at: Sequence[str] | None = None,
    *,
    limit: int = 1024,
    batch_size: int = 256,
    **options: Any,
) -> dict[str, Probe]:
    """Return a linear probe of each of some layers: where in the net do the classes become separable?

    Args:
        net, params, state: the trained net.
        train, test: sets with "image" and "label"; the probes learn the first and are measured on the second.
        at: paths of layers, at any depth; the net's own layers unless given.
        limit: numbers a map is averaged down to, as in `layer_features`; 1 is global average pooling.
        batch_size: images at once.
        options: of `linear_probe`.

    Returns:
        {path: Probe}, in the order of `at`.

    Raises:
        ValueError: an unknown path; as `layer_features` and `linear_probe` raise.

    Source: Alain and Bengio 2016.
    """
    sets = [layer_features(net, params, state, part, at, limit=limit, batch_size=batch_size) for part in (train, test)]
    labels = [np.asarray(part["label"]) for part in (train, test)]
    options = {"classes": 1 + max(int(y.max()) for y in labels), **options}
    return {
        path: _narrow(linear_probe(_wide(x), labels[0], _wide(sets[1][path]), labels[1], **options), x.shape[1])
        for path, x in sets[0].items()
    }


def _wide(x: np.ndarray) -> np.ndarray:
    """Return rows with zeros behind, as many in all as a power of two: layers share a program.

    Under the penalty the weights of such features are 0.
    """
    return np.pad(x, ((0, 0), (0, (1 << (x.shape[1] - 1).bit_length()) - x.shape[1])))


def _narrow(probe: Probe, features: int) -> Probe:
    return probe._replace(kernel=probe.kernel[:features])


def _examples(where: str, name: str, x: Any, labels: Any) -> tuple[jax.Array, jax.Array]:
    x = floating(where, f"features_{name}", x)
    labels = integral(where, f"labels_{name}", labels, "Pass class indices.")
    ok = x.ndim >= 2 and x.size > 0 and labels.shape == x.shape[:1]
    got = f"{shown(x.shape)} and {shown(labels.shape)}"
    expect(ok, where, f"features_{name} (n, ...) and labels_{name} (n,)", got, "Pass one label for each row.")
    finite = isinstance(x, jax.core.Tracer) or bool(jnp.isfinite(x).all())
    expect(finite, where, f"features_{name} that are finite", "others", "Look at the weights and the images.")
    return x.reshape(len(x), -1), labels


@partial(jax.jit, static_argnames=("classes", "standardize"))
def _fitted(
    x: jax.Array,
    labels: jax.Array,
    test_x: jax.Array,
    test_labels: jax.Array,
    l2: float,
    tolerance: float,
    steps: int,
    *,
    classes: int,
    standardize: bool,
) -> Probe:
    x, test_x = x.astype(jnp.float32), test_x.astype(jnp.float32)
    mean, deviation = jnp.zeros(x.shape[1]), jnp.ones(x.shape[1])
    if standardize:
        mean, deviation = x.mean(axis=0), x.std(axis=0)
        # What is constant but for rounding says nothing.
        deviation = jnp.where(deviation > 1e-6 * jnp.abs(mean), deviation, jnp.inf)
    z = (x - mean) / deviation
    kernel, bias, slope, taken = _solved(z, labels, classes, l2, steps, tolerance)
    kernel = kernel / deviation[:, None]
    bias = bias - _dot(mean, kernel)
    train, test = _dot(x, kernel) + bias, _dot(test_x, kernel) + bias
    return Probe(
        accuracy(test, test_labels).mean(),
        cross_entropy(test, test_labels).mean(),
        accuracy(train, labels).mean(),
        cross_entropy(train, labels).mean(),
        kernel,
        bias,
        slope,
        taken,
    )


def _solved(z: jax.Array, labels: jax.Array, classes: int, l2: Any, steps: int, tolerance: Any) -> tuple[Any, ...]:
    """Return kernel, bias, the largest entry of the gradient, and the number of steps."""

    def objective(weights: tuple[jax.Array, jax.Array]) -> jax.Array:
        kernel, bias = weights
        return cross_entropy(_dot(z, kernel) + bias, labels).mean() + l2 / 2 * jnp.sum(kernel**2)

    solver = optax.lbfgs()
    value_and_slope = optax.value_and_grad_from_state(objective)

    def step(carry: Any) -> Any:
        weights, memory, _, taken = carry
        value, slope = value_and_slope(weights, state=memory)
        updates, memory = solver.update(slope, memory, weights, value=value, grad=slope, value_fn=objective)
        largest = jnp.stack([jnp.abs(part).max() for part in jax.tree.leaves(slope)]).max()
        return optax.apply_updates(weights, updates), memory, largest, taken + 1

    def going(carry: Any) -> jax.Array:
        return (carry[3] < steps) & (carry[2] > tolerance)

    start = jnp.zeros((z.shape[1], classes)), jnp.zeros(classes)
    (kernel, bias), _, largest, taken = jax.lax.while_loop(
        going, step, (start, solver.init(start), jnp.float32(jnp.inf), jnp.int32(0))
    )
    return kernel, bias, largest, taken


def _dot(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.dot(x, kernel, precision="highest")
