"""Occlusion: by hand, and beside captum."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import attribution
from tests.explain.peers import captum
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
ADDS = jnp.arange(1.0, 10.0).reshape(3, 3, 1)  # of each pixel of a 3x3 image what it adds to the score


def total(x):
    return x.sum((-3, -2))


def test_windows_side_by_side():
    # Windows of 2 with a stride of 2: the last ones reach beyond the image.
    found = attribution.occlusion(total, ADDS, 0, window=2, stride=2)[..., 0]
    close(found, [[12, 12, 9], [12, 12, 9], [15, 15, 9]])


def test_windows_that_overlap():
    # Sums of 2x2: 12, 16 / 24, 28.
    found = attribution.occlusion(total, ADDS, 0, window=2, stride=1)[..., 0]
    close(found, [[12, 14, 16], [18, 20, 22], [24, 26, 28]])


def test_windows_of_any_shape_and_what_stands_in_them():
    found = attribution.occlusion(total, ADDS, 0, window=(1, 3), stride=(1, 2), baseline=1.0)[..., 0]
    close(found, np.broadcast_to([[3.0], [12.0], [21.0]], (3, 3)))
    close(attribution.occlusion(total, ADDS, 0, window=3, stride=1, baseline=ADDS), 0)


def test_all_channels_are_covered_together():
    x = jnp.stack([ADDS, 10 * ADDS], -2)[..., 0]
    found = attribution.occlusion(lambda x: x.sum((-3, -2, -1))[..., None], x, 0, window=1, stride=1)
    close(found, jnp.broadcast_to(11 * ADDS, x.shape))


def test_refuses():
    def check(**options):
        attribution.occlusion(total, ADDS, 0, **options)

    with pytest.raises(ValueError, match=r"^occlusion: expected window as an int .* image's \(3, 3\), got 4\."):
        check(window=4)
    with pytest.raises(ValueError, match=r"^occlusion: expected window as an int .*, got \(1, 2, 3\)\."):
        check(window=(1, 2, 3))
    with pytest.raises(
        ValueError, match=r"^occlusion: expected a stride of at most the window's \(2, 1\), got \(2, 2\)"
    ):
        check(window=(2, 1), stride=2)
    with pytest.raises(ValueError, match=r"^occlusion: expected stride as an int .*, got 0\."):
        check(window=2, stride=0)
    with pytest.raises(ValueError, match=r"^occlusion: expected baseline as a number"):
        check(window=2, baseline=jnp.zeros((2, 3, 1)))


@pytest.mark.parametrize(("window", "stride"), [(4, 2), ((5, 12), (3, 2))])
def test_like_captum(case, images, targets, window, stride):
    attr, net = captum().attr, twin(case.name)
    import torch

    sizes = [each if isinstance(each, tuple) else (each, each) for each in (window, stride)]
    found = attr.Occlusion(net).attribute(
        tensor(images),
        sliding_window_shapes=(3, *sizes[0]),
        strides=(3, *sizes[1]),
        baselines=0.5,
        target=torch.tensor(np.asarray(targets)).long(),
        perturbations_per_eval=4,
    )
    theirs = array(found)
    ours = attribution.occlusion(case.logits_fn, images, targets, window=window, stride=stride, baseline=0.5)
    close(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
