"""export-triton as a command: what it says, what it leaves, and each mistake as one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import WEIGHTS, make_bundle
from commands import run


def test_a_repository_is_written_and_told_about(tmp_path: Path) -> None:
    bundle, out = make_bundle(tmp_path / "bundle"), tmp_path / "deep" / "repository"
    done = run("export-triton", bundle, "--out", out, "--name", "yard", "--max-batch", 4, "--device", "cpu")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[-2:] == [
        "any of acoustic, seismic: yard, the one that clients call",
        f"repository of 4 models written to {out}; serve it: tritonserver --model-repository={out}",
    ]
    assert "max_batch_size: 4\n" in (out / "yard_seismic" / "config.pbtxt").read_text()
    assert "kind: KIND_CPU\n" in (out / "yard_seismic" / "config.pbtxt").read_text()
    assert [path.name for path in out.parent.iterdir()] == ["repository"]


def test_the_bundle_stays_as_it_was(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    assert run("export-triton", bundle, "--out", tmp_path / "repository").code == 0
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def flip(bundle: Path) -> None:
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[100] ^= 64
    (bundle / WEIGHTS).write_bytes(weights)


def hot(bundle: Path) -> None:
    record = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**record, "temperatures": {"seismic": -1}}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "bundle: no such folder; give the folder that rep-edge export wrote"),
        (flip, "weights.fp32.bin: its content is not what was exported"),
        (hot, "temperatures has -1.0 for seismic; it must be above 0"),
    ],
    ids=["no bundle", "a flipped byte", "a temperature below 0"],
)
def test_a_bundle_that_cannot_be_used(damage: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    damage(bundle)
    assert words in run("export-triton", bundle, "--out", tmp_path / "repository").error
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--precision", "fp16"), "has no fp16 graphs, only fp32; make them with  rep-edge calibrate"),
        (("--max-batch", "0"), "max-batch: must be at least 1, not 0"),
        (("--engines", "sm89"), "has no sm89 fp32 engine for acoustic+seismic, and no other; build them with"),
        (("--name", "my yard"), "name 'my yard': a model's name has letters"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    assert words in run("export-triton", bundle, "--out", tmp_path / "repository", *options).error
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_out_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "repository").write_text("mine")
    done = run("export-triton", make_bundle(tmp_path / "bundle"), "--out", tmp_path / "repository")
    assert f"{tmp_path / 'repository'}: is there already" in done.error
    assert (tmp_path / "repository").read_text() == "mine"


def test_a_missing_package_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rep_edge.errors import MissingExtraError

    def load_schema() -> None:
        raise MissingExtraError("triton", "tritonclient")

    monkeypatch.setattr("rep_edge.export.triton.load_schema", load_schema)
    done = run("export-triton", make_bundle(tmp_path / "bundle"), "--out", tmp_path / "repository")
    assert (done.code, done.err) == (2, 'error: tritonclient is not installed: run  pip install "rep-edge[triton]"\n')
