"""What the rows of other people's prompt files mean: the formats, told apart by the keys of a file's first row.

- auto-circuit: `{"clean": ..., "answers": [" Mary"], "wrong_answers": [" John"]}`
- EAP-IG: `clean`, `correct_idx` and `incorrect_idx`, the answers as token ids of the model that the file was made for
- MIB (mib-bench/ioi): `{"prompt": ..., "metadata": {"indirect_object": "Mary", "subject": "John"}}`
- Easy-Transformer: `{"text": ..., "IO": "Mary", "S": "John", "TEMPLATE_IDX": 0}`, whose text ends in the answer
- our own: `{"prompt": "... to", "io": "Mary", "s": "John"}`, and optionally "template", any label, and "bos", whether
  prompts begin with the start token (`prompt_files.says_bos`)

Out of scope: the syntax of files (`file_rows`), and whether a row is an IOI prompt (`prompt_files`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lib.suggestions import suggestion

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Text without the answer, IO, S, and the file's own template label.
Parts = tuple[str, str, str, "str | int | None"]
Name = Annotated[str, AfterValidator(str.strip)]  # an answer with its leading space is the same name
AsList = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
OneName = Annotated[list[Name], Field(min_length=1, max_length=1), AsList]
# What our keys are called elsewhere, and no spelling is near.
SYNONYMS = {"subject": "s", "indirect_object": "io", "text": "prompt", "sentence": "prompt", "clean": "prompt"}


class Row(BaseModel):
    """One prompt of a file. Unknown fields are ignored: other people's formats hold more than is read here."""

    def parts(self, tokenizer: PreTrainedTokenizerBase) -> Parts:
        """Text without the answer, IO, S, and the file's own template label. Raises ValueError where it has none."""
        raise NotImplementedError


class Ours(Row):
    model_config = ConfigDict(extra="forbid")  # our own format: a misspelled key is a mistake, not somebody's extra
    prompt: str
    io: Name
    s: Name
    template: str | int | None = None
    bos: bool | None = None

    def parts(self, tokenizer: PreTrainedTokenizerBase) -> Parts:
        return self.prompt, self.io, self.s, self.template


class AutoCircuit(Row):
    clean: str
    answers: OneName
    wrong_answers: OneName

    def parts(self, tokenizer: PreTrainedTokenizerBase) -> Parts:
        return self.clean, self.answers[0], self.wrong_answers[0], None


class EapIg(Row):
    clean: str
    correct_idx: int
    incorrect_idx: int

    def parts(self, tokenizer: PreTrainedTokenizerBase) -> Parts:
        names = []
        for key in ("correct_idx", "incorrect_idx"):
            token = getattr(self, key)
            written = tokenizer.decode([token]) if 0 <= token < len(tokenizer) else "unknown"
            name = written.strip()
            if name not in self.clean or tokenizer(f" {name}", add_special_tokens=False)["input_ids"] != [token]:
                raise ValueError(
                    f"{key} {token} is {written!r} to this model's tokenizer, not the token of a name in the prompt: "
                    "where the ids are of another tokenizer, write the names into columns 'answers' and 'wrong_answers'"
                )
            names.append(name)
        return self.clean, names[0], names[1], None


class MibNames(BaseModel):
    indirect_object: Name
    subject: Name


class Mib(Row):
    prompt: str
    metadata: MibNames
    template: str | None = None

    def parts(self, tokenizer: PreTrainedTokenizerBase) -> Parts:
        return self.prompt, self.metadata.indirect_object, self.metadata.subject, self.template


class EasyTransformer(Row):
    text: str
    IO: Name
    S: Name
    TEMPLATE_IDX: int | None = None

    def parts(self, tokenizer: PreTrainedTokenizerBase) -> Parts:
        if not self.text.endswith(" " + self.IO):
            raise ValueError(f"the text does not end in its answer {self.IO!r}, as this format's does")
        return self.text.removesuffix(" " + self.IO), self.IO, self.S, self.TEMPLATE_IDX


# The keys that tell a format from those below it: "clean" and "prompt" are in two of them.
FORMATS: dict[str, type[Row]] = {
    "answers": AutoCircuit,
    "correct_idx": EapIg,
    "clean": AutoCircuit,
    "metadata": Mib,
    "text": EasyTransformer,
    "io": Ours,
    "prompt": Ours,
}


def format_of(row: Any) -> type[Row]:
    """The format of a file whose first row this is. Raises ValueError where it is none that is known."""
    keys = list(row) if isinstance(row, dict) else []
    for key, schema in FORMATS.items():
        if key in keys:
            return schema
    raise ValueError(
        f"unknown format: its first prompt has the keys {keys}; "
        'the simplest format is {"prompt": "... to", "io": "Mary", "s": "John"}, one a line'
    )


def read_row(schema: type[Row], row: Any) -> Row:
    """The row as `schema` has it. Raises ValueError with the first fault, and the key that may have been meant."""
    try:
        return schema.model_validate(row)
    except ValidationError as error:
        faults = error.errors()
    faults.sort(key=lambda fault: fault["type"] != "extra_forbidden")  # a misspelled key is missed as well
    first = faults[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        raise ValueError(f"unknown key {key!r}: {_meant(key, schema)}")
    if first["type"] == "missing":
        raise ValueError(f"key {key!r} is missing{_written_as(key, row, schema)}")
    raise ValueError(f"{key}: {first['msg']}" if key else first["msg"])


def _meant(key: str, schema: type[Row]) -> str:
    synonym = SYNONYMS.get(key.lower())
    return f"did you mean {synonym!r}?" if synonym in schema.model_fields else suggestion(key, schema.model_fields)


def _written_as(key: str, row: dict[str, Any], schema: type[Row]) -> str:
    """Which other key of the row may be meant for the missing one, if one is like it."""
    said = {other: suggestion(other, [key]) for other in row if other not in schema.model_fields}
    like = [other for other, words in said.items() if words.startswith("did you mean")]
    return f", but there is {like[0]!r}: did you mean {key!r}?" if like else f": there are {', '.join(map(repr, row))}"
