"""The cache: keys that change with whatever an engine depends on, and records that must still hold."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rep_edge.errors import InputError
from rep_edge.runtime.engines.cache import (
    CacheEntry,
    EngineKey,
    cache_folder,
    find_entries,
    load,
    only_builder,
    open_cache,
    remove_stale,
    store,
)

KEY = EngineKey(
    pattern="acoustic+seismic",
    precision="fp16",
    graph_sha256="ab" * 32,
    backend="tensorrt-rtx",
    backend_version="1.7.1.116",
    gpu="NVIDIA RTX A2000",
    compute_capability="sm86",
    batch=(1, 1, 8),
)
OTHERS = {
    "pattern": "acoustic",
    "precision": "fp32",
    "graph_sha256": "cd" * 32,
    "backend": "tensorrt",
    "backend_version": "1.8.0.3",
    "gpu": "NVIDIA RTX A4000",
    "compute_capability": "sm89",
    "batch": (1, 4, 8),
}
PLAN = b"a plan, as raw as they come" * 100


def stored(folder: Path, key: EngineKey = KEY, plan: bytes = PLAN, bundle: str = "bundle") -> Path:
    return store(folder, key, plan, "580.65.06, CUDA 13.0", folder.parent / bundle)


def only_entry(folder: Path, key: EngineKey = KEY) -> CacheEntry:
    (entry,) = find_entries(folder, key.pattern, key.precision)
    return entry


def changed(field: str) -> EngineKey:
    return msgspec.structs.replace(KEY, **{field: OTHERS[field]})


def test_every_field_of_the_key_changes_its_name() -> None:
    assert OTHERS.keys() == set(EngineKey.__struct_fields__)
    names = {KEY.name, *(changed(field).name for field in OTHERS)}
    assert len(names) == 1 + len(OTHERS)
    hashes = {name.rpartition("-")[2] for name in names}
    assert len(hashes) == 1 + len(OTHERS)


def test_a_stored_engine_is_read_back_with_what_it_was_built_for(tmp_path: Path) -> None:
    plan = stored(tmp_path / "cache")
    entry = only_entry(tmp_path / "cache")
    assert entry.plan == plan
    assert load(entry) == plan.read_bytes() == PLAN
    assert entry.record.key == KEY
    assert (entry.record.driver, entry.record.size) == ("580.65.06, CUDA 13.0", len(PLAN))
    assert entry.record.created.endswith("+00:00")


def test_the_plan_beside_the_record_is_raw(tmp_path: Path) -> None:
    stored(tmp_path / "cache")
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".engine", ".json"]


def test_entries_are_those_of_the_pattern_and_precision(tmp_path: Path) -> None:
    for key in (KEY, changed("pattern"), changed("precision"), changed("batch")):
        stored(tmp_path, key)
    found = {entry.record.key for entry in find_entries(tmp_path, KEY.pattern, KEY.precision)}
    assert found == {KEY, changed("batch")}
    assert find_entries(tmp_path / "none", KEY.pattern, KEY.precision) == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone", "another engine"])
def test_a_plan_that_is_not_the_recorded_one_is_refused(tmp_path: Path, damage: str) -> None:
    plan = stored(tmp_path)
    contents = {
        "flipped": bytes([PLAN[0] ^ 1]) + PLAN[1:],
        "cut": PLAN[:-1],
        "longer": PLAN + b"\0",
        "another engine": PLAN[::-1],
    }
    plan.unlink() if damage == "gone" else plan.write_bytes(contents[damage])
    with pytest.raises(InputError, match=r"\.engine: (cannot be read|is not the engine that was built)"):
        load(only_entry(tmp_path))


@pytest.mark.parametrize("field", sorted(OTHERS))
def test_a_record_whose_key_was_changed_is_none(tmp_path: Path, field: str) -> None:
    file = stored(tmp_path).with_suffix(".json")
    record = only_entry(tmp_path).record
    tampered = msgspec.structs.replace(record, key=changed(field))
    file.write_bytes(msgspec.json.encode(tampered))
    assert find_entries(tmp_path, tampered.key.pattern, tampered.key.precision) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[1]", b'{"key": null}'])
def test_files_that_are_no_records_are_passed_over(tmp_path: Path, content: bytes) -> None:
    stored(tmp_path)
    (tmp_path / "foreign.json").write_bytes(content)
    assert only_entry(tmp_path).record.key == KEY


def test_a_plan_without_record_is_nothing(tmp_path: Path) -> None:
    stored(tmp_path).with_suffix(".json").unlink()
    assert find_entries(tmp_path, KEY.pattern, KEY.precision) == []


def test_a_cut_off_write_leaves_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path)
    written = []

    def full_disk(path: Path, content: bytes) -> None:
        written.append(path.suffix)
        raise InputError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("rep_edge.runtime.engines.cache.write_file", full_disk)
    with pytest.raises(InputError, match="No space left"):
        stored(tmp_path, plan=b"new")
    assert written == [".engine"]
    assert find_entries(tmp_path, KEY.pattern, KEY.precision) == []


@pytest.mark.parametrize("field", ["graph_sha256", "backend_version", "batch"])
def test_a_rebuild_removes_what_it_replaces(tmp_path: Path, field: str) -> None:
    old = stored(tmp_path / "cache", changed(field))
    new = stored(tmp_path / "cache")
    assert remove_stale(tmp_path / "cache", KEY, tmp_path / "bundle") == [old]
    assert only_entry(tmp_path / "cache").plan == new
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("field", ["pattern", "precision", "backend", "gpu", "compute_capability"])
def test_a_rebuild_leaves_what_another_place_needs(tmp_path: Path, field: str) -> None:
    stored(tmp_path, changed(field))
    stored(tmp_path)
    assert remove_stale(tmp_path, KEY, tmp_path.parent / "bundle") == []


def test_a_rebuild_leaves_the_engines_of_another_bundle(tmp_path: Path) -> None:
    stored(tmp_path / "cache", changed("graph_sha256"), bundle="another")
    stored(tmp_path / "cache")
    assert remove_stale(tmp_path / "cache", KEY, tmp_path / "bundle") == []


def test_the_cache_is_its_owners_alone(tmp_path: Path) -> None:
    open_cache(tmp_path / "deep" / "cache")
    assert (tmp_path / "deep" / "cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_others_write_into_is_refused(tmp_path: Path) -> None:
    stored(tmp_path / "cache")
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(InputError, match=r"others may write into it; run  chmod go-w "):
        find_entries(tmp_path / "cache", KEY.pattern, KEY.precision)
    with pytest.raises(InputError, match="others may write"):
        stored(tmp_path / "cache")


def test_a_cache_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path / "cache")
    monkeypatch.setattr("os.getuid", lambda: 4321)
    (tmp_path / "cache").chmod(0o755)
    if (tmp_path / "cache").stat().st_uid == 0:
        assert only_entry(tmp_path / "cache").record.key == KEY  # What root installed serves everyone.
        return
    with pytest.raises(InputError, match="belongs to another user"):
        find_entries(tmp_path / "cache", KEY.pattern, KEY.precision)


def test_a_file_in_the_place_of_the_cache_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(InputError, match=r"cannot be written .* choose another cache"):
        open_cache(tmp_path / "cache")


def test_the_usual_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REP_EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rep-edge" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "rep-edge" / "engines"


def test_two_builders_take_turns(tmp_path: Path) -> None:
    told: list[str] = []
    code = (
        "import sys, time; from pathlib import Path; from rep_edge.runtime.engines.cache import only_builder\n"
        f"with only_builder(Path({str(tmp_path)!r}), print):\n"
        "    print('building', flush=True); sys.stdin.readline(); Path(sys.argv[1]).touch()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "done")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "building\n"

        def let_go(line: str) -> None:
            assert not (tmp_path / "done").exists()
            told.append(line)
            print(file=other.stdin, flush=True)

        with only_builder(tmp_path, let_go):
            assert (tmp_path / "done").exists()
    assert told == [f"{tmp_path}: another build is running; waiting for it"]


def test_the_lock_ends_with_the_build(tmp_path: Path) -> None:
    with pytest.raises(KeyError), only_builder(tmp_path, print):
        raise KeyError
    with (tmp_path / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
