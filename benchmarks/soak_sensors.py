"""Sensors of the soak: noise whose loudness comes and goes, on clocks of their own, with faults drawn all the time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from soak_bundle import LEVELS

from rep_edge.runtime.faults.fault import KINDS, Fault
from rep_edge.runtime.faults.injecting import inject
from rep_edge.runtime.sources.live import Chunk
from rep_edge.signals import Stream, WindowSpec

SEGMENT_S = 600.0
"""Seconds of stream for which scenes and faults are drawn at once; neither crosses its end."""
CHUNK_S = 0.1
UNDER_WAY_S = 0.02
"""The least time from the last sample of a chunk to its arrival; more by chance."""
CLOCKS = ((0.0, 0.0), (1_700_000_000.0, 20e-6), (55.0, -40e-6))
"""Offset in s and drift of the first, second ... sensor's clock."""
QUIET_S, LOUD_S = 40.0, 12.0
"""Mean length of a quiet and of a loud scene."""
BETWEEN_FAULTS_S, CLEAR_S = 45.0, 12.0
"""Mean and least time from the end of a stream's fault to the next one's beginning."""
LENGTHS_S = (0.3, 30.0)
"""Shortest and longest fault; short ones are as frequent as long ones on a scale of factors."""
COMPANY = 0.15
"""Share of faults that have another one of the same stream on top of them."""
STEPS = {"jump": (-20.0, 20.0), "late": (0.2, 8.0), "drift": (-2000.0, 2000.0)}
"""Kind -> least and greatest value, where the default alone says little."""


class Segment(NamedTuple):
    """Stream time from `start_s` on for SEGMENT_S. faults: their times count from `start_s`."""

    start_s: float
    faults: tuple[Fault, ...]
    deliveries: Iterator[tuple[str, Chunk]]


def segments(spec: WindowSpec, seed: int, start_s: float) -> Iterator[Segment]:
    """Without an end. Chunks say when they arrived in stream time; of a segment they come in that order."""
    rng = np.random.default_rng([seed, round(start_s)])
    while True:
        faults = tuple(fault for m in spec.streams for fault in _draw_faults(m.name, rng))
        scenes = _draw_scenes(rng)
        streams = [
            _stream(m, number, start_s, scenes, [f for f in faults if f.stream == m.name], int(rng.integers(1 << 30)))
            for number, m in enumerate(spec.streams)
        ]
        yield Segment(start_s, faults, heapq.merge(*streams, key=lambda delivery: delivery[1].arrived_s))
        start_s += SEGMENT_S


def _draw_faults(stream: str, rng: np.random.Generator) -> Iterator[Fault]:
    now_s = 5.0
    while True:
        now_s += CLEAR_S + rng.exponential(BETWEEN_FAULTS_S - CLEAR_S)
        end_s = now_s + float(np.exp(rng.uniform(*np.log(LENGTHS_S))))
        if end_s > SEGMENT_S - CLEAR_S:
            return
        yield _draw_fault(stream, now_s, end_s, rng)
        if rng.random() < COMPANY:
            yield _draw_fault(stream, now_s + rng.uniform(0, end_s - now_s), end_s, rng)
        now_s = end_s


def _draw_fault(stream: str, start_s: float, end_s: float, rng: np.random.Generator) -> Fault:
    kind = str(rng.choice(list(KINDS)))
    value = float(rng.uniform(*STEPS[kind])) if kind in STEPS else KINDS[kind].default
    return Fault(stream=stream, kind=kind, value=value, start_s=float(start_s), end_s=float(end_s))


def _draw_scenes(rng: np.random.Generator) -> list[tuple[float, float]]:
    """(beginning in s, RMS) in turn."""
    now_s, scenes = 0.0, [(0.0, LEVELS["background"])]
    while now_s < SEGMENT_S:
        now_s += rng.exponential(QUIET_S)
        scenes.append((now_s, LEVELS[str(rng.choice(["light", "heavy"]))]))
        now_s += 4.0 + rng.exponential(LOUD_S - 4.0)
        scenes.append((now_s, LEVELS["background"]))
    return scenes


def _stream(
    modality: Stream, number: int, start_s: float, scenes: list[tuple[float, float]], faults: list[Fault], seed: int
) -> Iterator[tuple[str, Chunk]]:
    """One sensor's chunks of a segment, with its faults."""
    offset_s, drift = CLOCKS[number % len(CLOCKS)]

    def sensor_s(line_s: float) -> float:
        return offset_s + line_s * (1 + drift)

    def clean() -> Iterator[Chunk]:
        rng = np.random.default_rng(seed)
        size, scene, arrived_s = round(CHUNK_S * modality.rate_hz), 0, start_s
        for turn in range(round(SEGMENT_S / CHUNK_S)):
            now_s = turn * CHUNK_S
            while scene + 1 < len(scenes) and scenes[scene + 1][0] <= now_s:
                scene += 1
            noise = rng.standard_normal((modality.channels, size), np.float32) * np.float32(scenes[scene][1])
            arrived_s = max(arrived_s, start_s + now_s + CHUNK_S + UNDER_WAY_S + rng.exponential(0.004))
            yield Chunk(noise, sensor_s(start_s + now_s), modality.rate_hz, arrived_s)

    return ((modality.name, chunk) for chunk in inject(clean(), faults, seed, sensor_s(start_s)))
