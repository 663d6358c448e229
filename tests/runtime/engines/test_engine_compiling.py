"""Engines for the GPU of the machine, with stand-ins for library and GPU: what is built, kept and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import make_bundle
from example_bundles import IMAGE_TEXT, make_example_bundle
from fake_tensorrt import GPU, fake_tensorrt

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.engines import room
from rep_edge.runtime.engines.build import BatchRange
from rep_edge.runtime.engines.compiling import compile_here
from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.lookup import EngineMissing, find_engine

PATTERNS = ("acoustic+seismic", "acoustic", "seismic")
BATCH = BatchRange(1, 1, 8)


class Machine:
    """A device: its bundle, its cache, and what the builder was asked for."""

    def __init__(self, folder: Path, version: str = "10.3.0.26") -> None:
        self.bundle = open_bundle(make_bundle(folder / "bundle"))
        self.cache = folder / "cache"
        self.told: list[str] = []
        self.update(version)

    def update(self, version: str, plan: bytes | None = b"plan") -> None:
        self.library, self.asked = fake_tensorrt(version, plan)

    def compile(self, gpu: Gpu = GPU, batch: BatchRange = BATCH, bundle: Bundle | None = None) -> tuple[Path, ...]:
        """Compile; `built` are the patterns that were built now."""
        self.asked.graphs.clear()
        return compile_here(bundle or self.bundle, self.library, gpu, ("fp32",), batch, self.cache, self.told.append)

    @property
    def built(self) -> tuple[str, ...]:
        return tuple(Path(graph).name.partition(".")[0] for graph in self.asked.graphs)

    @property
    def engines(self) -> list[Path]:
        return sorted(self.cache.glob("*.engine"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_texts_that_graphs_take_shorter_too_are_whole_in_engines(tmp_path: Path) -> None:
    bundle = open_bundle(make_example_bundle(tmp_path / "bundle", trimmed=("text",)))
    library, asked = fake_tensorrt("10.3.0.26", inputs={"image": (3, 8, 8), "text": (-1,)})
    compile_here(bundle, library, GPU, ("fp32",), BATCH, tmp_path / "cache", lambda line: None)
    assert asked.shapes == {m.name: tuple((size, *m.shape) for size in BATCH) for m in IMAGE_TEXT.modalities}


def test_every_graph_gets_an_engine_that_is_found_again(machine: Machine) -> None:
    plans = machine.compile()
    assert machine.built == PATTERNS
    assert sorted(plans) == machine.engines
    for pattern in PATTERNS:
        assert find_engine(machine.bundle, pattern, "fp32", machine.library, GPU, machine.cache) == b"plan"


def test_what_is_there_is_not_built_again(machine: Machine) -> None:
    first = machine.compile()
    assert machine.compile() == first
    assert machine.built == ()
    assert machine.told[-1] == "seismic in fp32: is in the cache"


def test_an_update_of_the_library_builds_anew_and_removes_the_old(machine: Machine) -> None:
    old = machine.compile()
    machine.update("10.13.2.6")
    new = machine.compile()
    assert machine.built == PATTERNS
    assert machine.engines == sorted(new)
    assert not set(old) & set(new)


def test_a_new_driver_builds_anew(machine: Machine) -> None:
    machine.compile()
    later = GPU._replace(driver="541.0, CUDA 12.7")
    with pytest.raises(EngineMissing):
        find_engine(machine.bundle, "acoustic", "fp32", machine.library, later, machine.cache)
    machine.compile(later)
    assert machine.built == PATTERNS
    assert len(machine.engines) == len(PATTERNS)
    assert find_engine(machine.bundle, "acoustic", "fp32", machine.library, later, machine.cache) == b"plan"


def test_another_gpu_and_another_batch_build_anew(machine: Machine) -> None:
    machine.compile()
    machine.compile(GPU._replace(name="Orin NX"))
    assert machine.built == PATTERNS
    machine.compile(batch=BatchRange(1, 4, 16))
    assert machine.built == PATTERNS
    assert len(machine.engines) == 2 * len(PATTERNS)  # Those of the other GPU stay.


def test_a_tampered_engine_is_built_anew(machine: Machine) -> None:
    plans = machine.compile()
    plans[1].write_bytes(b"nalp")
    machine.compile()
    assert machine.built == ("acoustic",)
    assert plans[1].read_bytes() == b"plan"


def test_a_failed_build_keeps_the_engines_that_were_there(machine: Machine) -> None:
    machine.compile()
    before = {file: file.read_bytes() for file in machine.engines}
    machine.update("10.13.2.6", plan=None)
    with pytest.raises(InputError, match=r"cannot build an engine of it \(out of memory\); its log is .*\.log$"):
        machine.compile()
    assert {file: file.read_bytes() for file in machine.engines} == before
    machine.update("10.3.0.26")
    assert find_engine(machine.bundle, "acoustic", "fp32", machine.library, GPU, machine.cache) == b"plan"


def test_the_timings_lie_beside_the_engines_and_the_logs_in_a_folder(machine: Machine) -> None:
    machine.compile()
    assert (machine.cache / "timings.tensorrt10.3.0.26.Orin.cache").read_bytes() == b"measured " * len(PATTERNS)
    assert len(list((machine.cache / "logs").iterdir())) == len(PATTERNS)
    assert any(line.startswith("acoustic in fp32: log ") for line in machine.told)


def test_the_bundle_is_not_touched(machine: Machine) -> None:
    before = {f: f.read_bytes() for f in machine.bundle.path.rglob("*") if f.is_file()}
    machine.compile()
    assert {f: f.read_bytes() for f in machine.bundle.path.rglob("*") if f.is_file()} == before


def test_too_little_disk_is_told_before_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = room.shutil.disk_usage(machine.bundle.path)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: usage._replace(free=60_000_000))
    with pytest.raises(InputError, match=r"cache: has 60 MB of disk left and \d+ MB are needed; free space$"):
        machine.compile()
    assert machine.built == ()


def test_too_little_memory_is_told_before_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 100_000_000)
    with pytest.raises(InputError, match=r"^memory: 100 MB are free and this needs \d+ MB; close other programs"):
        machine.compile()
    assert machine.built == ()


def test_a_system_that_does_not_tell_its_memory_is_taken_as_it_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (room.available_memory() or 0) > 1 << 20
    monkeypatch.setattr(room, "MEMORY", tmp_path / "none")
    assert room.available_memory() is None
    machine.compile()
    assert machine.built == PATTERNS


def test_a_folder_that_cannot_be_written_is_told_before_the_build(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cache: cannot be written; change its permissions or choose another folder"):
        machine.compile()
    assert machine.built == ()
