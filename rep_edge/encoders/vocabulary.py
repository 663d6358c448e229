"""CLIP's tokenizer as a tokenizer.json, made from the vocabulary that open_clip carries."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

_WORD_END = "</w>"


def clip_tokenizer() -> str:
    """CLIP's tokenizer, equal to open_clip's SimpleTokenizer for texts that are cleaned as `Text.clean` says.

    The same text every time for the same versions of open_clip and regex.
    """
    from open_clip.tokenizer import SimpleTokenizer

    clip = SimpleTokenizer()
    start, end = (clip.decoder[mark] for mark in clip.all_special_ids)
    # Without them, the marks are cut into pieces like any word.
    clip.cache.clear()
    vocabulary = dict(clip.encoder)
    merges = [f"{left} {right}" for left, right in clip.bpe_ranks]
    for mark in (start, end):
        halfway = _merged_to_mark(clip.bpe(mark).split(" "))
        merges += [f"{left} {right}" for left, right in halfway]
        # Halfway words carry the mark's own id: each of them is merged on, so that none is left in the end.
        vocabulary |= {left + right: vocabulary[mark] for left, right in halfway}
    model = {"type": "BPE", "end_of_word_suffix": _WORD_END, "vocab": vocabulary, "merges": merges}
    definition = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": _words(start, end),
        "post_processor": _between(start, end, vocabulary),
        "model": model,
    }
    return json.dumps(definition, ensure_ascii=False, separators=(",", ":"))


def _merged_to_mark(pieces: list[str]) -> list[tuple[str, str]]:
    """Pairs that join the pieces of a mark that stands in a text to one word, from its start on.

    Only a mark begins with a sign and a letter in one word, so no other word is touched. The library's own added tokens
    would not do: it takes a mark anywhere, open_clip only where no other sign stands directly before it.
    """
    left, pairs = pieces[0], []
    for right in pieces[1:]:
        pairs.append((left, right))
        left += right
    return pairs


def _words(start: str, end: str) -> dict[str, Any]:
    """A text cut into words, digits and runs of signs, and their bytes spelled as letters.

    The pattern is that of open_clip's SimpleTokenizer. Character classes are written out, so that a device's library
    with an older or newer Unicode agrees. Case is ignored there and texts are in lower case here, so the long s is the
    one other case that is left.
    """
    long_s = r"[s\x{17f}]"
    marks = "|".join(mark.replace("<s", f"<{long_s}") for mark in (start, end))
    letters, digits, signs = (_listed(pattern) for pattern in (r"[\p{L}]+", r"[\p{N}]+", r"[^\s\p{L}\p{N}]+"))
    pattern = rf"{marks}|'{long_s}|'t|'re|'ve|'m|'ll|'d|[{letters}]+|[{digits}]|[{signs}]+"
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    spelled = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, spelled]}


def _listed(pattern: str) -> str:
    """All characters that open_clip's regular expressions find by `pattern`, as ranges for a character class."""
    import regex

    found = regex.compile(pattern, regex.IGNORECASE)
    surrogates = range(0xD800, 0xE000)
    parts = (range(surrogates.start), range(surrogates.stop, sys.maxunicode + 1))
    runs: Iterable[str] = (run for part in parts for run in found.findall("".join(map(chr, part))))
    return "".join(rf"\x{{{ord(run[0]):x}}}-\x{{{ord(run[-1]):x}}}" for run in runs)


def _between(start: str, end: str, vocabulary: dict[str, int]) -> dict[str, Any]:
    """Every text between the two marks."""
    text = {"Sequence": {"id": "A", "type_id": 0}}
    first, last = ({"SpecialToken": {"id": mark, "type_id": 0}} for mark in (start, end))
    marks = {mark: {"id": mark, "ids": [vocabulary[mark]], "tokens": [mark]} for mark in (start, end)}
    pair = [text, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": [first, text, last], "pair": pair, "special_tokens": marks}
