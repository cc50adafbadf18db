"""The zip of `torch.save` since 1.6: where its members lie, which are stored as they are, one behind another.

What a zip says twice has to agree, because programs differ in which they believe, and no byte may lie outside of what
is described. Source: PKWARE's APPNOTE.TXT 6.3, sections 4.3 to 4.5.
"""

import re
import stat
import struct
from typing import NamedTuple

from jaxcnn.checking import shown
from jaxcnn.interop.source import Source

__all__ = ["Member", "members"]

LOCAL, CENTRAL, END, END_64, LOCATOR = (b"PK" + kind for kind in (b"\3\4", b"\1\2", b"\5\6", b"\6\6", b"\6\7"))
FULL, FULL_16 = 2**32 - 1, 2**16 - 1  # where the number, of 64 bits, stands elsewhere
ENCRYPTED, DESCRIBED, UTF8 = 1, 8, 2048  # flags
DESCRIPTORS = (12, 16, 20, 24)  # bytes that follow then: a checksum and sizes of 32 or 64 bits, a signature or none
MOST_MEMBERS = 2**16
COST = 512  # bytes that a member makes in memory


class Member(NamedTuple):
    """A member of a zip: its name, where its header lies, how large it is, its checksum and its flags."""

    name: bytes
    start: int
    size: int
    crc: int
    flags: int


def members(source: Source) -> dict[str, Member]:
    """Return the members by their names within the folder that all of them lie in; `start` is where the data do.

    Raises:
        ValueError: a zip that is damaged, compressed or encrypted, or that can be read in two ways.
    """
    start, size, count = _directory(source)
    source.go(start, size)
    listed = sorted((_listed(source) for _ in range(count)), key=lambda member: member.start)
    _expect(source, source.left == 0, "one with bytes behind its directory")
    _expect(source, bool(listed) and listed[0].start == 0, "one with bytes in front of its first member")
    found: dict[str, Member] = {}
    for member, following in zip(listed, [*(other.start for other in listed[1:]), start], strict=True):
        begin = _begin(source, member, following)
        between = following - begin - member.size
        ok = between in (DESCRIPTORS if member.flags & DESCRIBED else (0,))
        _expect(source, ok, "one with members over each other, or bytes between them")
        name = _name(source, member.name, listed[0].name)
        _expect(source, name not in found, f"one with two members {shown(name)}")
        found[name] = member._replace(start=begin)
    return found


def _directory(source: Source) -> tuple[int, int, int]:
    """Return where the directory begins, its bytes and its members, from the last bytes of the file."""
    _expect(source, source.size >= 22, "one that is cut off")
    source.go(source.size - 22, 22)
    kind, disk, _, here, count, size, start, comment = source.number("4s4H2IH")
    _expect(source, kind == END and comment == 0, "one that is cut off, or with bytes behind its end")
    limit = source.size - 22
    if source.size >= 42:
        source.go(source.size - 42, 20)
        kind, _, at, _ = source.number("4sIQI")
        if kind == LOCATOR:
            source.go(at, 56)
            kind, length, _, _, _, _, here_64, *wide = source.number("4sQ2H2I4Q")
            narrow = ((here, here_64, FULL_16), *zip((count, size, start), wide, (FULL_16, FULL, FULL), strict=True))
            ok = kind == END_64 and length == 44 and at + 56 == limit - 20
            same = all(number in (other, full) for number, other, full in narrow)
            _expect(source, ok and same, "one with two different directories")
            limit, here, (count, size, start) = at, here_64, wide
    _expect(source, start + size == limit and disk == 0 and here == count, "one whose directory is elsewhere")
    _expect(source, count <= MOST_MEMBERS, f"one with {count} members where {MOST_MEMBERS} are the most")
    return start, size, count


def _listed(source: Source) -> Member:
    """Return the next member of the directory."""
    source.charge(COST)
    kind, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, mode, start = source.number("4s6H3I5H2I")
    name, extra, comment = (source.take(length) for length in lengths)
    size, packed, start = _wide(source, extra, size, packed, start)
    _expect(source, kind == CENTRAL and disk == 0 and not comment, "one with a damaged directory")
    _expect(source, method == 0 and packed == size, f"one with {shown(name)[1:]} compressed")
    _expect(source, not flags & ENCRYPTED, f"one with {shown(name)[1:]} encrypted")
    _expect(source, not flags & ~(DESCRIBED | UTF8), f"one with the flags {flags:#x}")
    plain = stat.S_IFMT(mode >> 16) in (0, stat.S_IFREG)
    _expect(source, plain, f"one with {shown(name)[1:]}, which is a link, or no file")
    return Member(name, start, size, crc, flags)


def _begin(source: Source, member: Member, following: int) -> int:
    """Return where the data of a member begin, behind a header that says what the directory does."""
    source.go(member.start, following - member.start)
    kind, _, flags, method, _, _, crc, packed, size, *lengths = source.number("4s5H3I2H")
    name, extra = (source.take(length) for length in lengths)
    sizes = set(_wide(source, extra, size, packed)) - ({0} if flags & DESCRIBED else set())
    ok = (kind, name, flags, method) == (LOCAL, member.name, member.flags, 0) and sizes <= {member.size}
    ok = ok and (crc == member.crc or (crc == 0 and bool(flags & DESCRIBED)))
    _expect(source, ok, f"one that says two things of {shown(member.name)[1:]}")
    return source.at


def _wide(source: Source, extra: bytes, *numbers: int) -> list[int]:
    """Return the numbers, those that are full as the extra field has them."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        wide = extra[4 : 4 + length] if kind == 1 else wide
        extra = extra[4 + length :]
    result = []
    for number in numbers:
        if number == FULL:
            _expect(source, len(wide) >= 8, "one without the sizes that it promises")
            number, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        result.append(number)
    return result


def _name(source: Source, name: bytes, first: bytes) -> str:
    """Return the name of a member within the folder of the first."""
    folder, _, inner = name.partition(b"/")
    parts = inner.split(b"/")
    ok = folder == first.partition(b"/")[0] and re.fullmatch(rb"[^\\\0]+", name) is not None
    ok = ok and not {folder, *parts} & {b"", b".", b".."}
    _expect(source, ok, f"one with a member {shown(name)[1:]}")
    return inner.decode("utf-8", "backslashreplace")


def _expect(source: Source, ok: bool, got: str) -> None:
    source.expect(ok, "a zip as torch.save writes it", got)
