"""Texts as token ids: token for token what open_clip makes of them; a text or tokenizer of no use is one line."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rep_edge.encoders.vocabulary import clip_tokenizer
from rep_edge.errors import InputError
from rep_edge.runtime.inputs.texts import MOST_CHARACTERS, Tokenizer, read_text
from rep_edge.signals import Text

open_clip = pytest.importorskip("open_clip")

CAPTION = Text(name="caption")
MARKS = ("<start_of_text>", "<end_of_text>", "<\u017ftart_of_text>", "<START_OF_TEXT>", "&lt;end_of_text&gt;")
PIECES = (*MARKS, "'s", "'\u017f", "'re", "<", ">", "!", "_", "a", "7", " ", "start", "of", "text", "\u0345")


@cache
def tokenizer(tokens: int = 77) -> Tokenizer:
    return Tokenizer(clip_tokenizer(), Text(name="caption", tokens=tokens))


@cache
def reference() -> open_clip.tokenizer.SimpleTokenizer:
    return open_clip.get_tokenizer("ViT-B-16")


def require_equal(text: str, tokens: int = 77) -> None:
    ids = tokenizer(tokens)(text)
    assert (ids.dtype, ids.shape) == (np.int64, (tokens,))
    np.testing.assert_array_equal(ids, reference()(text, context_length=tokens)[0].numpy())


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a cat, 2 dogs & 13 mice",
        "IT'S we'LL they're I'd don't you've o'clock 's",
        "Der Fluß, Çeşme, İSTANBUL, ΟΔΥΣΣΕΥΣ ΣΑΣ, K (kelvin), ﬃ",
        "Ночь, улица, фонарь",
        "日本語のテキスト 한국어 हिन्दी العربية עברית ไทย",
        "👍🏽 👩‍👩‍👧 🇩🇪 ☃️ ❤️",
        "&lt;b&gt; caf&eacute; &amp;amp; &amp;lt; &nbsp; &#x1F600;",
        "<b> &amp;lt; &amp;amp;amp; caf&amp;eacute;",
        "schÃ¶n âœ” No problems, it doesnâ€™t",
        "tab\tnew\nline\r\nzero\x00bell\x07 \x1b[31mred\x1b[0m \x1c \u2028 \u3000 \ufeff",
        "<start_of_text>",
        "<start_of_text><start_of_text>a<end_of_text>b",
        "!<start_of_text> 7<end_of_text> <end_of_text>!<end_of_text> <start_of_text",
        "",
        " \n ",
        "word " * 2000,
        "a" * 10_000,
        "\u0345 a\u0345b !\u0345!",
        "\ud83d\ude00 \ud800",
        "\U0003d000 \U000323b0 \U0010ffff \u0378",
    ],
)
def test_equal_to_open_clip(text: str) -> None:
    require_equal(text)


@settings(max_examples=300, deadline=None)
@given(st.text())
@example("\ufb06art")
def test_equal_to_open_clip_on_any_text(text: str) -> None:
    require_equal(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join), st.sampled_from([2, 9, 77]))
def test_equal_to_open_clip_where_signs_and_marks_meet(text: str, tokens: int) -> None:
    require_equal(text, tokens)


def test_every_character_of_unicode() -> None:
    """By classes of characters that the two libraries could see differently: one of each hundred in a wide sweep."""
    for block in range(0, 0x110000, 4096):
        characters = (chr(code) for code in range(block, block + 4096, 97) if not 0xD800 <= code < 0xE000)
        require_equal(" ".join(f"a{c}7{c}!{c}" for c in characters), tokens=2000)


def test_the_empty_text_is_the_placeholder() -> None:
    np.testing.assert_array_equal(tokenizer()(""), CAPTION.blank())


def test_a_longer_text_ends_with_the_end() -> None:
    ids = tokenizer(5)("one two three four five six")
    assert ids[-1] == CAPTION.end
    assert ids[:4].tolist() == tokenizer()("one two three four five six")[:4].tolist()


def test_a_text_that_is_not_to_be_mended() -> None:
    plain = Tokenizer(clip_tokenizer(), Text(name="caption", clean=False))
    mended = tokenizer()("&amp;")
    assert plain("&").tolist() == mended.tolist()
    assert plain("&amp;").tolist() != mended.tolist()
    with pytest.raises(InputError, match="caption: the text is not UTF-8"):
        plain("\ud800")


def test_lengths_in_the_definition_are_not_followed() -> None:
    definition = json.loads(clip_tokenizer())
    definition["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    padding = {"direction": "Left", "pad_id": 5, "pad_type_id": 0, "pad_token": "!", "pad_to_multiple_of": None}
    definition["padding"] = {"strategy": {"Fixed": 40}, **padding}
    odd = Tokenizer(json.dumps(definition), CAPTION)
    np.testing.assert_array_equal(odd("one two three four"), tokenizer()("one two three four"))


def test_another_process_gets_an_equal_one() -> None:
    text = "a <start_of_text> <end_of_text> b"
    for other in (pickle.loads(pickle.dumps(tokenizer())), copy.deepcopy(tokenizer())):
        np.testing.assert_array_equal(other(text), tokenizer()(text))


@pytest.mark.parametrize("definition", ["", "{}", "[]", "null", "\x00", "{" * 10_000, '{"version": "1.0"}', "\ud800"])
def test_no_tokenizer(definition: str) -> None:
    with pytest.raises(InputError, match=r"^caption: no tokenizer\.json that can be read; .*") as caught:
        Tokenizer(definition, CAPTION)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_definition_that_breaks_the_library() -> None:
    definition = json.loads(clip_tokenizer())
    del definition["post_processor"]["special_tokens"]["<start_of_text>"]
    with pytest.raises(InputError, match=r"^caption: "):
        Tokenizer(json.dumps(definition), CAPTION)("a")


def test_ids_outside_the_vocabulary() -> None:
    with pytest.raises(InputError, match="ids up to 49407, the model knows 1000; give the tokenizer"):
        Tokenizer(clip_tokenizer(), Text(name="caption", vocabulary=1000, placeholder=(), end=1))
    definition = json.loads(clip_tokenizer())
    definition["post_processor"]["special_tokens"]["<end_of_text>"]["ids"] = [50_000]
    with pytest.raises(InputError, match="ids up to 50000"):
        Tokenizer(json.dumps(definition), CAPTION)


def test_a_text_without_ids() -> None:
    words = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}
    few = Tokenizer(json.dumps({"version": "1.0", "model": words}), CAPTION)
    with pytest.raises(InputError, match="caption: the tokenizer has no ids for the text; give another tokenizer"):
        few("b")


@given(st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable()))
def test_a_text_stays_as_it_is(text: str) -> None:
    assert read_text(text, "caption") == text
    assert read_text(f" {text}\n", "caption") == f" {text}\n"


@pytest.mark.parametrize("text", ["", " ", "\n\t \r", "\u3000\u2028", "\ufeff", "\x00\x1b", "\u200b\u200d"])
def test_no_text(text: str) -> None:
    with pytest.raises(InputError, match=r"^caption: the text is empty; leave it out instead"):
        read_text(text, "caption")


def test_a_text_that_is_too_long() -> None:
    assert read_text("x" * MOST_CHARACTERS, "caption")
    for text in ("x" * (MOST_CHARACTERS + 1), "\U0001f600" * 10_000_000):
        with pytest.raises(
            InputError, match=f"^caption: has {len(text):,} characters, more than 100,000; shorten"
        ) as e:
            read_text(text, "caption")
        assert len(str(e.value)) < 120


def test_a_text_that_is_not_utf8() -> None:
    with pytest.raises(InputError, match=r"^caption: the text is not UTF-8"):
        read_text(b"caf\xe9".decode(errors="surrogateescape"), "caption")


def test_importing_needs_no_library() -> None:
    code = "import sys, rep_edge.runtime.inputs.texts, rep_edge.runtime.inputs.images\n"
    code += "print([name for name in ('PIL', 'tokenizers', 'ftfy', 'torch', 'open_clip') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
