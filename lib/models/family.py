"""How a family of decoders states its architecture in config.json, and how it names its tensors: one row of `families`.

Imports nothing that takes long, so that a model can be refused at once. Out of scope: which families there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Config = Mapping[str, object]
Turns = tuple[Mapping, int]  # rope_parameters, and how many of a head's dimensions turn
Norm = Literal["LayerNorm", "RMSNorm"]
Pairing = Literal["halves", "adjacent"]
# The sizes of an architecture, by the key that most families state them with.
SIZES = {
    "d_vocab": "vocab_size",
    "n_ctx": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_mlp": "intermediate_size",
}


@dataclass(frozen=True)
class Family:
    """How one family of decoders states what it is."""

    prefix: str  # of the names of all tensors but lm_head's, where the model was saved with that
    parts: Mapping[str, str]  # our name of a linear map, norm or embedding -> theirs, {} being the layer
    norm: Norm
    norm_eps: str | float  # the key of config.json that states it, or what it always is
    activation: str  # the key
    sizes: Mapping[str, str] = field(default_factory=dict)  # those that are not called as in SIZES
    head: str = "lm_head"  # the unembedding's name, which has no prefix
    biases: Callable[[Config], frozenset[str]] = lambda config: frozenset()  # parts that have one
    fused: str = ""  # the part that holds q, k and v: "thirds" one after another, or head "by head"
    transposed: bool = False  # linear maps are stored [in out], not [out in]
    gain_offset: float = 0.0  # a norm multiplies by its weight plus this
    position_offset: int = 0  # rows of the positions' embedding that stand before the first position's
    embedding_scale: Callable[[Config], float] = lambda config: 1.0
    scale: Callable[[Config, int], float] = lambda config, d_head: d_head**-0.5  # of q.k
    query_factors: Callable[[Config], Sequence[float]] | None = None  # by layer; folded into queries
    rotary: Callable[[Config, int], Sequence[Turns]] | None = None  # by layer; else positions are learned
    pairing: Pairing = "halves"
    windows: Callable[[Config], tuple[int | None, ...]] = lambda config: ()
    parallel: Callable[[Config], bool] = lambda config: False
    caps: tuple[str, ...] = ()  # the keys of attention scores' and of logits'
    defaults: Mapping[str, object] = field(default_factory=dict)  # of its keys; transformers' own where it lists none
    aliases: Mapping[str, str] = field(default_factory=dict)  # other names of its keys
    supported: Mapping[str, Sequence] = field(default_factory=dict)  # what other keys that change the function may say
    equal: Mapping[str, str] = field(default_factory=dict)  # and keys that have to say the same as another
    hooked: bool = False  # whether HookedTransformer, of TransformerLens before 4, is built of it here
    read_only: tuple[str, ...] = ()  # sites that TransformerLens 4.3 shows, and whose edits it loses
    recomputed: tuple[str, ...] = ()  # sites that it computes on from by other kernels where they are edited
    as_stored: Mapping[str, object] = field(default_factory=dict)  # what plain transformers is given besides
    as_processed: Mapping[str, object] = field(default_factory=dict)  # and with processed weights, which have the rest

    @property
    def all_sizes(self) -> Mapping[str, str]:
        """Each size of an architecture and the key that states it."""
        return {**SIZES, **self.sizes}
