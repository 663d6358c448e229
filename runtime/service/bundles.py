"""The service's own copy of its bundle: what it runs from cannot be changed under it, and the last good one stays."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import NamedTuple

from rep_edge.errors import InputError
from rep_edge.files import new_folder, write_file
from rep_edge.runtime.bundle import MANIFEST, listed_files, open_bundle
from rep_edge.signals import WindowSpec

LOGGER = logging.getLogger("rep_edge.service")

FOLDER = "bundles"
CURRENT = "current"


class FoundBundle(NamedTuple):
    """The copy to run from. problem: why it is not of the bundle that was named but the last one that worked, or ""."""

    copy: Path
    spec: WindowSpec
    problem: str


def find_bundle(source: Path, state: Path) -> FoundBundle:
    """A copy of the bundle at `source`; where that is damaged or gone, the last one that worked, which is told.

    Raises InputError where there is neither.
    """
    problem = ""
    try:
        copy = copy_bundle(source, state)
    except InputError as error:
        last = kept(state)
        if last is None:
            raise
        copy, problem = last, str(error)
        LOGGER.error("the bundle cannot be used, the last one that worked goes on: %s", error)
    return FoundBundle(copy, open_bundle(copy).manifest.spec, problem)


def identity(bundle: Path) -> str:
    """What tells one bundle from another: a hash of its manifest, which holds the hashes of all else.

    Raises InputError where there is no manifest.
    """
    try:
        return hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{bundle / MANIFEST}: cannot be read ({error.strerror}); the folder is no bundle") from error


def copy_bundle(source: Path, state: Path) -> Path:
    """Verify the bundle at `source` and copy it below `state`; where that copy is. One that is there already is kept.

    Graphs map their weights file: one that is written over while it is used would change the answers without a word.
    Raises InputError for a bundle that is damaged or changes while it is copied, and for a full disk.
    """
    name = identity(source)
    target = state / FOLDER / name
    if target.exists():
        try:
            open_bundle(target)
        except InputError:
            shutil.rmtree(target, ignore_errors=True)
        else:
            return target
    bundle = open_bundle(source)
    try:
        with new_folder(target) as folder:
            for path in (MANIFEST, *(record.path for record in listed_files(bundle.manifest))):
                write_file(folder / path, (source / path).read_bytes())
            open_bundle(folder)
    except OSError as error:
        raise InputError(f"{source}: cannot be copied to {target} ({error.strerror}); free space") from error
    if identity(target) != name:
        shutil.rmtree(target, ignore_errors=True)
        raise InputError(f"{source}: changed while it was copied; it is read again")
    return target


def keep(copy: Path, state: Path) -> None:
    """Note that this copy works, and remove all others."""
    write_file(state / FOLDER / CURRENT, copy.name.encode())
    for other in (state / FOLDER).iterdir():
        if other.is_dir() and other.name != copy.name:
            shutil.rmtree(other, ignore_errors=True)


def kept(state: Path) -> Path | None:
    """The copy that worked last, if there is one."""
    try:
        name = (state / FOLDER / CURRENT).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    copy = state / FOLDER / name
    return copy if name.isalnum() and copy.is_dir() else None
