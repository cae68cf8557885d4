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

from benchmarks.work import LAYOUTS, Case, Work, at, stream_works
from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_families import save_random_like
from ioi_fixtures.controls.random_model import numbered_words, other_names, other_subject, prompts
from lib.instruments.ablation import means_by_group, run_circuits
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
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
        save_random_like(model_type, config, Path(directory), numbered_words(config["vocab_size"]))
        model = load(Path(directory), name=shape, device=device, dtype="float32")
    batch = prompts(n, vocab_size=config["vocab_size"], layouts=LAYOUTS).to(model.device)
    pairs = {"A": other_subject(batch).run(model), "B": other_names(batch).run(model)}
    return Case(model, batch, batch.run(model), pairs)


def path_works(case: Case) -> Iterator[Work]:
    """Every head to the logits, and to the queries of the movers in the last third."""
    model, runs = case.model, (case.clean, case.pairs["B"], case.batch.answers)
    layers, n_heads = model.weights.n_layers, model.weights.n_heads
    few = [Head(layer, 1) for layer in (0, layers // 2, 3 * layers // 4 - 1)]
    yield Work(
        "heads to logits",
        partial(path_patch_to_logits, model.weights, *runs),
        items=layers * n_heads,
        passes_per_item=1,
        samples=tuple((at(head), partial(hook_loops.path_to_logits, model, *runs, [head])) for head in few),
    )
    movers = [*circuit_of(layers, n_heads)[MOVERS]]
    path = {"receivers": movers, "position": case.batch.positions["END"]}
    yield Work(
        "heads to movers' queries at END",
        partial(path_patch_to_heads, model.weights, *runs, inputs="q", **path),
        items=n_heads * max(mover.layer for mover in movers),
        passes_per_item=2,
        samples=tuple(
            (at(head), partial(hook_loops.path_to_heads, model, *runs, [head], site="q", **path)) for head in few[:2]
        ),
    )


def minimality_works(case: Case) -> Iterator[Work]:
    """Each of the twenty heads with its class: the circuit without the rest of it, and without all of it."""
    model, batch = case.model, case.batch
    classes = circuit_of(model.weights.n_layers, model.weights.n_heads)
    whole = {head: where for members in classes for head, where in members.items()}
    without = [gone for members in classes for head in members for gone in ({*members} - {head}, {*members})]
    circuits = [{head: where for head, where in whole.items() if head not in gone} for gone in without]
    values = means_by_group(case.pairs["B"]["z"], batch.template)
    settings = (batch.positions, values, batch.answers)
    yield Work(
        f"minimality of {len(whole)} heads, {len(circuits)} circuits",
        lambda: run_circuits(
            model.weights, case.clean, circuits, positions=batch.positions, values=values, answers=batch.answers
        ),
        items=len(circuits),
        passes_per_item=1,
        samples=tuple(
            (at(i), partial(hook_loops.run_circuit, model, case.clean, circuits[i], *settings)) for i in (0, 21, 39)
        ),
    )


PARTS_OF_SHAPES: Mapping[str, Callable[[Case], Iterator[Work]]] = {
    "paths": path_works,
    "minimality": minimality_works,
    "maps": partial(stream_works, pair="A"),
}
