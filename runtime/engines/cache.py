"""Engines that were built on this machine for its GPU: outside the bundle, each with a record that must still hold."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec

from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.runtime.engines.listening import Tell


class EngineKey(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine depends on: change one of these and it is another engine.

    graph_sha256: of graph and weights (`origin`); backend_version: as the package tells it; compute_capability: "sm89";
    batch: least, usual and largest batch.
    """

    pattern: str
    precision: str
    graph_sha256: str
    backend: str
    backend_version: str
    gpu: str
    compute_capability: str
    batch: tuple[int, int, int]

    @property
    def name(self) -> str:
        """Its files' name, without the ending; the hash is over all fields."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()
        return f"{self.pattern}.{self.precision}.{self.compute_capability}.{self.backend}-{digest[:32]}"


class CachedEngine(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache writes beside a plan.

    driver: that was there when it was built; another one asks for another engine. size in bytes and sha256 of the plan;
    bundle: folder that it was built for; created: UTC, ISO 8601.
    """

    key: EngineKey
    driver: str
    size: int
    sha256: str
    bundle: str
    created: str


class CacheEntry(NamedTuple):
    """A record that was found, and the plan it speaks of."""

    record: CachedEngine
    plan: Path


def cache_folder() -> Path:
    """$REP_EDGE_CACHE, or "rep-edge/engines" in the user's cache folder."""
    named = os.environ.get("REP_EDGE_CACHE")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "rep-edge" / "engines"


def open_cache(folder: Path) -> None:
    """Make the cache, for its owner alone. Raises InputError where it cannot be, or where others may write into it:
    an engine is code that the GPU's library runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another cache") from error
    _require_private(folder)


def open_folder(*parts: str) -> Path:
    """A folder inside the usual cache, made and private as the cache itself is. Raises InputError as `open_cache`."""
    folder = cache_folder()
    open_cache(folder)
    for part in parts:
        folder = folder / part
        open_cache(folder)
    return folder


def store(folder: Path, key: EngineKey, plan: bytes, driver: str, bundle: Path) -> Path:
    """Write a plan and then its record; the plan's path. Raises InputError where the folder cannot be written."""
    record = CachedEngine(
        key=key,
        driver=driver,
        size=len(plan),
        sha256=hashlib.sha256(plan).hexdigest(),
        bundle=str(bundle.resolve()),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    open_cache(folder)
    # Without a record a plan is nothing: a power cut between the two files leaves no engine.
    (folder / f"{key.name}.json").unlink(missing_ok=True)
    write_file(folder / f"{key.name}.engine", plan)
    write_file(folder / f"{key.name}.json", msgspec.json.format(msgspec.json.encode(record), indent=2))
    return folder / f"{key.name}.engine"


def find_entries(folder: Path, pattern: str, precision: str) -> list[CacheEntry]:
    """Records of a pattern's engines, the newest first. Files that are no record, or one of another name, are none.

    Raises InputError where others than the owner may write into the cache.
    """
    if not folder.is_dir():
        return []
    _require_private(folder)
    entries = []
    for file in folder.glob("*.json"):
        try:
            record = msgspec.json.decode(file.read_bytes(), type=CachedEngine)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if record.key.name == file.stem and (record.key.pattern, record.key.precision) == (pattern, precision):
            entries.append(CacheEntry(record, file.with_suffix(".engine")))
    return sorted(entries, key=lambda entry: entry.record.created, reverse=True)


def load(entry: CacheEntry) -> bytes:
    """The plan, read once and found to be the one of its record. Raises InputError where it is not."""
    return verified_plan(entry.plan, entry.record.size, entry.record.sha256)


def verified_plan(path: Path, size: int, sha256: str) -> bytes:
    """The bytes of a plan, which are the very ones that were hashed. Raises InputError where they are others."""
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); compile again") from error
    if len(plan) != size or hashlib.sha256(plan).hexdigest() != sha256:
        raise InputError(f"{path}: is not the engine that was built (sha256 differs); compile again")
    return plan


def remove_stale(folder: Path, key: EngineKey, bundle: Path) -> list[Path]:
    """Remove what `key` has replaced: engines of the same pattern, precision, backend and GPU that were built of the
    same graph or for the same bundle. Their plans."""
    removed = []
    for entry in find_entries(folder, key.pattern, key.precision):
        old = entry.record.key
        same_place = (old.backend, old.gpu, old.compute_capability) == (key.backend, key.gpu, key.compute_capability)
        replaced = old.graph_sha256 == key.graph_sha256 or entry.record.bundle == str(bundle.resolve())
        if old != key and same_place and replaced:
            entry.plan.with_suffix(".json").unlink(missing_ok=True)
            entry.plan.unlink(missing_ok=True)
            removed.append(entry.plan)
    return removed


@contextmanager
def only_builder(folder: Path, tell: Tell) -> Iterator[None]:
    """Nobody else builds into this cache meanwhile; waits for who does, and says so."""
    open_cache(folder)
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell(f"{folder}: another build is running; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _require_private(folder: Path) -> None:
    status = folder.stat()
    if status.st_uid not in (os.getuid(), 0):
        raise InputError(f"{folder}: belongs to another user; choose another cache")
    if status.st_mode & 0o022:
        raise InputError(f"{folder}: others may write into it; run  chmod go-w {folder}")
