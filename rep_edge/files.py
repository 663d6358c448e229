"""Write files and folders so that a reader sees the old content or the new one, never half of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rep_edge.errors import InputError


def _sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`: temporary file in the same folder, fsync, rename.

    Makes the folder when it is not there. Raises InputError where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def require_writable(path: Path) -> None:
    """Raises InputError where a file at `path` could not be written: told before long work, not after it."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise InputError(f"{path}: cannot be written, because {existing} cannot; choose another folder")


def require_new(path: Path) -> None:
    """Raises InputError where something is at `path` already, other than an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: is there already; choose another folder or remove it")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` to fill; it is renamed to `path` when the block ends without an error.

    `path` must not exist or be empty. Raises InputError otherwise, or where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        _sync(temporary)
        try:
            temporary.replace(path)
        except OSError as error:
            raise InputError(f"{path}: is there already ({error.strerror}); choose another folder") from error
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of one folder that belong together, the last one being the one that makes the folder valid.

    A new folder appears whole. In a folder that is there, the last file is removed first and written last, so that
    a reader who needs it never sees old and new files together.
    """
    if not folder.exists():
        with new_folder(folder) as temporary:
            for name, content in contents.items():
                write_file(temporary / name, content)
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose a folder")
    (folder / list(contents)[-1]).unlink(missing_ok=True)
    for name, content in contents.items():
        write_file(folder / name, content)
