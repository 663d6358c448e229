"""How far a training run is: a live bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """Context manager around a run of `steps` steps, `done` of which were made before. metric: that judges epochs."""

    def __init__(self, steps: int, batch_size: int, done: int, metric: str, *, quiet: bool) -> None:
        self.batch_size, self.metric, self.quiet = batch_size, metric, quiet
        self.live = sys.stderr.isatty() and not quiet
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.completed}/{task.total} steps, {task.fields[rate]:.0f} windows/s, loss {task.fields[loss]:.3f}"
            ),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self.live,
        )
        self.task = self.bar.add_task("training", total=steps, completed=done, rate=0.0, loss=float("nan"))
        self.since = time.monotonic()
        self.losses: list[float] = []

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def step(self, loss: float) -> None:
        """One step is done."""
        self.losses.append(loss)
        self.bar.update(self.task, advance=1, rate=self._rate(), loss=loss)

    def epoch(self, number: int, of: int, entry: Mapping[str, float], best: float) -> None:
        """An epoch is done: one line that stays."""
        line = (
            f"epoch {number}/{of}: loss {entry['loss']:.3f}, validation {self.metric} "
            f"{100 * entry['validation_score']:.1f} % (best {100 * best:.1f} %), {self._rate():.0f} windows/s"
        )
        if self.live:
            self.bar.console.print(line, highlight=False)
        elif not self.quiet:
            print(line, file=sys.stderr, flush=True)
        self.since, self.losses = time.monotonic(), []

    def _rate(self) -> float:
        return len(self.losses) * self.batch_size / max(1e-9, time.monotonic() - self.since)
