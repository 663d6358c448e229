"""What was acknowledged is there after a killed process and after a power loss, and is delivered."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import power_loss
from heard import eventually

from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal
from rep_edge.runtime.sinks.jsonl import JsonLinesSettings, JsonLinesSink

FOLDER = Path(__file__).parent

APPENDS_FOR_EVER = """
journal = Journal(folder / "journal.sqlite")
delivery = Delivery(journal, JsonLinesSink(JsonLinesSettings(path=Path("events.jsonl"), rotate_mb=1000), folder))
number = journal._last
while True:
    journal.append(event(number))
    print(event(number).id, flush=True)
    delivery.wake()
    number += 1
"""

APPENDS_AND_PRUNES = """
for number in range(150):
    if number % 50 == 0:
        journal = Journal(folder / "journal.sqlite", JournalSettings(keep_days=1))
        journal.register("sink")
    journal.append(event(number, suspects={"acoustic": "x" * 3000}))
    print(event(number).id, flush=True)
    if number % 20 == 19:
        journal.advance("sink", number - 10)
        journal.prune(1_700_000_000.0)
    if number % 50 == 49:
        journal.close()
"""

DELIVERS_LINES = """
sink = JsonLinesSink(JsonLinesSettings(path=Path("events.jsonl"), rotate_mb=0.02, keep=100), folder)
for number in range(0, 120, 3):
    sink.deliver([event(number + n) for n in range(3)])
    print(*(event(number + n).id for n in range(3)), sep="\\n", flush=True)
"""


def program(body: str, folder: Path) -> list[str]:
    """A command that runs the body with what it needs at hand."""
    head = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(FOLDER)!r})
from heard import event
from rep_edge.runtime.sinks.delivery import Delivery
from rep_edge.runtime.sinks.journal import Journal, JournalSettings
from rep_edge.runtime.sinks.jsonl import JsonLinesSettings, JsonLinesSink
folder = Path({str(folder)!r})
"""
    return [sys.executable, "-c", head + body]


def held(journal: Journal) -> list[str]:
    return [event.id for _, event in journal.after(0, 1_000_000)]


def lines(*contents: bytes) -> list[str]:
    """Ids of the events in JSON lines."""
    return [msgspec.json.decode(line)["id"] for content in contents for line in content.splitlines()]


def test_a_process_that_is_killed_at_any_moment_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    random, acknowledged = Random(7), []
    for _ in range(12):
        process = subprocess.Popen(program(APPENDS_FOR_EVER, tmp_path), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.append(process.stdout.readline().strip())
        time.sleep(random.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split("\n")[:-1]
        process.wait()
    journal = Journal(tmp_path / "journal.sqlite")
    kept = held(journal)
    assert set(acknowledged) <= set(kept)
    assert kept == [f"yard-{n}.0" for n in range(len(kept))]
    assert len(kept) <= len(acknowledged) + 12
    sink = JsonLinesSink(JsonLinesSettings(path=Path("events.jsonl"), rotate_mb=1000), tmp_path)
    delivery = Delivery(journal, sink)
    eventually(lambda: delivery.status().behind == 0)
    delivery.close(1.0)
    delivered = lines((tmp_path / "events.jsonl").read_bytes())
    assert list(dict.fromkeys(delivered)) == kept, "each one, in order, once or more often"


@power_loss.needs_strace
def test_an_acknowledged_event_outlives_a_power_loss_at_any_moment(tmp_path: Path) -> None:
    folder, random = tmp_path / "state", Random(11)
    folder.mkdir()
    steps = power_loss.record(program(APPENDS_AND_PRUNES, folder), folder)
    cuts = sorted(random.sample(range(len(steps)), 40))
    most = 0
    for number, crash in enumerate(power_loss.crashes(steps, folder, cuts, random)):
        after = tmp_path / str(number)
        after.mkdir()
        for name, content in crash.files.items():
            if not name.endswith("-shm"):
                (after / name).write_bytes(content)
        journal = Journal(after / "journal.sqlite")
        kept = held(journal)
        journal.close()
        # What every sink has may have been pruned: never what is younger than the cursor.
        end = int(crash.printed[-1].partition("-")[2].partition(".")[0]) if crash.printed else -1
        pruned = int(kept[0].partition("-")[2].partition(".")[0]) if kept else end + 1
        assert pruned <= max(0, end - 9)
        assert set(crash.printed[pruned:]) <= set(kept)
        assert len(kept) <= len(crash.printed) - pruned + 1
        assert not list(after.glob("*.damaged-*")), "no power loss damages it"
        most = max(most, len(kept))
    assert most > 20


@power_loss.needs_strace
def test_a_delivered_line_outlives_a_power_loss_at_any_moment(tmp_path: Path) -> None:
    folder, random = tmp_path / "state", Random(13)
    folder.mkdir()
    steps = power_loss.record(program(DELIVERS_LINES, folder), folder)
    for number, crash in enumerate(power_loss.crashes(steps, folder, range(0, len(steps), 7), random)):
        after = tmp_path / str(number)
        after.mkdir()
        for name, content in crash.files.items():
            (after / name).write_bytes(content)
        JsonLinesSink(JsonLinesSettings(path=Path("events.jsonl")), after).deliver([])
        found = lines(*(file.read_bytes() for file in after.iterdir()))
        assert set(crash.printed) <= set(found)
