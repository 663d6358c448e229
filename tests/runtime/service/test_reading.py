"""The configuration file: what it may say, and how every mistake is told with file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rep_edge.errors import InputError
from rep_edge.runtime.service.config import ServiceConfig
from rep_edge.runtime.service.reading import config_of, located, read_config
from rep_edge.runtime.service.yaml_lines import Document

LEAST = """\
bundle: bundle
nodes:
  - name: yard
    streams:
      acoustic: {source: "mic:"}
"""


def read(tmp_path: Path, text: str, **environment: str) -> ServiceConfig:
    path = tmp_path / "rep-edge.yaml"
    path.write_text(text)
    return read_config(path, environment)


def mistake(tmp_path: Path, text: str, **environment: str) -> str:
    with pytest.raises(InputError) as error:
        read(tmp_path, text, **environment)
    (line,) = str(error.value).splitlines()
    return line


def test_a_bundle_and_a_node_are_enough(tmp_path: Path) -> None:
    config = read(tmp_path, LEAST)
    assert config.nodes[0].streams["acoustic"].source == "mic:"
    assert (config.web.host, config.web.port, config.backend) == ("127.0.0.1", 8765, "auto")


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = read(tmp_path, LEAST)
    assert (config.bundle, config.state_dir) == (tmp_path / "bundle", tmp_path / "state")
    assert read(tmp_path, LEAST + "state_dir: /var/lib/rep-edge").state_dir == Path("/var/lib/rep-edge")


def test_an_address_takes_its_secrets_from_the_environment(tmp_path: Path) -> None:
    text = LEAST.replace("mic:", "mqtt://${USER_1}:${PW}@broker/topic")
    config = read(tmp_path, text, USER_1="ann", PW="a$b${c}")
    assert config.nodes[0].streams["acoustic"].source == "mqtt://ann:a$b${c}@broker/topic"


@pytest.mark.parametrize("source", ["mqtt://${}@b", "mqtt://${PW", "mqtt://${P W}@b", "mqtt://${1}@b"])
def test_half_a_variable_is_refused(tmp_path: Path, source: str) -> None:
    told = mistake(tmp_path, LEAST.replace("mic:", source))
    assert told.startswith("rep-edge.yaml: line 5, nodes[0].streams.acoustic.source: holds ${ without")


def test_a_variable_that_is_not_set_is_named_and_no_value_is_told(tmp_path: Path) -> None:
    told = mistake(tmp_path, LEAST.replace("mic:", "mqtt://${USER_1}:${PW}@b"), USER_1="ann")
    place = "rep-edge.yaml: line 5, nodes[0].streams.acoustic.source"
    assert told.startswith(f"{place}: the environment variable PW is not set; set it")
    assert "ann" not in told
    web = LEAST + "web:\n  token_env: TOKEN\n"
    assert mistake(tmp_path, web).startswith("rep-edge.yaml: line 7, web.token_env: the environment variable TOKEN is")
    assert mistake(tmp_path, web, TOKEN="").startswith("rep-edge.yaml: line 7, web.token_env: ")
    assert read(tmp_path, web, TOKEN="x").web.token_env == "TOKEN"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nodes: []", "line 1, bundle: is missing"),
        ("[1]", "line 1: must be keys with values, not a list"),
        (LEAST + "webb: {}", "line 6, webb: is no key here; known are bundle, nodes, "),
        (LEAST + "web: {port: 0}", "line 6, web.port: must be 1 to 65535, not 0"),
        (LEAST + "web:\n  port: high", "line 7, web.port: must be a whole number, not text"),
        (LEAST + "web: {enabled: 1}", "line 6, web.enabled: must be true or false, not a whole number"),
        (LEAST + "web: {token_env: 1}", "line 6, web.token_env: must be text or nothing, not a whole number"),
        (
            LEAST + "web: {host: 0.0.0.0}",
            "line 6, web.host: 0.0.0.0 can be reached from outside, which needs token_env",
        ),
        (LEAST + "web:", "line 6, web: must be keys with values, not nothing"),
        (LEAST + "logs: {level: loud}", "line 6, logs.level: must be one of debug, error, info, warning, not 'loud'"),
        (LEAST + "timing: {lateness_s: -1}", "line 6, timing.lateness_s: must be at least 0, not -1"),
        (LEAST + "state_dir: 5", "line 6, state_dir: must be a path"),
        (
            LEAST + "events:\n  thresholds:\n    Truck: {seismic: high}",
            "line 8, events.thresholds.Truck.seismic: must be a",
        ),
        (LEAST.replace("yard", "Yard"), "line 3, nodes[0].name: must be lower-case letters"),
        (LEAST.replace("yard", "-a"), "line 3, nodes[0].name: must be"),
        (LEAST.replace('"mic:"', '""'), "line 5, nodes[0].streams.acoustic.source: must be an address"),
        (LEAST.replace('"mic:"', "7"), "line 5, nodes[0].streams.acoustic.source: must be text, not a whole number"),
        (
            LEAST.replace("source", "sorce"),
            "line 5, nodes[0].streams.acoustic.sorce: is no key here; known are source, ",
        ),
        (LEAST.replace('{source: "mic:"}', "{}"), "line 5, nodes[0].streams.acoustic.source: is missing"),
        (LEAST.replace('"mic:"', '"mic:", delay_s: .nan'), "line 5, nodes[0].streams.acoustic.delay_s: must be a time"),
        (
            LEAST.replace('{source: "mic:"}', '{source: "a"}\n      b.c: {}'),
            "line 6, nodes[0].streams.b.c.source: is mi",
        ),
        (LEAST[: LEAST.index("    streams")] + "    streams: {}", "line 4, nodes[0].streams: must name at least one"),
        ("bundle: b\nnodes: []", "line 2, nodes: must hold at least one node"),
        (LEAST + LEAST[LEAST.index("  - name") :], "line 6, nodes[1].name: yard is the name of nodes[0] too"),
    ],
)
def test_mistakes_are_told_with_line_and_key(tmp_path: Path, text: str, told: str) -> None:
    assert mistake(tmp_path, text).startswith(f"rep-edge.yaml: {told}")


def test_every_path_is_absolute(tmp_path: Path) -> None:
    text = LEAST + "sinks: {jsonl: {path: a/b.jsonl}, mqtt: {host: h, tls: true, ca_file: ca.pem}}"
    sinks = read(tmp_path, text).sinks
    assert sinks.jsonl is not None
    assert sinks.mqtt is not None
    assert (sinks.jsonl.path, sinks.mqtt.ca_file) == (tmp_path / "a/b.jsonl", tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("source", "opened"),
    [
        ("a.wav", "{}/a.wav"),
        ("b/a.wav?channel=2", "{}/b/a.wav?channel=2"),
        ("file:a.wav", "file:{}/a.wav"),
        ("sds://archive?station=A.B..C", "sds://{}/archive?station=A.B..C"),
        *((same, same) for same in ("/a.wav", "file:///a.wav", "sds:/archive", "mic:", "-?rate_hz=8000", "-")),
        *((same, same) for same in ("shake:0.0.0.0:8888", "mqtt://b/t", "rtsp://c/d?e=f")),
    ],
)
def test_a_source_that_is_a_file_is_looked_for_beside_the_configuration(
    source: str, opened: str, tmp_path: Path
) -> None:
    config = read(tmp_path, LEAST.replace("mic:", source))
    assert config.nodes[0].streams["acoustic"].source == opened.format(tmp_path)


def test_a_host_that_only_this_machine_reaches_needs_no_token(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "'::1'", "localhost", "127.1.2.3"):
        read(tmp_path, LEAST + f"web: {{host: {host}}}")
    for host in ("'::'", "192.168.1.2", "device.example"):
        assert "needs token_env" in mistake(tmp_path, LEAST + f"web: {{host: {host}}}")
    assert not read(tmp_path, LEAST + "web: {host: 0.0.0.0, enabled: false}").web.enabled


def test_lines_about_keys_get_their_place(tmp_path: Path) -> None:
    path = tmp_path / "rep-edge.yaml"
    path.write_text(LEAST)
    told = located(path, ["nodes[0].streams.acoustic: is none: at all", "events.ignore: is odd"])
    assert told == [
        "rep-edge.yaml: line 5, nodes[0].streams.acoustic: is none: at all",
        "rep-edge.yaml: line 1, events.ignore: is odd",
    ]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "a.b", "[0]", "..."]), inner),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_value_anywhere_is_taken_or_told(data: st.DataObject) -> None:
    values: dict[str, Any] = {
        "bundle": "bundle",
        "nodes": [{"name": "yard", "streams": {"acoustic": {"source": "mic:"}}}],
        "events": {"thresholds": {"Truck": {"acoustic": 0.7}}, "quiet_hours": [{"from": "22:00", "to": "06:00"}]},
        "sinks": {"jsonl": {"path": "a"}, "mqtt": {"host": "h"}, "webhook": {"url": "https://h/"}},
        **{name: {} for name in ("timing", "health", "clips", "journal", "web", "logs")},
    }
    place: Any = values
    while True:
        step = data.draw(st.sampled_from([*place] if isinstance(place, dict) else range(len(place))))
        if not (place[step] and isinstance(place[step], (dict, list))) or data.draw(st.booleans()):
            break
        place = place[step]
    place[step] = data.draw(ODD)
    told = "rep-edge.yaml: line 1"
    try:
        config_of(Document(Path("rep-edge.yaml"), values, {"": 1}))
    except InputError as error:
        told = str(error)
    assert told.startswith("rep-edge.yaml: line 1")
