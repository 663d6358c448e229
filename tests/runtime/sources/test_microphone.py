"""A microphone by PortAudio: the right device, its samples in order, and what is told when it goes away."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bundles import ACOUSTIC

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.sources import microphone
from rep_edge.runtime.sources.live import Chunk, SourceError
from rep_edge.runtime.sources.microphone import MicrophoneSource

Script = Callable[[Callable[..., None]], None]


class PortAudioError(Exception):
    pass


class FakeSounddevice:
    """The module, with three devices; `script` gets the callback of a stream that starts."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self._initialized = 1
        self.starts = 0
        self.opened: list[dict[str, Any]] = []
        self.closed = 0
        self.active = True
        self.refusal = ""
        self.script: Script = lambda callback: None
        self.default = SimpleNamespace(device=(2, 0))
        self.names = ["Speaker", "USB Audio: one", "USB Audio: two"]

    def _terminate(self) -> None:
        self._initialized -= 1

    def _initialize(self) -> None:
        self._initialized += 1
        self.starts += 1

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"index": i, "name": name, "max_input_channels": min(i, 1), "default_samplerate": 48000.0}
            for i, name in enumerate(self.names)
        ]

    def InputStream(self, **options: Any) -> FakeStream:  # noqa: N802
        if self.refusal:
            raise PortAudioError(self.refusal)
        self.opened.append(options)
        return FakeStream(self, options["callback"])


class FakeStream:
    def __init__(self, module: FakeSounddevice, callback: Callable[..., None]) -> None:
        self._module, self._callback = module, callback

    @property
    def active(self) -> bool:
        return self._module.active

    def start(self) -> None:
        self._module.script(self._callback)

    def abort(self, ignore_errors: bool) -> None:
        assert ignore_errors

    def close(self, ignore_errors: bool) -> None:
        assert ignore_errors
        self._module.closed += 1


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> FakeSounddevice:
    made = FakeSounddevice()
    monkeypatch.setitem(sys.modules, "sounddevice", made)  # type: ignore[arg-type]
    return made


def block(value: float, frames: int = 4800, lost: bool = False) -> tuple[Any, ...]:
    return np.full((frames, 1), value, np.float32), frames, None, SimpleNamespace(input_overflow=lost)


def some(chunks: Iterator[Chunk], count: int) -> list[Chunk]:
    return [next(chunks) for _ in range(count)]


def test_its_samples_come_in_order_on_a_clock_that_counts_them(module: FakeSounddevice) -> None:
    module.script = lambda callback: [callback(*block(value)) for value in (0.1, 0.2, 0.3)] and None
    chunks = MicrophoneSource(ACOUSTIC).chunks(threading.Event())
    made = some(chunks, 3)
    chunks.close()  # type: ignore[attr-defined]
    assert [float(chunk.values[0, 0]) for chunk in made] == pytest.approx([0.1, 0.2, 0.3])
    assert [chunk.start_s - made[0].start_s for chunk in made] == pytest.approx([0, 0.1, 0.2])
    assert {(chunk.values.shape, chunk.rate_hz) for chunk in made} == {((1, 4800), 48000.0)}
    assert module.closed == 1
    (options,) = module.opened
    assert (options["device"], options["channels"], options["samplerate"], options["blocksize"]) == (2, 1, 48000, 4800)


def test_what_portaudio_lends_is_copied(module: FakeSounddevice) -> None:
    lent = block(0.5)

    def script(callback: Callable[..., None]) -> None:
        callback(*lent)
        lent[0][:] = 9

    module.script = script
    (chunk,) = some(MicrophoneSource(ACOUSTIC).chunks(threading.Event()), 1)
    assert chunk.values[0, 0] == 0.5


@pytest.mark.parametrize(("device", "index"), [("", 2), ("1", 1), ("audio: ONE", 1)])
def test_the_device_is_found_by_number_or_part_of_its_name(module: FakeSounddevice, device: str, index: int) -> None:
    module.script = lambda callback: callback(*block(0))
    some(MicrophoneSource(ACOUSTIC, device, 16000).chunks(threading.Event()), 1)
    assert (module.opened[0]["device"], module.opened[0]["samplerate"]) == (index, 16000)


@pytest.mark.parametrize(
    ("device", "words"), [("0", "no such"), ("9", "no such"), ("Speaker", "no such"), ("USB", "fits 2 devices")]
)
def test_a_device_that_is_not_there_may_come_later(module: FakeSounddevice, device: str, words: str) -> None:
    source = MicrophoneSource(ACOUSTIC, device)
    with pytest.raises(SourceError, match=rf"mic:{device}: .*{words}.*; there are: 1 USB Audio: one; 2 USB"):
        next(source.chunks(threading.Event()))


def test_a_device_that_is_plugged_in_later_is_found(module: FakeSounddevice) -> None:
    source = MicrophoneSource(ACOUSTIC, "three")
    with pytest.raises(SourceError, match="no such microphone"):
        next(source.chunks(threading.Event()))
    module.names.append("USB Audio: three")
    module.script = lambda callback: callback(*block(0))
    some(source.chunks(threading.Event()), 1)
    # PortAudio lists what there is when it starts.
    assert module.starts == 2


def test_another_stream_of_this_process_is_not_torn_down_to_list_devices(module: FakeSounddevice) -> None:
    module.script = lambda callback: callback(*block(0))
    first = MicrophoneSource(ACOUSTIC, "1").chunks(threading.Event())
    next(first)
    some(MicrophoneSource(ACOUSTIC, "2").chunks(threading.Event()), 1)
    assert module.starts == 1
    first.close()  # type: ignore[attr-defined]
    assert microphone._streams == 0


def test_samples_that_were_lost_are_counted_and_the_clock_goes_on(module: FakeSounddevice) -> None:
    source = MicrophoneSource(ACOUSTIC)

    def script(callback: Callable[..., None]) -> None:
        callback(*block(0))
        callback(*block(1, lost=True))
        for _ in range(200):
            callback(*block(2))

    module.script = script
    made = some(source.chunks(threading.Event()), 100)
    assert source.refusals.counts() == {"lost by the sound card": 1, "read too slowly": 102}
    assert all(b.start_s >= a.start_s + 0.1 - 1e-9 for a, b in itertools.pairwise(made))


def test_a_device_that_goes_away_is_told(module: FakeSounddevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "_LOOK_S", 0.01)
    monkeypatch.setattr(microphone, "SILENT_S", 0.05)
    with pytest.raises(SourceError, match=r"mic:: no samples for 0\.05 s"):
        next(MicrophoneSource(ACOUSTIC).chunks(threading.Event()))
    module.active = False
    with pytest.raises(SourceError, match="mic:: the device went away"):
        next(MicrophoneSource(ACOUSTIC).chunks(threading.Event()))
    module.refusal = "Error opening InputStream: Invalid sample rate [PaErrorCode -9997]"
    with pytest.raises(SourceError, match="mic:: Error opening InputStream: Invalid sample rate"):
        next(MicrophoneSource(ACOUSTIC).chunks(threading.Event()))
    assert module.closed == 2
    assert microphone._streams == 0


def test_a_stop_is_noticed_while_nothing_comes(module: FakeSounddevice) -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert list(MicrophoneSource(ACOUSTIC).chunks(stop)) == []
    assert module.closed == 1


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match="sounddevice"):
        next(MicrophoneSource(ACOUSTIC).chunks(threading.Event()))

    class WithoutLibrary:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.setattr(sys, "meta_path", [WithoutLibrary(), *sys.meta_path])
    with pytest.raises(InputError, match="sudo apt install libportaudio2"):
        next(MicrophoneSource(ACOUSTIC).chunks(threading.Event()))


REAL = """
import threading
from rep_edge.runtime.sources.live import SourceError
from rep_edge.runtime.sources.microphone import MicrophoneSource
from rep_edge.signals import Stream
for device in ("nothing", "", "broken"):
    source = MicrophoneSource(Stream(name="acoustic", rate_hz=8000, samples=8000), device, 8000)
    try:
        chunks = source.chunks(threading.Event())
        made = [next(chunks) for _ in range(5)]
        chunks.close()
        print(made[0].values.shape, made[0].rate_hz, round(made[4].start_s - made[3].start_s, 3) >= 0.1)
    except SourceError as error:
        print(error)
"""

ASOUND = """
pcm.!default { type null }
pcm.nothing { type null hint { show on description "Nothing" } }
ctl.!default { type hw card 0 }
"""


def test_the_real_portaudio(tmp_path: Path) -> None:
    """ALSA's null device stands for a microphone, in a process of its own, for PortAudio looks at it only once."""
    pytest.importorskip("sounddevice", exc_type=OSError)
    if sys.platform != "linux":
        pytest.skip("needs ALSA")
    (tmp_path / "asound.conf").write_text(ASOUND)
    environment = {"ALSA_CONFIG_PATH": str(tmp_path / "asound.conf"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", REAL], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "(1, 800) 8000 True",
        "(1, 800) 8000 True",
        "mic:broken: there is no such microphone; there are: 0 nothing; 1 default",
    ]
