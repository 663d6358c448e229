"""Where streams come from: addresses as they stand on the command line and in the configuration file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources.files import open_recording
from rep_edge.runtime.sources.live import Source
from rep_edge.runtime.sources.microphone import MicrophoneSource
from rep_edge.runtime.sources.pace import Speed
from rep_edge.runtime.sources.pcm import PcmSource
from rep_edge.runtime.sources.playback import PlaybackSource
from rep_edge.runtime.sources.recording import Recording
from rep_edge.runtime.sources.rtsp import RtspSource
from rep_edge.runtime.sources.sds import SdsSource
from rep_edge.runtime.sources.uri import Uri, parse_peer, parse_uri
from rep_edge.signals import Stream, WindowSpec

RTSP = ("rtsp", "rtsps")
"""Schemes whose "?" belongs to the camera."""


def named_addresses(texts: Iterable[str], spec: WindowSpec) -> dict[str, str]:
    """Modality to its address, in modality order, for every NAME=URI of the command line.

    Raises InputError for another form, a modality that the bundle has not or that is given twice, and for none at all.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, uri = text.partition("=")
        told = f"--source {name}{separator}{parse_uri(uri, RTSP).told}" if uri else f"--source {text}"
        if not (separator and uri and name):
            raise InputError(f"{told}: must be NAME=ADDRESS, such as {spec.names[0]}=recording.wav")
        if name not in spec.names:
            raise InputError(f"{told}: {name} is no modality of this bundle; it has {', '.join(spec.names)}")
        if name in found:
            raise InputError(f"{told}: {name} is given twice")
        found[name] = uri
    if not found:
        raise InputError(f"--source: give at least one, such as --source {spec.names[0]}=recording.wav")
    return {name: found[name] for name in spec.names if name in found}


def is_recording(address: str) -> bool:
    """Whether it is a file to be read from its beginning to its end: a path, or file:, with no option but ?channel=."""
    uri = parse_uri(address, RTSP)
    return _is_file(uri) and uri.options.keys() <= {"channel"}


def open_sources(texts: Iterable[str], spec: WindowSpec) -> dict[str, Recording]:
    """Modality to its recording, in modality order, for every NAME=URI given. Raises InputError, MissingExtraError."""
    return {name: read_file(address, spec.stream(name)) for name, address in named_addresses(texts, spec).items()}


def read_file(address: str, modality: Stream) -> Recording:
    """The recording at an address that is a file. Raises InputError, MissingExtraError."""
    uri = parse_uri(address, RTSP)
    if not _is_file(uri):
        _scheme(uri)
        raise InputError(f"{uri.told}: is a live sensor, and here only files can be read; use  rep-edge stream")
    uri.require_known("channel")
    return open_recording(Path(uri.rest), modality, uri.options.get("channel"))


def open_source(name: str, uri: str, modality: Stream) -> Source:
    """The live sensor at an address; nothing is connected yet. name: of its stream, for what goes wrong.

    Raises InputError for an unknown scheme, option or value, without passwords; MissingExtraError.
    """
    try:
        parsed = parse_uri(uri, RTSP)
        return _scheme(parsed)(parsed, modality)
    except MissingExtraError:
        raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _is_file(uri: Uri) -> bool:
    return uri.scheme in ("", "file") and uri.rest != "-"


def _scheme(uri: Uri) -> Callable[[Uri, Stream], Source]:
    scheme = "-" if uri.rest == "-" and not uri.scheme else uri.scheme or "file"
    if scheme not in SCHEMES:
        known = ", ".join(known if known == "-" else f"{known}:" for known in SCHEMES)
        raise InputError(f"{uri.told}: {scheme}: is not known; known are a path, {known}")
    return SCHEMES[scheme]


def _file(uri: Uri, modality: Stream) -> Source:
    uri.require_known("channel", "speed", "loop")
    speed: Speed = uri.choice("speed", "real", "max")
    loop = uri.choice("loop", "no", "yes") == "yes"
    return PlaybackSource(Path(uri.rest), modality, uri.options.get("channel"), speed, loop)


def _sds(uri: Uri, modality: Stream) -> Source:
    uri.require_known("station", "from", "to", "speed")
    if "station" not in uri.options:
        raise InputError(f"{uri.told}: needs ?station=NET.STA.LOC.CHA")
    begin_s, end_s = _time(uri, "from", -math.inf), _time(uri, "to", math.inf)
    if end_s <= begin_s:
        raise InputError(f"{uri.told}: to must be after from")
    speed: Speed = uri.choice("speed", "real", "max")
    return SdsSource(Path(uri.rest), modality, uri.options["station"], begin_s, end_s, speed)


def _microphone(uri: Uri, modality: Stream) -> Source:
    uri.require_known("rate_hz")
    return MicrophoneSource(modality, uri.rest, uri.number("rate_hz"))


def _pcm(uri: Uri, modality: Stream) -> Source:
    uri.require_known("format", "rate_hz")
    return PcmSource(modality, uri.choice("format", "s16le", "s32le", "f32le"), uri.number("rate_hz"))


def _rtsp(uri: Uri, modality: Stream) -> Source:
    parse_peer(uri, None, 554)
    return RtspSource(modality, f"{uri.scheme}://{uri.rest}")


def _shake(uri: Uri, modality: Stream) -> Source:
    from rep_edge.runtime.sources.shake import ShakeSource

    uri.require_known("channel", "sender", "rate_hz")
    peer = parse_peer(uri, "0.0.0.0", 8888)
    channel, sender = uri.options.get("channel", "EHZ"), uri.options.get("sender")
    return ShakeSource(modality, peer.host, peer.port, channel, sender, uri.number("rate_hz") or 100.0)


def _seedlink(uri: Uri, modality: Stream) -> Source:
    from rep_edge.runtime.sources.seedlink import SeedLinkSource

    uri.require_known()
    peer = parse_peer(uri, None, 18000)
    codes = peer.path.split(".")
    if len(codes) != 4:
        raise InputError(f"{uri.told}: must be seedlink:HOST:PORT/NET.STA.LOC.CHA")
    network, station, location, channel = codes
    return SeedLinkSource(
        modality, peer.host, peer.port, network=network, station=station, location=location, channel=channel
    )


def _mqtt(uri: Uri, modality: Stream) -> Source:
    from rep_edge.runtime.sources.mqtt import MqttSource

    uri.require_known("rate_hz")
    tls = uri.scheme == "mqtts"
    peer = parse_peer(uri, None, 8883 if tls else 1883)
    if not peer.path:
        raise InputError(f"{uri.told}: must be {uri.scheme}:HOST:PORT/TOPIC")
    return MqttSource(
        modality,
        peer.host,
        peer.port,
        topic=peer.path,
        username=peer.username,
        password=peer.password,
        tls=tls,
        rate_hz=uri.number("rate_hz"),
    )


def _time(uri: Uri, name: str, default: float) -> float:
    """An option that is a time, UTC where it names no other zone, in s since 1970."""
    text = uri.options.get(name)
    if text is None:
        return default
    try:
        time = datetime.fromisoformat(text.removesuffix("Z"))
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(f"{uri.told}: {name} must be a time such as 2026-01-01T00:00:00, not {text}") from error


SCHEMES: dict[str, Callable[[Uri, Stream], Source]] = {
    "file": _file,
    "sds": _sds,
    "mic": _microphone,
    "-": _pcm,
    "shake": _shake,
    "seedlink": _seedlink,
    "mqtt": _mqtt,
    "mqtts": _mqtt,
    "rtsp": _rtsp,
    "rtsps": _rtsp,
}
