"""The bytes of image files as arrays, against Pillow; and files that would do harm."""

import io
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest

from jaxcnn.data import load
from jaxcnn.data.cropping import middle, resized
from jaxcnn.data.decoding import CostlyImageError, Decoder, Header, class_numbers, require_pillow
from jaxcnn.data.jpeg_scans import scans
from jaxcnn.data.plain_png import to_plain_png

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
ImageOps = pytest.importorskip("PIL.ImageOps")


def image(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def saved(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def header(data):
    return Header.read(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats(kind):
    pixels = image(5, 7, 3)
    data = saved(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(Decoder(3)(data), pixels)
    assert header(data) == Header(5, 7, False)


def test_jpeg_is_what_pillow_decodes():
    data = saved(Image.fromarray(image(9, 8, 3)), "JPEG")
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(Decoder(3)(data), np.asarray(opened))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize(("channels", "to"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_modes_are_converted(mode, channels, to):
    picture = Image.fromarray(image(4, 6, 3)).convert(mode)
    data = saved(picture, "TIFF" if mode == "CMYK" else "PNG")
    y = Decoder(channels)(data)
    assert (y.shape, y.dtype) == ((4, 6, channels), np.uint8)
    np.testing.assert_array_equal(y, np.asarray(picture.convert(to)).reshape(y.shape))
    assert header(data).grey == (mode in ("1", "L", "LA"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_the_camera_was_held(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.repeat(np.repeat(image(2, 3, 3), 16, 0), 16, 1))
    data = saved(picture, "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(Decoder(3)(data), expected)
    assert header(data) == Header(*expected.shape[:2], False)


@pytest.mark.parametrize(("height", "width", "size"), [(20, 32, 8), (32, 20, 8), (7, 7, 7), (5, 9, 12)])
def test_image_size_is_the_middle_square_of_the_resized_image(height, width, size):
    picture = Image.fromarray(image(height, width, 3))
    y = Decoder(3, size)(saved(picture))
    np.testing.assert_array_equal(y, np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)))
    assert y.shape == (size, size, 3)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_part_is_that_of_the_whole(kind, channels):
    data = saved(Image.fromarray(image(9, 14, 3)), kind)
    seen = []

    def choose(height, width):
        seen.append((height, width))
        return 2.5, 1.0, 11.0, 8.0

    for decoder in (Decoder(channels), Decoder(channels, 3)):  # the part has its own size
        y = decoder.part(data, choose, 5)
        assert (y.shape, y.dtype) == ((5, 5, channels), np.uint8)
        np.testing.assert_array_equal(y, resized(Decoder(channels)(data), (2.5, 1.0, 11.0, 8.0), 5))
    assert seen == [(9, 14)] * 2


def test_a_part_of_a_png_of_our_own_cache():
    pixels = image(9, 14, 1)
    y = Decoder(1).part(to_plain_png(pixels), middle, 4)
    np.testing.assert_array_equal(y, resized(pixels, middle(9, 14), 4))


def test_resizing_does_not_alias():
    stripes = np.zeros((64, 96), np.uint8)
    stripes[:, ::2] = 255
    y = Decoder(1, 16)(saved(Image.fromarray(stripes)))[:, 2:-2]
    np.testing.assert_allclose(y, 127.5, atol=12)


def test_of_an_animation_the_first_picture():
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    y = Decoder(1)(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (y == 10).all()


# --- harm


def png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("side", [9500, 20_000])  # at the first Pillow only warns
@pytest.mark.parametrize("read", [Decoder(1), header], ids=["pixels", "header"])
def test_decompression_bombs_are_errors(side, read):
    data = png_header(side, side) + b"\0\0\0\0IEND\xaeB`\x82"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(CostlyImageError, match=r"^expected at most 89,478,485 pixels, got "):
            read(data)
    with pytest.raises(CostlyImageError, match=r"^expected at most 89,478,485 pixels, got more$"):
        read(data)  # where warnings are errors


def progressive(many):
    """A JPEG whose last scan of a few bytes stands there many times more: (its bytes, its scans)."""
    data = saved(Image.new("L", (16, 16), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * many + data[-2:], scans(data) + many


DECODE = {
    "image": Decoder(1),
    "resized": Decoder(3, 4),
    "part": lambda data: Decoder(3).part(data, middle, 4),
    "mask": class_numbers,
}


@pytest.mark.parametrize("decode", DECODE.values(), ids=DECODE)
def test_a_jpeg_of_many_scans_is_an_error(decode):
    data, count = progressive(2000)
    with pytest.raises(CostlyImageError, match=f"^expected a JPEG of at most 100 scans, got {count}$") as caught:
        decode(data)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # it may come from another process
    data, count = progressive(100 - progressive(0)[1])
    assert count == scans(data) == 100
    assert (decode(data) == 90).all()


def test_a_folder_with_a_jpeg_of_many_scans_is_refused_by_its_name(tmp_path):
    data, count = progressive(2000)
    for name in ("train/a/0.jpg", "train/b/0.jpg", "test/a/0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(data if name == "train/b/0.jpg" else progressive(0)[0])
    with pytest.raises(ValueError, match=rf"b/0\.jpg \(expected a JPEG of at most 100 scans, got {count}\)\. "):
        load("folder", path=tmp_path)[0]["image"]


def test_scans_are_counted_as_a_decoder_meets_them():
    def segment(kind, held=b""):
        return bytes([255, kind]) + struct.pack(">H", 2 + len(held)) + held

    scan = segment(0xDA) + b"pixels\xff\0\xff\xd0more\xff\x02\0\xff"
    inside = segment(0xE1, scan * 7)  # a thumbnail
    start, end = b"\xff\xd8", b"\xff\xd9"
    assert scans(start + inside + scan + end) == 1
    assert scans(start + scan + inside + b"\xff" * 3 + scan + segment(0xC4, end) + scan + end + scan * 9) == 3
    assert scans(start + scan * 5) == 5
    assert scans(start + scan + b"\xff\xe1\xff\xff" + scan) == 1
    assert scans(start + b"\xff\xe1\0\0" + scan) == 1
    assert [scans(data) for data in (b"", start, start + b"\xff", start + b"\xff\xda")] == [0, 0, 0, 1]


def test_many_photographs_in_one_file_are_no_scans_of_the_first():
    data = saved(Image.fromarray(image(16, 16, 3)), "JPEG")
    np.testing.assert_array_equal(Decoder(3)(data + data * 200), Decoder(3)(data))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_are_not_silently_cut(dtype):
    data = saved(Image.fromarray(np.arange(12, dtype=dtype).reshape(3, 4)), "TIFF")
    with pytest.raises(ValueError, match="more than 8 bits a channel"):
        Decoder(1)(data)


def test_formats_that_start_programs_are_not_opened():
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "EPS"
    with pytest.raises(OSError, match="cannot identify"):
        Decoder(3)(data)


def test_damaged_files():
    data = saved(Image.fromarray(image(32, 32, 3)), "JPEG")
    with pytest.raises(OSError, match="truncated"):
        Decoder(3)(data[: len(data) // 2])
    with pytest.raises(OSError, match="cannot identify"):
        Decoder(3)(b"text")


def test_without_pillow(monkeypatch):
    require_pillow()
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    fix = r'Install it with pip install "jaxcnn\[data\]"\.$'
    with pytest.raises(ImportError, match=r"^load: expected Pillow to be installed, got none\. " + fix):
        require_pillow()
