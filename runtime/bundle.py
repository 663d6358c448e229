"""A bundle on disk, verified before any graph of it is opened."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from rep_edge.errors import InputError
from rep_edge.runtime.manifest import SCHEMA_VERSION, FileRecord, GraphRecord, Manifest
from rep_edge.signals import Text, with_kinds

MANIFEST = "manifest.json"
CHUNK = 1 << 20


class _Version(msgspec.Struct):
    schema_version: int


class Bundle(NamedTuple):
    """A folder whose manifest was read and whose files were found to be the ones it lists."""

    path: Path
    manifest: Manifest

    def graph(self, pattern: str, precision: str) -> GraphRecord:
        """The graph of a pattern. Raises InputError where the bundle has none in that precision."""
        for record in self.manifest.graphs:
            if (record.pattern, record.precision) == (pattern, precision):
                return record
        raise InputError(f"{self.path}: has no {precision} graph for {pattern}; export the bundle again")

    def require_precision(self, precision: str) -> None:
        """Raises InputError where the bundle has no graphs in a precision."""
        there = self.manifest.graph_precisions
        if precision not in there:
            raise InputError(
                f"{self.path}: has no {precision} graphs, only {', '.join(there)}; make them with  rep-edge calibrate"
            )

    def graph_file(self, pattern: str, precision: str) -> Path:
        """Where that graph lies."""
        return self.path / self.graph(pattern, precision).file.path


def open_bundle(path: Path) -> Bundle:
    """Read and verify a bundle: schema, patterns, and every file's place, size and hash.

    Raises InputError that names the file and what is wrong with it.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the folder that rep-edge export wrote")
    manifest = _read_manifest(path / MANIFEST)
    _check_graphs(path / MANIFEST, manifest)
    for record in listed_files(manifest):
        _check_file(path, record)
    return Bundle(path, manifest)


def file_record(path: str, content: bytes) -> FileRecord:
    """What a manifest says of a file at `path`, relative to it, with this content."""
    return FileRecord(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def record_of(folder: Path, path: str) -> FileRecord:
    """The same of a file that lies in `folder` already, read in pieces."""
    file = folder / path
    return FileRecord(path=path, size=file.stat().st_size, sha256=_sha256(file))


def listed_files(manifest: Manifest) -> tuple[FileRecord, ...]:
    """Every file that a manifest lists: graphs, weights, tokenizers, engines."""
    graphs, engines = (graph.file for graph in manifest.graphs), (engine.file for engine in manifest.engines)
    return (*graphs, *manifest.weights.values(), *manifest.tokenizers.values(), *engines)


def _read_manifest(path: Path) -> Manifest:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); the folder is no complete bundle") from error
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{path}: schema_version {version} is newer than this runtime knows ({SCHEMA_VERSION}); update rep-edge"
            )
        if version < 1:
            raise InputError(f"{path}: schema_version {version} is none; export the bundle again")
        plain = msgspec.json.decode(content)
        manifest = msgspec.convert({**plain, "modalities": with_kinds(plain.get("modalities"))}, type=Manifest)
        spec = manifest.spec
    except InputError:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: is no manifest ({error}); copy the bundle again") from error
    if not manifest.labels:
        raise InputError(f"{path}: labels is empty; export the bundle again")
    if len(set(manifest.labels)) < len(manifest.labels):
        raise InputError(f"{path}: labels names one class twice; export the bundle again")
    patterns = {spec.pattern_name(p) for p in spec.patterns()}
    for pattern, temperature in manifest.temperatures.items():
        if pattern not in patterns:
            raise InputError(f"{path}: temperatures names the unknown pattern {pattern!r}; export the bundle again")
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"{path}: temperatures has {temperature} for {pattern}; it must be above 0")
    _check_health(path, manifest)
    for m in manifest.modalities:
        if isinstance(m, Text) and m.name not in manifest.tokenizers:
            raise InputError(f"{path}: tokenizers has none for {m.name}; export the bundle again")
    return manifest


def _check_health(path: Path, manifest: Manifest) -> None:
    """Every record is of a modality that there is, and its figures can be limits."""
    for name, record in manifest.health.items():
        if name not in manifest.spec.names:
            raise InputError(f"{path}: health names the unknown modality {name!r}; export the bundle again")
        figures = msgspec.structs.asdict(record)
        for key, value in figures.items():
            if not math.isfinite(value) or (value < 0 and not key.startswith("mean_")):
                raise InputError(f"{path}: health of {name} has {key} {value}; export the bundle again")
        for key in ("noise", "mean"):
            if figures[f"{key}_low"] > figures[f"{key}_high"]:
                raise InputError(f"{path}: health of {name} has {key}_low above {key}_high; export the bundle again")


def _check_graphs(path: Path, manifest: Manifest) -> None:
    """Every pattern has a graph in every precision that the bundle has, and each precision its weights."""
    wanted = {manifest.spec.pattern_name(pattern) for pattern in manifest.spec.patterns()}
    for precision in sorted({graph.precision for graph in manifest.graphs} | set(manifest.weights)) or ["fp32"]:
        found = [graph.pattern for graph in manifest.graphs if graph.precision == precision]
        for pattern in sorted(wanted - set(found)):
            raise InputError(f"{path}: graphs has none for {pattern} in {precision}; export the bundle again")
        for pattern in sorted(set(found) - wanted):
            raise InputError(f"{path}: graphs names the unknown pattern {pattern!r}; export the bundle again")
        if len(found) > len(wanted):
            raise InputError(f"{path}: graphs has two for one pattern in {precision}; export the bundle again")
        if precision not in manifest.weights:
            raise InputError(f"{path}: weights has no file for {precision}; export the bundle again")


def _check_file(root: Path, record: FileRecord) -> None:
    """The file is inside the bundle, no link leads out of it, and its size and hash are those of the manifest."""
    if not _inside(root, record.path):
        raise InputError(f"{root / MANIFEST}: path {record.path!r} leaves the bundle; do not use it")
    path = root / record.path
    try:
        size = path.stat().st_size
        if size != record.size:
            raise InputError(f"{path}: has {size} bytes instead of {record.size}; copy the bundle again")
        if _sha256(path) != record.sha256:
            raise InputError(f"{path}: its content is not what was exported (sha256 differs); copy the bundle again")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error


def _inside(root: Path, name: str) -> bool:
    """Whether a manifest's path is a plain one below the bundle, also after links are followed."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        return False
    try:
        return (root / relative).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # A circle of links; a NUL character.
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
