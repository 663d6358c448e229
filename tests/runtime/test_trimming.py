"""Texts are cut behind the longest end, and nothing else is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rep_edge.runtime.trimming import trim
from rep_edge.signals import Image, Text, WindowSpec

TEXT = Text(name="text", tokens=8, vocabulary=10, placeholder=(8, 9), end=9)
SPEC = WindowSpec(modalities=(Image(name="image", size=4), TEXT))


@given(st.lists(st.lists(st.integers(0, 9), min_size=8, max_size=8), min_size=1, max_size=4))
def test_a_text_keeps_all_up_to_its_end(rows: list[list[int]]) -> None:
    ids = np.array(rows, np.int64)
    found = trim({"text": ids}, SPEC, ("text",))["text"]
    lengths = [row.index(9) + 1 if 9 in row else 8 for row in rows]
    assert found.shape == (len(rows), max(2, *lengths))
    np.testing.assert_array_equal(found, ids[:, : found.shape[1]])


def test_others_stay_as_they_are() -> None:
    windows = {"image": np.zeros((1, 3, 4, 4), np.float32), "text": TEXT.blank()[None]}
    assert trim(windows, SPEC, ()) == windows
    cut = trim(windows, SPEC, ("text",))
    assert cut["image"] is windows["image"]
    assert cut["text"].tolist() == [[8, 9]]
