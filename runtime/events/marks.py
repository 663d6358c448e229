"""A person's word on a track: whether its class is right, and which one it is where it is not."""

from __future__ import annotations

import msgspec


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person who has seen or heard a track says of it. A later mark of the same track takes its place.

    track: id of the track; right: whether its class is the right one; label: the right class where it is not, "" where
    nothing of interest was there; note: words for people; marked_s: when, in s since 1970.
    """

    track: str
    right: bool
    label: str = ""
    note: str = ""
    marked_s: float
