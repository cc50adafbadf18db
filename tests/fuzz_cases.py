"""Public functions with arguments that are right, from which the fuzz tests start."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import (
    augment,
    data,
    filters,
    initialization,
    initializers,
    layers,
    losses,
    models,
    search,
    surgery,
    training,
    transfer,
)
from jaxcnn import functional as F
from jaxcnn.checking import is_int
from jaxcnn.summary import summarize
from tests.fuzzing import KEY, SPEC, Case, X, of

C, IMAGE, LABEL = jnp.ones(4), X[0], jnp.arange(2)
NET = layers.Sequential(conv=layers.Conv(4), norm=layers.BatchNorm(), act=F.relu, pool=layers.GlobalAvgPool())
PARAMS, STATE = NET.init(KEY, SPEC)
WINDOW = layers.Sequential(conv=layers.Conv(2, 1, padding="VALID"), flatten=layers.Flatten(), head=layers.Dense(3))
WINDOW_PARAMS, WINDOW_STATE = WINDOW.init(KEY, SPEC)
TRAINED = (NET, PARAMS, STATE)
PIXELS = np.arange(8 * 6 * 6 * 4, dtype=np.uint8).reshape(8, 6, 6, 4)
CLASSES = np.arange(8) % 4
SET = data.from_arrays(PIXELS, CLASSES)
EXAMPLE = {
    "image": IMAGE,
    "mask": jnp.ones((6, 6), jnp.int32),
    "boxes": jnp.array([[1.0, 1, 3, 4]]),
    "keypoints": jnp.ones((2, 2)),
    "label": jnp.int32(1),
}
NUMBERED = {"image": IMAGE, "index": jnp.int32(3), "epoch": jnp.int32(0)}
BATCH = {"image": X, "label": LABEL}
USUAL = {
    "x": X,
    "key": KEY,
    "rate": 0.5,
    "kernel": jnp.ones((3, 3, 4, 5)),
    "bias": jnp.ones(5),
    "image": IMAGE,
    "images": X,
    "shape": (3, 3, 4, 5),
    "logits": X[:, 0, 0],
    "outputs": X[:, 0, 0],
    "labels": LABEL,
    "targets": LABEL,
    "net": NET,
    "params": PARAMS,
    "state": STATE,
    "dataset": SET,
    "train": SET,
}
GIVEN: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "functional": {
        "adaptive_avg_pool": {"size": 2},
        "adaptive_max_pool": {"size": 2},
        "batch_norm": {"scale": C, "bias": C, "stats": F.BatchStats(C, C), "train": True},
        "dense": {"kernel": jnp.ones((4, 5))},
        "depthwise_conv": {"kernel": jnp.ones((3, 3, 1, 8)), "bias": jnp.ones(8)},
        "group_norm": {"scale": C, "bias": C, "groups": 2},
        "instance_norm": {"scale": C, "bias": C},
        "layer_norm": {"scale": C, "bias": C},
        "local_conv": {"kernel": jnp.ones((4, 4, 3, 3, 4, 5)), "bias": jnp.ones((4, 4, 5))},
        "max_unpool": {"y": X[:, :3, :3], "switches": jnp.zeros((2, 3, 3, 4), jnp.int32), "size": 6},
        "maxout": {"kernel": jnp.ones((2, 4, 5)), "bias": jnp.ones((2, 5))},
        "moving_sum": {"kernels": jnp.ones((3, 3, 2))},
        "prelu": {"negative_slope": C},
        "separable_conv": {"depthwise_kernel": jnp.ones((3, 3, 1, 4)), "pointwise_kernel": jnp.ones((1, 1, 4, 5))},
    },
    "losses": {
        "batch_accuracy": {"batch": BATCH},
        "confusion_matrix": {"predictions": LABEL, "classes": 4},
        "top_k": {"k": 2},
    },
    "initializers": {
        "Constant": {"value": 1.0},
        "FilterBank": {"bank": filters.Sobel()},
        "Scaled": {"initializer": initializers.he_normal, "factor": 2.0},
        "gain": {"fn": F.relu},
    },
    "layers": {
        "AdaptiveAvgPool": {"size": 2},
        "AdaptiveMaxPool": {"size": 2},
        "ChannelChunk": {"index": 1},
        "Gate": {"branch": layers.Conv(4)},
        "GroupNorm": {"groups": 2},
        "MovingSum": {"bank": filters.Sobel()},
        "Normalize": {"mean": (0.5, 0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2, 0.2)},
        "Residual": {"branch": layers.Conv(4), "shortcut": layers.Conv(4, 1)},
    },
    "augment": {
        "affine": {"degrees": 10, "factor": (0.9, 1.1), "max_shift": 1.0},
        "alternating_flip": {"example": NUMBERED},
        "brightness": {"delta": 0.2},
        "contrast": {"factor": (0.5, 1.5)},
        "crop": {"padding": 1},
        "cutmix": {"batch": BATCH, "classes": 4},
        "cutout": {"size": 2},
        "gamma": {"exponent": (0.5, 1.5)},
        "grid_mask": {"period": (2, 4)},
        "hue": {"delta": 0.1},
        "jpeg": {"quality": (30, 90)},
        "mixup": {"batch": BATCH, "classes": 4},
        "noise": {"std": 0.1},
        "posterize": {"bits": (2, 6)},
        "rotate": {"degrees": 10},
        "saturation": {"factor": (0.5, 1.5)},
        "scale": {"factor": (0.9, 1.1)},
        "sharpen": {"factor": (0.5, 1.5)},
        "shear": {"degrees": 10},
        "shift": {"max_shift": 1},
        "shifted": {"down": 1, "right": 1},
        "solarize": {"threshold": (0.2, 0.8)},
    },
}
OF_COLOURS = {"augmix", "colour_cast", "grayscale", "hue", "jpeg", "pca_lighting", "saturation"}
OF_COLOURS |= {"rand_augment", "trivial_augment"}
OF_EXAMPLES = ("affine", "brightness", "crop", "elastic", "flip", "perspective", "random_resized_crop")
OF_EXAMPLES += ("rand_augment", "shift")
# Functions of functions, and what is no function: called below, in the way that they are used.
APART = {
    "functional": {"BatchStats"},
    "augment": {"compose", "choose_one", "apply_with", "batched", "test_time", "principal_components"},
    "layers": {"Auxiliary", "Layer", "Sequential", "Concat", "from_json", "register", "to_json"},
    "losses": {"Classification", "WithAuxiliary", "with_auxiliary"},
}


def made(make: Callable[..., Any], call: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    """Return the function that makes something with options of its own and calls it with `more`."""

    def make_and_call(**options: Any) -> Any:
        arguments = {name: options.pop(name) for name in more}
        return call(make(**options), **arguments)

    kind = inspect.Parameter.KEYWORD_ONLY
    own = [p.replace(kind=kind) for p in inspect.signature(make).parameters.values()]
    added = [inspect.Parameter(name, kind, default=default) for name, default in more.items()]
    make_and_call.__signature__ = inspect.Signature(own + added)
    make_and_call.__name__ = make.__name__
    return make_and_call


def filled(initializer, init_key, shape, dtype):
    return initializer(init_key, shape, dtype)


def applied(layer, init_key, spec, params, state, x, train, key):
    own_params, own_state = layer.init(init_key, spec)
    params, state = own_params if params is OWN else params, own_state if state is OWN else state
    return layer.apply(params, state, x, train=train, key=key)


OWN = object()  # what the layer's init returns


def layer_case(make: Callable[..., Any], **given: Any) -> Case:
    more = {"init_key": KEY, "spec": SPEC, "params": OWN, "state": OWN, "x": X, "train": True, "key": KEY}
    return of(made(make, applied, **more), {"features": 4, "rate": 0.5}, **given)


def cases(name: str) -> dict[str, Case]:
    """Return the cases of a module's public functions."""
    module, given = getattr(__import__(f"jaxcnn.{name}"), name), GIVEN.get(name, {})
    found = {}
    for public in module.__all__:
        thing = getattr(module, public)
        if public in APART.get(name, ()):
            continue
        if name == "layers":
            found[public] = layer_case(thing, **given.get(public, {}))
        elif isinstance(thing, type):
            more = {} if name == "filters" else {"init_key": KEY, "shape": (3, 3, 4, 5), "dtype": jnp.float32}
            found[public] = of(
                made(thing, filled if more else lambda bank: bank(), **more), {}, **given.get(public, {})
            )
        else:
            usual = USUAL | ({"image": IMAGE[..., :3]} if public in OF_COLOURS else {})
            found[public] = of(thing, usual, **given.get(public, {}))
    return {f"{name}.{public}": case for public, case in found.items()}


def composed(key, image, first, second):
    return augment.compose(first, second)(key, image)


def chosen(key, image, first, second, weights=(1, 2)):
    return augment.choose_one(first, second, weights=weights)(key, image)


def sometimes(key, image, fn=augment.flip, p=0.5):
    return augment.apply_with(fn, p)(key, image)


def over_batch(key, batch, fn=augment.flip):
    return augment.batched(fn)(key, batch)


def averaged(images, logits_fn=F.global_avg_pool, views=(augment.mirrored,) * 2, weights=(1, 2), average="logits"):
    return augment.test_time(logits_fn, views, weights=weights, average=average)(images)


def two(first, second):
    return layers.Sequential(first=first, second=second)


def beside(first, second):
    return layers.Concat(first=first, second=second)


def lenet5(name="lenet5", num_classes=10, classic=False, features=(4, 4, 4), dropout=0.1):
    return models.create(name, num_classes, classic=classic, features=features, dropout=dropout)


def vgg(name="cifar_vgg", num_classes=10, width=4, convolutions=(1, 1), dropout=0.1):
    return models.create(name, num_classes, width=width, convolutions=convolutions, dropout=dropout)


def resnet(name="cifar_resnet8", num_classes=10, width=4):
    return models.create(name, num_classes, width=width)


def saved(net=NET, indent=1):
    return layers.from_json(layers.to_json(net, indent=indent))


def scenes_drawn(scenes, scene_key, indices):
    return scenes.batch(scene_key, indices)


def scenes_kept(scenes, scene_key, n, name):
    small = not is_int(n) or n < 10 or n > 10**6
    return scenes.dataset(scene_key, n if small else 2, name=name)


def augmentations() -> dict[str, Case]:
    flips = {"first": augment.flip, "second": augment.vertical_flip}
    found = {
        "compose": of(composed, USUAL, **flips),
        "choose_one": of(chosen, USUAL, **flips),
        "apply_with": of(sometimes, USUAL),
        "batched": of(over_batch, USUAL, batch=BATCH),
        "test_time": of(averaged, USUAL),
        "principal_components": of(augment.principal_components, {}, host=True, image=PIXELS),
    }
    for name in OF_EXAMPLES:
        example = EXAMPLE | ({"image": IMAGE[..., :3]} if name in OF_COLOURS else {})
        found[f"{name}-example"] = of(getattr(augment, name), USUAL, image=example, **GIVEN["augment"].get(name, {}))
    return {f"augment.{name}": case for name, case in found.items()}


HEADS = {"logits": X[:, 0, 0], "aux": X[:, 1, 0]}
MODELS = [name for name in models.__all__ if name not in ("create", "names")]
# What these functions need.
DEPTHS = {
    "airbench": {"recipe": 94},
    "cifar_densenet": {"depth": 10},
    "cifar_preact_resnet": {"depth": 8},
    "cifar_resnet": {"depth": 8},
    "densenet": {"depth": 121},
    "preact_resnet": {"depth": 10},
    "resnet": {"depth": 10},
    "resnext": {"depth": 14},
    "se_resnet": {"depth": 10},
    "squeezenet": {"version": "1.1"},
    "vgg": {"depth": 11},
    "wide_resnet": {"depth": 10, "widening": 2},
}


def with_head(taps, head, first, second=F.relu):
    return layers.Auxiliary(taps, first=first, second=second, head=head)


def values() -> dict[str, Case]:
    """Return the cases of what works on nets."""
    some = {F.relu: F.elu}
    return {
        "layers.Sequential": layer_case(two, first=layers.Conv(4), second=F.relu),
        "layers.Auxiliary": layer_case(with_head, taps={"head": "first"}, head=layers.Conv(2), first=layers.Conv(4)),
        "layers.Concat": layer_case(beside, first=layers.Conv(4), second=layers.MaxPool(1)),
        "layers.to_json": of(saved, {}),
        "layers.from_json": of(layers.from_json, {}, text=layers.to_json(NET)),
        "losses.Classification": of(
            made(
                losses.Classification,
                lambda loss, outputs, batch: loss(outputs, batch),
                outputs=X[:, 0, 0],
                batch=BATCH,
            ),
            {},
        ),
        "losses.WithAuxiliary": of(
            made(losses.with_auxiliary, lambda loss, outputs, batch: loss(outputs, batch), outputs=HEADS, batch=BATCH),
            {},
            loss=losses.classification(),
        ),
        "losses.with_auxiliary": of(losses.with_auxiliary, {}, loss=losses.classification()),
        "surgery.activations": of(surgery.activations, USUAL, at=["conv", "act"]),
        "surgery.cut": of(surgery.cut, USUAL, at="norm"),
        "surgery.dilate": of(surgery.dilate, USUAL, at=["conv"]),
        "surgery.edit": of(surgery.edit, USUAL, edits={"conv": F.relu}),
        "surgery.freeze": of(surgery.freeze, USUAL, at=["conv"]),
        "surgery.Quantized": of(lambda kernel: surgery.dequantize(surgery.quantize({"kernel": kernel})), {}, kernel=X),
        "surgery.dequantize": of(surgery.dequantize, USUAL),
        "surgery.fold_batch_norm": of(surgery.fold_batch_norm, USUAL),
        "surgery.fully_convolutional": of(
            surgery.fully_convolutional, {}, net=WINDOW, params=WINDOW_PARAMS, state=WINDOW_STATE, spec=SPEC
        ),
        "surgery.paths": of(surgery.paths, USUAL),
        "surgery.quantize": of(surgery.quantize, USUAL),
        "surgery.rematerialize": of(surgery.rematerialize, USUAL, at=["conv"]),
        "surgery.replace": of(surgery.replace, USUAL, replacements=some),
        "models.create-lenet5": of(lenet5, {}),
        "models.create-resnet": of(resnet, {}),
        "models.create-vgg": of(vgg, {}),
        **{f"models.{name}": of(getattr(models, name), {}, **DEPTHS.get(name, {})) for name in MODELS},
        "initialization.lsuv": of(initialization.lsuv, USUAL),
        "initialization.patch_whitening": of(initialization.patch_whitening, USUAL),
        "initialization.with_kernel_init": of(initialization.with_kernel_init, USUAL, initializer=initializers.zeros),
        "initialization.zero_residuals": of(initialization.zero_residuals, USUAL),
        "summary.summarize": of(summarize, USUAL, spec=SPEC),
    }


def sets() -> dict[str, Case]:
    scenes = {"scene_key": KEY, "indices": np.arange(2)}
    small = {"size": 32}
    found = {
        "folds": of(data.folds, USUAL, host=True, k=2),
        "from_arrays": of(
            lambda image, label, class_names, name, mask: data.from_arrays(
                image, label, class_names=class_names, name=name, mask=mask
            ),
            {},
            host=True,
            image=PIXELS,
            label=CLASSES,
            class_names=None,
            name="own",
            mask=PIXELS[..., 0],
        ),
        "per_class": of(data.per_class, USUAL, host=True, n=1),
        "split": of(data.split, USUAL, host=True, fraction=0.5),
        "take": of(lambda indices: SET.take(indices), {}, host=True, indices=[0, 1]),
        "to_float": of(data.to_float, {}, image=jnp.asarray(PIXELS)),
        "Scenes.batch": of(made(data.Scenes, scenes_drawn, **scenes), {}, host=True, **small),
        "Scenes.dataset": of(made(data.Scenes, scenes_kept, scene_key=KEY, n=2, name="own"), {}, host=True, **small),
    }
    return {f"data.{name}": case for name, case in found.items()}


def stopped(patience, min_delta, value):
    watch = training.early_stopping(patience, min_delta=min_delta)
    return watch.update(watch.init(), value)


def scheduled(peak, steps, warmup):
    return training.warmup_cosine(peak, steps, warmup=warmup)(3)


def stepped(learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4):
    optimizer = training.sgd(learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    return optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)


def turned(optimizer):
    return optimizer.update(KERNELS, optimizer.init(KERNELS), KERNELS)


def created(net, optimizer, key, spec):
    return training.TrainState.create(net, optimizer, key, spec)


OPTIMIZER = training.sgd(0.1)
KERNELS = {"kernel": USUAL["kernel"]}


def one_step(net, optimizer, loss, metrics, augment, attack, dtype, accumulate, rematerialize, batch):
    options = {"metrics": metrics, "augment": augment, "attack": attack, "dtype": dtype}
    options |= {"accumulate": accumulate, "rematerialize": rematerialize}
    step = training.make_train_step(net, optimizer, loss, **options)
    return step(training.TrainState.create(NET, OPTIMIZER, KEY, SPEC), batch)


def trainings() -> dict[str, Case]:
    found = {
        "early_stopping": of(stopped, {}, patience=3, min_delta=0.0, value=0.5),
        "warmup_cosine": of(scheduled, {}, peak=0.1, steps=10, warmup=0.1),
        "sgd": of(stepped, {}, learning_rate=0.1),
        "muon": of(made(training.muon, turned), {}, learning_rate=lambda step: 0.1, renormalize=lambda step: True),
        "orthogonalize": of(training.orthogonalize, {}, matrices=X),
        "device_mesh": of(training.device_mesh, {}, host=True),
        "TrainState.create": of(created, USUAL, optimizer=OPTIMIZER, spec=SPEC),
        "make_train_step": of(
            one_step,
            USUAL,
            optimizer=OPTIMIZER,
            loss=losses.classification(),
            metrics=None,
            augment=lambda key, batch: batch,
            attack=lambda key, logits_fn, batch: batch,
            dtype=jnp.float32,
            accumulate=1,
            rematerialize=(),
            batch=BATCH,
        ),
        "evaluate": of(training.evaluate, USUAL, host=True, batch_size=4),
        "predict": of(training.predict, USUAL, host=True, batch_size=4),
        "predictor": of(lambda net, params, state, x: training.predictor(net, params, state)(x), USUAL),
        "find_learning_rate": of(training.find_learning_rate, USUAL, host=True, batch_size=4, steps=10),
        "fit": of(training.fit, USUAL, host=True, epochs=1, batch_size=4, raises=(FloatingPointError,)),
    }
    return {f"training.{name}": case for name, case in found.items()}


HEADED = layers.Sequential(**NET.layers, head=layers.Dense(4))
HEADED_PARAMS, HEADED_STATE = HEADED.init(KEY, SPEC)


def moved_on(optimizer, steps):
    gradual = transfer.unfreeze_at(optimizer, steps)
    return gradual.update(HEADED_PARAMS, gradual.init(HEADED_PARAMS), HEADED_PARAMS)


def rescaled(factors):
    scaled = transfer.scale_updates(factors)
    return scaled.update(HEADED_PARAMS, scaled.init(HEADED_PARAMS))


def transfers() -> dict[str, Case]:
    headed = {"net": HEADED, "params": HEADED_PARAMS, "state": HEADED_STATE}
    found = {
        "features": of(transfer.features, USUAL, host=True, **headed, at="pool"),
        "layerwise": of(transfer.layerwise, {}, net=HEADED, params=HEADED_PARAMS, decay=0.5),
        "load": of(transfer.load, {}, into=HEADED_PARAMS, given=PARAMS),
        "load_backbone": of(transfer.load_backbone, {}, into=(HEADED_PARAMS, HEADED_STATE), given=(PARAMS, STATE)),
        "scale_updates": of(rescaled, {}, factors={"conv": 0.5}),
        "swap_head": of(transfer.swap_head, USUAL, **headed, head=layers.Dense(2), spec=SPEC),
        "trainable_mask": of(transfer.trainable_mask, {}, params=HEADED_PARAMS, frozen=["conv"]),
        "unfreeze_at": of(moved_on, {}, optimizer=OPTIMIZER, steps={"conv": 2}),
    }
    return {f"transfer.{name}": case for name, case in found.items()}


def restarted(net, train, restarts, validation, epochs, batch_size, patience, min_delta, monitor, memory, key):
    options = {"validation": validation, "epochs": epochs, "batch_size": batch_size, "patience": patience}
    options |= {"min_delta": min_delta, "monitor": monitor, "memory": memory}
    return search.random_restarts(net, train, restarts=restarts, key=key, **options).values


def swept(net, train, over, restarts, halve_every, key):
    make = training.sgd
    options = {"optimizer": make, "epochs": 1, "batch_size": 4}
    return search.sweep(net, train, over=over, restarts=restarts, halve_every=halve_every, key=key, **options).values


def compared(train, widths, folds, restarts, refit, key):
    def make(width):
        return layers.Sequential(flatten=layers.Flatten(), hidden=layers.Dense(width), head=layers.Dense(4))

    options = {"folds": folds, "restarts": restarts, "refit": refit, "epochs": 1, "batch_size": 4}
    return search.cross_validate(make, train, widths=widths, key=key, **options).errors


def searches() -> dict[str, Case]:
    ensembled = {
        name: jax.tree.map(lambda leaf: leaf[None], tree)
        for name, tree in zip(("params", "state"), TRAINED[1:], strict=True)
    }
    logits = X[:, 0, 0]
    restarts = {"restarts": 1, "validation": None, "epochs": 1, "batch_size": 4, "patience": None, "min_delta": 0.0}
    found = {
        "calibration_error": of(search.calibration_error, {}, logits=logits, labels=LABEL),
        "cross_validate": of(compared, USUAL, host=True, widths=(1, 2), folds=2, restarts=1, refit=False),
        "disagreement": of(search.disagreement, {}, logits=X[:, 0]),
        "ensemble": of(lambda net, params, state: search.ensemble(net, params, state)(X), USUAL, **ensembled),
        "fit_temperature": of(search.fit_temperature, {}, logits=logits, labels=LABEL),
        "grid": of(lambda rate: search.grid(rate=rate), {}, host=True, rate=[0.1, 0.2]),
        "random_restarts": of(restarted, USUAL, host=True, **restarts, monitor="loss", memory=None),
        "sweep": of(swept, USUAL, host=True, over={"learning_rate": [0.1]}, restarts=1, halve_every=None),
    }
    return {f"search.{name}": case for name, case in found.items()}
