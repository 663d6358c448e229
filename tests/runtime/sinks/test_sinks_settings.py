"""The `sinks` section: what is named is opened, and nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from mosquitto import free_port

from rep_edge.runtime.sinks.settings import SinksSettings, open_sinks
from rep_edge.runtime.sinks.sink import StatusSink


def read(text: str) -> SinksSettings:
    return msgspec.json.decode(text, type=SinksSettings, dec_hook=lambda kind, value: kind(value))


def test_without_settings_there_are_no_sinks(tmp_path: Path) -> None:
    assert open_sinks(SinksSettings(), str, ["yard"], tmp_path) == []


def test_the_sinks_that_are_named_are_opened_without_waiting_for_anybody(tmp_path: Path) -> None:
    settings = read(
        f"""{{"jsonl": {{"path": "events.jsonl"}}, "webhook": {{"url": "http://127.0.0.1:1/", "token_env": "T"}},
        "mqtt": {{"host": "127.0.0.1", "port": {free_port()}}}}}"""
    )
    asked = []
    sinks = open_sinks(settings, lambda name: asked.append(name) or "value", ["yard"], tmp_path)
    assert [sink.name for sink in sinks] == ["jsonl", "webhook", "mqtt"]
    assert [isinstance(sink, StatusSink) for sink in sinks] == [False, False, True]
    assert asked == ["T"]
    for sink in sinks:
        sink.close()


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `hosts`"):
        read('{"mqtt": {"host": "a", "hosts": "b"}}')
