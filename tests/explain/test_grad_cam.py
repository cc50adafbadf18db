"""Class activation maps: by hand, beside pytorch-grad-cam and captum, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import surgery
from jaxcnn.explain.attribution.cam import cam
from jaxcnn.explain.attribution.grad_cam import _run, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from jaxcnn.explain.attribution.guided_backprop import guided_backprop
from jaxcnn.explain.attribution.guided_grad_cam import guided_grad_cam
from jaxcnn.explain.attribution.score_cam import score_cam
from jaxcnn.explain.inner import at_layer
from jaxcnn.layers import Auxiliary, Conv, Dense, Dropout, Flatten, GlobalAvgPool, Sequential
from tests.explain import peers
from tests.small_nets import CASES
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
LAST = {"plain": "act2", "batchnorm": "act2", "residual": "block2"}
SMALL = {"plain": "pool2", "batchnorm": "act2", "residual": "act3"}
BY_GRADIENT = {
    "GradCAM": grad_cam,
    "GradCAMPlusPlus": grad_cam_plus_plus,
    "HiResCAM": hires_cam,
    "LayerCAM": layer_cam,
}

# A = (x, -x); the class of index 1 weighs the means of the two by -1 and 1.
TINY = Sequential(conv=Conv(2, 1, use_bias=False), pool=GlobalAvgPool(), head=Dense(2))
WEIGHTS = {
    "conv": {"kernel": jnp.array([[[[1.0, -1.0]]]])},
    "head": {"kernel": jnp.array([[2.0, -1.0], [3.0, 1.0]]), "bias": jnp.zeros(2)},
}
X = jnp.array([[1.0, -2.0], [3.0, -4.0]])[..., None]


@pytest.mark.parametrize(
    ("method", "factor"),
    [(grad_cam, 0.5), (hires_cam, 0.5), (layer_cam, 0.25), (grad_cam_plus_plus, 4 * 0.25 / 2.5)],
)
def test_by_hand(method, factor):
    found = method(TINY, WEIGHTS, {}, X, 1, at="conv")
    close(found, [[0, 2 * factor], [0, 4 * factor]], rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "expected"), [(grad_cam, [[3, 0], [9, 0]]), (hires_cam, [[1, 0], [0, 0]]), (layer_cam, [[1, 0], [0, 0]])]
)
def test_by_hand_where_the_gradient_is_not_the_same_everywhere(method, expected):
    net = Sequential(conv=Conv(1, 1, use_bias=False), flatten=Flatten(), head=Dense(1))
    head = {"kernel": jnp.array([[1.0], [2], [-3], [12]]), "bias": jnp.zeros(1)}
    params = {"conv": {"kernel": jnp.ones((1, 1, 1, 1))}, "head": head}
    close(method(net, params, {}, X, 0, at="conv"), expected, rtol=1e-6)


def test_cam_by_hand_and_beside_grad_cam(images, targets):
    close(cam(TINY, WEIGHTS, {}, X, 1), [[0, 4], [0, 8]])
    close(cam(TINY, WEIGHTS, {}, X, 1), 4 * grad_cam(TINY, WEIGHTS, {}, X, 1, at="conv"))
    for name, at, places in (("batchnorm", "act2", 36), ("residual", "act3", 144)):
        case = CASES[name]
        ours = cam(case.net, case.params, case.state, images, targets)
        close(ours, places * grad_cam(case.net, case.params, case.state, images, targets, at=at), rtol=1e-4, atol=1e-6)
        large = cam(case.net, case.params, case.state, images, targets, upsample=True)
        close(large, jax.image.resize(ours, images.shape[:-1], "linear"), rtol=1e-4, atol=1e-6)


def test_cam_looks_through_dropout_heads_and_nested_stages(images):
    case = CASES["batchnorm"]
    layers = dict(case.net.layers)
    head = Sequential(pool=layers.pop("pool"), dropout=Dropout(0.5), head=layers.pop("head"))
    params = {name: part for name, part in case.params.items() if name != "head"}
    nested = Sequential(body=Sequential(**layers), end=head)
    expected = cam(case.net, case.params, case.state, images, 2)
    close(
        cam(nested, {"body": params, "end": {"head": case.params["head"]}}, {"body": case.state}, images, 2), expected
    )
    beside = Auxiliary({"aux": "pool1"}, **case.net.layers, aux=GlobalAvgPool())
    close(cam(beside, case.params, case.state, images, 2), expected)
    frozen = surgery.freeze(case.net, ["pool", "head"])
    close(cam(frozen, case.params, case.state, images, 2), expected)


def test_cam_refuses_nets_that_end_otherwise(images):
    case = CASES["plain"]
    message = (
        r"^cam: expected a net that ends in layers, GlobalAvgPool, Dense, got one that ends in function, Dense\. Use"
    )
    with pytest.raises(ValueError, match=message):
        cam(case.net, case.params, case.state, images, 2)
    net = Sequential(pool=GlobalAvgPool(), head=Dense(2))
    with pytest.raises(ValueError, match=r"^cam: expected .* got one without them\."):
        cam(net, *net.init(jax.random.key(0), images), images, 0)


@pytest.mark.parametrize("method", BY_GRADIENT)
def test_agrees_with_pytorch_grad_cam(case, images, targets, method):
    theirs = peers.grad_cam()
    ours, (net, x) = BY_GRADIENT[method], (twin(case.name), tensor(images))
    # Their Grad-CAM++ adds 1e-6 to squared gradients, which a large score makes small.
    scale = 3e4 if method == "GradCAMPlusPlus" else 1.0
    wanted = [lambda y, k=int(k): scale * y[k] for k in targets]

    def score(outputs):
        return scale * jnp.take_along_axis(outputs, targets[:, None], -1)[:, 0]

    # Grad-CAM++ is for what is not negative: sums of activations near -2 / gradient are poles.
    for at in dict.fromkeys(("act1", SMALL[case.name], *(() if scale > 1 else (LAST[case.name],)))):
        layer = net.get_submodule(at)
        with getattr(theirs, method)(net, [layer]) as explainer:
            outputs = explainer.activations_and_grads(x)
            sum(target(y) for target, y in zip(wanted, outputs, strict=True)).backward()
            inside, slopes = (
                part[0].detach().numpy()
                for part in (explainer.activations_and_grads.activations, explainer.activations_and_grads.gradients)
            )
            expected = np.maximum(explainer.get_cam_image(x, layer, wanted, inside, slopes, False), 0)
        found = ours(case.net, case.params, case.state, images, score, at=at)
        close(found, expected, rtol=1e-4, atol=1e-4 * expected.max())
        assert expected.max() > 0


def test_agrees_with_score_cam_of_pytorch_grad_cam(case, images, targets):
    theirs = peers.grad_cam()
    net, x = twin(case.name), tensor(images)
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    wanted = [ClassifierOutputTarget(int(k)) for k in targets]
    layer = net.get_submodule("act1")
    with theirs.ScoreCAM(net, [layer]) as explainer:
        explainer(x, wanted)
        inside = explainer.activations_and_grads.activations[0].detach().numpy()
        expected = explainer.get_cam_image(x, layer, wanted, inside, None, False)
    found = score_cam(case.net, case.params, case.state, images, targets, at="act1", chunk=3)
    close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float16, 0.01), (jnp.float32, 1e-4)])
def test_a_channel_that_is_the_same_everywhere_shows_nothing(images, dtype, tolerance):
    case = CASES["plain"]
    conv = case.params["conv1"]
    same = {"kernel": conv["kernel"].at[..., 0].set(0.0), "bias": conv["bias"].at[0].set(1.0)}
    case = case._replace(params=case.params | {"conv1": same})
    found = score_cam(case.net, case.params, case.state, images.astype(dtype), 2, at="act1")
    assert found.dtype == dtype
    close(found, channel_by_channel(case, images, 2, "act1"), rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore")  # of the peer's
def test_agrees_with_captum(case, images, targets):
    attr = peers.captum().attr
    net, x = twin(case.name), tensor(images)
    import torch

    wanted = torch.tensor(np.asarray(targets)).long()
    at = LAST[case.name]
    layer = net.get_submodule(at)
    expected = attr.LayerGradCam(net, layer).attribute(x, wanted, relu_attributions=True)
    arguments = case.net, case.params, case.state, images, targets
    close(grad_cam(*arguments, at=at), array(expected)[..., 0], rtol=1e-4, atol=1e-6)
    large = torch.nn.functional.interpolate(expected, (12, 12), mode="bilinear")
    close(grad_cam(*arguments, at=at, upsample=True), array(large)[..., 0], rtol=1e-4, atol=1e-6)
    expected = array(attr.GuidedGradCam(net, layer).attribute(x, wanted, interpolate_mode="bilinear"))
    close(guided_grad_cam(*arguments, at=at), expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_guided_grad_cam_is_the_product(images):
    case = CASES["plain"]
    arguments = case.net, case.params, case.state, images, 3
    expected = guided_backprop(*arguments) * grad_cam(*arguments, at="act2", upsample=True)[..., None]
    close(guided_grad_cam(*arguments, at="act2"), expected)


def channel_by_channel(case, images, target, at):
    """Return what `score_cam` does, in a loop."""
    _, inside = surgery.activations(case.net, case.params, case.state, images, [at])
    scores = []
    for channel in np.moveaxis(np.asarray(inside[at]), -1, 0):
        mask = np.array(jax.image.resize(channel, images.shape[:-1], "linear"))
        for one in mask:
            one -= one.min()
            one /= max(one.max(), 1e-8)
        scores.append(case.logits_fn(images * mask[..., None])[:, target])
    weights = jax.nn.softmax(jnp.stack(scores, -1))
    return F.relu(jnp.einsum("nhwc,nc->nhw", inside[at], weights))


@pytest.mark.parametrize("chunk", [5, 100])
def test_score_cam_is_a_loop_over_channels(images, chunk):
    case = CASES["batchnorm"]
    found = score_cam(case.net, case.params, case.state, images, 2, at="act2", chunk=chunk)
    close(found, channel_by_channel(case, images, 2, "act2"), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", [grad_cam, score_cam])  # the others are programs of the same form
def test_one_image_a_batch_and_vmap_are_alike(method, images):
    case = CASES["residual"]

    def run(x, target):
        return method(case.net, case.params, case.state, x, target, at="block2/branch/bn1")

    expected = run(images, jnp.array([1, 2, 3, 4]))
    close(run(images[2], 3), expected[2], rtol=1e-4, atol=1e-6)
    close(jax.jit(jax.vmap(run))(images, jnp.array([1, 2, 3, 4])), expected, rtol=1e-4, atol=1e-6)
    square = run(images.reshape(2, 2, 12, 12, 3), jnp.array([[1, 2], [3, 4]]))
    close(square.reshape(expected.shape), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_upsampled_maps_have_the_images_size(images):
    case = CASES["plain"]
    net = Sequential(**case.net[:6].layers, pool=GlobalAvgPool())
    arguments = net, case.params, case.state, images[:, :, :8], 1
    for method in (grad_cam, score_cam):
        assert method(*arguments, at="pool2").shape == (4, 3, 2)
        assert method(*arguments, at="pool2", upsample=True).shape == (4, 12, 8)


def test_one_program_for_other_weights_images_and_targets(images):
    case = CASES["plain"]
    grad_cam(case.net, case.params, case.state, images, 0, at="act1")
    before = _run._cache_size()
    other = jax.tree.map(lambda p: 2 * p, case.params)
    grad_cam(case.net, other, case.state, images / 2, 4, at="act1")
    assert _run._cache_size() == before
    with pytest.raises(ValueError, match=r"^grad_cam: expected finite values in the map, got \d+ that are not\. Look"):
        grad_cam(case.net, jax.tree.map(lambda p: p * jnp.nan, other), case.state, images, 0, at="act1")


def test_the_net_runs_once(images):
    def flops(fn, x):
        return jax.jit(fn).lower(x).cost_analysis()["flops"]

    case = CASES["plain"]
    inside, rest = at_layer(case.net, case.params, case.state, images, "act1")
    cost = flops(lambda x: grad_cam(case.net, case.params, case.state, x, 0, at="act1"), images)
    assert cost < flops(case.logits_fn, images) + 2 * flops(rest, inside)  # back through what is behind the layer alone


@pytest.mark.parametrize("method", [*BY_GRADIENT.values(), score_cam, guided_grad_cam])
def test_refuses_what_is_no_map(method, images):
    case = CASES["plain"]
    arguments = case.net, case.params, case.state, images
    name = "grad_cam" if method is guided_grad_cam else method.__name__
    with pytest.raises(
        ValueError, match=rf"^{name}: expected the path of a layer .* got 'act9'\. Choose among \['conv1'"
    ):
        method(*arguments, 0, at="act9")
    with pytest.raises(ValueError, match=rf"^{name}: expected the path of a layer .* got 'fc1' of shape \(4, 16\)"):
        method(*arguments, 0, at="fc1")
    with pytest.raises(ValueError, match=rf"^{name}: expected target in 0\.\.4, got 5"):
        method(*arguments, 5, at="act2")


def test_refuses_options(images):
    case = CASES["plain"]
    arguments = case.net, case.params, case.state, images, 0
    with pytest.raises(ValueError, match=r"^score_cam: expected chunk as a positive int, got 0"):
        score_cam(*arguments, at="act2", chunk=0)
    with pytest.raises(TypeError, match=r"^grad_cam: expected upsample as a Python bool, got 'yes'"):
        grad_cam(*arguments, at="act2", upsample="yes")
    lost = WEIGHTS | {"conv": {"kernel": jnp.full((1, 1, 1, 2), jnp.nan)}}
    for method, options in ((cam, {}), (score_cam, {"at": "conv"})):
        with pytest.raises(ValueError, match=rf"^{method.__name__}: expected finite values in the map, got 4 that are"):
            method(TINY, lost, {}, X, 1, **options)
