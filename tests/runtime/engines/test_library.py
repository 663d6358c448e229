"""Which TensorRT is there, and what is told where it is none."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.engines.library import find_tensorrt, installed_backend


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> None:
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def test_tensorrt_for_rtx_is_found() -> None:
    library = find_tensorrt("tensorrt-rtx")
    assert library.backend == "tensorrt-rtx"
    assert library.version.count(".") == 3
    assert library.module.__name__ == "tensorrt_rtx"


@pytest.mark.parametrize("version", ["10.3.0", "11.4.1.2"])
def test_tensorrt_10_and_11_are_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    pretend(monkeypatch, "tensorrt", __version__=version, Builder=object)
    assert find_tensorrt("tensorrt")[1:] == ("tensorrt", version)


def test_an_older_one_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "tensorrt", __version__="8.6.1", Builder=object)
    with pytest.raises(InputError, match=r"^tensorrt 8\.6\.1: is too old; install TensorRT 10 or 11$"):
        find_tensorrt("tensorrt")


def test_a_missing_one_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend, name, extra in (("tensorrt", "tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx", "rtx")):
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(MissingExtraError, match=rf"^{backend} is not installed: .*rep-edge\[{extra}\]"):
            find_tensorrt(backend)


def test_a_package_without_libraries_says_that_it_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open\\nand more')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(InputError, match=r"^tensorrt: is installed and cannot be loaded \(libnvinfer.*open\); install"):
        find_tensorrt("tensorrt")


def test_a_package_whose_own_import_is_missing_is_broken_and_not_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text("import tensorrt_bindings_that_are_gone")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        find_tensorrt("tensorrt")
    assert not isinstance(caught.value, MissingExtraError)


def test_an_empty_package_of_that_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "tensorrt")
    with pytest.raises(InputError, match="holds no TensorRT"):
        find_tensorrt("tensorrt")


def test_an_unknown_backend_is_told_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"^openvino: is no TensorRT backend; choose one of tensorrt-rtx, tensorrt$"):
        find_tensorrt("openvino")


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"tensorrt_rtx", "tensorrt"}, "tensorrt-rtx"),
        ({"tensorrt_rtx"}, "tensorrt-rtx"),
        ({"tensorrt"}, "tensorrt"),
    ],
)
def test_the_installed_one_is_the_usual_one(monkeypatch: pytest.MonkeyPatch, there: set[str], chosen: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in there else None)
    assert installed_backend() == chosen


def test_with_none_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rep-edge\[rtx\]"):
        installed_backend()
