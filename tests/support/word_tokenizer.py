"""Word-level tokenizers made on the spot, for tests that need no model: one token a word or punctuation mark."""

from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ioi_fixtures.sentences.prompts import PLACEHOLDER
from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES

PROMPT_WORDS = (*NAMES, *PLACES, *OBJECTS, ",", *PLACEHOLDER.sub("", " ".join(TEMPLATES)).replace(",", "").split())


def word_level(words: Iterable[str] = PROMPT_WORDS, **special: str) -> PreTrainedTokenizerFast:
    """A tokenizer of `words` and the `special` tokens; anything else is <unk>, and a hyphen splits a word in three."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", *special.values(), *sorted(set(words))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", **special)
