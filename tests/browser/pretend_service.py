"""A service that only pretends: lively nodes for the page's tests and pictures, with streams that can be made to fail.

Run it to look at the page:  python tests/browser/pretend_service.py 8765
"""

from __future__ import annotations

import math
import sys
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rep_edge.runtime.events.clip_files import clip_files
from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.prediction import Alternative
from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.status import NodeStatus, ServiceStatus, SinkStatus, StreamStatus, TrackStatus
from rep_edge.runtime.service.web.opening import open_page
from rep_edge.runtime.service.web.view import Waveform
from rep_edge.signals import Stream

LABELS = ("quiet", "car", "truck", "person")
RATES = {"acoustic": 4000.0, "seismic": 100.0}
MODALITIES = tuple(
    Stream(name=name, rate_hz=rate, samples=int(rate), unit="full scale" if name == "acoustic" else "counts")
    for name, rate in RATES.items()
)
PASS_S = 24.0
"""A vehicle passes so often, in s, and is heard from the 6th to the 18th."""
HOP_S = 0.5
NODES = ("yard", "gate", "north fence")


@lru_cache(maxsize=512)
def second(stream: str, number: int) -> NDArray[np.float32]:
    """One second of a stream, since 1970: noise, and a vehicle that comes and goes."""
    rate = int(RATES[stream])
    t = number + np.arange(rate) / rate
    rng = np.random.default_rng(number)
    nearness = np.exp(-(((t % PASS_S - 12) / 4) ** 2))
    drift = 1 + 0.04 * np.sin(t / 3)
    if stream == "acoustic":
        hum = sum(np.sin(2 * np.pi * 55 * k * drift * (t % PASS_S)) / k for k in (1, 2, 3, 5, 8, 13))
        x = 0.004 * rng.standard_normal(rate) + nearness * (0.05 * hum + 0.03 * rng.standard_normal(rate))
    else:
        shake = sum(np.sin(2 * np.pi * f * drift * (t % PASS_S)) for f in (9, 14, 21))
        x = 16300 + 40 * rng.standard_normal(rate) + nearness * (260 * shake + 150 * rng.standard_normal(rate))
    return np.asarray(x, dtype=np.float32)


def passing(time_s: float) -> tuple[int, float]:
    """Number of the pass at a time since 1970, and seconds into it."""
    return int(time_s // PASS_S), time_s % PASS_S


def label_of(number: int) -> str:
    return ("truck", "car", "truck", "person")[number % 4]


class PretendView:
    """The whole of `View`, made up from the clock. fail(stream, ...) and restore(stream) change one of its nodes."""

    def __init__(self, names: tuple[str, ...] = NODES, folder: Path | None = None) -> None:
        self.names, self.not_ready, self.kept = names, "", {}
        self._folder = folder or Path(tempfile.mkdtemp(prefix="pretend-"))
        self._started_s = time.time() - 5000
        self._lock = threading.Lock()
        self._failed: dict[tuple[str, str], tuple[str, str, str, float]] = {}

    def fail(self, node: str, stream: str, state: str, reason: str, told: str) -> None:
        """From now on the stream is "lost" (nothing comes), "suspect" or "recovering"."""
        self._failed[node, stream] = (state, reason, told, time.time())

    def restore(self, node: str, stream: str) -> None:
        self._failed.pop((node, stream), None)

    def status(self) -> ServiceStatus:
        now_s = time.time()
        sinks = (
            SinkStatus(name="jsonl", state="delivering", behind=0, delivered=412, lost=0),
            SinkStatus(name="mqtt", state="waiting 8 s: connection refused", behind=17, delivered=395, lost=0),
        )
        return ServiceStatus(
            version="0.4.0",
            started_s=self._started_s,
            now_s=now_s,
            not_ready=self.not_ready,
            bundle="vehicles",
            created="2026-05-04",
            backend="onnxruntime",
            precision="int8",
            labels=LABELS,
            hop_s=HOP_S,
            window_s=1.0,
            reloads=0,
            reload_failed="",
            journal_bytes=3_400_000,
            clips_bytes=181_000_000 + 400_000 * passing(now_s)[0] % 7_000_000,
            nodes=tuple(self._node(name, now_s) for name in self.names),
            sinks=sinks,
        )

    def verdicts(self, node: str, limit: int) -> list[Verdict]:
        last = math.floor(time.time() / HOP_S)
        return [self._verdict(node, hop * HOP_S) for hop in range(last - limit + 1, last + 1)]

    def waveform(self, node: str, stream: str, seconds: float) -> Waveform | None:
        if node not in self.names or stream not in RATES:
            return None
        rate, end_s = RATES[stream], time.time() - 0.1
        first = math.floor(end_s - seconds)
        values = np.concatenate([second(stream, number) for number in range(first, math.ceil(end_s))])
        values = values[: int((end_s - first) * rate)]
        state, _, _, since_s = self._failed.get((node, stream), ("", "", "", 0.0))
        if state == "lost":
            values = values.copy()
            values[max(0, int((since_s - first) * rate)) :] = np.nan
        return Waveform(float(first), rate, values[None])

    def tracks(self, limit: int, before_s: float | None) -> list[Event]:
        found = [self.track(f"{node}-{number}") for number in self._ended() for node in self.names]
        heard = [events[-1] for events in found if before_s is None or events[-1].start_s < before_s]
        return sorted(heard, key=lambda event: -event.start_s)[:limit]

    def track(self, track: str) -> list[Event]:
        node, _, number = track.rpartition("-")
        if node not in self.names or not number.isdigit():
            return []
        start_s, label = int(number) * PASS_S + 6 + self.names.index(node) * 0.5, label_of(int(number))
        suspects = {"seismic": "level 14 dB below its usual"} if int(number) % 3 == 0 else {}
        other = Alternative(
            pattern="acoustic", label="car", probabilities={"car": 0.71, "truck": 0.2}, disagreement=0.5
        )
        common = {"track": track, "node": node, "label": label, "start_s": start_s, "pattern": "acoustic+seismic"}
        onset = Event(
            id=f"{track}.0", phase="onset", confidence=0.66, peak=0.66, end_s=start_s + 1, windows=2, **common
        )
        end = Event(
            id=f"{track}.1",
            phase="end",
            confidence=0.58,
            peak=0.93,
            end_s=start_s + 11.5,
            windows=23,
            suspects=suspects,
            alternative=other if suspects else None,
            clip=track,
            **common,
        )
        return [onset, end]

    def marks(self) -> dict[str, Mark]:
        with self._lock:
            return dict(self.kept)

    def mark(self, mark: Mark) -> None:
        with self._lock:
            self.kept[mark.track] = mark

    def clip_file(self, track: str, name: str) -> Path | None:
        if not self.track(track):
            return None
        with self._lock:
            self._clip_files(track)
        return self._folder / track / name

    def _ended(self) -> list[int]:
        """Numbers of the passes that are over, the newest first."""
        number, at_s = passing(time.time())
        last = number if at_s > 19 else number - 1
        return list(range(last, last - 40, -1))

    def _clip_files(self, track: str) -> None:
        """Write the clip of a track, where it is not written yet."""
        event = self.track(track)[-1]
        folder, from_s = self._folder / track, math.floor(event.start_s) - 2
        if folder.exists():
            return
        waveforms = {m.name: np.concatenate([second(m.name, from_s + k) for k in range(16)])[None] for m in MODALITIES}
        folder.mkdir()
        for name, content in clip_files(event, waveforms, float(from_s), MODALITIES).items():
            (folder / name).write_bytes(content)

    def _node(self, name: str, now_s: float) -> NodeStatus:
        number, at_s = passing(now_s)
        p = self._probability(now_s)
        label = label_of(number)
        others = [other for other in LABELS if other not in {label, "quiet"}]
        probabilities = {label: p, "quiet": (1 - p) * 0.8} | dict.fromkeys(others, (1 - p) * 0.1)
        goes_on = 6.5 < at_s < 18
        track = TrackStatus(track=f"{name}-{number}", label=label, confidence=p, start_s=number * PASS_S + 6)
        streams = tuple(self._stream(name, stream, now_s) for stream in RATES)
        live = "+".join(stream.name for stream in streams if stream.state in {"live", "suspect"})
        windows = int((now_s - self._started_s) / HOP_S)
        return NodeStatus(
            name=name,
            windows=windows,
            without=3,
            pattern=live,
            label=max(probabilities, key=lambda which: probabilities[which]) if live else None,
            probabilities={which: probabilities[which] for which in LABELS} if live else {},
            latency_s=0.004 + 0.002 * abs(math.sin(now_s)),
            lag_s=0.31 + 0.1 * abs(math.sin(now_s / 2)),
            switches=4 + len(self._failed),
            patterns={"acoustic+seismic": windows - 40, "acoustic": 37, "": 3},
            events={"car": 50 + number % 7, "truck": 101},
            tracks=(track,) if goes_on and live else (),
            why=self._verdict(name, now_s).why,
            streams=streams,
        )

    def _stream(self, node: str, stream: str, now_s: float) -> StreamStatus:
        state, reason, told, since_s = self._failed.get((node, stream), ("live", "", "", now_s))
        lost = state == "lost"
        address = "mic:hw:1" if stream == "acoustic" else "shake:0.0.0.0:8888?channel=EHZ&sender=192.168.1.9"
        level = 0.004 + 0.04 * self._probability(now_s)
        return StreamStatus(
            name=stream,
            address=address,
            unit="full scale" if stream == "acoustic" else "counts",
            state=state,
            reason=reason,
            told=told,
            connection="waiting 8 s: no packets" if lost else "connected",
            rate_hz=RATES[stream],
            seen_hz=None if lost else RATES[stream] * (1 + 2e-5),
            level=None if lost else level * (1 if stream == "acoustic" else 9000),
            last_sample_s=since_s if lost else now_s - 0.1,
            offset_s=-0.012 if stream == "seismic" else 0.0,
            drift_ppm=18.0 if stream == "seismic" else -2.0,
            gaps=2 if stream == "seismic" else 0,
            filled=9 if stream == "seismic" else 0,
            dropped=0,
            refused={"from another sender": 3} if stream == "seismic" else {},
            reconnects=1 if lost else 0,
        )

    def _probability(self, time_s: float) -> float:
        return 0.03 + 0.92 * math.exp(-(((time_s % PASS_S - 12) / 5) ** 2))

    def _verdict(self, node: str, end_s: float) -> Verdict:
        number, at_s = passing(end_s)
        p, label = self._probability(end_s), label_of(number)
        if p < 0.5:
            label, p = "quiet", 1 - p
            why = f"quiet {p:.2f} is no class to tell of (acoustic+seismic)"
        elif at_s < 9:
            why = f"{label} {p:.2f} is below 0.80 (acoustic+seismic)"
        else:
            why = f"{label} {p:.2f} goes on"
        event = f"{node}-{number}.0" if 9 <= at_s < 9.5 else ""
        return Verdict(
            node=node, end_s=end_s, label=label, confidence=p, event=event, why="onset of a track" if event else why
        )


def main() -> None:
    """The pretended service on a port, until it is interrupted."""
    view = PretendView()
    view.fail("gate", "seismic", "lost", "silent", "no samples for 12.4 s")
    view.fail("yard", "seismic", "suspect", "quiet", "level 14 dB below its usual")
    server = open_page(view, Durations(), None, "127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    print(f"http://127.0.0.1:{server.port}/")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.close()


if __name__ == "__main__":
    main()
