"""The examples in docstrings run: on small nets of scenes, under the names that the examples take."""

import functools
import importlib
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn import attack, data, detection, explain, layers, segmentation, training
from jaxcnn import functional as F
from tests.test_docs import docstring_examples, module_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]
KEY, SIDE = jax.random.key(0), 32

# Lines about files of other frameworks; tests/interop runs the same calls where these are installed.
FOREIGN = re.compile(r"tensorflow|interop\.torch|\btf\.")
# What takes minutes by default, and as much of it as shows that the example runs.
SHORTER = {
    "jaxcnn.attack.fmn": {"steps": 5},
    "jaxcnn.attack.robust_accuracy": {"steps": 3, "queries": 20},
    "jaxcnn.attack.adversarial_patch": {"steps": 5},
    "jaxcnn.attack.fooling.ascent": {"steps": 5},
    "jaxcnn.attack.fooling.evolve": {"generations": 3},
    "jaxcnn.explain.maximization.maximize": {"steps": 3},
    "jaxcnn.explain.maximization.deep_dream": {"steps": 1},
}


def examples():
    """Return what can be run here of the blocks of code in public docstrings, by place, with their modules."""
    found = {}
    for place, (module, blocks) in docstring_examples(module_of("surface")).items():
        ours = ["\n".join(line for line in block.split("\n") if not FOREIGN.search(line)) for block in blocks]
        calls = [block for block in ours if "(" in block]
        if calls:
            found[place] = module, calls
    return found


EXAMPLES = examples()


@functools.cache
def kit(channels):
    """Return the names that examples take, of scenes with colours or without."""
    train, test = (part(key, n, channels) for key, n in zip(jax.random.split(KEY), (96, 40), strict=True))
    net = layers.Sequential(
        conv1=layers.Conv(8),
        **{
            f"stage{n}": layers.Sequential(conv=layers.Conv(18), act1=F.relu, pool=layers.MaxPool(2))
            for n in range(1, 5)
        },
        pool=layers.GlobalAvgPool(),
        hidden=layers.Dense(16),
        act1=F.relu,
        head=layers.Dense(10),
    )
    params, state = net.init(KEY, train.spec)
    images, labels = data.to_float(jnp.asarray(train["image"])), jnp.asarray(train["label"])
    logits_fn = training.predictor(net, params, state)
    return {
        "train": train,
        "test": test,
        "net": net,
        "params": params,
        "state": state,
        "logits_fn": logits_fn,
        "plain": logits_fn,
        "residual": logits_fn,
        "key": KEY,
        "images": images[:8],
        "labels": labels[:8],
        "x": images[:4],
        "y": labels[:4],
        "target": labels[:4],
        "photo": images[0],
        "train_images": images[:16],
        "train_labels": labels[:16],
        "spec": jax.ShapeDtypeStruct((4, SIDE, SIDE, channels), jnp.float32),
        "history": [{"epoch": n, "train_loss": 1 / n} for n in (1, 2, 3)],
    }


def part(key, n, channels):
    scenes = data.Scenes(size=SIDE).dataset(key, n)
    about = {"class_names": scenes.info.class_names, "name": "scenes"}
    rest = {name: array for name, array in scenes.items() if name not in ("image", "label")}
    return data.from_arrays(scenes["image"][..., :channels], scenes["label"], **about, **rest)


def own(place):
    """Return what an example takes besides, or has of another kind."""
    if place == "jaxcnn.attack.corruptions":
        names = kit(3)
        other = attack.corruptions.corruption_errors(KEY, names["logits_fn"], names["images"], names["labels"])
        return {"of_a_baseline": other}
    if place == "jaxcnn.attack.binary":  # of a detector, and of a net of masks
        boxes = jnp.array([[2.0, 2, 20, 20]] * 4)
        return {
            "logits_fn": lambda x: F.avg_pool(jnp.concatenate([x, x, x], -1), 4),
            "boxes": boxes,
            "label": 1,
            "region": jnp.ones((4, SIDE // 4, SIDE // 4), bool),
        }
    if place == "jaxcnn.functional":
        return {
            "kernel": jnp.ones((3, 3, 3, 4)),
            "bias": jnp.zeros(4),
            "scale": jnp.ones(4),
            "stats": layers.BatchNorm().init(KEY, jax.ShapeDtypeStruct((1, 4, 4, 4), jnp.float32))[1],
        }
    if place == "jaxcnn.explain.maximization":
        return kit(1)
    if place == "jaxcnn.explain.trust":
        return {"maps": explain.gradient(kit(3)["logits_fn"], kit(3)["x"], kit(3)["target"])}
    if place == "jaxcnn.transfer":
        train = kit(3)["train"]
        return {"train": data.from_arrays(train["image"], train["label"] % 2, class_names=("even", "odd"))}
    if place == "jaxcnn.layers":
        return {"x": jnp.ones((2, 28, 28, 1))}
    return {}


@pytest.mark.parametrize("place", EXAMPLES)
def test_it_runs(place, monkeypatch, tmp_path):
    from flax import linen
    from jax.scipy.special import logit

    monkeypatch.chdir(tmp_path)
    for full, options in SHORTER.items():
        module, _, name = full.rpartition(".")
        home = importlib.import_module(module)
        monkeypatch.setattr(home, name, functools.partial(getattr(home, name), **options))
    module, blocks = EXAMPLES[place]
    home = importlib.import_module(module)
    names = {name: getattr(jaxcnn, name) for name in jaxcnn.__all__}
    names |= {"jax": jax, "jnp": jnp, "np": np, "F": F, "nn": linen, "logit": logit, "pathlib": pathlib}
    names |= {"partial": functools.partial, "mx": explain.maximization, "functional": F, "attack": attack}
    names |= {"detection": detection, "segmentation": segmentation}
    for part_of in (explain, attack, layers):
        names |= {name: getattr(part_of, name) for name in part_of.__all__}
    names |= {name: getattr(home, name) for name in home.__all__} | kit(3) | own(place)
    for block in blocks:
        exec(compile(block, place, "exec"), names)
