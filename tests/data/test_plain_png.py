"""PNG files that zlib alone reads, against Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn.data import plain_png
from jaxcnn.data.plain_png import from_plain_png, to_plain_png

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def random_image(height, width, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 99))
def test_pillow_and_we_read_what_we_write(height, width, channels, seed):
    image = random_image(height, width, channels, seed)
    data = to_plain_png(image)
    with Image.open(io.BytesIO(data)) as opened:
        opened.verify()
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.mode, opened.size) == ("L" if channels == 1 else "RGB", (width, height))
        np.testing.assert_array_equal(np.asarray(opened).reshape(image.shape), image)
    np.testing.assert_array_equal(from_plain_png(data, channels), image)


def test_what_pillow_writes_with_filters_is_left_to_it():
    ramp = np.add.outer(np.arange(8), np.arange(9)).astype(np.uint8) * 9
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG")
    assert from_plain_png(file.getvalue(), 1) is None


PLAIN = to_plain_png(random_image(4, 5, 3))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:40],
        b"x" + PLAIN[1:],  # another signature
        PLAIN[:-1],
        PLAIN + b"x",
        PLAIN[:24] + b"\x10" + PLAIN[25:],  # 16 bits
        PLAIN[:25] + b"\x00" + PLAIN[26:],  # grey
        PLAIN[:28] + b"\x01" + PLAIN[29:],  # interlaced
        PLAIN[:37] + b"tEXt" + PLAIN[41:],  # another chunk first
        PLAIN[:19] + b"\x04" + PLAIN[20:],  # more or fewer pixels than there are
        PLAIN[:23] + b"\x03" + PLAIN[24:],
        PLAIN[:23] + b"\x05" + PLAIN[24:],
        PLAIN[:50] + bytes([PLAIN[50] ^ 1]) + PLAIN[51:],  # a pixel changed: the checksum of zlib
        PLAIN[:41] + b"\x00\x00" + PLAIN[43:],  # no zlib
    ],
)
def test_anything_else_is_left_to_pillow(data):
    assert from_plain_png(data, 3) is None


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_are_left_to_pillow(channels):
    assert from_plain_png(PLAIN, channels) is None


def with_pixels(body):
    """Return the file with other compressed pixels."""
    return PLAIN[:33] + struct.pack(">I", len(body)) + b"IDAT" + body + bytes(4) + PLAIN[-12:]


def test_filters_are_left_to_pillow():
    rows = np.zeros((4, 16), np.uint8)
    assert not from_plain_png(with_pixels(zlib.compress(rows.tobytes())), 3).any()
    rows[2, 0] = 1
    assert from_plain_png(with_pixels(zlib.compress(rows.tobytes())), 3) is None


def test_pixels_without_their_checksum_are_left_to_pillow():
    assert from_plain_png(with_pixels(zlib.compress(bytes(64))[:-4]), 3) is None


def test_too_many_pixels_are_not_inflated(monkeypatch):
    monkeypatch.setattr(plain_png, "MOST_PIXELS", 20)
    assert from_plain_png(PLAIN, 3) is not None
    monkeypatch.setattr(plain_png, "MOST_PIXELS", 19)
    assert from_plain_png(PLAIN, 3) is None
    assert from_plain_png(with_pixels(zlib.compress(bytes(2**24), 9)), 3) is None
