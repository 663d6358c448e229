"""Sessions of ONNX Runtime, each found to run on the provider that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.signals import Example

Provider: TypeAlias = str | tuple[str, Mapping[str, str]]
"""A provider's name, with its options where it has any."""


class OnnxRuntimeRunner:
    """One session of the graph at `path`."""

    note = ""

    def __init__(self, session: Any, path: Path) -> None:
        self._session, self._path = session, path

    def run(self, windows: Mapping[str, Example]) -> NDArray[np.float32]:
        try:
            logits: NDArray[np.float32] = self._session.run(["logits"], dict(windows))[0]
        except Exception as error:  # The package's errors share no base class.
            raise InputError(f"{self._path}: cannot be run ({first_line(error)}); export the bundle again") from error
        return logits

    def close(self) -> None:
        self._session = None


def find_onnxruntime(extra: str) -> Any:
    """The module onnxruntime. extra: which of ours brings the build that is wanted.

    Raises MissingExtraError without it, InputError where two builds of it shadow each other.
    """
    refuse_two_builds()
    try:
        import onnxruntime
    except ImportError as error:
        package = "onnxruntime-gpu" if extra == "gpu" else "onnxruntime"
        raise MissingExtraError(extra, package) from error
    return onnxruntime


def session_options(runtime: Any, threads: int) -> Any:
    """Options that every session of a device has: nothing is held in an arena, so that all patterns' sessions together
    stay small. Raises InputError where there is no thread."""
    if threads < 1:
        raise InputError(f"threads: must be at least 1, not {threads}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return options


def open_session(
    runtime: Any, graph: Path, options: Any, provider: str, providers: Sequence[Provider] | None
) -> OnnxRuntimeRunner:
    """Open a graph on `provider`. providers: it and what may help it; None where the options name them.

    Where a provider cannot start, takes no part of the graph or fails in a run, ONNX Runtime goes on with the CPU and
    at best warns. All of that is an InputError here.
    """
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = runtime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except Exception as error:  # The package's errors share no base class.
        raise InputError(f"{graph}: ONNX Runtime cannot open it ({first_line(error)}); update onnxruntime") from error
    first = session.get_providers()[0]
    if first != provider:
        raise InputError(
            f"{provider}: did not start, ONNX Runtime would have used {first} without a word; "
            "install the libraries that your onnxruntime was built with"
        )
    # Which provider took which nodes is told by newer versions.
    if hasattr(session, "get_provider_graph_assignment_info"):
        took = {part.ep_name for part in session.get_provider_graph_assignment_info()}
        if took and provider not in took:
            raise InputError(
                f"{provider}: takes no part of {graph}, ONNX Runtime would have used {', '.join(sorted(took))} "
                "without a word; update onnxruntime"
            )
    return OnnxRuntimeRunner(session, graph)


def first_line(error: Exception) -> str:
    """An error's first line, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def installed(*names: str) -> dict[str, str]:
    """Distribution -> version, of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def refuse_two_builds() -> None:
    """onnxruntime and onnxruntime-gpu share one import name; the one installed last wins without a word.

    Raises InputError where both are there.
    """
    builds = installed("onnxruntime", "onnxruntime-gpu")
    if len(builds) > 1:
        raise InputError(
            f"{' and '.join(' '.join(build) for build in builds.items())} are installed side by side and break each "
            "other; run  pip uninstall onnxruntime onnxruntime-gpu  and install the one you want again"
        )
