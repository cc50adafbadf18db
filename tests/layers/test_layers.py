"""What single layers do besides the contract: normalised options, initial values, shown form, errors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    MaxPool,
    Normalize,
    from_json,
    to_json,
)
from jaxcnn.models.cifar_resnet import PadShortcut

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
NORMS = [BatchNorm, GroupNorm, InstanceNorm, LayerNorm]
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 4)), jnp.float32)


def evaluate(layer, params=None, state=None, x=IMAGES):
    return layer.apply(params or {}, state or {}, x, train=False)[0]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (Conv(8), Conv(8, (3, 3), stride=(1, 1), padding="same", dilation=[1, 1])),
        (Conv(8, padding=1), Conv(8, padding=((1, 1), (1, 1)))),
        (Conv(8, padding=(1, 2)), Conv(8, padding=[[1, 1], [2, 2]])),
        (MaxPool(2), MaxPool((2, 2), stride=2)),
        (MaxPool(np.int64(3)), MaxPool(3)),
        (AvgPool((3, 2)), AvgPool((3, 2), stride=(3, 2), count_include_pad=True)),
        (Normalize(0.5, 2), Normalize((0.5,), np.array([2.0]))),
        (Normalize([0.1, 0.2], 1), Normalize(np.array([0.1, 0.2]), (1.0,))),
        (Dropout(1), Dropout(1.0)),
        (BatchNorm(), BatchNorm(decay=np.float64(0.9))),
    ],
)
def test_what_means_the_same_is_equal(short, long):
    assert short == long
    assert hash(short) == hash(long)
    assert repr(short) == repr(long)


def test_what_differs_is_unequal():
    layers = [
        Conv(8), Conv(9), Conv(8, 5), Conv(8, stride=2), Conv(8, padding="VALID"), Conv(8, padding=1),
        Conv(8, dilation=2), Conv(8, groups=2), Conv(8, use_bias=False), Conv(8, kernel_init=initializers.he_uniform),
        Conv(8, bias_init=initializers.ones), Dense(8), Dense(9), MaxPool(2), MaxPool(3), MaxPool(2, stride=1),
        AvgPool(2), AvgPool(2, count_include_pad=False), Dropout(0.5), Dropout(0.4), BatchNorm(), BatchNorm(decay=0.5),
        BatchNorm(axis_name="data"), Normalize(0, 1), Normalize(0, 2), Flatten(), GlobalAvgPool(),
    ]  # fmt: skip
    assert len(set(layers)) == len(layers)


def test_repr_shows_what_is_not_the_default():
    assert repr(Conv(8)) == "Conv(features=8)"
    assert repr(Conv(8, 5, stride=(1, 2), padding=1)) == (
        "Conv(features=8, kernel_size=5, stride=(1, 2), padding=((1, 1), (1, 1)))"
    )
    assert repr(Conv(8, kernel_init=initializers.ones)) == "Conv(features=8, kernel_init=ones)"
    assert repr(Dropout(0.5)) == "Dropout(rate=0.5)"
    assert repr(BatchNorm()) == "BatchNorm()"
    assert repr(Flatten()) == "Flatten()"


def test_conv_owns_a_kernel_and_a_bias_with_keys_of_their_own():
    conv = Conv(6, (3, 2), groups=2, bias_init=initializers.Normal(1.0), kernel_init=initializers.Normal(1.0))
    params, state = conv.init(key, IMAGES)
    assert {name: leaf.shape for name, leaf in params.items()} == {"kernel": (3, 2, 2, 6), "bias": (6,)}
    assert state == {}
    assert not np.isin(params["bias"], params["kernel"]).any()
    np.testing.assert_array_equal(
        Conv(6, (3, 2), groups=2, use_bias=False).init(key, IMAGES)[0]["kernel"].shape, (3, 2, 2, 6)
    )
    assert set(Conv(6, use_bias=False).init(key, IMAGES)[0]) == {"kernel"}
    default, _ = Conv(6).init(key, IMAGES)
    assert (default["bias"] == 0).all()


def test_conv_passes_every_option_on():
    params, _ = Conv(6, (3, 2), groups=2, bias_init=initializers.ones).init(key, IMAGES)
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": 2}
    ours = evaluate(Conv(6, (3, 2), **options), params)
    np.testing.assert_array_equal(ours, F.conv(IMAGES, params["kernel"], params["bias"], **options))


def test_dense_is_the_function_of_its_parameters():
    params, _ = Dense(3, bias_init=initializers.ones).init(key, IMAGES)
    np.testing.assert_array_equal(evaluate(Dense(3), params), F.dense(IMAGES, params["kernel"], params["bias"]))


def test_batch_norm_passes_every_option_on():
    layer = BatchNorm(decay=0.5, eps=0.1, axis_name="lanes")
    params, state = layer.init(key, IMAGES)
    assert isinstance(state, F.BatchStats)
    assert set(params) == {"scale", "bias"}
    lanes = functools.partial(jax.vmap, axis_name="lanes")
    y, after = lanes(lambda x: layer.apply(params, state, x, train=True))(IMAGES)
    expected, stats = lanes(
        lambda x: F.batch_norm(x, None, None, state, train=True, decay=0.5, eps=0.1, axis_name="lanes")
    )(IMAGES)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after.var, stats.var)
    assert set(BatchNorm(use_scale=False).init(key, IMAGES)[0]) == {"bias"}
    assert set(BatchNorm(use_bias=False).init(key, IMAGES)[0]) == {"scale"}


def test_batch_norm_is_float32_in_double_precision_too():
    with jax.enable_x64(True):
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(BatchNorm().init(key, IMAGES))}
    assert dtypes == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", NORMS)
def test_norms_draw_scale_and_bias_with_keys_of_their_own(kind):
    options = {"groups": 2} if kind is GroupNorm else {}
    drawn = kind(scale_init=initializers.Normal(1.0), bias_init=initializers.Normal(1.0), **options)
    params, _ = drawn.init(key, IMAGES)
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in params.items()} == {
        "scale": ((4,), jnp.float32), "bias": ((4,), jnp.float32),
    }  # fmt: skip
    assert not np.isin(params["bias"], params["scale"]).any()
    alone, _ = dataclasses.replace(drawn, use_scale=False).init(key, IMAGES)
    assert set(alone) == {"bias"}
    np.testing.assert_array_equal(alone["bias"], params["bias"])
    rebuilt = from_json(to_json(drawn))
    assert rebuilt == drawn != kind(**options)
    np.testing.assert_array_equal(rebuilt.init(key, IMAGES)[0]["scale"], params["scale"])
    default, _ = kind(**options).init(None, IMAGES)  # neither of these two draws
    np.testing.assert_array_equal(default["scale"], np.ones(4))
    np.testing.assert_array_equal(default["bias"], np.zeros(4))


def test_a_net_saved_before_norms_had_initializers_is_rebuilt():
    text = '{"jaxcnn": 1, "net": {"type": "GroupNorm", "eps": 1e-06, "use_scale": true, "use_bias": true, "groups": 2}}'
    assert from_json(text) == GroupNorm(2)


def test_dropout_is_the_function_while_training_and_the_identity_otherwise():
    y, _ = Dropout(0.5).apply({}, {}, IMAGES, train=True, key=key)
    np.testing.assert_array_equal(y, F.dropout(key, IMAGES, 0.5))
    np.testing.assert_array_equal(evaluate(Dropout(0.5)), IMAGES)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, {}, IMAGES, train=True)[0], IMAGES)  # no key needed


def test_normalize_by_hand():
    x = jnp.array([[[1.0, 10.0]]])
    np.testing.assert_allclose(evaluate(Normalize((0.5, 4.0), (0.25, 3.0)), x=x), [[[2, 2]]])
    np.testing.assert_allclose(evaluate(Normalize(0.5, 0.5), x=x), [[[1, 19]]])
    # (x - mean) / std in bfloat16 throughout would lose the difference of 250.6 and 250.
    half = evaluate(Normalize(250.6, 0.5), x=jnp.full((1, 1, 1), 250.0, jnp.bfloat16))
    assert float(half.squeeze()) == pytest.approx(-1.2, rel=0.01)


def test_pad_shortcut_by_hand():
    x = jnp.arange(1.0, 10.0).reshape(3, 3, 1)
    np.testing.assert_array_equal(evaluate(PadShortcut(4, 2), x=x)[..., 1], [[1, 3], [7, 9]])
    np.testing.assert_array_equal(evaluate(PadShortcut(4, 2), x=x)[..., jnp.array([0, 2, 3])], np.zeros((2, 2, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(0), r"^Conv: expected features as a positive int, got 0\. Pass features=8, say\."),
        (lambda: Conv(8.0), r"^Conv: expected features as a positive int, got 8\.0\. "),
        (lambda: Conv(True), r"^Conv: expected features as a positive int, got True\. "),
        (lambda: Conv(8, 0), r"^Conv: expected kernel_size as a positive int or two of them, got 0\. "),
        (
            lambda: Conv(8, (3, 3, 3)),
            r"^Conv: expected kernel_size as a positive int or two of them, got \(3, 3, 3\)\. ",
        ),
        (lambda: Conv(8, stride=1.5), r"^Conv: expected stride as a positive int or two of them, got 1\.5\. "),
        (lambda: Conv(8, dilation=-1), r"^Conv: expected dilation as a positive int or two of them, got -1\. "),
        (lambda: Conv(8, padding="FULL"), r'^Conv: expected padding as "SAME", "VALID", an int .*, got \'FULL\'\. '),
        (lambda: Conv(8, groups=3), r"^Conv: expected groups that divide the 8 features, got 3\. Choose a divisor\."),
        (lambda: Conv(8, groups=0), r"^Conv: expected groups as a positive int, got 0\. "),
        (lambda: Dense(-1), r"^Dense: expected features as a positive int, got -1\. Pass features=8, say\."),
        (lambda: MaxPool(0), r"^MaxPool: expected window as a positive int or two of them, got 0\. "),
        (lambda: AvgPool(2, stride=0), r"^AvgPool: expected stride as a positive int or two of them, got 0\. "),
        (lambda: MaxPool(2, padding=-1), r"^MaxPool: expected padding .*, got -1\. "),
        (lambda: Dropout(1.5), r"^Dropout: expected a rate in \[0, 1\], got 1\.5\. It is the fraction set to zero\."),
        (lambda: Dropout(float("nan")), r"^Dropout: expected a rate in \[0, 1\], got nan\. "),
        (lambda: BatchNorm(decay=-0.1), r"^BatchNorm: expected decay in \[0, 1\], got -0\.1\. PyTorch's momentum is"),
        (lambda: BatchNorm(eps=-1), r"^BatchNorm: expected eps >= 0, got -1\. 1e-5 is usual\."),
        (lambda: Normalize(0.5, 0), r"^Normalize: expected std > 0, got \(0\.0,\)\. A constant channel has no scale\."),
        (lambda: Normalize((), 1), r"^Normalize: expected one mean and std, or one per channel, got 0 and 1\. "),
        (lambda: Normalize((1, 2), (1, 2, 3)), r"^Normalize: expected one mean and std, or one per .*, got 2 and 3\. "),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["kernel_init", "bias_init"])
@pytest.mark.parametrize("kind", [Conv, Dense])
def test_initializers_are_functions(kind, name):
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__}: expected {name} as a function .*, got 'ones'\. Pass one of"
    ):
        kind(8, **{name: "ones"})


@pytest.mark.parametrize("name", ["scale_init", "bias_init"])
@pytest.mark.parametrize("kind", NORMS)
def test_initializers_of_norms_are_functions(kind, name):
    with pytest.raises(TypeError, match=rf"^{kind.__name__}: expected {name} as a function .*, got 1\.0\. Pass one of"):
        kind(**{name: 1.0})


def spec(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize(
    ("layer", "input_spec", "error", "message"),
    [
        (Conv(8), spec(4, 4), ValueError, r"^Conv: expected images of shape \(\.\.\., H, W, C\), got \(4, 4\)\. "),
        (Conv(8), spec(1, 4, 4, 3, dtype=jnp.uint8), TypeError, r"^Conv: expected x of a floating dtype, got uint8\. "),
        (
            Conv(8, groups=2),
            spec(1, 4, 4, 3),
            ValueError,
            r"^Conv: expected input channels that 2 groups divide, got 3\. ",
        ),
        (Dense(8), spec(), ValueError, r"^Dense: expected an input of shape \(\.\.\., C\), got \(\)\. "),
        (BatchNorm(), spec(), ValueError, r"^BatchNorm: expected an input of shape \(\.\.\., C\), got \(\)\. "),
    ],
)
def test_bad_inputs_at_init(layer, input_spec, error, message):
    with pytest.raises(error, match=message):
        layer.init(key, input_spec)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (Normalize((1, 2), 1), IMAGES, r"^Normalize: expected images of 2 channels for mean=.*, got \(2, 6, 5, 4\)\. "),
        (PadShortcut(3), IMAGES, r"^PadShortcut: expected at most 3 channels, got \(2, 6, 5, 4\)\. It only adds"),
        (Flatten(), IMAGES[0, 0], r"^flatten: expected images of shape"),
        (GlobalAvgPool(), IMAGES[0, 0], r"^global_avg_pool: expected images of shape"),
        (MaxPool(7), IMAGES, r"^max_pool: expected an image of at least 7x7 pixels"),
    ],
)
def test_bad_inputs_at_apply(layer, x, message):
    with pytest.raises(ValueError, match=message):
        layer.apply({}, {}, x, train=False)


def test_a_layer_of_ones_own_needs_apply_alone():
    class Nothing(Layer):
        pass

    assert Nothing().init(key, IMAGES) == ({}, {})
    assert Nothing().children() == {}
    with pytest.raises(NotImplementedError):
        Nothing().apply({}, {}, IMAGES, train=False)


@pytest.mark.parametrize(("layer", "other"), [(Dense(4), Dense(5)), (Conv(4), Conv(5))])
def test_parameters_of_another_number_of_features_are_refused(layer, other):
    x = jnp.ones((2, 6, 6, 3))
    params, state = layer.init(jax.random.key(0), x)
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"^{name}: expected kernel of 5 features, got shape \(.*4\)\. Pass"):
        other.apply(params, state, x, train=False)
