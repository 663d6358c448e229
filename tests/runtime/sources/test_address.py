"""NAME=URI says which sensor comes from where, or is one line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from bundles import PAIR
from recorded import counts, write_mseed

from rep_edge.errors import InputError
from rep_edge.runtime.sources.address import Source, open_sources, parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("acoustic=a.wav", Source("acoustic", Path("a.wav"), None)),
        ("acoustic=/data/a=b.wav", Source("acoustic", Path("/data/a=b.wav"), None)),
        ("seismic=file:///data/s.mseed", Source("seismic", Path("/data/s.mseed"), None)),
        ("seismic=s.mseed?channel=EHZ", Source("seismic", Path("s.mseed"), "EHZ")),
        ("seismic=file://s.mseed?channel=AM.R24FA.00.EHZ", Source("seismic", Path("s.mseed"), "AM.R24FA.00.EHZ")),
    ],
)
def test_addresses(text: str, source: Source) -> None:
    assert parse_source(text, PAIR) == source


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.wav", "must be NAME=PATH, such as acoustic=recording.wav"),
        ("=a.wav", "must be NAME=PATH"),
        ("acoustic=", "must be NAME=PATH"),
        ("", "must be NAME=PATH"),
        ("radar=a.wav", "radar is no modality of this bundle; it has acoustic, seismic"),
        ("acoustic=mqtt://host/topic", "mqtt:// is not known; known are a path and file://"),
        ("seismic=s.mseed?rate=100", r"\?rate=100 is no option of a file; it has \?channel=NAME"),
        ("seismic=s.mseed?channel=", "is no option"),
    ],
)
def test_what_is_no_address(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_source(text, PAIR)
    assert str(caught.value).startswith(f"--source {text}")


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
