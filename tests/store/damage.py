"""Trace files changed at random: each must open as a valid trace or be refused in a sentence.

Run as a program (see test_damage.py) with little memory to spare, so that a file that asks for
much fails: python tests/store/damage.py FOLDER COUNT SEED
"""

import copy
import json
import resource
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from handmade import make_trace, version_1  # noqa: E402

from moeviz.store.files import open_trace, read_trace, trace_bytes  # noqa: E402
from moeviz.trace import TraceError  # noqa: E402

SPARE = 300 * 2**20
"""Bytes of address space beyond what the program takes before it opens the first file."""

STRANGE = [
    -1, 0, 1, 3, 255, 2**31, 2**63, 2**64, 10**30, -(2**40), 1.5, 1e308, float("nan"),
    float("inf"), None, True, "", "x" * 5000, "F64", "U8", "BOOL", [], [2**40, 2**40],
    [-5, 10], [0, 2**50], [[1]], {}, {"a": {}}, [2**62] * 2000,
]  # fmt: skip


def base_files() -> list[bytes]:
    """Small files of each version, with all parts and with few."""
    rng = np.random.default_rng(1)
    text = "é路 a<b>\n" * 5
    many = len(text)
    ids = np.stack([[rng.permutation(6)[:2] for _ in text] for _ in range(3)])
    plain = make_trace(ids, number=6, text=text)
    full = make_trace(
        ids, rng.random((3, many, 2)), rng.normal(size=(3, many, 6)).astype(np.float32), number=6,
        text=text, loss=rng.random(many), scores=rng.normal(size=(3, many, 6)),
    )  # fmt: skip
    return [trace_bytes(full), trace_bytes(plain), version_1(full), trace_bytes(full, True)]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with one kind of damage."""
    return KINDS[rng.integers(len(KINDS))](data, rng)


def flip(data: bytes, rng) -> bytes:
    changed = bytearray(data)
    reach = len(data) if rng.random() < 0.7 else min(len(data), 600)
    for at in rng.integers(0, reach, rng.integers(1, 5)):
        changed[at] ^= 1 << rng.integers(8) if rng.random() < 0.5 else rng.integers(1, 256)
    return bytes(changed)


def cut(data: bytes, rng) -> bytes:
    return data[: rng.integers(0, len(data))]


def longer(data: bytes, rng) -> bytes:
    at = rng.integers(0, len(data))
    return data[:at] + rng.bytes(rng.integers(1, 40)) + data[at:]


def blank(data: bytes, rng) -> bytes:
    at = rng.integers(0, len(data))
    end = min(len(data), at + rng.integers(1, 400))
    return data[:at] + bytes([rng.choice([0, 255])]) * (end - at) + data[end:]


def length_lie(data: bytes, rng) -> bytes:
    lengths = [0, 1, 8, len(data), len(data) - 8, 2**24, 2**31, 2**62, 2**64 - 1]
    wrong = lengths[rng.integers(len(lengths))]
    return wrong.to_bytes(8, "little") + data[8:]


def header_lie(data: bytes, rng) -> bytes:
    """A header that is well formed and says something else."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for _ in range(rng.integers(1, 3)):
        _change_one(header, rng)
    return _with_header(data, json.dumps(header))


def facts_lie(data: bytes, rng) -> bytes:
    """The same within the facts of the trace."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header["__metadata__"]
    name = "facts" if "facts" in metadata else "header"
    facts = json.loads(metadata[name])
    _change_one(facts, rng)
    metadata[name] = json.dumps(facts)
    return _with_header(data, json.dumps(header))


def twice(data: bytes, rng) -> bytes:
    """A name that comes twice, or a header nested deeply, or one of nothing but brackets."""
    size = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + size].decode()
    deep = int(rng.choice([50, 2000, 200_000]))
    return _with_header(
        data,
        [
            '{"gates":{"dtype":"F32","shape":[3,40,2],"data_offsets":[0,960]},' + text[1:],
            text.rstrip()[:-1] + ',"__metadata__":{"format":"moetrace","version":"2"}}',
            "[" * deep + "]" * deep,
            '{"a":' * deep + "1" + "}" * deep,
            "[" + "[]," * 2_000_000 + "[]]",
            '{"__metadata__":{"format":"moetrace","version":"' + "9" * 5000 + '"}}',
            text.replace("[0,", "[" + "9" * 6000 + ","),
        ][rng.integers(7)],
    )


def _with_header(data: bytes, text: str) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = text.encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _change_one(value, rng) -> None:
    """One entry somewhere in nested JSON replaced, removed, added or swapped with another."""
    while True:
        names = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not names:
            return
        name = names[rng.integers(len(names))]
        if isinstance(value[name], dict | list) and value[name] and rng.random() < 0.8:
            value = value[name]
            continue
        break
    what, other = rng.integers(4), names[rng.integers(len(names))]
    if what == 0:
        del value[name]
    elif what == 1:
        value[name], value[other] = value[other], value[name]
    elif what == 2 and isinstance(value, dict):
        value[f"{name}x"] = copy.deepcopy(value[name])
    else:
        value[name] = STRANGE[rng.integers(len(STRANGE))]


KINDS = [flip, flip, cut, longer, blank, length_lie, header_lie, header_lie, facts_lie, twice]


def look_at_all(trace) -> None:
    """Everything that a view could show, and the trace once more through a file."""
    parts = [np.asarray(array) for array in trace.arrays().values()]
    assert all(part.shape[0] for part in parts)
    assert len(trace.tokens.texts) == len(trace.tokens)
    assert trace.experts.max() < trace.router.experts
    assert read_trace(trace_bytes(trace), "again").key == trace.key


def outcome(data: bytes, path: Path | None) -> str:
    """ "opened" or the sentence it was refused with; any other error goes through."""
    try:
        if path is None:
            look_at_all(read_trace(data, "a.moetrace"))
        else:
            path.write_bytes(data)
            look_at_all(open_trace(path, whole=False))
    except TraceError as error:
        return str(error)
    return "opened"


def main(folder: str, count: str, seed: str) -> None:
    rng, bases = np.random.default_rng(int(seed)), base_files()
    path = Path(folder) / "a.moetrace"
    assert [outcome(data, path) for data in bases] == ["opened"] * len(bases)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, taken + SPARE))
    told: dict[str, int] = {}
    for number in range(int(count)):
        data = damaged(bases[rng.integers(len(bases))], rng)
        sentence = outcome(data, path if number % 2 else None)
        assert sentence == "opened" or (
            sentence.startswith("a.moetrace ") and sentence.endswith(".") and len(sentence) < 400
        ), sentence
        kind = " ".join(sentence.split()[:4])
        told[kind] = told.get(kind, 0) + 1
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
