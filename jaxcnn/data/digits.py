"""The embedded data set: 1,797 scans of handwritten digits that scikit-learn carries."""

from typing import Any

import jax
import numpy as np

from jaxcnn.checking import installed
from jaxcnn.data.dataset import Dataset, from_arrays
from jaxcnn.data.splitting import split

__all__ = ["load_digits"]

SOURCE = (
    "1,797 digits written by 13 people, 8x8 pixels, from the UCI set 'Optical recognition of handwritten digits' "
    "(Alpaydin and Kaynak 1998, CC BY 4.0), as scikit-learn carries them; 0..16 scaled to 0..255; 80 % training, "
    "20 % test, stratified"
)


def load_digits(split_seed: int) -> tuple[Dataset, Dataset]:
    """Return the training and the test set; see `data.load`."""
    with installed("load", "scikit-learn, which has the digits,", 'pip install "jaxcnn[data]"'):
        from sklearn.datasets import load_digits as bunch
    digits: Any = bunch()
    image = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    whole = from_arrays(image, digits.target, name="digits", source=SOURCE)
    train, test = split(whole, 0.2, key=jax.random.key(split_seed))
    # Mean and deviation must be those of the training images alone.
    train = from_arrays(train["image"], train["label"], name="digits", source=SOURCE)
    return train, test.with_moments_of(train)
