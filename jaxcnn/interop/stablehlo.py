"""A trained net as StableHLO: a program that runs without jaxcnn, wherever JAX or another XLA compiler does.

interop.stablehlo.export(net, params, state, spec, "net.stablehlo")
y = jax.export.deserialize(pathlib.Path("net.stablehlo").read_bytes()).call(x)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.export

from jaxcnn.checking import expect, expect_choice, expect_count, shown
from jaxcnn.layers.layer import Layer, Spec, expect_arrays, expect_net, expect_spec, leaf_name
from jaxcnn.training.evaluation import predictor
from jaxcnn.whole_file import write_whole

__all__ = ["export"]

KNOWN = ("cpu", "cuda", "rocm", "tpu")
PLATFORMS = ("cpu", "cuda", "tpu")  # unless given


def export(
    net: Layer,
    params: Any,
    state: Any,
    spec: Spec,
    path: Path | str,
    *,
    weights: Literal["inside", "outside"] = "inside",
    batch: int | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Write the net, in the form for inference, as a program of StableHLO in JAX's serialized form.

    Such a file can be read for six months of JAX's releases: it is for serving. To keep a net, save it with
    `interop.safetensors`.

    Args:
        net, params, state: a trained net.
        spec: shape (batch axis included) and dtype of the images; uint8 ones are divided by 255.
        path: of the file; what stood there is replaced as a whole.
        weights: "inside" of the program; or "outside", which is then a function of a dict of arrays by name, those of
            `interop.safetensors`, and the images: `call(safetensors.numpy.load_file("net.safetensors"), images)`.
        batch: how many images a call takes; any number unless given.
        platforms: that it shall run on, of "cpu", "cuda", "rocm" and "tpu".

    Raises:
        ValueError: an unknown platform, a batch that is no positive int, a net that does not take such images.
        OSError: the file cannot be written.
        TypeError: what is no net, no weights, no spec.
    """
    where = "export"
    expect_net(where, net)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)
    expect_spec(where, spec, one=True)
    expect_choice(where, 'weights as "inside" or "outside"', weights, ["inside", "outside"])
    given = list(platforms) if isinstance(platforms, Sequence) and not isinstance(platforms, str) else []
    ok = bool(given) and all(name in KNOWN for name in given)
    expect(ok, where, f"platforms of {', '.join(KNOWN)}", shown(platforms), 'Pass ("cpu", "cuda").')
    size = jax.export.symbolic_shape("batch")[0] if batch is None else expect_count(where, "batch", batch)
    images = jax.ShapeDtypeStruct((size, *spec.shape[1:]), spec.dtype)
    leaves, structure = jax.tree_util.tree_flatten_with_path((params, state))
    names = [leaf_name(place[1:]) for place, _ in leaves]

    def of_arrays(arrays: dict[str, jax.Array], images: jax.Array) -> jax.Array:
        return predictor(net, *jax.tree.unflatten(structure, [arrays[name] for name in names]))(images)

    if weights == "inside":
        program, inputs = jax.jit(predictor(net, params, state)), (images,)
    else:
        arrays = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, (_, a) in zip(names, leaves, strict=True)}
        program, inputs = jax.jit(of_arrays), (arrays, images)
    exported = jax.export.export(program, platforms=tuple(platforms))(*inputs)
    write_whole(where, path, bytes(exported.serialize()))
