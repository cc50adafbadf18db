"""A classifier's weights in the backbones of other nets, wherever its layers stand there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import fingerprint, models, surgery, transfer
from jaxcnn.layers import BatchNorm, Conv, Dense, Normalize, Sequential
from jaxcnn.layers.layer import named_leaves

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)
SPEC = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
CLASSIFIER = models.resnet(10, width=4, small_images=True)
SHALLOW = ["stem", "stage1", "stage2", "stage3", "stage4"]
DEEP = ["stem", "stage1", "stage2", "fuse/branch/stage3", "fuse/branch/fuse/branch/stage4"]
NETS = {
    "fcn": (models.fcn(5, backbone=CLASSIFIER, hidden=0), DEEP),
    "fcn32": (models.fcn(5, backbone=CLASSIFIER, skips=0, hidden=4), SHALLOW),
    "centernet": (models.centernet(3, backbone=CLASSIFIER, skips=2, width=8), DEEP),
    "deeplab": (
        models.deeplab(5, backbone=CLASSIFIER, rates=(1, 2), width=8),
        SHALLOW,
    ),
}


def start(net, seed=0):
    """Return weights of the net's shapes; drawn by NumPy, as nothing has to be compiled for that."""
    draw = np.random.default_rng(seed)
    fill = lambda leaf: jnp.asarray(draw.uniform(0.5, 1, leaf.shape), leaf.dtype)  # noqa: E731
    return jax.tree.map(fill, jax.eval_shape(net.init, KEY, SPEC))


@pytest.fixture(scope="module")
def trained():
    return start(CLASSIFIER, 1)


def at(tree, path):
    for name in path.split("/"):
        tree = tree[name]
    return tree


@pytest.mark.parametrize("name", NETS)
def test_every_stage_is_found(name, trained):
    net, places = NETS[name]
    fresh = start(net)
    before = fingerprint(fresh)
    loaded, found = transfer.load_backbone(fresh, trained)
    assert fingerprint(fresh) == before
    assert sorted(found.layers) == sorted(places)
    for tree, given in zip(loaded, trained, strict=True):
        for place in places:
            assert fingerprint(at(tree, place)) == fingerprint(given[place.split("/")[-1]])
    assert jax.tree.map(jnp.shape, loaded) == jax.tree.map(jnp.shape, fresh)
    assert found.unexpected == ("params/head/bias", "params/head/kernel")
    assert found.another_shape == ()
    new = {name.removeprefix("params/") for name in found.missing if name.startswith("params/")}
    assert new
    for name in new:
        assert fingerprint(at(loaded[0], name)) == fingerprint(at(fresh[0], name))
    assert len(found.matched) + len(found.missing) == len(jax.tree.leaves(fresh))


@pytest.mark.slow
def test_the_last_stage_gives_what_it_gave_in_the_classifier(trained):
    net, _ = NETS["fcn"]
    (params, state), _ = transfer.load_backbone(start(net), trained)
    x = jax.random.uniform(jax.random.key(2), (1, 16, 16, 3))
    inside = jax.jit(surgery.activations, static_argnums=(0, 4))
    _, there = inside(net, params, state, x, (DEEP[-1],))
    _, here = inside(CLASSIFIER, *trained, x, ("stage4",))
    np.testing.assert_allclose(there[DEEP[-1]], here["stage4"], rtol=1e-4)


@pytest.mark.slow
def test_nets_in_wrappers(trained):
    net, places = NETS["centernet"]
    normalize = Normalize((0.5,) * 3, (0.2,) * 3)
    wrapped = Sequential(normalize=normalize, net=net)
    inside = [f"net/{place}" for place in places]
    for given in (trained, tuple({"net": tree} for tree in trained)):
        (params, _), found = transfer.load_backbone(start(wrapped), given)
        assert sorted(found.layers) == sorted(inside)
        assert fingerprint(params["net"]["stem"]) == fingerprint(trained[0]["stem"])
    with pytest.raises(ValueError, match=r"^load_backbone: expected .* got 0 arrays matched; .* pass params\[.net.\]"):
        transfer.load_backbone(start(net), tuple({"classifier": tree} for tree in trained))


def test_the_layers_are_paths_to_freeze(trained):
    net, _ = NETS["centernet"]
    (params, _), found = transfer.load_backbone(start(net), trained)
    surgery.freeze(net, found.layers)
    trains = {name for name, moves in named_leaves(transfer.trainable_mask(params, found.layers)).items() if moves}
    assert trains == {name.removeprefix("params/") for name in found.missing if name.startswith("params/")}


def test_layers_go_whole_or_their_parts_do():
    """A stage of another width stays new; of one with a longer block more, the blocks that are there are taken."""
    block = lambda width: Sequential(conv=Conv(width, 1), norm=BatchNorm())  # noqa: E731
    given = Sequential(stage1=Sequential(a=block(4), b=block(4)), stage2=block(6), norm=BatchNorm())
    own = Sequential(
        stage1=Sequential(a=block(4), b=block(4), c=block(4)), fuse=Sequential(stage2=block(8)), norm=Dense(2)
    )
    loaded, found = transfer.load_backbone(start(own), start(given, 1))
    assert found.layers == ("stage1/a", "stage1/b")  # not its convolution, whose norm is new, nor a norm elsewhere
    assert loaded[0]["fuse"]["stage2"]["norm"]["scale"].shape == (8,)


def test_a_place_inside_another_layer_of_the_classifier_is_that_ones():
    given = Sequential(stage1=Sequential(conv=Conv(4, 1), norm=BatchNorm()), norm=BatchNorm())
    own = Sequential(fuse=Sequential(stage1=given["stage1"]), norm=BatchNorm(), more=Sequential(norm=BatchNorm()))
    params, state = start(given)
    params["stage1"]["norm"]["scale"], params["norm"]["scale"] = jnp.full(4, 2.0), jnp.full(4, 3.0)
    (loaded, _), found = transfer.load_backbone(start(own), (params, state))
    assert sorted(found.layers) == ["fuse/stage1", "norm"]
    assert loaded["fuse"]["stage1"]["norm"]["scale"][0] == 2
    assert loaded["norm"]["scale"][0] == 3  # the place nearest to the top
    assert loaded["more"]["norm"]["scale"][0] <= 1
    assert str(found) == "10 arrays matched in norm, fuse/stage1; 4 missing: " + ", ".join(found.missing)


@pytest.mark.slow
def test_arrays_get_the_dtype_of_the_net(trained):
    net, _ = NETS["fcn32"]
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), trained)
    (params, _), _ = transfer.load_backbone(start(net), half)
    assert params["stem"]["conv"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("into", "given", "message"),
    [
        ("params", "pair", r"into as \(params, state\), got "),
        ("pair", 3, r"given as \(params, state\), got 3\. Pass the two that init returns"),
        ("pair", ({}, {}, {}), r"given as \(params, state\)"),
        ("pair", ({"a": "b"}, {}), r"params as nested dicts of arrays"),
        ("pair", ({}, {}), r"a layer with the name and the arrays of one of the classifier's, got 0 arrays matched"),
    ],
)
def test_bad_input(into, given, message, trained):
    into = trained[0] if into == "params" else trained
    given = trained if isinstance(given, str) else given
    with pytest.raises((ValueError, TypeError), match=f"^load_backbone: expected {message}"):
        transfer.load_backbone(into, given)
