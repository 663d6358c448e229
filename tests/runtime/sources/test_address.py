"""NAME=URI says which sensor comes from where, or is one line that says what is wrong with it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bundles import ACOUSTIC, MAGNETIC, PAIR, SEISMIC
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import EPOCH_S, counts, write_mseed

from rep_edge.errors import InputError
from rep_edge.runtime.sources import address as addresses
from rep_edge.runtime.sources.address import is_recording, named_addresses, open_source, open_sources, read_file
from rep_edge.runtime.sources.live import Source
from rep_edge.runtime.sources.microphone import MicrophoneSource
from rep_edge.runtime.sources.mqtt import MqttSource
from rep_edge.runtime.sources.pcm import PcmSource
from rep_edge.runtime.sources.playback import PlaybackSource
from rep_edge.runtime.sources.rtsp import RtspSource
from rep_edge.runtime.sources.sds import SdsSource
from rep_edge.runtime.sources.seedlink import SeedLinkSource
from rep_edge.runtime.sources.shake import ShakeSource
from rep_edge.runtime.sources.uri import parse_peer, parse_uri, without_passwords
from rep_edge.signals import Stream


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("a.wav", ("a.wav", None)),
        ("/data/a=b.wav", ("/data/a=b.wav", None)),
        ("10:30.wav", ("10:30.wav", None)),
        ("file:a.wav", ("a.wav", None)),
        ("file:///data/s.mseed", ("/data/s.mseed", None)),
        ("s.mseed?channel=EHZ", ("s.mseed", "EHZ")),
        ("file://s.mseed?channel=AM.R24FA.00.EHZ", ("s.mseed", "AM.R24FA.00.EHZ")),
    ],
)
def test_recordings(address: str, read: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(addresses, "open_recording", lambda path, modality, channel: opened.extend((path, channel)))
    assert is_recording(address)
    read_file(address, ACOUSTIC)
    assert opened == [Path(read[0]), read[1]]


@pytest.mark.parametrize(
    "address", ["a.wav?loop=yes", "mic:", "-", "sds:/archive", "shake:", "rtsp://camera/?channel=1"]
)
def test_what_is_no_recording(address: str) -> None:
    assert not is_recording(address)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.wav", "must be NAME=ADDRESS, such as acoustic=recording.wav"),
        ("=a.wav", "must be NAME=ADDRESS"),
        ("acoustic=", "must be NAME=ADDRESS"),
        ("", "must be NAME=ADDRESS"),
        ("radar=a.wav", "radar is no modality of this bundle; it has acoustic, seismic"),
    ],
)
def test_what_names_no_sensor(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        named_addresses([text], PAIR)
    assert str(caught.value).startswith(f"--source {text}")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mqtt://host/topic", "mqtt://host/topic: is a live sensor, and here only files can be read"),
        (
            "udp://host",
            "udp://host: udp: is not known; known are a path, file:, sds:, mic:, -, shake:, seedlink:, mqtt:",
        ),
        ("s.mseed?rate=100", r"s.mseed\?rate=100: rate is no option of it; known are \?channel="),
        ("s.mseed?channel", r"what follows the \? must be NAME=VALUE, joined by &"),
        ("s.mseed?channel=1&channel=2", "an option is given twice"),
    ],
)
def test_what_is_no_recordings_address(address: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_file(address, SEISMIC)


def test_each_kind_is_read_and_order_is_the_bundles(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(800, np.float32), 800)
    write_mseed(tmp_path / "s.MSEED", [("EHZ", 0.0, counts(300))])
    texts = [f"seismic={tmp_path}/s.MSEED", f"acoustic={tmp_path}/a.flac"]
    found = open_sources(texts, PAIR)
    assert list(found) == ["acoustic", "seismic"]
    assert [r.absolute for r in found.values()] == [False, True]
    assert list(open_sources(texts[:1], PAIR)) == ["seismic"]


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound")
    for text, words in (
        (f"acoustic={tmp_path}/none.wav", "none.wav: no such file"),
        (f"acoustic={tmp_path}", "no such file"),
        (f"acoustic={'x' * 5000}.wav", "no such file"),
        (f"acoustic={tmp_path}/notes.txt", "is of no known kind; known are .wav, .flac, .mseed, .ms, .miniseed"),
    ):
        with pytest.raises(InputError, match=words.replace(".", r"\.")):
            open_sources([text], PAIR)
    with pytest.raises(InputError, match="give at least one, such as --source acoustic=recording"):
        open_sources([], PAIR)
    with pytest.raises(InputError, match="acoustic is given twice"):
        open_sources(["acoustic=a.wav", "acoustic=b.wav"], PAIR)


@pytest.mark.parametrize(
    ("uri", "modality", "kind", "address"),
    [
        ("mic:", ACOUSTIC, MicrophoneSource, "mic:"),
        ("mic:USB Audio?rate_hz=16000", ACOUSTIC, MicrophoneSource, "mic:USB Audio"),
        ("mic://hw:1,0", ACOUSTIC, MicrophoneSource, "mic:hw:1,0"),
        ("-", ACOUSTIC, PcmSource, "-"),
        ("-?format=f32le&rate_hz=44100", ACOUSTIC, PcmSource, "-"),
        ("shake:", SEISMIC, ShakeSource, "shake:0.0.0.0:8888?channel=EHZ"),
        (
            "shake:127.0.0.1:9999?channel=EHN&sender=192.168.1.9&rate_hz=50",
            SEISMIC,
            ShakeSource,
            "shake:127.0.0.1:9999?channel=EHN&sender=192.168.1.9",
        ),
        ("seedlink:host/AM.R24FA.00.EHZ", SEISMIC, SeedLinkSource, "seedlink:host:18000/AM.R24FA.00.EHZ"),
        ("seedlink://host:18001/AM.R24FA..EHZ", SEISMIC, SeedLinkSource, "seedlink:host:18001/AM.R24FA..EHZ"),
        ("mqtt:broker/levels/yard?rate_hz=50", SEISMIC, MqttSource, "mqtt:broker:1883/levels/yard"),
        ("mqtts://ann:s3cret@broker:9/levels", SEISMIC, MqttSource, "mqtts:broker:9/levels"),
        ("rtsp://ann:s3cret@camera/live?channel=1", ACOUSTIC, RtspSource, "rtsp://ann:***@camera/live?channel=1"),
        ("rtsps:camera:322", ACOUSTIC, RtspSource, "rtsps://camera:322"),
    ],
)
def test_live_sensors(uri: str, modality: Stream, kind: type[Source], address: str) -> None:
    source = open_source(modality.name, uri, modality)
    assert type(source) is kind
    assert source.address == address


def test_a_recording_and_an_archive_as_live_sensors(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((800, 2), np.float32), 800)
    played = open_source("acoustic", f"file:{tmp_path}/a.wav?channel=2&speed=max&loop=no", ACOUSTIC)
    assert type(played) is PlaybackSource
    assert len(list(played.chunks(threading.Event()))) == 10
    folder = tmp_path / "2023/AM/R24FA/EHZ.D"
    folder.mkdir(parents=True)
    write_mseed(folder / "AM.R24FA.00.EHZ.D.2023.318", [("EHZ", 0.0, counts(300))])
    span = "from=2023-11-14T22:13:21&to=2023-11-14T22:13:22.5Z"
    archive = open_source("seismic", f"sds://{tmp_path}?station=AM.R24FA.00.EHZ&{span}&speed=max", SEISMIC)
    assert type(archive) is SdsSource
    chunks = list(archive.chunks(threading.Event()))
    assert (chunks[0].start_s, sum(chunk.values.shape[1] for chunk in chunks)) == (EPOCH_S + 1, 150)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("udp://host", "acoustic: udp://host: udp: is not known; known are a path, file:, sds:, mic:, -"),
        ("none.wav", "acoustic: none.wav: no such file"),
        ("mic:?rate=1", "mic:\\?rate=1: rate is no option of it; known are \\?rate_hz="),
        ("mic:?rate_hz=fast", "rate_hz must be a number above 0, not fast"),
        ("mic:?rate_hz=-1", "rate_hz must be a number above 0, not -1"),
        ("mic:?rate_hz=nan", "rate_hz must be a number above 0, not nan"),
        ("-?format=mp3", "-\\?format=mp3: format must be s16le or s32le or f32le, not mp3"),
        ("a.wav?speed=2", "speed must be real or max, not 2"),
        ("sds:/archive", "sds:/archive: needs \\?station=NET.STA.LOC.CHA"),
        ("sds:/a?station=A.B.C.D&from=today", "from must be a time such as 2026-01-01T00:00:00, not today"),
        ("sds:/a?station=A.B.C.D&from=2026-01-02&to=2026-01-01", "to must be after from"),
        ("sds:/none?station=A.B.C.D", "the archive has no file of this station and time"),
        ("shake:host:99999", "must be shake:HOST:PORT, the port from 1 to 65535"),
        ("shake:host:x", "must be shake:HOST:PORT"),
        ("shake:?sender=somebody", "sender"),
        ("seedlink:/AM.R24FA.00.EHZ", "must be seedlink:HOST:PORT"),
        ("seedlink:host/EHZ", "must be seedlink:HOST:PORT/NET.STA.LOC.CHA"),
        ("mqtt:broker", "must be mqtt:HOST:PORT/TOPIC"),
        ("mqtt:broker/#", "topic"),
        ("rtsp:", "must be rtsp:HOST:PORT"),
    ],
)
def test_mistakes_are_told_with_the_address(uri: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        open_source("acoustic", uri, ACOUSTIC)
    assert str(caught.value).startswith("acoustic: ")
    assert "\n" not in str(caught.value)


def test_several_channels_from_one_that_has_one() -> None:
    with pytest.raises(InputError, match="magnetic"):
        open_source("magnetic", "shake:", MAGNETIC)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rtsp://ann:s3cret@camera/live", "rtsp://ann:***@camera/live"),
        ("rtsp:ann:s3cret@camera/live", "rtsp:ann:***@camera/live"),
        ("mqtt://:s3cret@broker/t", "mqtt://:***@broker/t"),
        ("rtsp://ann:s3/c@r:et@camera/live", "rtsp://ann:***@camera/live"),
        ("rtsp://camera/user=ann&password=s3cret&channel=1", "rtsp://camera/user=ann&password=***&channel=1"),
        ("rtsp://camera/?Token=s3cret", "rtsp://camera/?Token=***"),
        ("no route to mqtts://ann:s3cret@broker:1", "no route to mqtts://ann:***@broker:1"),
        ("file:///data/a.wav", "file:///data/a.wav"),
    ],
)
def test_passwords_are_hidden(text: str, told: str) -> None:
    assert without_passwords(text) == told


def test_passwords_are_hidden_in_mistakes() -> None:
    for uri in (
        "mqtt://ann:s3cret@broker:x/t",
        "mqtt://ann:s3cret@broker",
        "udp://ann:s3cret@host",
        "rtsp://ann:s3cret@",
    ):
        with pytest.raises(InputError) as caught:
            open_source("acoustic", uri, ACOUSTIC)
        assert "s3cret" not in str(caught.value)
        with pytest.raises(InputError) as caught:
            named_addresses([f"radar={uri}"], PAIR)
        assert "s3cret" not in str(caught.value)


def test_user_and_password_may_be_percent_encoded() -> None:
    peer = parse_peer(parse_uri("mqtt://a%40b:p%2Fw@[::1]:1883/a/b"), None, 1)
    assert peer == ("::1", 1883, "a/b", "a@b", "p/w")


@settings(max_examples=200)
@given(
    text=st.text(max_size=40),
    prefix=st.sampled_from(["", "mic:", "shake:", "mqtt://", "seedlink:", "rtsp://", "-?", "sds:"]),
)
def test_any_text_is_an_address_or_a_mistake(text: str, prefix: str) -> None:
    with suppress(InputError):
        open_source("acoustic", prefix + text, ACOUSTIC)
