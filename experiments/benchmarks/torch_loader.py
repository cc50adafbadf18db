"""PyTorch's DataLoader on a folder of photographs: what jaxcnn's streams are measured against.

The transforms are those of torchvision on Pillow images, as its users compose them: a random part of the picture cut
out and resized, mirrored, and made a float tensor in [0, 1].
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Photographs", "torch_batches"]

ASPECTS = (3 / 4, 4 / 3)
ENDLESS = 2**40


class Photographs:
    """A map-style data set of the JPEG files below a folder; PyTorch asks for no more than these two methods."""

    def __init__(self, folder: Path, size: int, scale: tuple[float, float]) -> None:
        self.files = sorted(folder.glob("*/*.jpg"))
        self.size, self.scale = size, scale

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        import torch  # pyrefly: ignore
        from PIL import Image

        with Image.open(self.files[index]) as image:
            picture = image.convert("RGB")
        left, top, width, height = self._draw(*picture.size)
        picture = picture.crop((left, top, left + width, top + height))
        picture = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if torch.rand(1).item() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)

    def _draw(self, width: int, height: int) -> tuple[int, int, int, int]:
        import torch  # pyrefly: ignore

        for _ in range(10):
            area = width * height * torch.empty(1).uniform_(*self.scale).item()
            aspect = math.exp(torch.empty(1).uniform_(*map(math.log, ASPECTS)).item())
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top = int(torch.randint(0, height - h + 1, (1,)).item())
                return int(torch.randint(0, width - w + 1, (1,)).item()), top, w, h
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side, side


def torch_batches(folder: Path, config: Any, workers: int) -> Iterator[Any]:
    """Yield batches, float32 (N, C, H, W) in [0, 1], without end; the loader never waits between epochs."""
    import torch  # pyrefly: ignore

    examples: Any = Photographs(folder, config.image_size, (0.25, 1.0))
    yield from torch.utils.data.DataLoader(
        examples,
        batch_size=config.batch_size,
        sampler=torch.utils.data.RandomSampler(examples, num_samples=ENDLESS),  # all in a new order, again and again
        num_workers=workers,
        multiprocessing_context="spawn",  # JAX's threads do not survive a fork
    )
