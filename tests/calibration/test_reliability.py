"""The picture: written whole, with every pattern, and refused where there is nothing to draw."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from honest import honest

from rep_edge.calibration.confidence import Answers, expected_calibration_error
from rep_edge.calibration.reliability import draw_reliability
from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.softmax import softmax

PNG = b"\x89PNG\r\n\x1a\n"


def height(path: Path) -> int:
    """Of a PNG, in pixels."""
    return int.from_bytes(path.read_bytes()[20:24], "big")


def test_every_pattern_is_a_row(tmp_path: Path) -> None:
    answers = {name: honest(300, seed) for seed, name in enumerate(("a+b", "a", "b"))}
    draw_reliability(answers, dict.fromkeys(answers, 1.3), tmp_path / "new" / "all.png")
    draw_reliability({"a": answers["a"]}, {"a": 1.3}, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)
    assert height(tmp_path / "new" / "all.png") > 2 * height(tmp_path / "one.png")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is written into panels and above them."""
    from matplotlib.axes import Axes

    found: list[str] = []
    write, title = Axes.text, Axes.set_title
    monkeypatch.setattr(Axes, "text", lambda self, x, y, s, **rest: found.append(s) or write(self, x, y, s, **rest))
    monkeypatch.setattr(Axes, "set_title", lambda self, s, **rest: found.append(s) or title(self, s, **rest))
    return found


def test_panels_say_the_errors_the_temperature_and_every_window(tmp_path: Path, said: list[str]) -> None:
    logits, targets = honest(500, seed=3)
    draw_reliability({"seismic": Answers(3 * logits, targets)}, {"seismic": 2.9}, tmp_path / "one.png")
    for temperature in (1.0, 2.9):
        error = expected_calibration_error(softmax(3 * logits, temperature), targets)
        assert any(f"ECE {100 * error:.1f} %" in text for text in said)
    assert any("T = 2.90" in text for text in said)
    assert sum(int(text) for text in said if text.isdigit()) == 2 * 500


def test_windows_that_are_all_certain_or_all_in_one_bin_are_drawn(tmp_path: Path, said: list[str]) -> None:
    certain = Answers(np.array([[1e3, 0.0]] * 60), np.zeros(60, np.int64))
    even = Answers(np.zeros((70, 2)), np.arange(70) % 2)
    draw_reliability({"certain": certain, "even": even}, {"certain": 1.0, "even": 10.0}, tmp_path / "odd.png")
    assert (tmp_path / "odd.png").read_bytes().startswith(PNG)
    assert [text for text in said if text.isdigit()] == ["60", "60", "70", "70"]


def test_nothing_to_draw_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no patterns to draw"):
        draw_reliability({}, {}, tmp_path / "none.png")
    with pytest.raises(InputError, match="there are no windows"):
        draw_reliability({"a": Answers(np.zeros((0, 3)), np.zeros(0, np.int64))}, {"a": 1.0}, tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"rep-edge\[plots\]"):
        draw_reliability({"a": honest(60, 0)}, {"a": 1.0}, tmp_path / "none.png")
