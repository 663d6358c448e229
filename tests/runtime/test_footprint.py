"""The memory of a process that holds a bundle, measured in a fresh interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import WEIGHTS, make_bundle

from rep_edge.errors import InputError
from rep_edge.runtime import footprint
from rep_edge.runtime.footprint import footprint_mb

linux = pytest.mark.skipif(not footprint.ROLLUP.exists(), reason="the system does not tell")
PROGRAM = """
import sys
pages = bytearray(int(sys.argv[1]) * 10**6)
pages[::4096] = b"x" * len(pages[::4096])
print(open("/proc/self/smaps_rollup").read())
"""


@linux
def test_opened_graphs_take_more_than_nothing_and_less_than_training(tmp_path: Path) -> None:
    measured = footprint_mb(make_bundle(tmp_path / "bundle"))
    assert measured is not None
    assert 5 < measured < 150


@linux
def test_megabytes_above_an_empty_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "LOADED", PROGRAM)
    measured = footprint_mb(Path("80"))
    assert measured is not None
    assert measured == pytest.approx(80, abs=4)


def test_a_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "ROLLUP", tmp_path / "smaps_rollup")
    assert footprint_mb(make_bundle(tmp_path / "bundle")) is None


@linux
def test_a_bundle_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / WEIGHTS).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        footprint_mb(bundle)
    message = str(caught.value)
    assert message.startswith("memory: a fresh interpreter could not open the bundle (")
    assert "weights.fp32.bin: has 0 bytes" in message
    assert "\n" not in message


@linux
@pytest.mark.parametrize(("program", "words"), [("import os; os._exit(3)", "exit code 3"), ("pass", "exit code 0")])
def test_an_interpreter_that_says_nothing(program: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "LOADED", program)
    with pytest.raises(InputError, match=words):
        footprint_mb(Path("bundle"))
