"""Nets without convolutions: one dense layer, and several.

Source: Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the brain",
1958; Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.
"""

from collections.abc import Callable, Sequence

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, expect_flag, shown
from jaxcnn.initializers import VarianceScaling, gain, lecun_normal
from jaxcnn.layers import BatchNorm, Dense, Dropout, Flatten, Sequential

__all__ = ["mlp", "perceptron"]

MOST = 1000  # hidden layers


def perceptron(num_classes: int = 10) -> Sequential:
    """Return one dense layer from pixels to logits: with cross-entropy as its loss, logistic regression.

    Args:
        num_classes: outputs.

    Returns:
        A `Sequential` from images to logits: flatten, head.

    Raises:
        ValueError: a count that is not positive.

    Source: Rosenblatt 1958, whose output is the class of the largest logit; 7,850 parameters for 28x28 pixels and 10
    classes.
    """
    num_classes = expect_count("perceptron", "num_classes", num_classes)
    return Sequential(flatten=Flatten(), head=Dense(num_classes, kernel_init=lecun_normal))


def mlp(
    num_classes: int = 10,
    *,
    units: Sequence[int] = (512, 512),
    activation: Callable[[jax.Array], jax.Array] = F.relu,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> Sequential:
    """Return a multilayer perceptron: dense layers with a nonlinearity after each, then one to the logits.

    Args:
        num_classes: outputs.
        units: of each hidden layer; none makes it the perceptron.
        activation: an elementwise function. The initial weights are scaled by its `initializers.gain`, so that
            activations keep their variance.
        batch_norm: whether there is batch norm before each nonlinearity.
        dropout: rate after each nonlinearity.

    Returns:
        A `Sequential` from images of any size to logits: flatten, hidden1, hidden2, ..., head.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1], an activation that is not elementwise.
        TypeError: batch_norm is no bool.

    Source: Rumelhart et al. 1986; units=(800,) is the net of Simard et al. 2003 for MNIST: 636,010 parameters.
    """
    where = "mlp"
    num_classes = expect_count(where, "num_classes", num_classes)
    ok = isinstance(units, Sequence) and not isinstance(units, str) and len(units) <= MOST
    expect(ok, where, "units as a number for each hidden layer", shown(units), "Pass (512, 512), say.")
    counts = [expect_count(where, "units", count) for count in units]
    batch_norm = expect_flag(where, "batch_norm", batch_norm)
    kernel_init = VarianceScaling(gain(activation) ** 2)
    hidden = {}
    for i, count in enumerate(counts, start=1):
        # Batch norm's bias makes the dense layer's redundant.
        dense = Dense(count, use_bias=not batch_norm, kernel_init=kernel_init)
        norm = {"norm": BatchNorm()} if batch_norm else {}
        hidden[f"hidden{i}"] = Sequential(dense=dense, **norm, act=activation, dropout=Dropout(dropout))
    return Sequential(flatten=Flatten(), **hidden, head=Dense(num_classes, kernel_init=lecun_normal))
