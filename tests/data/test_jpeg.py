"""JPEG files decoded by libjpeg-turbo: bit by bit what Pillow decodes, whatever is wrong with them."""

import io
import struct

import numpy as np
import pytest

from jaxcnn.data import jpeg
from jaxcnn.data.cropping import reduction, resized
from jaxcnn.data.decoding import Decoder

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
ImageOps = pytest.importorskip("PIL.ImageOps")
simplejpeg = pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")


@pytest.fixture
def taken(monkeypatch):
    """How many files libjpeg-turbo decoded."""
    found = []

    class Turbo:
        @staticmethod
        def decode_jpeg(*args, **options):
            array = simplejpeg.decode_jpeg(*args, **options)
            found.append(array)
            return array

    monkeypatch.setattr(jpeg, "_turbo", lambda: Turbo)
    return found


@pytest.fixture
def without(monkeypatch):
    """Return a function that decodes as if simplejpeg were not installed."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(jpeg, "_turbo", lambda: None)
            return function(*args)

    return call


def smooth(height, width, channels=3):
    """Waves that bend, of another length in each channel."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9 + 4 * c) + y * y / (30 * height)) for c in range(channels)]
    return np.stack([127 + 110 * wave for wave in waves], -1).astype(np.uint8)


def saved(height=37, width=51, mode="RGB", turn=1, **options):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turn
    picture = Image.fromarray(smooth(height, width)).convert(mode)
    picture.save(file, "JPEG", exif=exif, **({"quality": 90} | options))
    return file.getvalue()


KINDS = {
    "plain": {},
    "every colour": {"subsampling": 0},
    "half the colours": {"subsampling": 1},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "rough": {"quality": 5},
    "grey": {"mode": "L"},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


@kinds
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_the_pixels_are_pillows(options, channels, turn, taken, without):
    data, decoder = saved(turn=turn, **options), Decoder(channels)
    y = decoder(data)
    assert len(taken) == 1
    np.testing.assert_array_equal(y, without(decoder, data))
    assert y.shape == ((37, 51) if turn < 5 else (51, 37)) + (channels,)


@kinds
@pytest.mark.parametrize("turn", [1, 8])
def test_a_part_is_that_of_the_whole(options, turn, taken, without):
    data, box = saved(turn=turn, **options), (3.0, 2.0, 33.0, 31.0)
    y = Decoder(3).part(data, lambda height, width: box, 12)
    assert len(taken) == 1
    np.testing.assert_array_equal(y, resized(Decoder(3)(data), box, 12))
    np.testing.assert_array_equal(y, without(Decoder(3).part, data, lambda height, width: box, 12))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(("by", "beyond"), [(2, 0), (4, 0), (8, 0), (4, 3)])
def test_large_photographs_are_reduced_while_they_are_decoded(by, beyond, turn, taken, without):
    data = saved(16 * by + beyond, 24 * by + beyond, turn=turn, quality=98, subsampling=0)
    box = (1.0 * by, 2.0 * by, 13.0 * by, 14.0 * by)
    y = Decoder(3).part(data, lambda height, width: box, 6)
    # The far edge of such a file is no whole pixel when it is reduced: nothing may be counted from it.
    used = by if turn == 1 or not beyond else 1
    assert taken[0].shape == (-(-(16 * by + beyond) // used), -(-(24 * by + beyond) // used), 3)
    np.testing.assert_array_equal(y, without(Decoder(3).part, data, lambda height, width: box, 6))
    np.testing.assert_allclose(y, resized(Decoder(3)(data), box, 6).astype(int), atol=4)


def test_reductions_leave_twice_the_pixels():
    sides = (10, 39, 40, 79, 80, 159, 160, 1000)
    assert [reduction((0, 0, side, 2000), 10) for side in sides] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert reduction((5, 7, 2000, 47), 10) == 2


def damaged():
    data = saved(64, 64, quality=95)
    scan = data.index(b"\xff\xda")
    holes = bytearray(data)
    holes[scan + 200 : scan + 260] = b"\xff" * 60
    frame = data.index(b"\xff\xc0")
    larger = bytearray(data)
    larger[frame + 5 : frame + 9] = struct.pack(">HH", 900, 900)
    return {
        "cut in half": data[: scan + 400],
        "without an end": data[:-2],
        "holes": bytes(holes),
        "said to be larger": bytes(larger),
        "two frames": data[:frame] + bytes(larger[frame:scan]) + data[frame:],
        "junk behind": data + b"junk" * 100,
        "junk between": data[:frame] + b"junk" * 3 + data[frame:],
        "a header alone": data[:scan],
        "colours for print": saved(mode="CMYK"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_and_unusual_files_fare_as_with_pillow(name, without):
    def outcome(data):
        try:
            return Decoder(3)(data).tolist()
        except Exception as error:
            return type(error), str(error)

    assert outcome(damaged()[name]) == without(outcome, damaged()[name])


@pytest.mark.parametrize("side", [4, 1000])
def test_a_file_of_two_sizes_has_that_which_pillow_saw(side, monkeypatch):
    data, other = saved(8, 8), saved(side, side)
    sizes = []

    class Turbo:
        @staticmethod
        def decode_jpeg(data, colours, buffer, **options):
            sizes.append(buffer.nbytes)  # no more memory than that
            return simplejpeg.decode_jpeg(other, colours, buffer=buffer)

    monkeypatch.setattr(jpeg, "_turbo", lambda: Turbo)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(Decoder(3)(data), np.asarray(opened))
    assert sizes == [192]
