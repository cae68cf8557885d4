"""A word-level tokenizer for exactly the words prompts are made of, loadable by `AutoTokenizer`.

Words are split as GPT-2 splits them: the leading space belongs to the word, punctuation stands alone. So " Mary" is
one token, and decoding gives the text back. One special token serves as beginning, end, padding and unknown, as in
GPT-2; it is never added by itself. Out of scope: sub-word units, and any word not in `words.py`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from ioi_fixtures.sentences.words import NAMES, OBJECTS, PLACES, TEMPLATES

SPECIAL = "<|endoftext|>"
_PIECE = r" ?\w+|[^\w\s]"
_PLACEHOLDER = re.compile(r" ?\{\w+\}")


def vocabulary() -> tuple[str, ...]:
    """Every token, in the order of its id: the special one, names, places, objects, then the templates' words."""
    slots = [f" {word}" for word in (*NAMES, *PLACES, *OBJECTS)]
    pieces = {piece for template in TEMPLATES for piece in re.findall(_PIECE, _PLACEHOLDER.sub("", template))}
    return SPECIAL, *slots, *sorted(pieces - set(slots))


def name_ids() -> range:
    """The ids of the names."""
    return range(1, 1 + len(NAMES))


def first_word_ids() -> list[int]:
    """The ids of tokens without a leading space, which stand at the start of a sentence, and the special one."""
    return [index for index, token in enumerate(vocabulary()) if not token.startswith(" ")]


def save(directory: Path, n_ctx: int) -> None:
    """Write tokenizer.json and tokenizer_config.json into `directory`."""
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary())}, unk_token=SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([SPECIAL])
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL,
        "eos_token": SPECIAL,
        "pad_token": SPECIAL,
        "unk_token": SPECIAL,
        "clean_up_tokenization_spaces": False,
        "model_max_length": n_ctx,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
