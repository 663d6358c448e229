"""A bundle is verified before any graph of it is opened; each fault is one line that names file and field."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import PAIR, TRIPLE, WEIGHTS, make_bundle

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import open_bundle
from rep_edge.signals import WindowSpec

GRAPH = "graphs/seismic.fp32.onnx"
SEEN = {"windows": 9, "noise_low": 1.0, "noise_high": 2.0, "mean_low": -1.0, "mean_high": 1.0, "largest": 5.0}
SEEN |= {"clipped": 0.0, "stuck_s": 0.0}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def refused(bundle: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_bundle(bundle)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("spec", [PAIR, TRIPLE])
def test_a_whole_bundle_opens(tmp_path: Path, spec: WindowSpec) -> None:
    opened = open_bundle(make_bundle(tmp_path / "bundle", spec))
    assert opened.manifest.spec == spec
    for pattern in spec.patterns():
        assert opened.graph_file(spec.pattern_name(pattern), "fp32").is_file()


def test_a_precision_that_is_not_there(bundle: Path) -> None:
    with pytest.raises(InputError, match="no int8 graph for seismic"):
        open_bundle(bundle).graph("seismic", "int8")


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "nothing", "no such folder")


def test_no_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()
    refused(bundle, "manifest.json", "cannot be read")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema_version": "one"}', b"{}"])
def test_a_manifest_that_is_none(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    refused(bundle, "manifest.json", "is no manifest")


def test_a_manifest_cut_off_anywhere(bundle: Path) -> None:
    content = (bundle / "manifest.json").read_bytes()
    for length in range(0, len(content), 97):
        (bundle / "manifest.json").write_bytes(content[:length])
        refused(bundle, "manifest.json")


def test_a_newer_schema(bundle: Path) -> None:
    edit(bundle, lambda m: m.update(schema_version=99, graphs="of another form"))
    refused(bundle, "manifest.json", "schema_version 99 is newer", "update rep-edge")


@pytest.mark.parametrize("field", ["modalities", "hop_s", "labels", "graphs", "weights", "temperatures", "provenance"])
def test_a_missing_field_is_named(bundle: Path, field: str) -> None:
    edit(bundle, lambda m: m.pop(field))
    refused(bundle, "manifest.json", field)


def test_a_missing_field_inside_is_named(bundle: Path) -> None:
    edit(bundle, lambda m: m["graphs"][1]["file"].pop("sha256"))
    refused(bundle, "sha256", "graphs[")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda m: m.update(labels=[]), "labels"),
        (lambda m: m.update(labels=["car", "car", "truck"]), "labels"),
        (lambda m: m.update(hop_s=0), "hop_s"),
        (lambda m: m.update(schema_version=0), "schema_version"),
        (lambda m: m["modalities"][0].update(rate_hz=-1), "rate_hz"),
        (lambda m: m["modalities"][0].update(samples=3), "equally long"),
        (lambda m: m["temperatures"].update(radar=1.0), "radar"),
        (lambda m: m["temperatures"].update(seismic=0.0), "temperatures"),
        (lambda m: m["graphs"].pop(), "graphs has none for seismic"),
        (lambda m: m.update(graphs=[]), "graphs has none"),
        (lambda m: m["graphs"].append(dict(m["graphs"][0], pattern="radar")), "radar"),
        (lambda m: m["graphs"].append(m["graphs"][0]), "two for one pattern"),
        (lambda m: m.update(weights={}), "weights has no file for fp32"),
        (lambda m: m.update(health={"radar": SEEN}), "health names the unknown modality 'radar'"),
        (lambda m: m.update(health={"seismic": SEEN | {"noise_low": 9.0}}), "noise_low above noise_high"),
        (lambda m: m.update(health={"seismic": SEEN | {"mean_high": -2.0}}), "mean_low above mean_high"),
        (lambda m: m.update(health={"seismic": SEEN | {"largest": -1.0}}), "health of seismic has largest -1.0"),
        (lambda m: m.update(health={"seismic": {"windows": 1}}), "noise_low"),
    ],
)
def test_a_manifest_that_contradicts_itself(bundle: Path, change: Callable[[Any], object], word: str) -> None:
    edit(bundle, change)
    refused(bundle, "manifest.json", word)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_flipped_byte(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    refused(bundle, name, "sha256")


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_file_cut_off(bundle: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[:-1])
    refused(bundle, name, f"has {len(content) - 1} bytes instead of {len(content)}")


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_file_that_is_not_there(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    refused(bundle, name, "cannot be read")


def test_a_folder_in_a_files_place(bundle: Path) -> None:
    (bundle / GRAPH).unlink()
    (bundle / GRAPH).mkdir()
    refused(bundle, GRAPH)


@pytest.mark.parametrize(
    "path", ["../outside.onnx", "graphs/../../outside.onnx", "{absolute}", "..\\outside.onnx", "graphs/\0.onnx"]
)
def test_a_path_that_leaves_the_bundle(bundle: Path, path: str) -> None:
    outside = bundle.parent / "outside.onnx"
    (bundle / GRAPH).rename(outside)
    edit(bundle, lambda m: m["graphs"][2]["file"].update(path=path.replace("{absolute}", str(outside))))
    refused(bundle, "manifest.json", "leaves the bundle")


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, "graphs"])
def test_a_link_that_leaves_the_bundle(bundle: Path, name: str) -> None:
    outside = bundle.parent / "outside"
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    refused(bundle, "leaves the bundle")


def test_a_circle_of_links(bundle: Path) -> None:
    (bundle / GRAPH).unlink()
    (bundle / GRAPH).symlink_to(bundle / GRAPH)
    refused(bundle, GRAPH)


def test_a_bundle_reached_through_a_link(bundle: Path) -> None:
    link = bundle.parent / "link"
    link.symlink_to(bundle)
    assert open_bundle(link).manifest.spec == PAIR


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(bundle: Path) -> None:
    (bundle / GRAPH).chmod(0)
    refused(bundle, GRAPH, "cannot be read")
