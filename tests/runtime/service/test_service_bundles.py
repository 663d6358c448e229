"""What the service runs from: a copy that nothing changes, and the last good one when the bundle is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bundles import WEIGHTS, make_bundle

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.service.bundles import copy_bundle, find_bundle, keep, kept


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def damage(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(b"no weights")


def test_the_copy_is_a_whole_bundle(source: Path, state: Path) -> None:
    copy = copy_bundle(source, state)
    assert open_bundle(copy).manifest == open_bundle(source).manifest
    assert copy.is_relative_to(state)


def test_a_bundle_that_is_copied_already_is_not_copied_again(source: Path, state: Path) -> None:
    first = copy_bundle(source, state)
    made = (first / WEIGHTS).stat().st_mtime_ns
    assert copy_bundle(source, state) == first
    assert (first / WEIGHTS).stat().st_mtime_ns == made


def test_a_damaged_copy_is_made_anew(source: Path, state: Path) -> None:
    damage(copy_bundle(source, state))
    open_bundle(copy_bundle(source, state))


def test_what_happens_to_the_bundle_does_not_reach_the_copy(source: Path, state: Path) -> None:
    copy = copy_bundle(source, state)
    damage(source)
    open_bundle(copy)


def test_a_damaged_bundle_leaves_no_copy(source: Path, state: Path) -> None:
    damage(source)
    with pytest.raises(InputError, match="copy the bundle again"):
        copy_bundle(source, state)
    assert not (state / "bundles").exists()


def test_the_last_bundle_that_worked_stands_in_for_a_damaged_one(source: Path, state: Path) -> None:
    found = find_bundle(source, state)
    assert found.problem == ""
    keep(found.copy, state)
    damage(source)
    # A copy that is whole does not need its source.
    assert find_bundle(source, state).problem == ""
    shutil.rmtree(source)
    again = find_bundle(source, state)
    assert again.copy == found.copy
    assert "manifest.json" in again.problem


def test_without_a_bundle_that_worked_a_damaged_one_is_an_error(source: Path, state: Path) -> None:
    damage(source)
    with pytest.raises(InputError):
        find_bundle(source, state)


def test_only_the_copy_that_works_is_kept(source: Path, state: Path, tmp_path: Path) -> None:
    first = copy_bundle(source, state)
    second = copy_bundle(make_bundle(tmp_path / "other", temperatures={"acoustic": 2.0}), state)
    assert first != second
    keep(second, state)
    assert kept(state) == second
    assert not first.exists()


@pytest.mark.parametrize("content", [b"../../elsewhere", b"\xff\xfe", b"", b"gone"])
def test_a_wild_note_of_what_worked_is_none(state: Path, content: bytes) -> None:
    (state / "bundles").mkdir(parents=True)
    (state / "bundles" / "current").write_bytes(content)
    assert kept(state) is None
