"""The simulated source: seven classes of vehicles and walkers, heard by a microphone and felt by a geophone.

No download: every run draws its own site, course, speed, wind, engine and gains from the seed. `docs/simulated.md`
holds the equations. Confusable by sound: Truck and mustang (both V8), Polaris and motor (twins), tesla and walk far off
(both near the wind). Told apart by the ground: their weight, wheelbase, wheel hop and footsteps. Confusable in the
ground: tesla and mustang (alike in mass and wheelbase), motor and Polaris far off; told apart by sound: the engine or
its absence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rep_edge.config import SimulatedData
from rep_edge.data.simulation import acoustic, seismic
from rep_edge.data.simulation.classes import CLASSES
from rep_edge.data.simulation.scene import draw_scene
from rep_edge.data.windows import Window
from rep_edge.errors import InputError
from rep_edge.signals import WindowSpec

SENSORS = {"acoustic": acoustic.record, "seismic": seismic.record}
"""Modality name -> what records a scene. The order fixes each sensor's random stream: append only."""


class SimulatedDataset:
    """All windows of all runs, made once and kept in memory (float32); a WindowDataset.

    The windows depend on the seed and on each modality's own rate and length alone: a spec with one sensor gives the
    very windows that the sensor has in a spec with both. Windows of a run follow each other without overlap. Raises
    InputError for a modality that is neither "acoustic" nor "seismic" and for counts below 1.
    """

    def __init__(self, config: SimulatedData, spec: WindowSpec) -> None:
        unknown = [name for name in spec.names if name not in SENSORS]
        if unknown:
            raise InputError(
                f"signals: the simulated source has no modality {', '.join(unknown)}; it knows {', '.join(SENSORS)}: "
                "use those names"
            )
        if config.runs_per_class < 1 or config.windows_per_run < 1 or config.seed < 0:
            raise InputError(
                "data: runs_per_class and windows_per_run must be at least 1 and seed at least 0; "
                "correct them in the configuration"
            )
        self._spec, self._config = spec, config
        self._labels = tuple(CLASSES)
        per_run, n_runs = config.windows_per_run, config.runs_per_class * len(CLASSES)
        self._targets = np.repeat(np.arange(len(CLASSES), dtype=np.int64), config.runs_per_class * per_run)
        names = [f"{label}-{run:03d}" for label in CLASSES for run in range(config.runs_per_class)]
        self._recordings = tuple(name for name in names for _ in range(per_run))
        self._values = {m.name: np.empty((n_runs * per_run, *m.shape), dtype=np.float32) for m in spec.streams}
        self._starts = np.asarray(np.arange(per_run) * spec.window_s, dtype=np.float64)
        for index in range(n_runs):
            self._simulate(index, *divmod(index, config.runs_per_class))

    def _simulate(self, index: int, label: int, run: int) -> None:
        """Fills the windows of one run."""
        seeds = np.random.SeedSequence((self._config.seed, label, run)).spawn(1 + len(SENSORS))
        duration = self._config.windows_per_run * self._spec.window_s
        scene = draw_scene(np.random.default_rng(seeds[0]), CLASSES[self._labels[label]], duration)
        rows = slice(index * len(self._starts), (index + 1) * len(self._starts))
        for seed, (name, record) in zip(seeds[1:], SENSORS.items(), strict=True):
            if name in self._values:
                rng = np.random.default_rng(seed)
                self._values[name][rows] = record(rng, scene, self._spec.stream(name), self._starts)

    @property
    def spec(self) -> WindowSpec:
        return self._spec

    @property
    def name(self) -> str:
        c = self._config
        return f"simulated ({c.runs_per_class} runs per class, {c.windows_per_run} windows per run, seed {c.seed})"

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def targets(self) -> NDArray[np.int64]:
        return self._targets

    @property
    def recordings(self) -> tuple[str, ...]:
        return self._recordings

    @property
    def report(self) -> tuple[str, ...]:
        return ()

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> Window:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        values = {name: array[index] for name, array in self._values.items()}
        start = float(self._starts[index % len(self._starts)])
        return Window(values, int(self._targets[index]), self._recordings[index], start)
