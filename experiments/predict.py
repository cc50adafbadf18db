"""What does a trained net say about these images?

`python -m experiments.predict runs/digits-lenet5-seed0 a.png b.jpg` prints the likeliest classes of each image, with
their probabilities. The model is the folder of a training run, or a file that `jaxcnn.save` wrote. An image is turned
as its EXIF entry says, its short side resized to what the net takes, and the middle of it shown to the net, grey if the
net sees grey ones; nothing else is done to it: white strokes on black stay what they are. `--top 3` shows three. Why a
net says what it says is on the page of `python -m experiments.explain runs/digits-lenet5-seed0 --image a.png`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

import jaxcnn
from experiments.framework.device import console
from experiments.framework.runner import BAD_INPUT, INTERRUPTED
from jaxcnn.checking import expect
from jaxcnn.data.decoding import Decoder, require_pillow
from jaxcnn.interop.model import Model

__all__ = ["MODEL", "predictions", "read_images", "read_model"]

MODEL = "model.safetensors"  # in the folder of a training run
MOST_BYTES = 2**28  # of an image file


def predictions(model: Model, paths: list[Path], top: int) -> dict[Path, list[tuple[str, float]]]:
    """Return the likeliest classes of each image, with their probabilities."""
    told = model.classify(read_images(model, paths), top)
    return dict(zip(paths, told, strict=True))


def read_model(path: Path) -> Model:
    """Return the model in a file, or of a run."""
    file = path / MODEL if path.is_dir() else path
    fix = "Train it to the end with experiments.train, or save one with jaxcnn.save."
    expect(file.is_file(), "predict", f"a model, or the folder of a run with {MODEL}", path, fix)
    return jaxcnn.load(file)


def read_images(model: Model, paths: list[Path]) -> np.ndarray:
    """Return the images as the model takes them, uint8 (N, H, W, C)."""
    where, fix = "predict", "Such nets take arrays: jaxcnn.load(path)(images)."
    _, *size, channels = model.spec.shape
    ok = len(size) == 2 and size[0] == size[1] and channels in (1, 3, 4)
    expect(ok, where, "a model of square images", model.spec.shape, fix)
    expect(bool(paths), where, "an image", "none", "Pass the path of one.")
    require_pillow()
    decode, images = Decoder(channels, size[0]), []
    for path in paths:
        expect(path.is_file(), where, "an image file", path, "Look at its path.")
        expect(path.stat().st_size <= MOST_BYTES, where, "an image file", f"{path} of more than 256 MB", "Reduce it.")
        try:
            images.append(decode(path.read_bytes()))
        except Exception as error:  # whatever Pillow finds wrong with it
            reason = " ".join(str(error).split())
            raise ValueError(f"{where}: expected an image file, got {path} ({reason}). Look at it.") from error
    return np.stack(images)


@dataclass(frozen=True)
class Config:
    model: Annotated[Path, tyro.conf.Positional]  # folder of a training run, or a file that jaxcnn.save wrote
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]  # files
    top: int = 5  # classes shown of each


def main(config: Config) -> None:
    for path, classes in predictions(read_model(config.model), list(config.images), config.top).items():
        told = "   ".join(f"{name} {100 * share:.1f} %" for name, share in classes)
        console.print(f"{path}:  {told}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    options = tyro.cli(Config, description=__doc__)
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_INPUT)
