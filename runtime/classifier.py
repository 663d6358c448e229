"""Windows to a prediction: the graph is chosen by which modalities are there."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.backends.base import Backend, Runner
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.finite import all_finite
from rep_edge.signals import Modality, Pattern

PRECISION = "fp32"


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard in one window.

    label: the most probable class, or None where no modality was live; probabilities: by label, empty where there is
    none. pattern: live modalities joined by "+", "" for none; latency_s: time of graph and pre-checks.
    start_s, end_s: the window on the stream's time line; reasons: by modality, why it was not live.
    """

    label: str | None
    probabilities: dict[str, float]
    pattern: str
    latency_s: float
    start_s: float
    end_s: float
    reasons: dict[str, str] = {}


class Classifier:
    """A bundle, opened and warmed.

    classifier = Classifier.load("bundle")
    classifier({"acoustic": x, "seismic": y}) -> Prediction; a key left out or None is a missing modality.
    """

    def __init__(self, bundle: Bundle, backend: Backend, budget_bytes: float | None = None) -> None:
        self.bundle = bundle
        self.spec = bundle.manifest.spec
        self.labels = bundle.manifest.labels
        self._backend = backend
        self._names: dict[Pattern, str] = {p: self.spec.pattern_name(p) for p in self.spec.patterns()}
        self._shapes = {m.name: (1, *m.shape) for m in self.spec.modalities}
        self._temperatures = {n: bundle.manifest.temperatures.get(n, 1.0) for n in self._names.values()}
        self._runners: OrderedDict[str, Runner] = OrderedDict()
        self._sizes = {n: _graph_bytes(bundle, n) for n in self._names.values()}
        self._budget = budget_bytes
        # The complete graph last: with a small budget it is the one to keep.
        for pattern in reversed(self.spec.patterns()):
            self._runner(self._names[pattern])

    @classmethod
    def load(cls, path: str | Path, *, memory_mb: float | None = None, threads: int = 1) -> Classifier:
        """Verify and open a bundle. Every graph is opened and run once now, so that no later window pays for it.

        memory_mb: keep only the least recently used graphs out of so many MB (of graphs and their weights); None: keep
        all. Raises InputError for a damaged bundle, MissingExtraError without ONNX Runtime.
        """
        if memory_mb is not None and memory_mb <= 0:
            raise InputError(f"memory_mb: must be above 0, not {memory_mb}")
        budget = None if memory_mb is None else memory_mb * 1e6
        return cls(open_bundle(Path(path)), OnnxRuntimeBackend(threads), budget)

    def __call__(self, windows: Mapping[str, NDArray[np.float32] | None], start_s: float = 0.0) -> Prediction:
        """Classify one window. windows: name -> float32 [channels, samples] ([samples] where there is one channel).

        Raises InputError: an unknown name, no live modality, a wrong shape or dtype, a NaN or infinity.
        """
        began = time.perf_counter()
        live = {}
        for name, values in windows.items():
            if name not in self._shapes:
                raise InputError(f"{name}: is no modality of this bundle; it has {', '.join(self.spec.names)}")
            if values is not None:
                live[name] = self._checked(self.spec[name], values)
        if not live:
            raise InputError(f"no live modality: give at least one of {', '.join(self.spec.names)}")
        pattern = self._names[frozenset(live)]
        logits = self._runner(pattern).run(live)[0]
        if not np.isfinite(logits).all():
            raise InputError(f"{pattern}: the window's samples are too large to be computed with; scale them")
        probabilities = _softmax(logits, self._temperatures[pattern])
        return Prediction(
            label=self.labels[int(probabilities.argmax())],
            probabilities=dict(zip(self.labels, probabilities.tolist(), strict=True)),
            pattern=pattern,
            latency_s=time.perf_counter() - began,
            start_s=start_s,
            end_s=start_s + self.spec.window_s,
        )

    @property
    def opened(self) -> tuple[str, ...]:
        """Patterns whose graphs are in memory, the least recently used first."""
        return tuple(self._runners)

    def _checked(self, modality: Modality, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The window as the graph takes it, [1, channels, samples]."""
        name = modality.name
        if not isinstance(values, np.ndarray) or values.dtype not in (np.float32, np.float64):
            kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
            raise InputError(f"{name}: must be a float32 array, not {kind}; convert it")
        if values.shape != modality.shape and not (modality.channels == 1 and values.shape == (modality.samples,)):
            raise InputError(
                f"{name}: has shape {list(values.shape)} instead of {list(modality.shape)} "
                f"({modality.window_s:g} s at {modality.rate_hz:g} Hz)"
            )
        with np.errstate(over="ignore"):  # A float64 too large for float32 becomes an infinity, which is told below.
            window = np.ascontiguousarray(values, dtype=np.float32).reshape(self._shapes[name])
        if not all_finite(window):
            raise InputError(f"{name}: holds a NaN or an infinity; leave the modality out instead")
        return window

    def _runner(self, pattern: str) -> Runner:
        """The opened graph of a pattern; the least recently used ones make room where the budget is exceeded."""
        runner = self._runners.get(pattern)
        if runner is not None:
            self._runners.move_to_end(pattern)
            return runner
        while self._runners and self._budget is not None:
            if self._sizes[pattern] + sum(self._sizes[name] for name in self._runners) <= self._budget:
                break
            self._runners.popitem(last=False)
        graph = self.bundle.graph_file(pattern, PRECISION)
        runner = self._backend.open(self.bundle, pattern, PRECISION)
        live = [self.spec[name] for name in self.spec.names if name in self.spec.parse_pattern(pattern)]
        # Its first run, in which it takes its memory.
        logits = runner.run({m.name: np.full(self._shapes[m.name], m.placeholder, np.float32) for m in live})
        if logits.shape != (1, len(self.labels)):
            raise InputError(
                f"{graph}: gives {list(logits.shape)} instead of one logit for each of the {len(self.labels)} labels; "
                "export the bundle again"
            )
        self._runners[pattern] = runner
        return runner


def _softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """exp(z / T) / sum exp(z / T) of logits [C], without overflow."""
    scaled = logits.astype(np.float64) / temperature
    raised = np.exp(scaled - scaled.max())
    return np.asarray(raised / raised.sum())


def _graph_bytes(bundle: Bundle, pattern: str) -> float:
    """What an open graph takes at most: itself and all weights, of which it may use a part."""
    return bundle.graph(pattern, PRECISION).file.size + bundle.manifest.weights[PRECISION].size
