"""Words as a tokenizer has them: which are one token, and which it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES
from lib.one_line import first_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAMED = 8  # of the words a tokenizer cannot take, how many are named: all of them would fill the screen


def check_words(
    tokenizer: PreTrainedTokenizerBase, words: Iterable[str] = (*NAMES, *PLACES, *OBJECTS)
) -> dict[str, int]:
    """The token id of each word with its leading space.

    Raises ValueError, naming the first offenders, where that is not one known token: a word of two tokens would shift
    every position after it without a sound.
    """
    words = sorted(set(words))
    pieces = dict(zip(words, tokenize(tokenizer, [" " + word for word in words]), strict=True))
    bad = [f"{word!r} ({len(ids)} tokens)" for word, ids in pieces.items() if len(ids) != 1]
    bad += [f"{word!r} (unknown)" for word, ids in pieces.items() if ids == [tokenizer.unk_token_id]]
    if bad:
        raise ValueError(
            f"not one token of {called(tokenizer)} with a leading space: {first_of(bad, NAMED)}; "
            "use other words (ioi_fixtures/sentences/words.py, or your prompt file)"
        )
    return {word: ids[0] for word, ids in pieces.items()}


def known_words(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> tuple[str, ...]:
    """Those of `words` that are one known token with a leading space."""
    pieces = zip(words, tokenize(tokenizer, [" " + word for word in words]), strict=True)
    return tuple(word for word, ids in pieces if len(ids) == 1 and ids != [tokenizer.unk_token_id])


def unknown_words(text: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The words that become the unknown token; the whole text where none does so by itself."""
    words = list(dict.fromkeys(re.findall(r"\w+(?:['’-]\w+)*|[^\w\s]", text)))
    pieces = zip(words, tokenize(tokenizer, [" " + word for word in words]), strict=True)
    return [word for word, ids in pieces if tokenizer.unk_token_id in ids] or [text]


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without a start or an end token."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"]


def called(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer in a sentence."""
    return tokenizer.name_or_path or "this tokenizer"
