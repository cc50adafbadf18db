"""Hostile checkpoints: each is refused with a sentence, runs nothing, and takes little memory."""

import os
import re
import sys

import numpy as np
import pytest

from jaxcnn.interop.torch import read
from tests.interop.hostile_containers import BEFORE_1_6, SAFETENSORS, ZIPS
from tests.interop.hostile_pickles import BOMBS, PICKLES, WITHIN_A_FILE, again
from tests.interop.refusals import check_refused, run
from tests.interop.torch_files import (
    FOUR,
    GOOD,
    Tensor,
    before_1_6,
    pickled,
    safetensors,
    since_1_6,
    storage,
    zipped,
)

HOSTILE = {
    **{f"pickle: {name}": (since_1_6(data, FOUR), said) for name, (data, said) in PICKLES.items()},
    **{f"old pickle: {name}": (before_1_6(data, FOUR), said) for name, (data, said) in WITHIN_A_FILE.items()},
    **{f"zip: {name}": case for name, case in ZIPS.items()},
    **{f"old: {name}": case for name, case in BEFORE_1_6.items()},
    **{f"safetensors: {name}": case for name, case in SAFETENSORS.items()},
}
SENTENCE = re.compile(r"read: expected [^\n]+, got [^\n]+\. [A-Z][^\n]*[.)]", re.DOTALL)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name, tmp_path, monkeypatch):
    data, said = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    check_refused(read, tmp_path / "file.pth", data, said, SENTENCE, longest=600)


LISTEN = """
import json, pickle, sys
from pathlib import Path
from jaxcnn.interop.torch import read

paths, seen, listening = sorted(Path(sys.argv[1]).iterdir()), [], False
read(sys.argv[2])  # imports what reading imports

def hear(event, arguments):
    if listening:
        seen.append([event, *map(repr, arguments)])

sys.addaudithook(hear)
refused = 0
for path in paths:
    listening = True
    try:
        read(path)
    except ValueError:
        refused += 1
    listening = False
reading, seen = seen, []
listening = True
pickle.loads(b"cbuiltins\\nlen\\n(]tR.")
listening = False
print(json.dumps({"refused": refused, "reading": reading, "pickle": seen}))
"""


def test_a_hostile_file_runs_imports_and_writes_nothing(tmp_path):
    for folder in ("files", "here"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(HOSTILE):
        (tmp_path / "files" / f"{number}.pth").write_bytes(HOSTILE[name][0])
    (tmp_path / "good").write_bytes(since_1_6(GOOD, FOUR))
    heard = run(LISTEN, tmp_path / "files", tmp_path / "good", cwd=tmp_path / "here")
    assert heard["refused"] == len(HOSTILE)
    assert ["pickle.find_class", "'builtins'", "'len'"] in heard["pickle"], "the hook hears"
    assert {event for event, *_ in heard["reading"]} == {"open"}
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    for _, path, _, flags in heard["reading"]:
        assert str(tmp_path / "files") in path
        assert not int(flags) & writing
    assert not list((tmp_path / "here").iterdir())


WEIGH = """
import json, os, resource, sys
from jaxcnn.interop.torch import read
from pathlib import Path

grown = {}
read(sys.argv[2])
for path in sorted(Path(sys.argv[1]).iterdir()):
    child = os.fork()
    if not child:
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            held = read(path)
        except ValueError:
            pass
        finally:
            Path(f"{path}.kb").write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin))
            os._exit(0)
    os.waitpid(child, 0)
    grown[path.name] = int(Path(f"{path}.kb").read_text())
print(json.dumps(grown))
"""


def _many(count: int) -> dict:
    return {str(n): (1, b"abcd") for n in range(count)}


def _entries(count: int) -> bytes:
    header = {f"{n:x}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(count)}
    return safetensors(header)


LONG = np.random.default_rng(0).bytes(2 * 10**7)
SIZE = len(LONG) // 4
LARGE = {
    "20 MB since 1.6": lambda: since_1_6(pickled({"a": Tensor((SIZE,), count=SIZE)}), {"0": (SIZE, LONG)}),
    "20 MB before 1.6": lambda: before_1_6(pickled({"a": Tensor((SIZE,), count=SIZE)}), {"0": (SIZE, LONG)}),
    "20 MB of safetensors": lambda: safetensors(
        {"a": {"dtype": "F32", "shape": [SIZE], "data_offsets": [0, 4 * SIZE]}}, LONG
    ),
    "one rare character": lambda: since_1_6(pickled({"a": "a" * 3 * 10**7 + "\U0001f600"})),
    "a long text": lambda: since_1_6(pickled({"a": "a" * 3 * 10**7})),
    "a long dict made a dict again and again": lambda: since_1_6(
        again("collections", "Counter", {str(n): n for n in range(1000)})
    ),
    "a million lists": lambda: since_1_6(b"\x80\x02" + b"]" * 10**6),
    "a million marks": lambda: since_1_6(b"\x80\x02" + b"(" * 10**6),
    "a large pickle of nothing": lambda: since_1_6(b"\x80\x02" + b"]" * 2 * 10**7),
    "values kept": lambda: since_1_6(b"\x80\x02N" + b"".join(b"r" + n.to_bytes(4, "little") for n in range(10**6))),
    "dicts of one": lambda: since_1_6(b"\x80\x02(" + b"}K\x01Ns" * 10**6),
    "lists of one": lambda: since_1_6(b"\x80\x02(" + b"]Na" * 10**6),
    "many storages": lambda: since_1_6(pickled([storage(key=str(n), count=0) for n in range(10**5)])),
    "many members": lambda: zipped([("net/data.pkl", b"}."), *((f"net/{n}", b"") for n in range(60_000))]),
    "a view of 8 axes again and again": lambda: since_1_6(
        again("torch._utils", "_rebuild_tensor", storage(), 0, (1,) * 8, (1,) * 8), FOUR
    ),
    "many empty arrays": lambda: _entries(2 * 10**5),
    "a large header of lists": lambda: safetensors(b'{"a":[' + b"[]," * 7 * 10**6 + b"0]}"),
    "a header of dicts": lambda: safetensors(b'{"a":[' + b'{"a":1},' * 2 * 10**5 + b"0]}"),
    "a header of digits": lambda: safetensors(b'{"a":[' + b"1," * 8 * 10**5 + b"0]}"),
}
LARGE |= {f"bomb: {name}": lambda data=data: since_1_6(data) for name, (data, _) in BOMBS.items()}
QUICK = ["20 MB since 1.6", "20 MB before 1.6", "20 MB of safetensors", "one rare character", "a large header of lists"]
QUICK += ["a million lists", "bomb: lists of lists of lists", "bomb: a long list made a dict again and again"]


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units elsewhere")
@pytest.mark.parametrize(
    "names", [QUICK, pytest.param(sorted({*LARGE} - {*QUICK}), marks=pytest.mark.slow)], ids=["quick", "all"]
)
def test_memory_stays_within_twice_the_file_and_64_mb(names, tmp_path):
    (tmp_path / "files").mkdir()
    for name in names:
        (tmp_path / "files" / name).write_bytes(LARGE[name]())
    (tmp_path / "good").write_bytes(since_1_6(GOOD, FOUR))
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "files").iterdir()}
    grown = run(WEIGH, tmp_path / "files", tmp_path / "good", cwd=tmp_path)
    print({name: (round(kb / 1024, 1), round(sizes[name] / 2**20, 1)) for name, kb in grown.items()})
    assert grown.keys() == sizes.keys()
    assert max(grown.values()) > 10**4, "it was measured"
    assert {name: kb for name, kb in grown.items() if 1024 * kb > 2 * sizes[name] + 2**26} == {}
