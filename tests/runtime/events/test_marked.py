"""Marked clips become a folder that training reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import PAIR
from clipped import START_S, Waveforms, end_of, waveforms

from rep_edge.config import RecordingsData
from rep_edge.data.recordings import RecordingsDataset
from rep_edge.errors import InputError
from rep_edge.runtime.events.clip_files import clip_files
from rep_edge.runtime.events.event import Event
from rep_edge.runtime.events.marked import export_marks
from rep_edge.runtime.events.marks import Mark

NAN = np.float32(np.nan)


def right(track: str) -> Mark:
    return Mark(track=track, right=True, marked_s=START_S)


def wrong(track: str, label: str = "") -> Mark:
    return Mark(track=track, right=False, label=label, marked_s=START_S)


def put(clips: Path, event: Event, made: Waveforms | None = None) -> None:
    """A clip in the folder."""
    folder = clips / event.track
    folder.mkdir(parents=True)
    for name, content in clip_files(event, made or waveforms(), START_S, PAIR.modalities).items():
        (folder / name).write_bytes(content)


def load(out: Path) -> RecordingsDataset:
    return RecordingsDataset(RecordingsData(root=str(out)), PAIR)


def test_marked_clips_are_recordings_to_train_on(tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "recordings"
    for track in ("t1", "t2", "t3", "t4"):
        put(clips, end_of(track))
    done = export_marks([right("t1"), wrong("t2"), wrong("t3", "car")], clips, out)
    assert done == ({"truck": 1, "background": 1, "car": 1}, {})
    assert (out / "labels.csv").read_text() == (
        "recording,start,end,label\nt1,2.0,6.000001,truck\nt2,2.0,6.000001,background\nt3,2.0,6.000001,car\n"
    )
    data = load(out)
    assert data.labels == ("background", "car", "truck")
    assert len(data) == 3 * 7
    made = waveforms()
    window = data[0]
    assert (window.recording, window.start_s) == ("t1", 2.0)
    np.testing.assert_allclose(window.values["acoustic"], made["acoustic"][:, 1600:2400], atol=2.0**-23)
    np.testing.assert_array_equal(window.values["seismic"], made["seismic"][:, 200:300])


def test_of_two_marks_the_later_one_counts(tmp_path: Path) -> None:
    put(tmp_path / "clips", end_of("t1"))
    done = export_marks([right("t1"), wrong("t1", "car")], tmp_path / "clips", tmp_path / "out")
    assert done.labels == {"car": 1}


def test_what_training_cannot_use_is_left_out_and_counted(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    put(clips, end_of("good"))
    lacking, late, torn = waveforms(), waveforms(), waveforms()
    lacking["seismic"][:] = NAN
    late["acoustic"][:, :100] = NAN
    torn["seismic"][:, 250::90] = NAN
    put(clips, end_of("lacking"), lacking)
    put(clips, end_of("late"), late)
    put(clips, end_of("torn"), torn)
    put(clips, end_of("damaged"))
    (clips / "damaged" / "clip.json").write_text("{")
    marks = [right(track) for track in ("good", "lacking", "late", "torn", "damaged", "gone", "../clips/good")]
    done = export_marks(marks, clips, tmp_path / "out")
    assert done.labels == {"truck": 1}
    assert done.left_out == {
        "lacks seismic": 1,
        "has no acoustic at its start": 1,
        "has no whole window without a gap": 1,
        "has no clip": 3,
    }
    assert len(load(tmp_path / "out")) == 7


def test_gaps_are_not_labelled(tmp_path: Path) -> None:
    made = waveforms()
    made["acoustic"][:, 3200:3600] = NAN  # 4.0 to 4.5 s, which FLAC holds as zeros
    made["seismic"][:, 440:450] = NAN
    put(tmp_path / "clips", end_of("t1"), made)
    export_marks([right("t1")], tmp_path / "clips", tmp_path / "out")
    assert (tmp_path / "out" / "labels.csv").read_text().splitlines()[1:] == [
        "t1,2.0,4.000001,truck",
        "t1,4.5,6.000001,truck",
    ]
    assert len(load(tmp_path / "out")) == 3 + 2


def test_a_stream_that_went_away_ends_the_recording(tmp_path: Path) -> None:
    made = waveforms()
    made["seismic"][:, 500:] = NAN
    put(tmp_path / "clips", end_of("t1"), made)
    export_marks([right("t1")], tmp_path / "clips", tmp_path / "out")
    assert len(load(tmp_path / "out")) == 5


def test_a_track_longer_than_its_clip_is_labelled_from_the_start_of_the_clip(tmp_path: Path) -> None:
    put(tmp_path / "clips", end_of("t1", start_s=START_S - 100, end_s=START_S + 9))
    export_marks([right("t1")], tmp_path / "clips", tmp_path / "out")
    assert (tmp_path / "out" / "labels.csv").read_text().splitlines()[1] == "t1,0.0,8.000001,truck"
    assert len(load(tmp_path / "out")) == 15


def test_labels_of_any_text_are_one_field(tmp_path: Path) -> None:
    put(tmp_path / "clips", end_of("t1"))
    export_marks([wrong("t1", ' dog,\n"barking" ')], tmp_path / "clips", tmp_path / "out")
    assert load(tmp_path / "out").labels == ('dog, "barking"',)


def test_nothing_to_train_on_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match="there is nothing to train on: 1 has no clip"):
        export_marks([right("gone")], tmp_path / "clips", tmp_path / "out")
    with pytest.raises(InputError, match="there is nothing to train on: no track is marked"):
        export_marks([], tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_whose_sound_is_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    put(tmp_path / "clips", end_of("t1"))
    (tmp_path / "clips" / "t1" / "acoustic.flac").unlink()
    with pytest.raises(InputError, match=r"acoustic\.flac: cannot be read"):
        export_marks([right("t1")], tmp_path / "clips", tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["clips"]


def test_an_out_that_is_there_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "clips", end_of("t1"))
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        export_marks([right("t1")], tmp_path / "clips", tmp_path / "out")
