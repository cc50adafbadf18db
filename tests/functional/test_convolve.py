"""The convolution primitives: every fast form against `jax.lax`, under every transformation."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jax import lax

from jaxcnn.functional.primitives.convolve import convolve, convolve_transposed, multiply_adds
from jaxcnn.functional.primitives.dense import DENSE, FEW_CHANNELS
from jaxcnn.functional.primitives.depthwise import DEPTHWISE
from jaxcnn.functional.primitives.fast_on_cpu import fast_on_cpu
from jaxcnn.functional.primitives.geometry import Geometry
from jaxcnn.functional.primitives.grouped import GROUPED
from jaxcnn.functional.primitives.library import LIBRARY
from jaxcnn.functional.primitives.pointwise import POINTWISE
from jaxcnn.functional.primitives.side_by_side import copies
from jaxcnn.functional.primitives.whole import WHOLE
from jaxcnn.functional.primitives.winograd import WINOGRAD
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")


def lax_conv(x, kernel, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        stride,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def close(ours, theirs, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


# The forms, each against the library's


axes = st.tuples(
    st.integers(1, 9),  # pixels
    st.integers(1, 4),  # taps
    st.integers(1, 3),  # stride
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.integers(1, 3),  # dilation
)


def three_kinds(fast, geometry: Geometry, batch: int = 3, dtype=np.float32, tolerance=1e-5) -> None:
    x, g = (draw(i, batch, *size, c, dtype=dtype) for i, (size, c) in enumerate(maps_of(geometry)))
    kernel = draw(2, *geometry.kernel, dtype=dtype)
    for name, operands in (
        ("convolve", (x, kernel)),
        ("input_gradient", (g, kernel)),
        ("kernel_gradient", (x, g)),
    ):
        ours = jax.jit(functools.partial(getattr(fast, name), geometry=geometry))
        close(ours(*operands), library(name, geometry)(*operands), tolerance)


def library(name: str, geometry: Geometry):
    """Return the library's form of images that are padded before: with more padding than a kernel reaches the gradient
    would have less than none, and XLA on CPU reads beyond the array there in jax 0.10."""
    sides = ((0, 0), *geometry.padding, (0, 0))
    size = tuple(n + before + after for n, (before, after) in zip(geometry.size, geometry.padding, strict=True))
    bare = geometry._replace(size=size, padding=((0, 0),) * len(size))

    def run(a, b):
        y = getattr(LIBRARY, name)(a if name == "input_gradient" else jnp.pad(a, sides), b, bare)
        inner = (slice(before, before + n) for n, (before, _) in zip(geometry.size, geometry.padding, strict=True))
        return y[(slice(None), *inner)] if name == "input_gradient" else y

    return jax.jit(run)


def maps_of(geometry: Geometry):
    return (geometry.size, geometry.channels), (geometry.positions, geometry.features)


def geometry_of(vertical, horizontal, channels, features, groups=1) -> Geometry:
    both = zip(vertical, horizontal, strict=True)
    geometry = Geometry(*map(tuple, both), channels, features, groups)
    assume(min(geometry.positions) >= 1)
    return geometry


@given(
    axes,
    axes,
    st.sampled_from([(1, 1, 1), (2, 3, 1), (9, 5, 1), (17, 2, 1), (3, 3, 3), (2, 6, 2), (4, 2, 2), (4, 4, 2)]),
)
def test_the_fast_forms_equal_the_library(vertical, horizontal, counts):
    geometry = geometry_of(vertical, horizontal, *counts)
    three_kinds(fast_on_cpu(geometry, 3, np.float32), geometry)


small_axes = st.tuples(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 3),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.integers(1, 2),
)


@given(small_axes, small_axes, st.sampled_from([(1, 1, 1), (2, 3, 1), (9, 5, 1)]))
def test_windows_beyond_the_image_equal_the_library(vertical, horizontal, counts):
    three_kinds(WHOLE, geometry_of(vertical, horizontal, *counts))


def test_a_window_that_fits_the_image_equals_the_library():
    geometry = Geometry((4, 5), (4, 5), (1, 2), ((0, 0), (0, 0)), (1, 1), 3, 6, 1)
    three_kinds(fast_on_cpu(geometry, 3, np.float32), geometry)


@pytest.mark.parametrize(
    ("size", "window", "stride", "counts", "m"),
    [
        (24, 5, 1, (1, 6), 4),  # 24 features of 6, and 4 divides 24
        (14, 5, 1, (2, 6), 7),  # 4 is enough, 7 divides 14
        (14, 5, 1, (6, 16), 2),
        (13, 3, 1, (4, 3), 13),  # the whole row
        (23, 3, 1, (4, 3), 7),  # nothing divides 23: five positions are cut off
        (20, 3, 2, (3, 16), 2),
        (30, 5, 3, (3, 4), 5),
        (14, 5, 1, (16, 6), 4),  # 7 would multiply too many zeros
        (28, 7, 1, (16, 1), 1),  # and so would whatever is enough
        (24, 3, 1, (17, 6), 1),
        (24, 3, 1, (1, 17), 1),
    ],
)
def test_positions_side_by_side(size, window, stride, counts, m):
    pixels = (size - 1) * stride + window - 2  # and one more on both sides
    geometry = Geometry((7, pixels), (window, window), (stride, stride), ((1, 1), (1, 1)), (1, 1), *counts, 1)
    assert geometry.positions[1] == size
    assert copies(geometry) == m
    three_kinds(fast_on_cpu(geometry, 3, np.float32), geometry)


@given(
    st.tuples(st.integers(3, 9), st.tuples(st.integers(0, 3), st.integers(0, 3))),
    st.tuples(st.integers(3, 9), st.tuples(st.integers(0, 3), st.integers(0, 3))),
    st.integers(1, 12),
)
def test_winograd_equals_the_library(vertical, horizontal, batch):
    (height, high), (width, wide) = vertical, horizontal
    geometry = Geometry((height, width), (3, 3), (1, 1), (high, wide), (1, 1), 2, 3, 1)
    three_kinds(WINOGRAD, geometry, batch)


def test_winograd_in_several_parts(monkeypatch):
    monkeypatch.setattr("jaxcnn.functional.primitives.winograd._FLOATS", 0)
    geometry = Geometry((6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2, 3, 1)
    for batch in (8, 24, 11):
        three_kinds(WINOGRAD, geometry, batch)


def test_a_pixel_that_is_no_number_stays_with_its_image(monkeypatch):
    monkeypatch.setattr("jaxcnn.functional.primitives.winograd._FLOATS", 0)
    geometry = Geometry((6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2, 3, 1)
    x, kernel = draw(0, 8, 6, 5, 2), draw(1, 3, 3, 2, 3)
    y = WINOGRAD.convolve(x.at[0, 0, 0, 0].set(jnp.nan), kernel, geometry)
    np.testing.assert_array_equal(np.isnan(y).any((1, 2, 3)), [True] + 7 * [False])
    assert not np.isnan(y[0]).all()  # it is what the loop over the images begins with, everywhere


EIGHT = Geometry((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 8, 8, 1)
IN_LOOPS = {
    "parts": (functools.partial(WINOGRAD.convolve, geometry=EIGHT), (64, 8, 8, 8), (3, 3, 8, 8)),
    "groups": (functools.partial(GROUPED.convolve, geometry=EIGHT._replace(groups=4)), (64, 8, 8, 8), (3, 3, 2, 8)),
    "lanes": (
        jax.vmap(functools.partial(convolve, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1))),
        (8, 8, 8, 8, 8),
        (8, 3, 3, 8, 8),
    ),
}


@pytest.mark.parametrize("name", IN_LOOPS)
def test_the_maps_of_a_net_are_not_all_reserved_at_once(name, monkeypatch):
    monkeypatch.setattr("jaxcnn.functional.primitives.winograd._FLOATS", 4 * 8 * 8 * 8)
    conv, shape, kernel = IN_LOOPS[name]

    def net(x, kernel):
        for _ in range(8):
            x = jnp.tanh(conv(x, kernel))
        return x

    x, kernel = draw(0, *shape), draw(1, *kernel)
    memory = jax.jit(net).lower(x, kernel).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * x.nbytes


def test_winograd_rounds_nearly_as_well_as_sums_of_products():
    geometry = Geometry((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 256, 4, 1)
    x, kernel = draw(0, 4, 8, 8, 256), draw(1, 3, 3, 256, 4)
    with jax.enable_x64(True):
        exact = np.asarray(lax_conv(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64)))
    errors = [np.sqrt(np.mean((f(x, kernel, geometry) - exact) ** 2)) for f in (WINOGRAD.convolve, LIBRARY.convolve)]
    assert errors[0] < 4 * errors[1]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64], ids=str)
@pytest.mark.parametrize("counts", [(4, 6, 1), (9, 5, 1), (4, 4, 4), (4, 8, 4), (4, 4, 2)])
def test_other_dtypes(dtype, counts):
    geometry = Geometry((6, 5), (3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), *counts)
    with jax.enable_x64(dtype == jnp.float64):
        tolerance = {jnp.bfloat16: 2e-2, jnp.float16: 4e-3, jnp.float64: 1e-13}[dtype]
        three_kinds(fast_on_cpu(geometry, 3, dtype), geometry, dtype=dtype, tolerance=tolerance)


@pytest.mark.parametrize("spatial", [1, 3])
def test_any_number_of_spatial_axes(spatial):
    geometry = Geometry((6,) * spatial, (3,) * spatial, (2,) * spatial, ((1, 0),) * spatial, (1,) * spatial, 2, 3, 1)
    three_kinds(fast_on_cpu(geometry, 3, np.float32), geometry)
    deep = geometry._replace(channels=3, features=6, groups=3)
    three_kinds(fast_on_cpu(deep, 3, np.float32), deep)


PLAIN = Geometry((32, 32), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 64, 64, 1)


@pytest.mark.parametrize(
    ("change", "batch", "kind"),
    [
        ({}, 64, WINOGRAD),
        ({}, 16, WINOGRAD),
        ({}, 8, DENSE),  # too little work for the longer compilation
        ({}, 61, DENSE),  # not to be parted
        ({"channels": 16, "features": 16}, 64, DENSE),
        ({"channels": 3}, 64, FEW_CHANNELS),
        ({"size": (4, 4), "channels": 512, "features": 512}, 512, DENSE),
        ({"stride": (2, 2)}, 64, DENSE),
        ({"window": (5, 5)}, 64, DENSE),
        ({"precision": "highest"}, 64, DENSE),
        ({"precision": "F32_F32_F32"}, 64, DENSE),
        ({"precision": "default"}, 64, WINOGRAD),
        ({"window": (1, 1), "padding": ((0, 0), (0, 0))}, 64, POINTWISE),
        ({"window": (1, 1)}, 64, DENSE),  # padded
        ({"size": (2, 2)}, 64, WHOLE),  # beyond the image on both sides
        ({"size": (4, 4), "window": (5, 5), "padding": ((2, 2), (2, 2))}, 64, WHOLE),
        ({"size": (3, 3)}, 64, DENSE),
        ({"size": (3, 3), "padding": ((0, 0), (0, 0))}, 64, WHOLE),  # fits the image
        ({"size": (1, 200), "window": (1, 200), "padding": ((0, 0), (0, 0))}, 64, WHOLE),
        ({"size": (4, 4), "dilation": (2, 2), "padding": ((2, 2), (2, 2))}, 64, WHOLE),
        ({"size": (1, 200)}, 64, DENSE),  # a matrix of 200 x 200 for three taps
        ({"groups": 64}, 64, DEPTHWISE),
        ({"groups": 2}, 64, GROUPED),
    ],
)
def test_which_form_runs(change, batch, kind):
    assert fast_on_cpu(PLAIN._replace(**change), batch, np.float32) is kind


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_takes_sums_of_products(dtype):
    assert fast_on_cpu(PLAIN, 64, dtype) is DENSE


# The primitives under transformations

CASES = {
    "dense": ((3, 3, 4, 6), {}),
    "strided": ((3, 3, 4, 6), {"stride": (2, 1)}),
    "dilated": ((3, 2, 4, 6), {"dilation": (1, 2)}),
    "pointwise": ((1, 1, 4, 6), {"padding": ((0, 0), (0, 0)), "stride": (2, 2)}),
    "depthwise": ((3, 3, 1, 8), {"groups": 4}),
    "grouped": ((3, 3, 2, 6), {"groups": 2, "stride": (2, 2)}),
}
OPTIONS = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
every = pytest.mark.parametrize("name", CASES)


def pair_of(name: str):
    shape, options = CASES[name]
    ours, theirs = (functools.partial(f, **(OPTIONS | options)) for f in (convolve, lax_conv))
    return ours, theirs, draw(0, 3, 6, 5, 4), draw(1, *shape)


@pytest.mark.parametrize("operands", [(0, 0), (0, None), (None, 0)], ids=str)
def test_vmap_over_no_lanes(operands):
    x, kernel = jnp.zeros((3, 6, 5, 4)), jnp.zeros((3, 3, 4, 6))
    empty = [a if axis is None else jnp.zeros((0, *a.shape)) for a, axis in zip((x, kernel), operands, strict=True)]
    assert jax.vmap(functools.partial(convolve, **OPTIONS), operands)(*empty).shape == (0, 3, 6, 5, 6)


@pytest.mark.parametrize("name", ["dense", "depthwise"])
def test_exports_with_a_symbolic_batch(name):
    _, options = CASES[name]
    kernel = draw(1, *CASES[name][0])

    def gradients(x):
        return jax.vjp(lambda *args: convolve(*args, **(OPTIONS | options)), x, kernel)[1](jnp.ones(y.shape))

    (batch,) = jax.export.symbolic_shape("b")
    shape = (batch, 32, 32, 4)
    y = jax.eval_shape(lambda x: convolve(x, kernel, **(OPTIONS | options)), jax.ShapeDtypeStruct(shape, jnp.float32))
    exported = jax.export.export(jax.jit(gradients), platforms=["cpu"])(jax.ShapeDtypeStruct(shape, jnp.float32))
    assert [aval.shape for aval in exported.out_avals] == [shape, kernel.shape]


def test_a_checkpoint_can_keep_convolutions():
    kernel = draw(1, 3, 3, 4, 4)

    def net(x, policy):
        return jax.checkpoint(lambda x: jnp.sin(convolve(jnp.sin(x), kernel, **OPTIONS)), policy=policy)(x).sum()

    policies = jax.checkpoint_policies
    runs = [
        str(jax.make_jaxpr(jax.grad(lambda x, p=policy: net(x, p)))(draw(0, 3, 6, 5, 4))).count("= convolve[")
        for policy in (policies.nothing_saveable, policies.save_only_these_names("conv"))
    ]
    assert runs == [2, 1]


def with_gradients(conv):
    def run(x, kernel, weight):
        y, pullback = jax.vjp(conv, x, kernel)
        return y, *pullback(weight * jnp.cos(y))

    return run


MAPPED = [m for m in itertools.product([0, None], repeat=3) if m != (None, None, None)]
FEW = [(0, 0, 0), (0, None, 0), (None, 0, None)]


@every
@pytest.mark.parametrize("mapped", [m if m in FEW else pytest.param(m, marks=pytest.mark.slow) for m in MAPPED])
def test_vmap_over_any_argument(name, mapped):
    ours, theirs, x, kernel = pair_of(name)
    y = jax.eval_shape(theirs, x, kernel)
    operands = [
        draw(i, *(() if axis is None else (3,)), *a.shape)
        for i, (a, axis) in enumerate(zip((x, kernel, y), mapped, strict=True))
    ]
    run = [jax.jit(jax.vmap(with_gradients(f), mapped)) for f in (ours, theirs)]
    close(run[0](*operands), run[1](*operands))


@every
def test_vmap_of_vmap_and_lanes_at_any_axis(name):
    ours, theirs, x, kernel = pair_of(name)
    xs, kernels = draw(3, *x.shape[:2], 2, *x.shape[2:], 3), draw(4, 2, *kernel.shape)
    run = [jax.jit(jax.vmap(jax.vmap(f, (None, 0), 1), (4, None), -1)) for f in (ours, theirs)]
    xs = xs[:, :, 0]
    close(run[0](xs, kernels), run[1](xs, kernels))
    both = [jax.jit(jax.vmap(jax.vmap(f, (0, 0)), (0, None))) for f in (ours, theirs)]
    many = draw(5, 3, 2, *x.shape)
    close(both[0](many, kernels), both[1](many, kernels))


@every
def test_forward_mode_and_second_order(name):
    ours, theirs, x, kernel = pair_of(name)
    tangents = draw(6, *x.shape), draw(7, *kernel.shape)
    close(*(jax.jit(functools.partial(jax.jvp, f))((x, kernel), tangents) for f in (ours, theirs)))

    def product(f):
        gradient = jax.grad(lambda x, kernel: jnp.sum(jnp.tanh(f(x, kernel))), (0, 1))
        return jax.jit(lambda: jax.jvp(gradient, (x, kernel), tangents))()

    close(product(ours), product(theirs))


@every
def test_in_loops_and_under_checkpoint(name):
    ours, theirs, x, kernel = pair_of(name)

    def loss(f):
        def body(total, x):
            return total + jnp.sum(jnp.sin(jax.checkpoint(f)(x, kernel * jnp.cos(total / 100)))), None

        return jax.jit(jax.grad(lambda xs: lax.scan(body, jnp.float32(1), xs)[0]))(jnp.stack([x, 2 * x]))

    close(loss(ours), loss(theirs), 1e-4)


@every
def test_eager_equals_jit(name):
    ours, _, x, kernel = pair_of(name)
    close(ours(x, kernel), jax.jit(ours)(x, kernel))


@every
def test_other_platforms_get_the_library_forms(name):
    ours, theirs, x, kernel = pair_of(name)
    cotangent = draw(2, *jax.eval_shape(theirs, x, kernel).shape)
    texts = []
    for f in (ours, theirs):
        exported = jax.export.export(jax.jit(with_gradients(f)), platforms=["cuda"])(x, kernel, cotangent)
        texts.append(exported.mlir_module())
    assert "while" not in texts[0] and "optimization_barrier" not in texts[0]
    assert texts[0].count("stablehlo.convolution") == texts[1].count("stablehlo.convolution") == 3


def test_images_without_pixels_or_batch():
    for shape in [(0, 5, 4, 2), (3, 5, 4, 0)]:
        x, kernel = jnp.zeros(shape), jnp.ones((3, 3, shape[-1], 3))
        y, pullback = jax.vjp(functools.partial(convolve, **OPTIONS), x, kernel)
        assert y.shape == (shape[0], 5, 4, 3)
        assert [v.shape for v in pullback(y)] == [x.shape, kernel.shape]


@every
def test_convolve_transposed_is_the_transpose(name):
    ours, _, x, kernel = pair_of(name)
    options = OPTIONS | CASES[name][1]
    y, pullback = jax.vjp(lambda x: ours(x, kernel), x)
    close(convolve_transposed(y, kernel, size=x.shape[1:-1], **options), pullback(y)[0])


def test_multiply_adds_are_those_of_the_sum():
    shape = (2, 3, 4, 6)
    jaxpr = jax.make_jaxpr(jax.grad(lambda x, k: jnp.sum(convolve(x, k, **OPTIONS) ** 2), (0, 1)))(
        jnp.zeros((5, 7, 8, 4)), jnp.zeros(shape)
    )
    counts = [multiply_adds(eqn) for eqn in jaxpr.jaxpr.eqns]
    positions = (7 + 2 - 1) * (8 + 2 - 2)
    assert [c for c in counts if c is not None] == 3 * [5 * positions * 2 * 3 * 4 * 6]


def test_the_precision_is_that_of_the_trace():
    with jax.default_matmul_precision("highest"):
        jaxpr = jax.make_jaxpr(functools.partial(convolve, **OPTIONS))(jnp.ones((1, 5, 4, 2)), jnp.ones((3, 3, 2, 3)))
    precisions = [eqn.params["geometry"].precision for eqn in jaxpr.jaxpr.eqns if eqn.primitive.name == "convolve"]
    assert precisions == ["highest"]
