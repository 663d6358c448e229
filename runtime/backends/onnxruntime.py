"""Graphs on ONNX Runtime's CPU provider."""

from __future__ import annotations

from pathlib import Path

from rep_edge.runtime.backends.sessions import OnnxRuntimeRunner, find_onnxruntime, open_session, session_options
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.processor import int8_saturates

PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeBackend:
    """CPU sessions with one thread each by default: spinning pools of several sessions disturb each other.

    Raises MissingExtraError without onnxruntime, InputError where two builds of it shadow each other.
    """

    name = "onnxruntime-cpu"
    device = "CPU"

    def __init__(self, threads: int = 1, prepack: bool = False) -> None:
        self._runtime, self._threads, self._prepack = find_onnxruntime("cpu"), threads, prepack
        session_options(self._runtime, threads)  # Refuses a number of threads that is none.

    def open(self, bundle: Bundle, pattern: str, precision: str) -> OnnxRuntimeRunner:
        return self.open_file(bundle.graph_file(pattern, precision), precision)

    def open_file(self, graph: Path, precision: str = "fp32") -> OnnxRuntimeRunner:
        """A graph that need not be a bundle's. Raises InputError where it cannot be opened."""
        options = session_options(self._runtime, self._threads)
        # Prepacked weights are a copy for each session, where the graphs could all map the one weights file. That copy
        # is 60 MB each in fp32. In int8 it is a quarter of that and makes a window 8 % faster (3.66 to 3.35 ms).
        if precision != "int8" and not self._prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        saturates = precision == "int8" and int8_saturates()
        if saturates:
            options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        runner = open_session(self._runtime, graph, options, PROVIDER, [PROVIDER])
        if saturates:
            runner.note = "computed in float32, for this processor's int8 products saturate; fp32 is faster here"
        return runner
