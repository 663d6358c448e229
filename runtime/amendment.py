"""More files for a bundle that is there already: it is the old one or the new one, whenever the power fails."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec

from rep_edge.errors import InputError
from rep_edge.files import write_file
from rep_edge.runtime.bundle import MANIFEST, Bundle, listed_files
from rep_edge.runtime.manifest import SCHEMA_VERSION, Manifest

SPARE = 16 << 20
"""Bytes that stay free on the disk."""


def free_path(bundle: Bundle, path: str, content: bytes) -> str:
    """`path`, or the same with a part of the content's hash in it where the bundle has another file of that name.

    A file that a manifest lists is never written over: the manifest that lists the new one comes last.
    """
    digest = hashlib.sha256(content).hexdigest()
    if all(record.sha256 == digest for record in listed_files(bundle.manifest) if record.path == path):
        return path
    pure = PurePosixPath(path)
    return str(pure.with_name(f"{pure.stem}.{digest[:8]}{pure.suffix}"))


def amend(bundle: Bundle, files: Mapping[str, bytes], manifest: Manifest) -> Bundle:
    """Write `files` (paths relative to the bundle, as `free_path` gave them), then the manifest that lists them, then
    remove what only the old manifest listed.

    Raises InputError where the disk is full or cannot be written; the bundle is then as it was.
    """
    # A manifest of an older schema is read as one of this one, and so it is written.
    manifest = msgspec.structs.replace(manifest, schema_version=SCHEMA_VERSION)
    _require_space(bundle.path, sum(map(len, files.values())))
    known = {record.path for record in listed_files(bundle.manifest)}
    written: list[Path] = []
    try:
        for path, content in files.items():
            if path not in known:
                written.append(bundle.path / path)
                write_file(bundle.path / path, content)
        write_file(bundle.path / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        raise
    for path in known - {record.path for record in listed_files(manifest)}:
        (bundle.path / path).unlink(missing_ok=True)
    return Bundle(bundle.path, manifest)


def _require_space(folder: Path, size: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    if free < size + SPARE:
        raise InputError(
            f"{folder}: has {free / 1e6:.0f} MB of disk left and {(size + SPARE) / 1e6:.0f} MB are needed; free space"
        )
