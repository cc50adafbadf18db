"""A trained net as a TensorFlow SavedModel, for its servers and for TensorFlow Lite.

interop.tensorflow.export(net, params, state, spec, "saved_model")
y = tf.saved_model.load("saved_model").outputs(images)
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, installed
from jaxcnn.layers.layer import Layer, Spec, expect_arrays, expect_net, expect_spec
from jaxcnn.training.evaluation import predictor

__all__ = ["export"]


def export(net: Layer, params: Any, state: Any, spec: Spec, path: Path | str) -> None:
    """Write the net, in the form for inference, as a SavedModel: a folder with a program and its weights.

    The program is StableHLO inside of TensorFlow's graph, for any number of images, and runs where TensorFlow does
    XLA. Needs TensorFlow (`pip install "jaxcnn[tensorflow]"`), and JAX's converter `jax2tf`. A JAX much newer than the
    TensorFlow writes what that one cannot run, and is refused: TensorFlow 2.21 runs what JAX 0.10 writes, and not what
    0.12 does.

    Args:
        net, params, state: a trained net.
        spec: shape (batch axis included) and dtype of the images; uint8 ones are divided by 255.
        path: of the folder, which is new or empty.

    Raises:
        ImportError: TensorFlow is not installed.
        RuntimeError: TensorFlow cannot run what JAX writes; nothing is saved.
        ValueError: the folder holds something; a net that does not take such images.
        TypeError: what is no net, no weights, no spec.
    """
    where = "export"
    expect_net(where, net)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    expect_spec(where, spec, one=True)
    path = Path(path)
    free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    expect(free, where, "a new folder", path, "Choose another, or delete what is there.")
    with installed(where, "TensorFlow", 'pip install "jaxcnn[tensorflow]"'):
        import tensorflow as tf  # pyrefly: ignore
        from jax.experimental import jax2tf
    sizes = ", ".join(map(str, spec.shape[1:]))
    dtype = jnp.dtype(spec.dtype).name

    def outputs(weights: Any, images: jax.Array) -> Any:
        return predictor(net, *weights)(images)

    converted = jax2tf.convert(outputs, polymorphic_shapes=[None, f"(batch, {sizes})"], with_gradient=False)
    leaves, structure = jax.tree.flatten((params, state))
    module = tf.Module()
    module.weights = [tf.Variable(jax.device_get(leaf)) for leaf in leaves]
    signature = [tf.TensorSpec((None, *spec.shape[1:]), dtype, name="images")]
    module.outputs = tf.function(
        lambda images: converted(jax.tree.unflatten(structure, list(module.weights)), images),
        input_signature=signature,
        autograph=False,
    )
    try:
        module.outputs(tf.zeros((1, *spec.shape[1:]), dtype))
    except tf.errors.OpError:
        fix = "Install a JAX that is as old, such as 0.10 for TensorFlow 2.21, or a newer TensorFlow."
        what = f"a program that TensorFlow {tf.__version__} runs"
        expect(False, where, what, f"that of JAX {jax.__version__}", fix, RuntimeError)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.outputs.get_concrete_function()})
