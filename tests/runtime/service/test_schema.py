"""The schema and the example say the same as the structs that read the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rep_edge.runtime.service.config import ServiceConfig
from rep_edge.runtime.service.reading import config_of, read_config
from rep_edge.runtime.service.schema import config_schema
from rep_edge.runtime.service.yaml_lines import read_yaml

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "docs/rep-edge.schema.json"
EXAMPLE = ROOT / "examples/rep-edge.yaml"


def sections() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config_schema())["$defs"]
    return found


def all_on(tmp_path: Path) -> Path:
    """The example with the settings that are switched off switched on."""
    path = tmp_path / "rep-edge.yaml"
    path.write_text(re.sub(r"^#(?! \S|$)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    return path


def test_the_schema_file_is_up_to_date() -> None:
    assert SCHEMA.read_bytes() == config_schema(), "run  rep-edge serve --schema > docs/rep-edge.schema.json"


def test_every_key_is_explained() -> None:
    for name, section in sections().items():
        for key, told in section["properties"].items():
            assert told.get("description"), f"{name}.{key}"


def test_keys_that_are_explained_together_are_explained_each() -> None:
    properties = sections()["WebSettings"]["properties"]
    assert properties["host"]["description"] == properties["port"]["description"]
    assert (
        sections()["StreamSettings"]["properties"]["hop_s"]["description"]
        == "from window to window; null: the bundle's"
    )
    assert sections()["ServiceConfig"]["additionalProperties"] is False


def test_the_example_is_read_and_its_values_are_the_defaults() -> None:
    config = read_config(EXAMPLE, {})
    assert config == ServiceConfig(
        bundle=EXAMPLE.parent / "bundle", state_dir=EXAMPLE.parent / "state", nodes=config.nodes
    )


def test_the_example_shows_every_key(tmp_path: Path) -> None:
    document = read_yaml(all_on(tmp_path))
    assert config_of(document).sinks.mqtt is not None
    shown = {re.split(r"[.\[]", key.replace("]", ""))[-1] for key in document.lines}
    known = {key for section in sections().values() for key in section["properties"]}
    assert known <= shown


def test_the_example_names_the_schema() -> None:
    first = EXAMPLE.read_text().splitlines()[0]
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert (EXAMPLE.parent / name).resolve() == SCHEMA
