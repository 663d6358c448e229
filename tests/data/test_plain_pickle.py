"""Plain data comes back as pickle reads it; anything else in a file is refused, named, and never run."""

from __future__ import annotations

import builtins
import copyreg
import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from rep_edge.data.plain_pickle import load_plain
from rep_edge.errors import InputError

PROTOCOLS = range(6)


def load(folder: Path, content: bytes) -> Any:
    path = folder / "file.pkl"
    path.write_bytes(content)
    return load_plain(path)


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, content)
    message = str(caught.value)
    assert message.startswith(str(folder / "file.pkl"))
    assert message.isprintable()
    return message


def same(one: Any, other: Any) -> bool:
    """Equal in value and type, all the way down; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and same(one.tolist(), other.tolist())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    return bool(one == other or (one != one and other != other))


PLAIN = {
    "numbers": [0, -1, 255, 65536, 2**40, -(2**62), True, False, None, 2.5, float("inf")],
    "texts": ("", "é 中 \\ \n", "x" * 300),
    "bytes": [b"", b"\x00\xff", bytearray(b"a"), bytearray()],
    "sets": [{1, 2}, frozenset(["a"]), set()],
    3: {"nested": [[[]], ({},)]},
    "float64": np.arange(6.0).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big-endian": np.array([1, 2**20], dtype=">i4"),
    "texts in numpy": np.array([["video_1$_$2", "é"]]),
    "bytes in numpy": np.array([b"ab", b"c"]),
    "objects": np.array(["text", 3, None, 2.5], dtype=object),
    "booleans": np.array([True, False]),
    "empty": np.zeros((0, 39, 768), np.float32),
    "no dimensions": np.array(3.0),
    "scalars": [np.float32(0.1), np.int64(-3), np.str_("é"), np.bool_(True), np.float64(0.25)],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_is_read_as_pickle_reads_it(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(PLAIN, protocol)
    assert same(load(tmp_path, content), pickle.loads(content))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_shared_stays_shared(tmp_path: Path, protocol: int) -> None:
    row = np.arange(3.0)
    cycle: list[object] = [row, row]
    cycle.append(cycle)
    found = load(tmp_path, pickle.dumps(cycle, protocol))
    assert found[0] is found[1]
    assert found[2] is found


def test_the_older_numpy(tmp_path: Path) -> None:
    content = pickle.dumps(PLAIN, 4)
    older = content.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert older != content
    assert same(load(tmp_path, older), pickle.loads(content))


def python_2(fortran: bytes = b"\x89", kind: bytes = b"f8") -> bytes:
    """A float64 array [2] as Python 2 wrote it in protocol 2."""
    array = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
    of_kind = b"cnumpy\ndtype\nq\x04U\x02" + kind + b"K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ" + b"\xff" * 4 + b"J"
    state = b"(K\x01K\x02\x85" + of_kind + b"\xff" * 4 + b"K\x00tb" + fortran
    return array + state + b"U\x10" + struct.pack("<2d", 1.5, -2) + b"tb."


def test_python_2_in_binary(tmp_path: Path) -> None:
    found = load(tmp_path, python_2())
    np.testing.assert_array_equal(found, [1.5, -2])
    np.testing.assert_array_equal(found, pickle.loads(python_2(), encoding="latin1"))


def test_python_2_in_letters(tmp_path: Path) -> None:
    content = b"(dp0\nS'it\\'s \\xe9\\n\\\\'\np1\n(lp2\nI5\naL7L\naI01\naF0.5\nas."
    assert load(tmp_path, content) == {"it's é\n\\": [5, 7, True, 0.5]}
    assert load(tmp_path, content) == pickle.loads(content, encoding="latin1")


def test_arrays_are_read_only_and_a_kind_of_their_own(tmp_path: Path) -> None:
    found = load(tmp_path, pickle.dumps([np.zeros(2), np.zeros(2, ">f8"), np.zeros(2, dtype=object)], 5))
    assert not any(array.flags.writeable for array in found)
    assert np.dtype("f8").isnative


class Called:
    """An object whose pickle calls a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def calls(mark: Path) -> dict[str, Called]:
    """What would leave a mark, or reach for it, by the name that must be told."""
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        f"{os.system.__module__}.system": Called(os.system, f"touch {mark}"),
        "builtins.eval": Called(eval, code),
        "builtins.exec": Called(exec, code),
        "builtins.getattr": Called(getattr, Called(__import__, "os"), "system"),
        "builtins.__import__": Called(builtins.__import__, "os"),
        "io.open": Called(open, str(mark), "w"),
        "numpy.load": Called(np.load, str(mark)),
        "numpy.memmap": Called(np.memmap, str(mark), "u1", "w+", 0, 1),
        "builtins.map": Called(map, Called(eval, code), [1]),
        "numpy.float64": Called(np.float64, 1),
        "copyreg._reconstructor": Called(copyreg._reconstructor, object, object, None),  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", list(calls(Path("mark"))))
def test_calls_are_refused_by_name(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "mark"
    call = calls(mark)[name]
    asked = name if protocol > 2 else name.replace("builtins.", "__builtin__.").replace("copyreg.", "copy_reg.")
    for hidden in (call, {"train": [call]}, np.array([call, "text"], dtype=object), (np.zeros(3), {"id": call})):
        message = refusal(tmp_path, pickle.dumps(hidden, protocol))
        assert "asks for " in message
        # getattr and map name what they work on as well, in the order of the file.
        assert asked in message or name in ("builtins.getattr", "builtins.map")
    assert not mark.exists()


def test_every_instruction_that_makes_objects_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    touch = b"S'touch " + str(mark).encode() + b"'\n"
    copyreg.add_extension("os", "system", 241)
    try:
        files = {
            "os.system": b"(" + touch + b"ios\nsystem\n.",
            "posix.system": b"(cposix\nsystem\n" + touch + b"o.",
            "nt.system": b"\x8c\x02nt\x8c\x06system\x93" + touch + b"\x85R.",
            "a registered class": b"\x80\x02\x82\xf1" + touch + b"\x85R.",
            "an object outside it": b"Pmark\n.",
            "an object of a class": b"cnumpy\nndarray\n)\x81.",
            "data outside it": b"\x80\x05\x97.",
            "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        }
        for named, content in files.items():
            assert f"asks for {named}" in refusal(tmp_path, content)
    finally:
        copyreg.remove_extension("os", "system", 241)
    assert "asks for an object outside it" in refusal(tmp_path, b"Nq\x00Q.")
    assert "asks for an object of a class" in refusal(tmp_path, b"cnumpy\nndarray\n)}\x92.")
    assert "asks for an object of a class" in refusal(tmp_path, b"(cnumpy\nndarray\nI1\no.")
    assert "asks for an object of a class" in refusal(tmp_path, b"(I1\ninumpy\nndarray\n.")
    assert not mark.exists()


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    assert "\\x1b[2J" in refusal(tmp_path, b"\x80\x04\x8c\x04\x1b[2J\x8c\x01x\x93.")
    assert len(refusal(tmp_path, b"c" + b"x" * 5000 + b"\ny\n.")) < 400 + len(str(tmp_path))


def array(shape: bytes, kind: bytes, data: bytes) -> bytes:
    """An array with whatever state; the arguments are instructions."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01"
        + shape
        + (b"cnumpy\ndtype\n(X" + struct.pack("<I", len(kind)) + kind + b"I00\nI01\ntR")
        + b"I00\n"
        + data
        + b"tb."
    )


CRASHING = {
    "fewer objects than the shape says": array(b"K\x05\x85", b"O8", b"]K\x01a"),
    "bytes for objects": array(b"K\x01\x85", b"O8", b"C\x08AAAAAAAA"),
    "objects for numbers": array(b"K\x01\x85", b"f8", b"]K\x01a"),
    "short": array(b"K\x05\x85", b"f8", b"C\x08AAAAAAAA"),
    "negative size": array(b"J\xff\xff\xff\xff\x85", b"f8", b"C\x00"),
    "sizes whose product overflows": array(b"(\x8a\x08" + b"\xff" * 7 + b"\x7fK\x08K\x00t", b"f8", b"C\x00"),
    "huge without data": array(b"\x8a\x06\x00\x00\x00\x00\x00\x01K\x00\x86", b"f8", b"C\x00"),
    "many dimensions": array(b"(" + b"K\x01" * 65 + b"t", b"u1", b"C\x01A"),
    "a shape of texts": array(b"(U\x01at", b"u1", b"C\x00"),
    "characters that do not exist": array(b"K\x01\x85", b"U1", b"C\x04\xff\xff\xff\x7f"),
    "data of a number": array(b"K\x01\x85", b"f8", b"K\x01"),
    "state of a function": b"cnumpy.core.multiarray\n_reconstruct\n}(X\x01\x00\x00\x00aK\x01ub.",
    "filled twice": array(b"K\x01\x85", b"u1", b"C\x01A")[:-1] + b"(K\x01K\x01\x85cnumpy\ndtype\nI00\nC\x01Atb.",
    "never filled": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR.",
    "a name alone": b"cnumpy\nndarray\n.",
    "not the array type": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85C\x01btR.",
    "one object": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00O8I00\nI01\ntRC\x08AAAAAAAAtR.",
    "byte order that is none": b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8I00\nI01\ntR(K\x03X\x01\x00\x00\x00?tb.",
    "encoding with another codec": b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zipt" + b"R.",
    "letters that are not Latin-1": b"c_codecs\nencode\n(X\x03\x00\x00\x00\xe4\xb8\xadX\x06\x00\x00\x00latin1tR.",
}


@pytest.mark.parametrize("case", list(CRASHING))
def test_states_that_crash_or_cheat_numpy_are_refused(tmp_path: Path, case: str) -> None:
    refusal(tmp_path, CRASHING[case])


def test_the_array_of_these_cases_is_read_where_it_is_right(tmp_path: Path) -> None:
    assert load(tmp_path, array(b"K\x01\x85", b"O8", b"]K\x01a")).tolist() == [1]
    assert load(tmp_path, array(b"K\x02\x85", b"u1", b"C\x02AB")).tolist() == [65, 66]


@pytest.mark.parametrize("kind", [b"V8", b"M8", b"f16", b"U0", b"T", b"f8,f8", b"(2,3)f8", b"object", b"U99999999999"])
def test_other_kinds_of_array_are_refused(tmp_path: Path, kind: bytes) -> None:
    message = refusal(tmp_path, array(b"K\x00\x85", kind, b"C\x00"))
    assert "has an array of kind" in message


def test_arrays_in_arrays_are_refused(tmp_path: Path) -> None:
    inner = np.zeros(2)
    outer = np.empty(1, dtype=object)
    outer[0] = inner
    assert "an array of containers" in refusal(tmp_path, pickle.dumps(outer))
    outer[0] = [1]
    assert "an array of containers" in refusal(tmp_path, pickle.dumps(outer))


def test_depth_is_harmless(tmp_path: Path) -> None:
    depth = 300_000
    found = load(tmp_path, b"]" * depth + b"a" * (depth - 1) + b".")
    assert isinstance(found[0][0], list)
    assert isinstance(load(tmp_path, b"N" + b"\x85" * depth + b".")[0], tuple)


def test_short_files_make_no_large_data(tmp_path: Path) -> None:
    megabyte = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
    encode = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"
    assert len(load(tmp_path, megabyte + encode + b".")) == 1 << 20
    assert "times its own size" in refusal(tmp_path, megabyte + encode * 20 + b".")
    items = b"](" + b"K\x01" * (1 << 20) + b"eq\x00"
    as_set = b"c__builtin__\nset\n(h\x00tR"
    assert "times its own size" in refusal(tmp_path, items + as_set * 20 + b".")
    for claimed in (b"B\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7 + b"\x7f", b"\x96" + b"\xff" * 8, b"T\xff\xff\xff\x7f"):
        assert "ends too early" in refusal(tmp_path, b"\x80\x05" + claimed + b"abc.")
    assert load(tmp_path, b"Nr\xff\xff\xff\xff.") is None  # a place in the memory that Python's reader makes room up to


def test_keys_that_take_for_ever_to_hash_are_refused(tmp_path: Path) -> None:
    doubled = b")" + b"2\x86" * 60
    for content in (
        b"}" + doubled + b"Ns.",
        b"(" + doubled + b"Nd.",
        b"(" + doubled + b"\x91.",
        b"\x8f(" + doubled + b"\x90.",
    ):
        assert "neither text nor number" in refusal(tmp_path, content)


def test_large_numbers_are_refused(tmp_path: Path) -> None:
    assert "more than 64 bits" in refusal(tmp_path, pickle.dumps(1 << 4000))
    assert "damaged" in refusal(tmp_path, pickle.dumps(1 << 100))
    assert "damaged" in refusal(tmp_path, b"I" + b"9" * 31 + b"\n.")
    assert "damaged" in refusal(tmp_path, b"L" + b"9" * 100_000 + b"L\n.")


def test_files_that_are_not_pickles(tmp_path: Path) -> None:
    whole = pickle.dumps(PLAIN, 4)
    assert "ends too early" in refusal(tmp_path, b"")
    assert "ends too early" in refusal(tmp_path, whole[:-1])
    for garbage in (
        b"PK\x03\x04",
        b"\x89HDF\r\n\x1a\n",
        b"{}",
        b"<html>",
        b".",
        b"a.",
        b"Ia\n.",
        b"h\x07.",
        b"S'a\n.",
        b"\xff",
    ):
        refusal(tmp_path, garbage)
    with pytest.raises(InputError, match="there is no such file"):
        load_plain(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="there is no such file"):
        load_plain(tmp_path)


def test_too_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.data.plain_pickle._MOST_INSTRUCTIONS", 100)
    assert load(tmp_path, b"N" + b"0N" * 49 + b".") is None
    assert "steps" in refusal(tmp_path, b"N" + b"0N" * 50 + b".")


fast = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
atoms = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(), st.text(), st.binary())
arrays = st.one_of(
    npst.arrays(
        st.sampled_from(["f2", "f4", ">f8", "i1", ">i4", "u8", "?"]), npst.array_shapes(min_dims=0, min_side=0)
    ),
    npst.arrays("U3", npst.array_shapes(max_dims=2), elements=st.text(max_size=3).filter(lambda t: "\0" not in t)),
    npst.arrays(object, npst.array_shapes(max_dims=2), elements=atoms),
)
plain = st.recursive(
    st.one_of(atoms, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
    ),
    max_leaves=12,
)


@fast
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_any_plain_data(tmp_path: Path, value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    assert same(load(tmp_path, content), pickle.loads(content))


def only_plain_or_refused(folder: Path, content: bytes) -> None:
    with suppress(InputError):
        load(folder, content)


@fast
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    only_plain_or_refused(tmp_path, content)


pieces = st.one_of(
    st.sampled_from(
        [
            bytes([code])
            for code in b"().0123NRQabdehjlopqrstu}]\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"
        ]
    ),
    st.sampled_from([b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"c__builtin__\nset\n"]),
    st.sampled_from([b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n"]),
    st.sampled_from(
        [b"cnumpy.core.numeric\n_frombuffer\n", b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R", b"cos\nsystem\n"]
    ),
    st.sampled_from([b"U\x02f8", b"U\x02O8", b"U\x02U1", b"U\x01<", b"U\x01>", b"U\x06latin1", b"U\x01C", b"U\x01b"]),
    st.integers(0, 3).map(lambda n: b"K" + bytes([n])),
    st.binary(max_size=9).map(lambda data: b"C" + bytes([len(data)]) + data),
    st.integers(0, 3).map(lambda n: b"q" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"h" + bytes([n])),
    st.just(b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"),
    st.just(b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"),
)


@settings(fast, max_examples=500)
@given(program=st.lists(pieces, max_size=25))
def test_any_instructions(tmp_path: Path, program: list[bytes]) -> None:
    only_plain_or_refused(tmp_path, b"".join(program) + b".")


@settings(fast, max_examples=300)
@given(
    protocol=st.sampled_from(PROTOCOLS),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=3)), min_size=1, max_size=4),
)
def test_any_damage(tmp_path: Path, protocol: int, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(pickle.dumps(PLAIN, protocol))
    for place, new in changes:
        at = place % len(content)
        content[at : at + len(new)] = new
    only_plain_or_refused(tmp_path, bytes(content))
