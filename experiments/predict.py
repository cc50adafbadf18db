"""What does a trained net say about these images?

`python -m experiments.predict runs/digits-lenet5-seed0 a.png b.jpg` prints the likeliest classes of each image, with
their probabilities. The model is the folder of a training run, or a file that `jaxcnn.save` wrote. An image is turned
as its EXIF entry says, its short side resized to what the net takes, and the middle of it shown to the net, grey if the
net sees grey ones; nothing else is done to it: white strokes on black stay what they are. `--top 3` shows three. Why a
net says what it says is on the page of `python -m experiments.explain runs/digits-lenet5-seed0 --image a.png`.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import jaxcnn
from experiments.framework.device import console
from experiments.framework.runner import BAD_INPUT, INTERRUPTED
from jaxcnn.interop.model import Model


def predictions(model: Model, paths: list[Path], top: int) -> dict[Path, list[tuple[str, float]]]:
    """Return the likeliest classes of each image, with their probabilities."""
    told = model.classify(model.read(*paths), top)
    return dict(zip(paths, told, strict=True))


@dataclass(frozen=True)
class Config:
    model: Annotated[Path, tyro.conf.Positional]  # folder of a training run, or a file that jaxcnn.save wrote
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]  # files
    top: int = 5  # classes shown of each
    imports: tuple[str, ...] = ()  # modules to import first: those that register layers of one's own


def main(config: Config) -> None:
    for module in config.imports:
        importlib.import_module(module)
    for path, classes in predictions(jaxcnn.load(config.model), list(config.images), config.top).items():
        told = "   ".join(f"{name} {100 * share:.1f} %" for name, share in classes)
        console.print(f"{path}:  {told}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    options = tyro.cli(Config, prog="python -m experiments.predict", description=__doc__)
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_INPUT)
