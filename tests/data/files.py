"""Images as files, in folders and archives."""

import io
import shutil

import numpy as np


def pixels(number, shape=(6, 7, 3)):
    """Return an image that is another one for each number."""
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def png(array, palette=None):
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    image.save(file, "PNG")
    return file.getvalue()


def write(root, files):
    """Write files into a folder, arrays as PNG, and return the folder."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else png(content))
    return root


def zipped(root):
    return shutil.make_archive(str(root), "zip", root)
