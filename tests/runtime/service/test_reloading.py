"""A new bundle while the service runs: taken over when it is whole and fits, else the old one goes on, and why."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from bundles import ACOUSTIC, PAIR, SEISMIC, WEIGHTS, make_bundle

from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.service.bundles import find_bundle, kept
from rep_edge.runtime.service.reloading import Reloading
from rep_edge.signals import WindowSpec

FASTER = WindowSpec(modalities=(msgspec.structs.replace(ACOUSTIC, rate_hz=1600, samples=1600), SEISMIC), hop_s=0.5)


class Stage:
    """A service that would take over what `swap` is given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source, self.state = folder, make_bundle(folder / "bundle"), folder / "state"
        self.taken: list[Classifier] = []
        self.takes = True
        found = find_bundle(self.source, self.state)
        self.reloading = Reloading(self.source, self.state, found, Classifier.load, self._swap)

    def _swap(self, classifier: Classifier, timeout_s: float) -> bool:
        if self.takes:
            self.taken.append(classifier)
        return self.takes

    def replace(self, spec: WindowSpec = PAIR, temperature: float = 2.0) -> None:
        shutil.rmtree(self.source)
        make_bundle(self.source, spec, temperatures={"acoustic": temperature})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_the_bundle_in_use_is_left_alone(stage: Stage) -> None:
    stage.reloading.turn()
    assert (stage.taken, stage.reloading.reloads, stage.reloading.failed) == ([], 0, "")


def test_a_new_bundle_is_taken_over_once(stage: Stage) -> None:
    stage.replace()
    stage.reloading.turn()
    stage.reloading.turn()
    assert len(stage.taken) == stage.reloading.reloads == 1
    assert stage.taken[0].bundle.manifest.temperatures["acoustic"] == 2.0
    assert kept(stage.state) == stage.taken[0].bundle.path


def test_a_damaged_one_is_refused_and_told(stage: Stage) -> None:
    stage.replace()
    (stage.source / WEIGHTS).write_bytes(b"torn")
    stage.reloading.turn()
    assert stage.taken == []
    assert WEIGHTS in stage.reloading.failed


def test_one_that_was_torn_is_taken_over_once_it_is_whole(stage: Stage) -> None:
    stage.replace()
    whole = (stage.source / WEIGHTS).read_bytes()
    (stage.source / WEIGHTS).write_bytes(b"torn")
    stage.reloading.turn()
    (stage.source / WEIGHTS).write_bytes(whole)
    stage.reloading.turn()
    assert stage.taken == [], "not before a while has passed"
    stage.reloading.look()
    stage.reloading.turn()
    assert len(stage.taken) == 1
    assert stage.reloading.failed == ""


def test_one_with_other_windows_needs_a_restart(stage: Stage) -> None:
    stage.replace(FASTER)
    stage.reloading.turn()
    assert stage.taken == []
    assert "restart the service" in stage.reloading.failed


def test_one_that_the_loop_does_not_take_is_refused(stage: Stage) -> None:
    stage.takes = False
    stage.replace()
    stage.reloading.turn()
    assert "did not take it over" in stage.reloading.failed


def test_a_bundle_that_is_gone_changes_nothing(stage: Stage) -> None:
    shutil.rmtree(stage.source)
    stage.reloading.turn()
    assert (stage.taken, stage.reloading.failed) == ([], "")


def test_the_one_before_may_come_back(stage: Stage) -> None:
    stage.replace()
    stage.reloading.turn()
    shutil.rmtree(stage.source)
    make_bundle(stage.source)
    stage.reloading.turn()
    assert stage.reloading.reloads == 2


def test_its_thread_ends_when_it_is_told(stage: Stage) -> None:
    stage.reloading.start()
    stage.reloading.close()
