"""How many scans a JPEG file has: in each of them a decoder goes over all pixels, however few bytes it takes."""

import re

__all__ = ["scans"]

# What no length follows is passed over, as libjpeg does: 00 to BF, and D0 to D7, where decoding starts afresh.
MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
END, SCAN = 0xD9, 0xDA


def scans(data: bytes) -> int:
    """Return the number of scans of the first image in a JPEG file.

    Segments are passed by their lengths: a thumbnail in one does not count, nor does what stands behind the end.
    """
    found, place = 0, 2
    while (marker := MARKER.search(data, place)) and data[marker.start() + 1] != END:
        found += data[marker.start() + 1] == SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return found
