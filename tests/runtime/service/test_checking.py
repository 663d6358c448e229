"""What in a configuration does not fit the bundle is told by key, all of it at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from bundles import make_bundle

from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.events.track_settings import TrackSettings
from rep_edge.runtime.service.checking import check
from rep_edge.runtime.service.config import NodeConfig, ServiceConfig, StreamConfig


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(make_bundle(tmp_path_factory.mktemp("checking") / "bundle"))


def config(**streams: str) -> ServiceConfig:
    named = {name: StreamConfig(source=source) for name, source in streams.items()}
    return ServiceConfig(bundle=Path("bundle"), nodes=(NodeConfig(name="yard", streams=named),))


def test_what_fits_is_told_nothing(bundle: Bundle) -> None:
    assert check(config(acoustic="mic:", seismic="shake:0.0.0.0:8888?channel=EHZ"), bundle) == []
    assert check(config(seismic="shake:0.0.0.0:8888"), bundle) == []


def test_a_stream_that_is_no_modality(bundle: Bundle) -> None:
    told = "nodes[0].streams.acustic: is no modality of the bundle; it has acoustic, seismic"
    assert check(config(acustic="mic:"), bundle) == [told]


def test_an_address_that_is_none(bundle: Bundle) -> None:
    told = check(config(acoustic="none.wav", seismic="sds:/archive"), bundle)
    assert told == [
        "nodes[0].streams.acoustic.source: none.wav: no such file",
        "nodes[0].streams.seismic.source: sds:/archive: needs ?station=NET.STA.LOC.CHA",
    ]
    (told,) = check(config(acoustic="mqtt://ann:hunter2@broker/a?rate=1"), bundle)
    assert told.startswith("nodes[0].streams.acoustic.source: mqtt://")
    assert "rate is no option of it" in told
    assert "hunter2" not in told


def test_a_sensor_that_two_streams_would_share(bundle: Bundle) -> None:
    (told,) = check(config(acoustic="mic:", seismic="mic:?rate_hz=8000"), bundle)
    assert (
        told
        == "nodes[0].streams.seismic.source: mic: is read by nodes[0].streams.acoustic already; it serves one stream"
    )
    assert check(config(acoustic="mic:1", seismic="mic:2"), bundle) == []
    assert (
        check(config(acoustic="shake:127.0.0.1:8888?channel=EHZ", seismic="shake:127.0.0.1:8888?channel=EHN"), bundle)
        == []
    )


def test_backends_and_precisions_that_are_none_or_not_in_the_bundle(bundle: Bundle) -> None:
    def told(**changes: str) -> list[str]:
        return check(msgspec.structs.replace(config(acoustic="mic:"), **changes), bundle)

    assert told(backend="gpu")[0].startswith("backend: is none of auto, ")
    assert told(precision="fp8") == ["precision: is none of auto, fp32, fp16, int8"]
    assert told(precision="int8")[0].startswith("precision: ")
    assert "has no int8 graphs, only fp32" in told(precision="int8")[0]
    assert told(precision="fp32", backend="onnxruntime-cpu") == []


def test_classes_that_are_none(bundle: Bundle) -> None:
    events = TrackSettings(thresholds={"tank": 0.9}, ignore=("quite",))
    told = check(msgspec.structs.replace(config(acoustic="mic:"), events=events), bundle)
    assert [line.partition(":")[0] for line in told] == ["events.thresholds.tank", "events.ignore"]
    assert all("is no class of the bundle" in line for line in told)
