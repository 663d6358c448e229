"""CLIP's tokenizer.json: compact, equal every time, and equal to open_clip's vocabulary."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from typing import Any

import pytest

from rep_edge.encoders.vocabulary import clip_tokenizer

open_clip = pytest.importorskip("open_clip")
tokenizers = pytest.importorskip("tokenizers")


@cache
def definition() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(clip_tokenizer())
    return loaded


def test_the_same_bytes_every_time() -> None:
    """But for the characters' classes, which follow the installed regex and are in order (below)."""
    assert clip_tokenizer() == clip_tokenizer()
    rest = re.sub(r"\[(\\\\x\{\w+\}|-)+\]", "[]", clip_tokenizer())
    assert len(rest) < len(clip_tokenizer())
    assert (
        hashlib.sha256(rest.encode()).hexdigest() == "0900c5e50e7b69a914b5026565855decc9e0943edf622af60aa5b9843996d69d"
    )


def test_compact() -> None:
    assert len(clip_tokenizer().encode()) < 1_600_000


def test_the_ids_are_those_of_the_embedding() -> None:
    """49,408 rows: 2 x 256 bytes, 48,894 merged words, start and end of a text."""
    ids = definition()["model"]["vocab"]
    assert set(ids.values()) == set(range(49_408))
    for word, number in open_clip.tokenizer.SimpleTokenizer().encoder.items():
        assert ids[word] == number


def test_words_that_share_an_id_are_halfway_to_a_mark() -> None:
    ids = definition()["model"]["vocab"]
    shared = {word for word, number in ids.items() if number in (49_406, 49_407)}
    assert all("<start_of_text></w>".startswith(word) or "<end_of_text></w>".startswith(word) for word in shared)
    assert len(ids) - len(shared) == 49_406


def test_classes_of_characters_do_not_depend_on_a_library_version() -> None:
    split = definition()["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    assert "\\p" not in split
    listed = [_codes(found) for found in re.findall(r"\[((?:\\x\{[^\]]*)+)\]", split)]
    assert listed == [sorted(codes) for codes in listed]
    letters, digits, signs = map(set, listed)
    assert not letters & digits
    assert not (letters | digits) & signs
    assert {ord(c) for c in "aéжあ"} <= letters
    assert {ord(c) for c in "7٣Ⅷ½"} <= digits
    assert {ord(c) for c in "<'_😀"} <= signs
    assert ord(" ") not in letters | digits | signs


def _codes(ranges: str) -> list[int]:
    return [
        code
        for first, last in re.findall(r"\\x\{(\w+)\}-\\x\{(\w+)\}", ranges)
        for code in range(int(first, 16), int(last, 16) + 1)
    ]


def test_the_library_reads_it() -> None:
    ids = tokenizers.Tokenizer.from_str(clip_tokenizer()).encode("a photo of a cat").ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
