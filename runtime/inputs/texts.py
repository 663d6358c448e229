"""A text as a user gives it, checked, and as token ids that the model takes."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.signals import Text

MOST_CHARACTERS = 100_000
"""Characters of a text. A model looks at a few hundred; the worst texts of this length take a second to cut up."""

_INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf"}
"""Unicode categories of spaces, line ends, controls and formatting."""

_REASON = 200
"""Characters of the library's own words in an error; it may quote the whole file."""


def read_text(text: str, name: str) -> str:
    """The text of the modality `name`, as it is.

    Raises InputError for one without a visible character, longer than MOST_CHARACTERS, or with bytes that are not UTF-8
    (Python hands those on as lone surrogates).
    """
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{name}: has {len(text):,} characters, more than {MOST_CHARACTERS:,}; shorten the text")
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        raise InputError(f"{name}: the text is empty; leave it out instead, it then counts as missing")
    return _require_utf8(text, name)


class Tokenizer:
    """Texts to ids by a tokenizer.json, equal on the desk and on the device.

    Its own lengths for cutting and padding are not used; the modality's are.
    """

    def __init__(self, definition: str, modality: Text) -> None:
        """definition: text of a tokenizer.json.

        Raises InputError for one that cannot be read, or has ids outside the modality's vocabulary.
        """
        from tokenizers import Tokenizer as Library

        self.definition, self.modality = definition, modality
        with _one_line(f"{modality.name}: no tokenizer.json that can be read; give another tokenizer"):
            self._library = Library.from_str(definition)
        self._library.no_truncation()
        self._library.no_padding()
        highest = max([*self._library.get_vocab().values(), *self._ids("")], default=0)
        if highest >= modality.vocabulary:
            raise InputError(
                f"{modality.name}: the tokenizer has ids up to {highest}, the model knows {modality.vocabulary}; "
                "give the tokenizer that belongs to the model"
            )

    def __call__(self, text: str) -> NDArray[np.int64]:
        """Ids int64 [tokens] of a text: cut off with the end's id, or padded.

        Raises InputError for a text that the tokenizer has no ids for.
        """
        tokens = self.modality.tokens
        ids = self._ids(_mended(text) if self.modality.clean else text)
        row = np.full(tokens, self.modality.pad, np.int64)
        row[: len(ids)] = ids[:tokens]
        if len(ids) > tokens:
            row[-1] = self.modality.end
        return row

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str, Text]]:
        # The library's own copy for another process would lose words that share an id.
        return Tokenizer, (self.definition, self.modality)

    def _ids(self, text: str) -> list[int]:
        name = self.modality.name
        _require_utf8(text, name)
        with _one_line(f"{name}: the tokenizer has no ids for the text; give another tokenizer"):
            return list(self._library.encode(text).ids)


@contextmanager
def _one_line(message: str) -> Iterator[None]:
    """The library's errors as InputError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    # It raises plain Exception, and where its Rust code panics, a BaseException with a class that has no name here.
    except BaseException as error:
        raise InputError(f"{message} ({' '.join(str(error).split())[:_REASON]})") from error


def _mended(text: str) -> str:
    """Broken encodings, HTML entities, white space and letter case as open_clip 3.3 mends them ("lower").

    Lower case is made here and not left to a tokenizer.json: Python's knows that a sigma at the end of a word is
    another letter, the library's does not.
    """
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _require_utf8(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: the text is not UTF-8; save it as UTF-8") from error
    return text
