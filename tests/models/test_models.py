"""One contract for small models, and what their papers say of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize, surgery
from jaxcnn.fingerprint import fingerprint
from jaxcnn.layers import Conv

pytestmark = pytest.mark.usefixtures("quick_compilation")
CLASSIC = "lenet5 classic"  # for 32x32 images alone
# Small nets of small images, on which much can be computed; what every model promises is in tests/models.
SMALL = ("cifar_resnet8", "cifar_vgg", "lenet5")
NETS = {name: functools.partial(models.create, name) for name in SMALL}
ALL = NETS | {CLASSIC: functools.partial(models.create, "lenet5", classic=True)}
PARAMETERS = [  # name, options, image, parameters, where the number is from
    (
        "lenet5",
        {"classic": True},
        (32, 32, 1),
        61_706,
        "the plan of figure 2 by hand; the paper's tables aside: 60,000",
    ),
    ("lenet5", {}, (8, 8, 1), 99_498, "by hand"),
    ("lenet5", {}, (28, 28, 1), 468_138, "by hand: 49 pixels come before dense1 in the place of 4"),
    ("cifar_resnet8", {}, (8, 8, 3), 269_722 - 2 * 97_216, "by hand: two blocks a stage less than depth 20"),
    ("cifar_resnet20", {}, (32, 32, 3), 269_722, "He et al. 2016, table 6: 0.27 M"),
    ("cifar_vgg", {}, (32, 32, 3), 1_148_874, "by hand"),
    ("cifar_vgg", {"width": 4, "convolutions": (1, 2)}, (8, 8, 1), 1_030, "by hand: 36 + 8 + 288 + 16 + 576 + 16 + 90"),
    ("cifar_resnet20", {"num_classes": 100}, (32, 32, 3), 269_722 + 90 * 65, "by hand"),
]
every = pytest.mark.parametrize("name", ALL)


def image_spec(name, height=8, width=8, channels=1, batch=2):
    height, width = (32, 32) if name == CLASSIC else (height, width)
    return jax.ShapeDtypeStruct((batch, height, width, channels), jnp.float32)


def count(net, image):
    """Return the number of parameters for images of that shape."""
    params, _ = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image), jnp.float32))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@functools.cache
def drawing(name):
    net, spec = ALL[name](), image_spec(name)
    return jax.jit(lambda key: net.init(key, spec))


@functools.cache
def initial(name, seed):
    return drawing(name)(jax.random.key(seed))


@every
@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (33, 17, 3)])
def test_images_to_logits(name, height, width, channels):
    net, spec = ALL[name](num_classes=7), image_spec(name, height, width, channels)
    key = jax.random.key(0)
    params, state = jax.eval_shape(net.init, key, spec)
    for train in (False, True):
        logits, new_state = jax.eval_shape(functools.partial(net.apply, train=train, key=key), params, state, spec)
        assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)
        assert new_state == state


@every
def test_the_images_decide_the_compute_dtype(name):
    net, spec = ALL[name](), image_spec(name)
    params, state = jax.eval_shape(net.init, jax.random.key(0), spec)
    half = jax.ShapeDtypeStruct(spec.shape, jnp.bfloat16)
    assert jax.eval_shape(functools.partial(net.apply, train=False), params, state, half)[0].dtype == jnp.bfloat16


@pytest.mark.parametrize(("height", "width"), [(28, 28), (16, 32), (31, 32)])
def test_the_classic_net_says_when_images_are_too_small(height, width):
    net = models.create("lenet5", classic=True)
    with pytest.raises(ValueError, match=r"^conv: expected an image of at least 5x5 pixels") as caught:
        jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, height, width, 1), jnp.float32))
    assert any("in layer 'conv3'" in note for note in caught.value.__notes__)


@pytest.mark.slow
@every
def test_the_key_decides_the_weights(name):
    again = drawing(name)(jax.random.key(0))
    assert fingerprint(initial(name, 0)) == fingerprint(again) != fingerprint(initial(name, 1))


@pytest.mark.parametrize(("name", "options", "image", "parameters", "source"), PARAMETERS)
def test_parameters(name, options, image, parameters, source):
    assert count(models.create(name, **options), image) == parameters, source


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_depths_of_the_paper(depth, millions):
    net = models.cifar_resnet(depth)
    total = count(net, (32, 32, 3))
    assert total == 269_722 + (depth - 20) // 6 * 97_216
    assert round(total / 1e6, 1 if depth == 110 else 2) == millions  # He et al. 2016, table 6
    convolutions = [path for path in surgery.paths(net) if "conv" in path.rsplit("/", 1)[-1]]
    assert len(convolutions) + 1 == depth


@pytest.mark.slow
@pytest.mark.parametrize(("name", "train"), [("cifar_resnet8", False), *((name, True) for name in ALL)])
def test_signals_neither_vanish_nor_explode_at_the_start(name, train):
    net = ALL[name]()
    params, state = initial(name, 0)
    spec = image_spec(name, batch=16)
    x = np.random.default_rng(0).standard_normal(spec.shape).astype(np.float32)

    @jax.jit
    def spread(params, state, x):
        at = surgery.paths(net)
        y, found = surgery.activations(net, params, state, x, at, train=train, key=jax.random.key(1))
        return {path: jnp.std(value) for path, value in found.items()}, y

    deviations, logits = spread(params, state, x)
    assert {path: float(sd) for path, sd in deviations.items() if not 0.1 < sd < 10} == {}
    assert jnp.std(logits, axis=0).min() > 0.01  # the images are told apart


def test_names():
    assert set(SMALL) < set(models.names())
    assert models.names() == sorted(set(models.names()))
    assert models.create("cifar_resnet20", width=4) == models.cifar_resnet(20, width=4)
    assert models.create("lenet5", 5, dropout=0.1) == models.lenet5(5, dropout=0.1)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("lenet", "Did you mean 'lenet5'"),
        ("cifar_resnet57", "Did you mean 'cifar_resnet"),
        ("?", "See models.names()"),
        ("unet", "That is no classifier: call models.unet(...) itself."),
    ],
)
def test_unknown_names_have_near_ones(name, fix):
    with pytest.raises(ValueError, match=r"^create: expected the name of a model, got '") as caught:
        models.create(name)
    assert fix in str(caught.value)


def test_every_model_has_a_name_or_is_no_classifier():
    made = set(models.__all__) - {"create", "names"}
    assert {name for name in made if not any(known.startswith(name) for known in models.names())} == set(
        models._NO_CLASSIFIERS
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet5", {"depth": 3}, r"^create: expected options of lenet5, .*, got \{'depth': 3\}\. Use"),
        ("cifar_resnet20", {"classic": True}, r"^create: expected options of cifar_resnet20, .*, got"),
        ("cifar_resnet20", {"depth": 8}, r"^create: expected options of cifar_resnet20, .*, got"),
        ("lenet5", {"features": (8, 8)}, r"^lenet5: expected three features: .*, got \(8, 8\)\. Pass"),
        ("lenet5", {"features": (8, 0, 8)}, r"^Conv: expected features as a positive int, got 0\."),
        ("lenet5", {"dropout": 1.5}, r"^Dropout: expected a rate in \[0, 1\], got 1\.5\."),
        ("lenet5", {"num_classes": 0}, r"^lenet5: expected num_classes as a positive int, got 0\."),
        ("lenet5", {"num_classes": -1, "classic": True}, r"^lenet5: expected num_classes as a positive int, got -1\."),
        ("cifar_resnet8", {"num_classes": 2.0}, r"^cifar_resnet: expected num_classes as a positive int, got 2\.0\."),
        ("cifar_resnet8", {"width": 0}, r"^cifar_resnet: expected width as a positive int, got 0\."),
        ("cifar_vgg", {"convolutions": ()}, r"^cifar_vgg: expected convolutions as a number for each stage, got \(\)"),
        ("cifar_vgg", {"convolutions": 2}, r"^cifar_vgg: expected convolutions as a number for each stage, got 2\."),
        ("cifar_vgg", {"convolutions": (1, 0)}, r"^cifar_vgg: expected convolutions as a positive int, got 0\."),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, **options)


@pytest.mark.parametrize("depth", [9, 2, 8.0])
def test_bad_depths(depth):
    with pytest.raises(ValueError, match=rf"^cifar_resnet: expected a depth of 6 n \+ 2, got {depth}\. Try"):
        models.cifar_resnet(depth)


def test_the_shortcut_without_parameters():
    # He et al. 2016: identity, subsampled, "with extra zero entries padded for increasing dimensions".
    shortcut = models.create("cifar_resnet8")["stage2"]["block1"]["residual"].shortcut
    x = jnp.arange(5 * 4 * 16.0).reshape(5, 4, 16)
    y, _ = shortcut.apply({}, {}, x, train=False)
    assert y.shape == (3, 2, 32)
    np.testing.assert_array_equal(y[..., 8:24], x[::2, ::2])
    assert not y[..., :8].any() and not y[..., 24:].any()
    with pytest.raises(
        ValueError, match=r"^PadShortcut: expected at most 32 channels, got \(4, 4, 33\)\. It only adds"
    ):
        shortcut.apply({}, {}, jnp.zeros((4, 4, 33)), train=False)


def test_residual_blocks_follow_the_paper():
    net = models.create("cifar_resnet8")
    shapes = summarize(net, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)).rows
    found = {row.path: row.output[1:] for row in shapes if row.path in ("stem", "stage1", "stage2", "stage3", "pool")}
    assert found == {
        "stem": (32, 32, 16),
        "stage1": (32, 32, 16),
        "stage2": (16, 16, 32),
        "stage3": (8, 8, 64),
        "pool": (64,),
    }
    assert net["stage3"]["block1"]["residual"].branch["conv1"] == Conv(64, stride=2, padding=1, use_bias=False)
    assert net["stage1"]["block1"]["act"] is F.relu  # after the addition
