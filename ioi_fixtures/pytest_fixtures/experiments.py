"""Interventions that several claims read, as fixtures: each is computed once a subject.

Everything is patched or averaged from the ABC prompts unless a fixture says otherwise, and every value is a logit
difference per prompt, unnormalised. What keeps whole runs for the claims of one file ends with that file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ioi_fixtures.circuits.circuit import CIRCUIT, CIRCUIT_HEADS, S_INHIBITION, random_circuit
from ioi_fixtures.circuits.knockouts import (
    ARENA_K,
    COMPLETENESS_K,
    GREEDIEST_K,
    GREEDY_K,
    NAIVE_CIRCUIT,
    PAPER_K,
    left_of_circuit,
    random_subset,
)
from ioi_fixtures.circuits.signals import CELL_VARIANTS, Cell
from ioi_fixtures.pytest_fixtures.encoding import encode_for
from ioi_fixtures.pytest_fixtures.fixtures import EVERYTHING
from ioi_fixtures.pytest_fixtures.shares import Whole
from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompts import Batch, Prompt
from ioi_fixtures.sentences.random_tokens import repeated_sequences
from lib.instruments.ablation import knock_out, means_by_group, run_circuits
from lib.instruments.addresses import Place
from lib.instruments.attention import RepeatedTokenScores, repeated_token_scores
from lib.instruments.attribution import attribution_by_head
from lib.instruments.patching import patch_heads, patch_stream
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
from lib.judging.statistics import Estimate
from lib.models.activations import Run
from lib.models.heads import Head
from lib.models.model import Edit, Model

RANDOM_SETS = 20  # random K; the paper draws 100
PATCHED = 3  # activation patching is the costliest map, so it takes a third of the prompts,
PATCHED_AT_LEAST = 16  # and no fewer than twice the 8 on which the published maps were made
COMPLETENESS_SETS = (*COMPLETENESS_K.values(), *GREEDY_K.values(), GREEDIEST_K, *map(random_subset, range(RANDOM_SETS)))
RANDOM_SEQUENCES = 50  # or as many as there are prompts, if those are fewer
RANDOM_LENGTH = 50  # tokens, then repeated, or half of what a model reads; Wang et al. 2022, App. H, take 100


@pytest.fixture(scope="module")
def without_mlp(model: Model, ioi: Batch, every_abc: tuple[Batch, Run], mean_groups: Tensor) -> Callable[[int], Run]:
    """The model on IOI prompts with one MLP's output at its ABC mean by template, at every position."""
    abc_run = every_abc[1]

    @cache
    def run(layer: int) -> Run:
        mean = means_by_group(abc_run["mlp_out"][layer][None, :, :, None], mean_groups)[0, : len(ioi), :, 0]
        settings = {"last": ioi.positions["END"], "edits": lambda some: [Edit("mlp_out", layer, lambda _: mean[some])]}
        return model.run(ioi.tokens, **settings)

    return run


@pytest.fixture(scope="module")
def knocked_out(model: Model, ioi: Batch, abc_means: Tensor) -> Callable[..., Run]:
    """The model on IOI prompts with heads knocked out at END, by "mean" (ABC, by template) or by "zero"."""

    @cache
    def run(heads: tuple[Head, ...], by: str) -> Run:
        values = {"mean": abc_means, "zero": torch.zeros_like(abc_means)}[by]
        end = ioi.positions["END"]

        def change(layer: int, some: Tensor, z: Tensor) -> Tensor:
            for head in heads:
                if head.layer == layer:
                    z[torch.arange(len(some)), end[some], head.index] = values[layer, some, end[some], head.index]
            return z

        def edits(some: Tensor) -> list[Edit]:
            return [Edit("z", layer, partial(change, layer, some)) for layer in sorted({head.layer for head in heads})]

        return model.run(ioi.tokens, last=end, keep=("z", "pattern", "final_scale"), edits=edits)

    return run


@pytest.fixture(scope="module")
def attribution_change(
    model: Model, ioi: Batch, ioi_run: Run, knocked_out: Callable[..., Run]
) -> Callable[[tuple[Head, ...], str], Tensor]:
    """What every head writes directly after a knock-out, minus what it wrote before. [layer head batch]"""
    before = attribution_by_head(ioi_run, model.weights, ioi.answers)
    return cache(lambda heads, by: attribution_by_head(knocked_out(heads, by), model.weights, ioi.answers) - before)


@pytest.fixture(scope="module")
def without_s_inhibition(knocked_out: Callable[..., Run]) -> Run:
    """The model on IOI prompts with the S-inhibition heads at their ABC means at END."""
    return knocked_out(S_INHIBITION, "mean")


@pytest.fixture(scope="session")
def paths_to_logits(model: Model, ioi: Batch, ioi_run: Run, abc_run: Run) -> Tensor:
    """Every head's direct path to the logits patched. [layer head batch]"""
    return path_patch_to_logits(model.weights, ioi_run, abc_run, ioi.answers)


@pytest.fixture(scope="session")
def paths_to_name_mover_queries(patched_paths: Callable[..., Tensor]) -> Tensor:
    """Every head's path to the name movers' queries at END patched. [layer head batch]"""
    return patched_paths("name mover", "q", "END")


@pytest.fixture(scope="session")
def paths_to_s_inhibition_values(patched_paths: Callable[..., Tensor]) -> Tensor:
    """Every head's path to the S-inhibition heads' values at S2 patched. [layer head batch]"""
    return patched_paths("S-inhibition", "v", "S2")


@pytest.fixture(scope="session")
def patched_paths(model: Model, ioi: Batch, ioi_run: Run, abc_run: Run) -> Callable[..., Tensor]:
    """Paths from every head, or from sets of heads, to the inputs of a class at a named position, patched."""

    def patch(receivers: str, inputs: str, position: str, senders: object = None) -> Tensor:
        return path_patch_to_heads(
            model.weights,
            ioi_run,
            abc_run,
            ioi.answers,
            receivers=CIRCUIT[receivers][0],
            inputs=inputs,
            position=ioi.positions[position],
            senders=senders,
        )

    return patch


@pytest.fixture(scope="session")
def signalled(
    model: Model, ioi: Batch, ioi_run: Run, names: tuple[str, ...], request: pytest.FixtureRequest
) -> Callable[[frozenset[Place], Cell], Tensor]:
    """Logit differences with the output of heads at their positions from prompts with changed signals. [batch]"""

    @cache
    def differences(places: frozenset[Place], cell: Cell) -> Tensor:
        varied = encode_for(model, CELL_VARIANTS[cell](ioi.prompts, request.config.option.claims_seed, names))
        values = model.run(varied.tokens, last=ioi.positions["END"], keep=("z",))["z"]
        settings = {"positions": ioi.positions, "values": values, "answers": ioi.answers}
        return knock_out(model.weights, ioi_run, [dict(sorted(places))], **settings)[0]

    return differences


@pytest.fixture(scope="session")
def s_inhibition_signals(signalled: Callable[..., Tensor]) -> Mapping[Cell, Tensor]:
    """The same of the S-inhibition heads at END, by cell. [batch] a cell"""
    return {cell: signalled(frozenset((head, "END") for head in S_INHIBITION), cell) for cell in CELL_VARIANTS}


class Pair(NamedTuple):
    """A clean run and its corrupted partner, on the same few prompts."""

    batch: Batch
    clean: Run
    corrupted: Run

    whole: Whole  # the clean run's logit difference less the corrupted one's

    def recovered(self, patched: Tensor) -> Estimate:
        """Share of the clean logit difference that logit differences `patched` [batch] get back."""
        return self.whole.share(patched - self.corrupted.logit_difference(self.batch.answers))


@pytest.fixture(scope="module")
def s2_swapped_pair(model: Model, prompts: tuple[Prompt, ...], as_whole: Callable[[str, Tensor], Whole]) -> Pair:
    """The first prompts, and the same with the indirect object's name at S2."""
    few = prompts[: max(PATCHED_AT_LEAST, len(prompts) // PATCHED)]
    clean, swapped = encode_for(model, few), encode_for(model, variants.swap_s2(few))
    runs = [model.run(one.tokens, last=one.positions["END"], keep=EVERYTHING) for one in (clean, swapped)]
    right, wrong = (run.logit_difference(clean.answers) for run in runs)
    return Pair(clean, *runs, as_whole("logit difference, clean less corrupted,", right - wrong))


@pytest.fixture(scope="session")
def circuit_alone(other_circuits: Callable[..., Tensor], abc_means: Tensor) -> Callable[[frozenset[Head]], Tensor]:
    """F(C \\ K) for K among the sets that claims ask about, all computed in one go at the first request. [batch]"""
    sets = [frozenset(), *COMPLETENESS_SETS]
    for choice in (PAPER_K, ARENA_K):
        sets += [removed | extra for head, removed in choice.items() for extra in (frozenset(), {head})]
    sets = list(dict.fromkeys(sets))
    differences = other_circuits([left_of_circuit(removed) for removed in sets], abc_means)
    by_set = dict(zip(sets, differences, strict=True))
    return lambda removed=frozenset(): by_set[removed]


@pytest.fixture(scope="session")
def other_circuits(model: Model, ioi: Batch, ioi_run: Run) -> Callable[..., Tensor]:
    """Logit differences of other circuits among given values for everything else. [circuit batch]"""

    def run(circuits: list[Mapping[Head, str]], values: Tensor) -> Tensor:
        return run_circuits(
            model.weights, ioi_run, circuits, positions=ioi.positions, values=values, answers=ioi.answers
        )

    return run


@pytest.fixture(scope="session")
def whole_circuit_alone(other_circuits: Callable[..., Tensor], abc_means: Tensor) -> Tensor:
    """F(C): the circuit on its own. [batch]"""
    return other_circuits([CIRCUIT_HEADS], abc_means)[0]


@pytest.fixture(scope="session")
def circuit_among_resampled_heads(other_circuits: Callable[..., Tensor], abc_run: Run) -> Tensor:
    """The circuit, every other head taken from the ABC prompt of the same template instead of a mean. [batch]"""
    return other_circuits([CIRCUIT_HEADS], abc_run["z"])[0]


@pytest.fixture(scope="session")
def naive_circuit_alone(other_circuits: Callable[..., Tensor], abc_means: Tensor) -> Tensor:
    """The naive circuit on its own. [batch]"""
    return other_circuits([NAIVE_CIRCUIT], abc_means)[0]


@pytest.fixture(scope="session")
def random_circuits_alone(other_circuits: Callable[..., Tensor], model: Model, abc_means: Tensor) -> Tensor:
    """Circuits of random heads on their own. [seed batch]"""
    shape = {"n_layers": model.weights.n_layers, "n_heads": model.weights.n_heads}
    return other_circuits([random_circuit(seed, **shape) for seed in range(3)], abc_means)


@pytest.fixture(scope="session")
def at_abc_means(model: Model, ioi: Batch, ioi_run: Run, abc_means: Tensor) -> Callable[..., Tensor]:
    """Logit differences of the model with sets of heads at their ABC means, each at a named position. [set batch]"""
    settings = {"positions": ioi.positions, "values": abc_means, "answers": ioi.answers}
    return lambda sets: knock_out(model.weights, ioi_run, sets, **settings)


@pytest.fixture(scope="session")
def model_without(at_abc_means: Callable[..., Tensor]) -> Callable[[frozenset[Head]], Tensor]:
    """F(M \\ K): the model with K at its ABC means, each head at the circuit's position for it. [batch]"""
    differences = at_abc_means([{head: CIRCUIT_HEADS[head] for head in removed} for removed in COMPLETENESS_SETS])
    by_set = dict(zip(COMPLETENESS_SETS, differences, strict=True))
    return lambda removed: by_set[removed]


@pytest.fixture(scope="session")
def incompleteness(
    circuit_alone: Callable[[frozenset[Head]], Tensor], model_without: Callable[[frozenset[Head]], Tensor]
) -> Callable[[frozenset[Head]], Tensor]:
    """|F(M \\ K) - F(C \\ K)|, each prompt with the sign of the mean over prompts. [batch]"""

    def in_size(removed: frozenset[Head]) -> Tensor:
        gap = model_without(removed) - circuit_alone(removed)
        return gap * gap.mean().sign()

    return in_size


@pytest.fixture(scope="session")
def random_incompleteness(incompleteness: Callable[[frozenset[Head]], Tensor]) -> Tensor:
    """The incompleteness averaged over random K. [batch]"""
    return torch.stack([incompleteness(removed) for removed in map(random_subset, range(RANDOM_SETS))]).mean(0)


@pytest.fixture(scope="module")
def patched_heads(model: Model, s2_swapped_pair: Pair) -> Callable[[str], Tensor]:
    """The corrupted run with one head's z, q, k, v or pattern from the clean run. [layer head batch]"""
    pair = s2_swapped_pair
    return cache(lambda site: patch_heads(model.weights, pair.corrupted, pair.clean, pair.batch.answers, site=site))


@pytest.fixture(scope="module")
def patched_streams(model: Model, s2_swapped_pair: Pair) -> Callable[[str, str, int], Tensor]:
    """The corrupted run with the residual stream, an attention or MLP output patched at a named position. [batch]"""
    pair = s2_swapped_pair
    patched = cache(lambda site: patch_stream(model.weights, pair.corrupted, pair.clean, pair.batch.answers, site=site))
    return lambda site, position, layer: patched(site)[layer].gather(0, pair.batch.positions[position][None])[0]


@pytest.fixture(scope="session")
def random_token_scores(
    model: Model, prompts: tuple[Prompt, ...], request: pytest.FixtureRequest
) -> RepeatedTokenScores:
    """Head-type scores on random tokens repeated once, no start token. Each [layer head sequence]"""
    vocabulary, count = model.weights.W_E.shape[0], min(RANDOM_SEQUENCES, len(prompts))
    length = min(RANDOM_LENGTH, model.weights.architecture.n_ctx // 2)
    tokens = repeated_sequences(vocabulary, count, length, seed=request.config.option.claims_seed)
    last = torch.full((count,), tokens.shape[1] - 1)
    return repeated_token_scores(model.run(tokens, last=last, keep=("pattern",)))
