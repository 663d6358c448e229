"""What may go wrong with a stream and when, and the words that people ask for it with."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import msgspec

from rep_edge.errors import InputError
from rep_edge.signals import WindowSpec


class Kind(NamedTuple):
    """meaning: in one line, for people; unit: of its value, "" where it takes none; default, lowest, highest: of it."""

    meaning: str
    unit: str = ""
    default: float = 0.0
    lowest: float = -math.inf
    highest: float = math.inf


KINDS = {
    "gain": Kind("samples are so many times as large", "factor", 0.1),
    "offset": Kind("a constant is added", "RMS", 10.0),
    "noise": Kind("Gaussian noise is added", "RMS", 1.0, 0.0),
    "clip": Kind("samples are cut off this far from their mean", "RMS", 0.5, 0.0),
    "stuck": Kind("the last sample before is repeated"),
    "nan": Kind("this share of the samples are no numbers", "share", 0.1, 0.0, 1.0),
    "rate": Kind("so many times as many samples come as the stated rate says", "factor", 0.9, 0.1, 10.0),
    "dropout": Kind("nothing comes"),
    "burst": Kind("this share of the chunks is lost, some at a stretch", "share", 0.3, 0.0, 0.8),
    "duplicate": Kind("this share of the chunks comes twice", "share", 1.0, 0.0, 1.0),
    "reorder": Kind("this share of the chunks comes after the one that follows it", "share", 0.5, 0.0, 1.0),
    "late": Kind("chunks are delayed, in order, and all that is held comes at the end", "s", 1.0, 0.0),
    "jump": Kind("the sensor's clock is wrong by this much", "s", 5.0),
    "drift": Kind("the sensor's clock gains this much, and is set right at the end", "ppm", 100.0),
}
"""Name to kind, in the order in which faults of one stream are applied: samples, then how they come, then their clock.
RMS: of the samples about their mean, as the fault begins."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with one stream.

    stream: name of the modality; kind: of KINDS; value: in the kind's unit, 0 where it has none; start_s, end_s: when,
    in s from the stream's beginning, by the times at which samples were taken.
    """

    stream: str
    kind: str
    start_s: float
    end_s: float
    value: float = 0.0

    def covers(self, time_s: float) -> bool:
        """Whether it is on at a time in s from the stream's beginning."""
        return self.start_s <= time_s < self.end_s


def parse_faults(text: str | None, spec: WindowSpec) -> list[Fault]:
    """The faults of "acoustic:nan@10-20,seismic:drift=200@0-60".

    Raises InputError for another form, an unknown name or kind, a value that the kind has not, and an empty span.
    """
    return [_parse_fault(part, spec) for part in text.split(",")] if text else []


def _parse_fault(text: str, spec: WindowSpec) -> Fault:
    number = r"\d+(?:\.\d+)?"
    match = re.fullmatch(rf"\s*(\w+):(\w+)(?:=([+-]?{number}))?@({number})-({number})\s*", text)
    if not match:
        form = "NAME:KIND[=VALUE]@FROM-TO in seconds"
        raise InputError(f"--fault {text}: must be {form}, such as {spec.names[0]}:gain=0.1@10-20")
    name, kind, value, start_s, end_s = match.groups()
    if name not in spec.names:
        raise InputError(f"--fault {text}: {name} is no modality of this bundle; it has {', '.join(spec.names)}")
    if kind not in KINDS:
        raise InputError(f"--fault {text}: {kind} is no kind of fault; known are {', '.join(KINDS)}")
    known = KINDS[kind]
    if value is not None and not known.unit:
        raise InputError(f"--fault {text}: {kind} takes no value; leave ={value} out")
    given = known.default if value is None else float(value)
    if not known.lowest <= given <= known.highest:
        raise InputError(f"--fault {text}: {kind} must be {_range(known)}, not {given:g}")
    if float(end_s) <= float(start_s):
        raise InputError(f"--fault {text}: ends before it begins")
    return Fault(stream=name, kind=kind, value=given, start_s=float(start_s), end_s=float(end_s))


def _range(kind: Kind) -> str:
    """ "at least 0 s", "0 to 1 share"."""
    if kind.highest == math.inf:
        return f"at least {kind.lowest:g} {kind.unit}"
    return f"from {kind.lowest:g} to {kind.highest:g} ({kind.unit})"
