"""What the layers of convolution do besides the contract: normalised options, what they own, initial values, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.layers import Conv, ConvTranspose, DepthwiseConv, LocalConv, SeparableConv, Sequential, StandardizedConv

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 4)), jnp.float32)
NORMAL = {"kernel_init": initializers.Normal(1.0), "bias_init": initializers.Normal(1.0)}


def shapes(layer, x=IMAGES):
    return jax.tree.map(jnp.shape, jax.eval_shape(layer.init, key, x)[0])


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (StandardizedConv(8), StandardizedConv(8, (3, 3), stride=[1, 1], padding="same", eps=np.float64(1e-5))),
        (DepthwiseConv(), DepthwiseConv((3, 3), multiplier=1, stride=(1, 1), padding="same", dilation=[1, 1])),
        (SeparableConv(8), SeparableConv(8, (3, 3), multiplier=1, stride=(1, 1), padding="same")),
        (ConvTranspose(8), ConvTranspose(8, [3, 3], stride=1, padding="same", output_padding=(0, 0))),
        (ConvTranspose(8, padding=1, output_padding=1), ConvTranspose(8, padding=[[1, 1], 1], output_padding=[1, 1])),
        (LocalConv(8), LocalConv(8, (3, 3), stride=(1, 1), padding="valid")),
    ],
)
def test_what_means_the_same_is_equal(short, long):
    assert short == long
    assert hash(short) == hash(long)
    assert repr(short) == repr(long)


def test_what_differs_is_unequal():
    layers = [
        Conv(8), StandardizedConv(8), StandardizedConv(8, eps=1e-3), SeparableConv(8), SeparableConv(8, multiplier=2),
        DepthwiseConv(), DepthwiseConv(5), DepthwiseConv(multiplier=2), ConvTranspose(8), ConvTranspose(8, stride=2),
        ConvTranspose(8, output_padding=1), LocalConv(8), LocalConv(8, padding="SAME"), LocalConv(8, use_bias=False),
    ]  # fmt: skip
    assert len(set(layers)) == len(layers)


def test_repr_shows_what_is_not_the_default():
    assert repr(StandardizedConv(8, eps=0.1)) == "StandardizedConv(features=8, eps=0.1)"
    assert StandardizedConv(8, eps=0).eps == 0.0
    assert repr(DepthwiseConv()) == "DepthwiseConv()"
    assert repr(SeparableConv(8, 5, multiplier=2)) == "SeparableConv(features=8, kernel_size=5, multiplier=2)"
    assert repr(ConvTranspose(8, output_padding=(0, 1))) == "ConvTranspose(features=8, output_padding=(0, 1))"
    assert repr(LocalConv(8)) == "LocalConv(features=8)"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (StandardizedConv(6, (3, 2), groups=2), {"kernel": (3, 2, 2, 6), "bias": (6,)}),
        (DepthwiseConv((3, 2), multiplier=2), {"kernel": (3, 2, 1, 8), "bias": (8,)}),
        (
            SeparableConv(6, (3, 2), multiplier=2),
            {"depthwise": {"kernel": (3, 2, 1, 8)}, "pointwise": {"kernel": (1, 1, 8, 6), "bias": (6,)}},
        ),
        (ConvTranspose(6, (3, 2), groups=2), {"kernel": (3, 2, 2, 6), "bias": (6,)}),
        (LocalConv(6, (3, 2), stride=2), {"kernel": (2, 2, 3, 2, 4, 6), "bias": (2, 2, 6)}),
        (LocalConv(6, 3, padding="SAME", use_bias=False), {"kernel": (6, 5, 3, 3, 4, 6)}),
        (DepthwiseConv(use_bias=False), {"kernel": (3, 3, 1, 4)}),
        (
            SeparableConv(6, use_bias=False),
            {"depthwise": {"kernel": (3, 3, 1, 4)}, "pointwise": {"kernel": (1, 1, 4, 6)}},
        ),
        (ConvTranspose(6, use_bias=False), {"kernel": (3, 3, 4, 6)}),
    ],
    ids=repr,
)
def test_parameters(layer, expected):
    assert shapes(layer) == expected


OPTIONS = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2)}


def test_layers_pass_every_option_on():
    def check(layer, expected):
        params, state = layer.init(key, IMAGES)
        np.testing.assert_array_equal(layer.apply(params, state, IMAGES, train=False)[0], expected(params))

    check(
        DepthwiseConv((3, 2), multiplier=2, **OPTIONS, **NORMAL),
        lambda p: F.depthwise_conv(IMAGES, p["kernel"], p["bias"], **OPTIONS),
    )
    check(
        SeparableConv(3, (3, 2), multiplier=2, **OPTIONS, **NORMAL),
        lambda p: F.separable_conv(
            IMAGES, p["depthwise"]["kernel"], p["pointwise"]["kernel"], p["pointwise"]["bias"], **OPTIONS
        ),
    )
    check(
        ConvTranspose(6, (3, 2), groups=2, output_padding=(1, 0), **OPTIONS, **NORMAL),
        lambda p: F.conv_transpose(IMAGES, p["kernel"], p["bias"], groups=2, output_padding=(1, 0), **OPTIONS),
    )
    check(
        LocalConv(3, (3, 2), **OPTIONS, **NORMAL),
        lambda p: F.local_conv(IMAGES, p["kernel"], p["bias"], **OPTIONS),
    )
    check(
        StandardizedConv(6, (3, 2), groups=2, eps=0.1, **OPTIONS, **NORMAL),
        lambda p: F.conv(IMAGES, F.weight_standardization(p["kernel"], eps=0.1), p["bias"], groups=2, **OPTIONS),
    )


@pytest.mark.parametrize("options", [{}, {"depthwise_init": initializers.he_uniform}], ids=["default", "other"])
def test_a_separable_convolution_is_its_two_parts(options):
    first = options.get("depthwise_init", initializers.lecun_normal)
    bias = {"bias_init": NORMAL["bias_init"]}
    net = Sequential(
        depthwise=DepthwiseConv(multiplier=2, stride=2, use_bias=False, kernel_init=first),
        pointwise=Conv(5, 1, **bias),
    )
    layer = SeparableConv(5, multiplier=2, stride=2, **bias, **options)
    params, state = net.init(key, IMAGES)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(layer.init(key, IMAGES)[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    expected, _ = net.apply(params, state, IMAGES, train=False)
    np.testing.assert_allclose(layer.apply(params, {}, IMAGES, train=False)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_separable_convolutions_keep_the_scale_through_relu():
    layers = {f"conv{i}": SeparableConv(64) for i in range(10)}
    net = Sequential(
        **{name: part for i in range(10) for name, part in ((f"conv{i}", layers[f"conv{i}"]), (f"act{i}", F.relu))}
    )
    x = jax.random.normal(key, (4, 16, 16, 64))
    params, state = net.init(key, x)
    assert 0.05 < jnp.mean(jnp.square(net.apply(params, state, x, train=False)[0])) < 2


def test_counts_may_be_numpys_and_are_stored_as_ints():
    layer = Conv(np.int64(8), groups=np.int64(2))
    assert layer == Conv(8, groups=2) and type(layer.features) is type(layer.groups) is int


def test_standardized_kernels_have_no_offset_and_no_scale():
    layer = StandardizedConv(6)
    params, _ = layer.init(key, IMAGES)
    y, _ = layer.apply(params, {}, IMAGES, train=False)
    moved = params | {"kernel": 7 * params["kernel"] + 3}
    np.testing.assert_allclose(layer.apply(moved, {}, IMAGES, train=False)[0], y, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_each_kernel_of_a_local_convolution_is_drawn_by_itself():
    images = jnp.zeros((1, 12, 10, 16))
    kernel = np.asarray(LocalConv(32).init(key, images)[0]["kernel"])
    assert kernel.shape == (10, 8, 3, 3, 16, 32)
    # Five standard deviations of the variance of so many draws, the fan being that of one place: 3 * 3 * 16.
    assert abs(kernel.var() * (9 * 16) / 2 - 1) < 5 * np.sqrt(2 / kernel.size)
    places = kernel.reshape(80, -1)
    assert abs(np.corrcoef(places) - np.eye(80)).max() < 5 / np.sqrt(places.shape[1])
    orthogonal = LocalConv(4, kernel_init=initializers.orthogonal).init(key, IMAGES)[0]["kernel"]
    matrices = np.asarray(orthogonal).reshape(12, 36, 4)
    np.testing.assert_allclose(
        np.einsum("pki,pkj->pij", matrices, matrices), np.broadcast_to(np.eye(4), (12, 4, 4)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StandardizedConv(4, eps=-1.0), r"^StandardizedConv: expected eps >= 0, got -1\.0\. "),
        (lambda: StandardizedConv(4, groups=3), r"^StandardizedConv: expected groups that divide the 4 features, got"),
        (lambda: StandardizedConv(0), r"^StandardizedConv: expected features as a positive int, got 0\. "),
        (lambda: DepthwiseConv(0), r"^DepthwiseConv: expected kernel_size as a positive int or two of them, got 0\. "),
        (lambda: DepthwiseConv(multiplier=0), r"^DepthwiseConv: expected multiplier as a positive int, got 0\. "),
        (lambda: DepthwiseConv(padding=-1), r"^DepthwiseConv: expected padding .*, got -1\. "),
        (lambda: SeparableConv(1.5), r"^SeparableConv: expected features as a positive int, got 1\.5\. "),
        (lambda: SeparableConv(4, multiplier=True), r"^SeparableConv: expected multiplier as a positive int, got True"),
        (lambda: SeparableConv(4, stride=0), r"^SeparableConv: expected stride as a positive int .*, got 0\. "),
        (lambda: ConvTranspose(4, groups=0), r"^ConvTranspose: expected groups as a positive int, got 0\. "),
        (lambda: ConvTranspose(4, groups=3), r"^ConvTranspose: expected groups that divide the 4 features, got 3\. "),
        (lambda: ConvTranspose(4, dilation=0), r"^ConvTranspose: expected dilation as a positive int .*, got 0\. "),
        (
            lambda: ConvTranspose(4, output_padding=-1),
            r"^ConvTranspose: expected output_padding as an int >= 0",
        ),
        (lambda: LocalConv(4, padding="FULL"), r"^LocalConv: expected padding .*, got 'FULL'\. "),
        (lambda: LocalConv("4"), r"^LocalConv: expected features as a positive int, got '4'\. "),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [StandardizedConv, SeparableConv, ConvTranspose, LocalConv, DepthwiseConv])
def test_initializers_are_functions(make):
    arguments = () if make is DepthwiseConv else (4,)
    for name in ("kernel_init", "bias_init"):
        with pytest.raises(TypeError, match=rf"^{make.__name__}: expected {name} as a function .*, got 'zeros'\. "):
            make(*arguments, **{name: "zeros"})


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (StandardizedConv(4, groups=4), IMAGES[..., :3], r"^StandardizedConv: expected input channels that 4 groups"),
        (ConvTranspose(4, groups=4), IMAGES[..., :3], r"^ConvTranspose: expected input channels that 4 groups divide"),
        (DepthwiseConv(), IMAGES[0, 0], r"^DepthwiseConv: expected images of shape \(\.\.\., H, W, C\), got \(5, 4\)"),
        (SeparableConv(4), IMAGES[0, 0], r"^SeparableConv: expected images of shape .*, got \(5, 4\)\. "),
        (LocalConv(4), IMAGES[0, 0], r"^LocalConv: expected images of shape .*, got \(5, 4\)\. "),
        (LocalConv(4, 7), IMAGES, r"^LocalConv: expected an image of at least 7x7 pixels .*, got 6x5\. "),
    ],
)
def test_bad_inputs_at_init(layer, x, message):
    with pytest.raises(ValueError, match=message):
        layer.init(key, x)


def test_a_local_convolution_is_for_images_of_one_size():
    layer = LocalConv(4)
    params, state = layer.init(key, IMAGES)
    with pytest.raises(ValueError, match=r"^local_conv: expected a kernel for 3x3 outputs, as x of shape .*\. Match"):
        layer.apply(params, state, IMAGES[:, :5], train=False)


def test_parameters_of_another_layer_are_refused():
    params, _ = Conv(4).init(key, IMAGES)
    with pytest.raises(ValueError, match=r"^SeparableConv: expected params with 'depthwise', got \['bias', 'kernel'\]"):
        SeparableConv(4).apply(params, {}, IMAGES, train=False)
    for other in (ConvTranspose(5), StandardizedConv(5), LocalConv(5)):
        name = type(other).__name__
        with pytest.raises(ValueError, match=rf"^{name}: expected kernel of 5 features, got shape \(3, 3, 4, 4\)\. "):
            other.apply(params, {}, IMAGES, train=False)
