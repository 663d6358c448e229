"""Windows to a prediction: the graph is chosen by which modalities are there."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.activation import activate
from rep_edge.runtime.backends.base import Backend, Runner
from rep_edge.runtime.backends.building import Building, start_building
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.choosing import AUTO, CPU_BACKEND, NATIVE, Wish, find_candidates, start_backend
from rep_edge.runtime.engines.lookup import EngineMissing
from rep_edge.runtime.prediction import Prediction
from rep_edge.runtime.trimming import trim
from rep_edge.runtime.window import checked_window
from rep_edge.signals import Example, Pattern

ONE_BY_ONE = frozenset({"onnxruntime-tensorrt", "onnxruntime-rtx"})
"""Backends that build anew for every number of windows in a run, which would hold up the stream for seconds."""

GIVEN = 0.5
"""Probability from which a label counts as given where several may apply."""
NOTHING = Prediction(label=None, probabilities={}, pattern="", latency_s=0.0, start_s=0.0, end_s=0.0)


class Classifier:
    """A bundle, opened and warmed.

    classifier = Classifier.load("bundle")
    classifier({"acoustic": x, "seismic": y}) -> Prediction; a key left out or None is a missing modality.

    backend, precision: what runs it, such as "onnxruntime-cpu" and "int8"; reasons: lines that say why, and what has
    changed since. It is used by one thread.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        precision: str = "fp32",
        budget_bytes: float | None = None,
        reasons: Iterable[str] = (),
    ) -> None:
        """Raises InputError where the backend cannot open a graph of that precision; nothing stays open then."""
        self.bundle = bundle
        self.spec = bundle.manifest.spec
        self._modalities = {m.name: m for m in self.spec.modalities}
        self.labels = bundle.manifest.labels
        self.backend, self.precision, self.reasons = backend.name, precision, list(reasons)
        self._backend = backend
        self._names: dict[Pattern, str] = {p: self.spec.pattern_name(p) for p in self.spec.patterns()}
        self.task = bundle.manifest.task
        self._trimmed = frozenset(bundle.manifest.trimmed)
        self._temperatures = {n: bundle.manifest.temperatures.get(n, 1.0) for n in self._names.values()}
        sets = bundle.manifest.label_sets
        self._thresholds = {} if sets is None else sets.thresholds
        self._runners: OrderedDict[str, Runner] = OrderedDict()
        self._sizes = {n: _graph_bytes(bundle, n, precision) for n in self._names.values()}
        self._budget = budget_bytes
        self._building: Building | None = None
        try:
            # The complete graph last: with a small budget it is the one to keep.
            for pattern in reversed(self.spec.patterns()):
                self._runner(self._names[pattern])
        except BaseException:
            self.close()
            raise

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        backend: str = AUTO,
        precision: str = AUTO,
        require_gpu: bool = False,
        memory_mb: float | None = None,
        threads: int = 1,
        prepack: bool = False,
    ) -> Classifier:
        """Verify and open a bundle. Every graph is opened and run once now, so that no later window pays for it.

        backend, precision: by name, or "auto": the first backend that starts here and the precision that suits it.
        Where TensorRT is installed and only its engines are missing, "auto" builds them in a process of its own, and
        each graph moves to its engine between two windows. A backend that was named either starts or is an error.
        require_gpu: the CPU will not do. memory_mb: keep only the least recently used graphs out of so many MB (of
        graphs and their weights); None: keep all. threads: of ONNX Runtime on the CPU; prepack: let it copy
        each graph's weights into the order in which it reads them, which is faster and takes a bundle's size more.

        Raises InputError for a damaged bundle and for what cannot be had, MissingExtraError without a package for it.
        """
        if memory_mb is not None and memory_mb <= 0:
            raise InputError(f"memory_mb: must be above 0, not {memory_mb}")
        if threads < 1:
            raise InputError(f"threads: must be at least 1, not {threads}")
        budget = None if memory_mb is None else memory_mb * 1e6
        wish = Wish(backend, precision, require_gpu)
        started = start_classifier(open_bundle(Path(path)), wish, budget, threads, prepack)
        if started.unbuilt is not None:
            started.classifier.build_engines(*started.unbuilt)
        return started.classifier

    def __call__(self, windows: Mapping[str, Example | None], start_s: float = 0.0) -> Prediction:
        """Classify one window. windows: name -> array of the modality's shape and dtype, such as float32
        [channels, samples] ([samples] where there is one channel).

        Raises InputError: an unknown name, no live modality, a wrong shape or dtype, a NaN, an infinity, an unknown id.
        """
        return self.batch([windows], [start_s])[0]

    def batch(self, windows: Sequence[Mapping[str, Example | None]], start_s: Sequence[float]) -> list[Prediction]:
        """Classify windows in which the same modalities are there, in one run of their graph; each as in a call.

        latency_s: of each, its share of the whole. Where the backend would build an engine for every new number of
        windows, they go one by one. Raises InputError as a call does, if any window gives reason to, and for windows
        of several patterns.
        """
        began = time.perf_counter()
        rows = [self._live(window) for window in windows]
        if not rows:
            return []
        if any(row.keys() != rows[0].keys() for row in rows):
            raise InputError("windows of several patterns: give those of one pattern at a time")
        pattern = self._names[frozenset(rows[0])]
        logits = self._run(pattern, rows)
        if not np.isfinite(logits).all():
            raise InputError(f"{pattern}: the window's samples are too large to be computed with; scale them")
        said = activate(self.task, logits, self._temperatures[pattern])
        latency_s = (time.perf_counter() - began) / len(rows)
        return [self._prediction(pattern, row, at_s, latency_s) for row, at_s in zip(said, start_s, strict=True)]

    def build_engines(self, backend: Backend, precision: str) -> None:
        """Have the engines built that `backend` lacks, and move each graph to its own once it is there.

        A line in `reasons` says so, and a later one how it ended. Within a memory budget nothing is built: engines
        that are opened beside the graphs would exceed it.
        """
        if self._budget is not None:
            self.reasons.append(
                f"{backend.name}: no engines are built within a memory budget; run  rep-edge compile {self.bundle.path}"
            )
            return
        self._building = start_building(
            self.bundle,
            backend,
            precision,
            open_pattern=lambda pattern: open_graph(self.bundle, backend, pattern, precision),
            tell=self.reasons.append,
        )

    def close(self) -> None:
        """Give back all graphs; stop what builds engines. It is not to be called after that."""
        if self._building is not None:
            self._building.close()
            self._building = None
        while self._runners:
            self._runners.popitem()[1].close()

    @property
    def opened(self) -> tuple[str, ...]:
        """Patterns whose graphs are in memory, the least recently used first."""
        return tuple(self._runners)

    def _live(self, windows: Mapping[str, Example | None]) -> dict[str, Example]:
        """The modalities that are there, as the graph takes them."""
        live = {}
        for name, values in windows.items():
            if name not in self._modalities:
                raise InputError(f"{name}: is no modality of this bundle; it has {', '.join(self.spec.names)}")
            if values is not None:
                live[name] = checked_window(self._modalities[name], values)
        if not live:
            raise InputError(f"no live modality: give at least one of {', '.join(self.spec.names)}")
        return live

    def _run(self, pattern: str, rows: Sequence[dict[str, Example]]) -> NDArray[np.float32]:
        """Logits [B, classes] of B windows."""
        runner = self._runner(pattern)
        if self.backend in ONE_BY_ONE:
            return np.concatenate([runner.run(row) for row in rows])
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return runner.run(joined if self.backend in NATIVE else trim(joined, self.spec, self._trimmed))

    def _prediction(self, pattern: str, said: NDArray[np.float64], start_s: float, latency_s: float) -> Prediction:
        found = self._value(said) if self.task == "regression" else self._labels(pattern, said)
        return msgspec.structs.replace(
            found, pattern=pattern, latency_s=latency_s, start_s=start_s, end_s=start_s + self.spec.window_s
        )

    def _value(self, said: NDArray[np.float64]) -> Prediction:
        value = float(said[0])
        return msgspec.structs.replace(NOTHING, label=self.labels[int(value > 0)], value=value)

    def _labels(self, pattern: str, probabilities: NDArray[np.float64]) -> Prediction:
        threshold = GIVEN if self.task == "multilabel" else self._thresholds.get(pattern)
        return msgspec.structs.replace(
            NOTHING,
            label=self.labels[int(probabilities.argmax())],
            probabilities=dict(zip(self.labels, probabilities.tolist(), strict=True)),
            label_set=None if threshold is None else self._label_set(probabilities, threshold),
        )

    def _label_set(self, probabilities: NDArray[np.float64], threshold: float) -> tuple[str, ...]:
        order = np.argsort(-probabilities, kind="stable")
        least = 0 if self.task == "multilabel" else 1
        reached = max(least, int((probabilities >= threshold).sum()))
        return tuple(self.labels[i] for i in order[:reached])

    def _runner(self, pattern: str) -> Runner:
        """The opened graph of a pattern; the least recently used ones make room where the budget is exceeded."""
        if self._building is not None:
            self._move_to_engines(self._building)
        runner = self._runners.get(pattern)
        if runner is not None:
            self._runners.move_to_end(pattern)
            return runner
        while self._runners and self._budget is not None:
            if self._sizes[pattern] + sum(self._sizes[name] for name in self._runners) <= self._budget:
                break
            self._runners.popitem(last=False)[1].close()
        runner = open_graph(self.bundle, self._backend, pattern, self.precision)
        self._runners[pattern] = runner
        self._note(pattern, runner)
        return runner

    def _note(self, pattern: str, runner: Runner) -> None:
        line = f"{pattern}: {runner.note}"
        if runner.note and line not in self.reasons:
            self.reasons.append(line)

    def _move_to_engines(self, building: Building) -> None:
        """Take over what has been opened since the last window."""
        failed = building.failed  # Asked before: what was opened until then is taken.
        for pattern, runner in building.take():
            replaced, self._runners[pattern] = self._runners[pattern], runner
            with suppress(InputError):  # The window goes to the engine, however the old graph ends.
                replaced.close()
            self._note(pattern, runner)
        if building.taken == len(self._names):
            self.backend, self.precision = building.backend.name, building.precision
        if building.taken == len(self._names) or failed:
            self._building = None


class Started(NamedTuple):
    """A classifier, and the backend and precision whose engines were missing, if a native TensorRT would be better."""

    classifier: Classifier
    unbuilt: tuple[Backend, str] | None


def start_classifier(
    bundle: Bundle, wish: Wish, budget_bytes: float | None = None, threads: int = 1, prepack: bool = False
) -> Started:
    """The classifier of the best candidate that starts.

    Raises the one error of what was asked for by name, or of the CPU; InputError with every reason where no GPU starts
    and one is required.
    """
    candidates = find_candidates(bundle, wish)
    reasons, unbuilt = list(candidates.passed_over), None
    for candidate in candidates.tried:
        try:
            backend = start_backend(candidate.backend, threads, prepack)
            try:
                why = [*reasons, candidate.why]
                classifier = Classifier(bundle, backend, candidate.precision, budget_bytes, why)
            except EngineMissing:
                unbuilt = unbuilt or (backend, candidate.precision)
                raise
        except InputError as error:
            if wish.backend != AUTO or candidate.backend == CPU_BACKEND:
                raise
            reasons.append(_named(candidate.backend, error))
        else:
            return Started(classifier, None if candidate.backend in NATIVE else unbuilt)
    raise InputError(f"no backend starts on a GPU, and one is required ({'; '.join(reasons)}); run  rep-edge doctor")


def open_graph(bundle: Bundle, backend: Backend, pattern: str, precision: str) -> Runner:
    """A graph that has had its first run, in which it takes its memory.

    Raises InputError where it cannot be opened or run, or gives something else than a logit for each label.
    """
    spec, outputs = bundle.manifest.spec, bundle.manifest.outputs
    runner = backend.open(bundle, pattern, precision)
    try:
        live = [spec[name] for name in spec.names if name in spec.parse_pattern(pattern)]
        logits = runner.run({m.name: m.blank()[None] for m in live})
        if logits.shape != (1, outputs):
            wanted = "one value" if outputs == 1 else f"one logit for each of the {outputs} labels"
            raise InputError(
                f"{bundle.graph_file(pattern, precision)}: gives {list(logits.shape)} instead of {wanted}; export the "
                "bundle again"
            )
    except BaseException:
        with suppress(InputError):
            runner.close()
        raise
    return runner


def _named(backend: str, error: InputError) -> str:
    """The error as a reason that names the backend once."""
    text = str(error)
    return text if text.startswith((f"{backend}:", f"{backend} ")) else f"{backend}: {text}"


def _graph_bytes(bundle: Bundle, pattern: str, precision: str) -> float:
    """What an open graph takes at most: itself and all weights, of which it may use a part."""
    return bundle.graph(pattern, precision).file.size + bundle.manifest.weights[precision].size
