"""Graphs on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.bundle import Bundle


class OnnxRuntimeRunner:
    """One session of the graph at `path`."""

    def __init__(self, session: Any, path: Path) -> None:
        self._session, self._path = session, path

    def run(self, windows: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        try:
            logits: NDArray[np.float32] = self._session.run(["logits"], dict(windows))[0]
        except Exception as error:  # The package's errors share no base class.
            raise InputError(f"{self._path}: cannot be run ({_first_line(error)}); export the bundle again") from error
        return logits


class OnnxRuntimeBackend:
    """CPU sessions with one thread each by default: spinning pools of several sessions disturb each other.

    Weights are neither prepacked nor held in an arena, so that all patterns' sessions together stay small: they map the
    one weights file. Raises MissingExtraError without onnxruntime, InputError where two builds of it shadow each other.
    """

    name = "onnxruntime-cpu"
    device = "CPU"

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise InputError(f"threads: must be at least 1, not {threads}")
        _refuse_two_builds()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("cpu", "onnxruntime") from error
        self._runtime, self._options = onnxruntime, session_options(threads)

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        return self.open_file(bundle.graph_file(pattern, precision))

    def open_file(self, graph: Path) -> OnnxRuntimeRunner:
        """A graph that need not be a bundle's. Raises InputError where it cannot be opened."""
        try:
            session = self._runtime.InferenceSession(graph, self._options, providers=["CPUExecutionProvider"])
        except Exception as error:  # The package's errors share no base class.
            raise InputError(
                f"{graph}: ONNX Runtime cannot open it ({_first_line(error)}); update onnxruntime"
            ) from error
        return OnnxRuntimeRunner(session, graph)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def session_options(threads: int = 1) -> Any:
    """The options that every session of a device has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _refuse_two_builds() -> None:
    """onnxruntime and onnxruntime-gpu share one import name; the one installed last wins without a word."""
    builds = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            builds.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    if len(builds) > 1:
        raise InputError(
            f"{' and '.join(builds)} are installed side by side and break each other; run  "
            "pip uninstall onnxruntime onnxruntime-gpu  and install the one you want again"
        )
