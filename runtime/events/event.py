"""What the service tells the world: a track begins, goes on, ends. Plain structs, the same in every sink."""

from __future__ import annotations

from typing import Literal

import msgspec

from rep_edge.runtime.prediction import Alternative

Phase = Literal["onset", "update", "end"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One message about a track: something of one class that was heard for a while.

    id: "<track>.<number>", the number counting from 0 within the track: a receiver drops an id that it has seen.
    track: id of the track, unique for ever; node: name of the sensor node; label: its class.
    confidence: the smoothed probability of the class now; peak: the largest one so far.
    start_s, end_s: onset, and end of the latest window that belongs to it, in s since 1970.
    pattern: live modalities of the latest window, joined by "+"; windows: how many belong to it so far.
    suspects: modality that takes part though it is suspect -> why; alternative: the answer without them.
    clip: name of the recording of it, "" for none; it is there once the track has ended and its clip is written.
    """

    id: str
    track: str
    node: str
    phase: Phase
    label: str
    confidence: float
    peak: float
    start_s: float
    end_s: float
    pattern: str
    windows: int
    suspects: dict[str, str] = {}
    alternative: Alternative | None = None
    clip: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one hop, so that no filter is silent.

    end_s: end of the window in s since 1970; label, confidence: the most probable class and its smoothed probability
    (None and 0 where no stream was live); event: id of the event that it gave, "" for none; why: for people, why there
    is no event, or what it did to the track: "Truck 0.43 is below 0.60 (acoustic)", "Truck in 1 of 2 windows".
    """

    node: str
    end_s: float
    label: str | None
    confidence: float
    event: str
    why: str
