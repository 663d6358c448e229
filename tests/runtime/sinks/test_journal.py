"""The journal keeps what it acknowledged, in order, says how far each sink is, and stays as small as it should."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from heard import START_S, event
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.errors import InputError
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.sinks.journal import DAY_S, Journal, JournalError, JournalSettings

LONG_AGO_S = START_S - 1000 * DAY_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


def ids(journal: Journal, after: int = 0) -> list[str]:
    return [event.id for _, event in journal.after(after, 1000)]


def test_events_come_back_as_they_were_in_order_with_their_numbers(path: Path) -> None:
    journal = Journal(path)
    heard = [event(2), event(1), event(2, 1, clip="c", suspects={"acoustic": "flat"})]
    assert [journal.append(one) for one in heard] == [1, 2, 3]
    assert journal.after(0, 10) == [(1, heard[0]), (2, heard[1]), (3, heard[2])]
    assert journal.after(1, 1) == [(2, heard[1])]
    assert journal.count() == 3


def test_an_event_that_is_there_is_not_taken_again(path: Path) -> None:
    journal = Journal(path)
    assert [journal.append(event(1)), journal.append(event(2)), journal.append(event(1))] == [1, 2, 1]
    assert journal.count() == 2


def test_numbers_go_on_after_a_restart_even_where_all_events_went(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_days=1))
    journal.append(event(1))
    assert journal.prune(START_S + 2 * DAY_S).removed == 1
    journal.close()
    journal = Journal(path)
    assert (journal.count(), journal.append(event(2))) == (0, 2)


def test_a_sink_begins_with_what_comes_after_it_and_goes_on_where_it_was(path: Path) -> None:
    journal = Journal(path)
    journal.append(event(1))
    journal.register("mqtt")
    assert (journal.cursor("mqtt"), journal.behind("mqtt")) == (1, 0)
    journal.append(event(2))
    journal.append(event(3))
    journal.advance("mqtt", 2)
    journal.close()
    journal = Journal(path)
    journal.append(event(4))
    journal.register("mqtt")
    assert (journal.cursor("mqtt"), journal.behind("mqtt"), journal.lost("mqtt")) == (2, 2, 0)


def test_a_cursor_never_goes_back(path: Path) -> None:
    journal = Journal(path)
    journal.register("mqtt")
    for number in range(3):
        journal.append(event(number))
    journal.advance("mqtt", 3)
    journal.advance("mqtt", 1)
    assert journal.cursor("mqtt") == 3


def test_tracks_are_shown_by_their_latest_event_the_newest_onset_first(path: Path) -> None:
    journal = Journal(path)
    for one in (event(1), event(5), event(1, 1), event(3), event(5, 1), event(5, 2)):
        journal.append(one)
    assert journal.tracks(10) == [event(5, 2), event(3), event(1, 1)]
    assert journal.tracks(1) == [event(5, 2)]
    assert journal.tracks(10, START_S + 5) == [event(3), event(1, 1)]
    assert journal.track("yard-5") == [event(5), event(5, 1), event(5, 2)]
    assert journal.track("nothing") == []


def test_tracks_can_be_chosen_by_node_and_label(path: Path) -> None:
    journal = Journal(path)
    for one in (event(1), event(2, node="gate"), event(3, label="Tank"), event(4, node="gate", label="Tank")):
        journal.append(one)
    assert journal.tracks(10, node="gate") == [event(4, node="gate", label="Tank"), event(2, node="gate")]
    assert journal.tracks(1, label="Tank") == [event(4, node="gate", label="Tank")]
    assert journal.tracks(10, None, "yard", "Truck") == [event(1)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 4))
def test_page_by_page_every_track_is_shown_once(tmp_path_factory: pytest.TempPathFactory, starts, limit) -> None:
    journal = Journal(tmp_path_factory.mktemp("pages") / "journal.sqlite")
    for number, start in enumerate(starts):
        journal.append(event(start, node=f"node{number}"))
    shown, before_s = [], None
    while page := journal.tracks(limit, before_s):
        shown += page
        before_s = page[-1].start_s
    assert sorted(one.track for one in shown) == sorted(f"node{n}-{start}" for n, start in enumerate(starts))
    assert [one.start_s for one in shown] == sorted((START_S + start for start in starts), reverse=True)
    journal.close()


def test_a_later_mark_takes_the_place_of_the_first(path: Path) -> None:
    journal = Journal(path)
    journal.mark(Mark(track="b", right=True, marked_s=1.0))
    journal.mark(Mark(track="a", right=False, label="Tank", marked_s=2.0))
    journal.mark(Mark(track="b", right=False, note="wind", marked_s=3.0))
    journal.close()
    assert Journal(path).marks() == [
        Mark(track="a", right=False, label="Tank", marked_s=2.0),
        Mark(track="b", right=False, note="wind", marked_s=3.0),
    ]


def test_many_threads_may_append(path: Path) -> None:
    journal = Journal(path)

    def append(node: str) -> None:
        for number in range(20):
            journal.append(event(number, node=node))
            journal.tracks(3)

    threads = [threading.Thread(target=append, args=(f"node{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [at for at, _ in journal.after(0, 100)] == list(range(1, 81))
    assert journal.count() == 80


# --- what goes


def test_what_is_too_old_goes_and_its_tracks_with_it(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_days=1))
    for track in (10, 20, 30):
        journal.append(event(track))
    pruned = journal.prune(START_S + 25 + DAY_S)
    assert pruned == (2, {})
    assert journal.tracks(10) == [event(30)]
    assert journal.count() == 1


def test_what_a_sink_has_not_delivered_stays_however_old(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_days=1))
    journal.register("mqtt")
    for track in range(4):
        journal.append(event(track))
    journal.advance("mqtt", 2)
    assert journal.prune(START_S + 100 * DAY_S) == (2, {})
    assert ids(journal) == ["yard-2.0", "yard-3.0"]


def test_a_clock_that_was_wrong_takes_no_good_event_along(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_days=1))
    for one in (event(1), event(2, end_s=5.0), event(3, end_s=START_S * 2), event(4, end_s=6.0)):
        journal.append(one)
    assert journal.prune(10.0).removed == 0
    assert journal.prune(START_S).removed == 0
    assert journal.prune(START_S + 2 * DAY_S).removed == 2


def fill(journal: Journal, first: int, megabytes: float) -> int:
    """Append large events; the number of the last one."""
    for track in range(first, first + int(megabytes * 10)):
        last = journal.append(event(track, suspects={"acoustic": "x" * 98_000}))
    return last


def test_what_is_too_much_goes_and_the_disk_has_its_space_again(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_mb=2))
    journal.register("mqtt")
    journal.advance("mqtt", fill(journal, 0, 6))
    pruned = journal.prune(START_S)
    assert pruned.removed > 0
    assert pruned.lost == {}
    assert journal.size_bytes < 2_200_000
    assert ids(journal)[-1] == "yard-59.0"
    assert journal.count() > 10


def test_undelivered_events_go_last_and_are_counted_as_lost_to_the_sink(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_mb=1))
    journal.register("mqtt")
    journal.register("webhook")
    fill(journal, 0, 1.6)
    assert journal.prune(START_S) == (0, {})
    journal.advance("webhook", fill(journal, 16, 1.4))
    removed, lost = journal.prune(START_S)
    assert removed > 0
    assert lost == {"mqtt": removed}
    assert (journal.lost("mqtt"), journal.behind("mqtt"), journal.lost("webhook")) == (removed, journal.count(), 0)
    assert journal.cursor("mqtt") == removed
    assert journal.size_bytes < 2_200_000


def test_a_sink_that_was_away_holds_nothing_back_and_learns_what_it_lost(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_days=1))
    journal.register("mqtt")
    for track in range(4):
        journal.append(event(track))
    journal.advance("mqtt", 1)
    journal.close()
    journal = Journal(path, JournalSettings(keep_days=1))
    assert journal.prune(START_S + 2 * DAY_S) == (4, {})
    journal.register("mqtt")
    assert (journal.lost("mqtt"), journal.behind("mqtt")) == (3, 0)


def test_the_write_ahead_log_does_not_grow(path: Path) -> None:
    journal = Journal(path, JournalSettings(keep_mb=1))
    for round_ in range(3):
        fill(journal, 100 * round_, 2)
        journal.prune(START_S)
        assert Path(f"{path}-wal").stat().st_size == 0


# --- what goes wrong


def test_a_full_disk_is_an_error_and_the_event_is_taken_once_there_is_room(path: Path) -> None:
    journal = Journal(path)
    journal.append(event(1))
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match=r"journal\.sqlite: database or disk is full"):
        fill(journal, 2, 0.1)
    assert ids(journal) == ["yard-1.0"]
    assert journal.count() == 1
    journal._db.execute("PRAGMA max_page_count = 100000")
    assert fill(journal, 2, 0.1) == 2


def test_a_damaged_file_is_kept_and_a_new_one_begun(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1000)
    journal = Journal(path)
    assert journal.append(event(1)) == 1
    (aside,) = path.parent.glob("journal.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert "is damaged" in caplog.text
    assert aside.name in caplog.text


def test_torn_pages_are_found_at_opening(path: Path) -> None:
    journal = Journal(path)
    fill(journal, 0, 0.5)
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 12] = bytes(4096 * 10)
    path.write_bytes(content)
    assert Journal(path).count() == 0
    assert list(path.parent.glob("journal.damaged-*"))


def test_only_the_latest_damaged_files_are_kept(path: Path) -> None:
    path.parent.mkdir()
    for number in range(4):
        path.write_bytes(b"%d is no database" % number * 1000)
        Journal(path).close()
    kept = sorted(file.read_bytes()[:1] for file in path.parent.glob("journal.damaged-*"))
    assert kept == [b"2", b"3"]


def damage(journal: Journal) -> None:
    """From now on its file is not what SQLite wrote."""
    real = journal._db

    class Damaged:
        def execute(self, *_: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

        rollback, close = real.rollback, real.close

    journal._db = Damaged()  # type: ignore[assignment]


def test_damage_that_comes_up_later_costs_one_call(path: Path) -> None:
    journal = Journal(path)
    journal.register("mqtt")
    for track in range(3):
        journal.append(event(track))
    journal.advance("mqtt", 2)
    damage(journal)
    with pytest.raises(JournalError, match="malformed"):
        journal.append(event(3))
    assert (journal.lost("mqtt"), journal.behind("mqtt"), journal.count()) == (1, 0, 0)
    assert journal.append(event(3)) == 4
    assert journal.after(journal.cursor("mqtt"), 10) == [(4, event(3))]
    assert list(path.parent.glob("journal.damaged-*"))


def test_a_disk_that_takes_no_new_journal_is_an_error_like_any_other(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(path)
    damage(journal)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", read_only)
    for _ in range(2):
        with pytest.raises(JournalError):
            journal.append(event(1))
    assert "no new one can be begun: [Errno 30] Read-only file system" in caplog.text


def test_an_entry_that_the_disk_changed_is_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(path)
    for track in range(3):
        journal.append(event(track))
    journal._db.execute("UPDATE events SET body = x'00ff' WHERE sequence = 2")
    assert ids(journal) == ["yard-0.0", "yard-2.0"]
    assert [one.track for one in journal.tracks(9)] == ["yard-2", "yard-0"]
    assert "cannot be read" in caplog.text


def test_a_journal_of_a_newer_version_is_refused_and_not_touched(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match=r"journal\.sqlite: was written by a newer version"):
        Journal(path)
    assert not list(path.parent.glob("journal.damaged-*"))


def test_a_place_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be opened"):
        Journal(tmp_path / "file" / "journal.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be opened"):
        Journal(tmp_path / "folder")


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(event(1))


@pytest.mark.parametrize("wrong", [{"keep_days": 0}, {"keep_days": float("nan")}, {"keep_mb": 0.5}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: must be"):
        JournalSettings(**wrong)
