"""What is timed on models of other families, at the true shapes of some that people use; of grouped heads as well.

The heads are a made-up circuit of twenty, laid out over the layers as published ones are: the work depends on layers
and positions, not on what heads do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks.work import Case, Work, alone, case_on, stream_works, to_heads, to_logits
from ioi_fixtures.controls.random_families import save_random_like
from ioi_fixtures.controls.random_model import numbered_words
from lib.models.heads import Head
from lib.models.model import load

# model_type and config, as in config.json of EleutherAI/pythia-160m and HuggingFaceTB/SmolLM2-135M.
SHAPES: Mapping[str, tuple[str, dict]] = MappingProxyType(
    {
        "pythia-160m": (
            "gpt_neox",
            {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
            | {"vocab_size": 50304, "max_position_embeddings": 2048, "use_parallel_residual": True}
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}}
            | {"tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0},
        ),
        "smollm2-135m": (
            "llama",
            {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
            | {"intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5}
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}, "tie_word_embeddings": True}
            | {"bos_token_id": 1, "eos_token_id": 2},
        ),
    }
)
# Their embeddings' standard deviation. SmolLM2-135M's, as it is in the real one, unembeds as well: of 1 it would make
# logit differences of 39 and not of some 5, and float32 rounds the last digits of those eight times as much.
EMBEDDINGS = {"pythia-160m": 1.0, "smollm2-135m": 0.136}
# By class: the share of the layers that lies below it, how many heads it has, each a layer further up, and where.
CLASSES = ((0.1, 3, "S2"), (0.2, 3, "S1+1"), (0.4, 4, "S2"), (0.6, 4, "END"), (0.75, 3, "END"), (0.8, 3, "END"))
MOVERS = 4  # which of these


def circuit_of(n_layers: int, n_heads: int) -> list[dict[Head, str]]:
    """The made-up classes in a model of that many layers and heads, each head with its position."""
    classes, taken = [], set()
    for share, count, where in CLASSES:
        members = {}
        for i in range(count):
            head = Head(min(round(share * n_layers) + i, n_layers - 1), (5 * i + len(classes)) % n_heads)
            while head in taken:
                head = Head(head.layer, (head.index + 1) % n_heads)
            taken.add(head)
            members[head] = where
        classes.append(members)
    return classes


def case_of(shape: str, n: int, *, device: str = "cpu") -> Case:
    """A random model of one of SHAPES, and `n` prompts."""
    model_type, config = SHAPES[shape]
    with tempfile.TemporaryDirectory() as directory:
        words, size = numbered_words(config["vocab_size"]), EMBEDDINGS[shape]
        save_random_like(model_type, config, Path(directory), words, embeddings=size)
        model = load(Path(directory), name=shape, device=device, dtype="float32")
    return case_on(model, n, config["vocab_size"])


def path_works(case: Case) -> Iterator[Work]:
    """Every head to the logits, and to the queries of the movers in the last third."""
    layers, n_heads = case.model.weights.n_layers, case.model.weights.n_heads
    few = [Head(layer, 1) for layer in (0, layers // 2, 3 * layers // 4 - 1)]
    yield to_logits(case, few)
    yield to_heads(case, "movers' queries at END", [*circuit_of(layers, n_heads)[MOVERS]], "q", "END", few[:2])


def minimality_works(case: Case) -> Iterator[Work]:
    """Each of the twenty heads with its class: the circuit without the rest of it, and without all of it."""
    classes = circuit_of(case.model.weights.n_layers, case.model.weights.n_heads)
    whole = {head: where for members in classes for head, where in members.items()}
    without = [gone for members in classes for head in members for gone in ({*members} - {head}, {*members})]
    circuits = [{head: where for head, where in whole.items() if head not in gone} for gone in without]
    yield alone(case, f"minimality of {len(whole)} heads, {len(circuits)} circuits", circuits, (0, 21, 39))


PARTS_OF_SHAPES: Mapping[str, Callable[[Case], Iterator[Work]]] = {
    "paths": path_works,
    "minimality": minimality_works,
    "maps": partial(stream_works, pair="A"),
}
