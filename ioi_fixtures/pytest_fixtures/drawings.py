"""What claims show beside their figures: drawings made from runs and patched paths, of the first prompts or of all.

Nothing here is judged. A prompt that stands for the others is the first one, so it is the same in every drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial

import pytest
from torch import Tensor

from ioi_fixtures.circuits.circuit import CIRCUIT, CIRCUIT_HEADS, INDUCTION, NAME_MOVERS, PREVIOUS_TOKEN, S_INHIBITION
from ioi_fixtures.circuits.knockouts import COMPLETENESS_K, K_SETS, random_subset
from ioi_fixtures.circuits.signals import Cell
from ioi_fixtures.pytest_fixtures.experiments import RANDOM_SETS, Pair
from ioi_fixtures.pytest_fixtures.shares import Whole
from ioi_fixtures.sentences.prompts import Batch
from lib.instruments.attention import attention, projection_on_token
from lib.instruments.attribution import attribution_by_head
from lib.instruments.readout import top_tokens
from lib.judging.drawings import (
    Bars,
    Edge,
    Graph,
    HeadMap,
    Lines,
    Node,
    Pattern,
    Scatter,
    Series,
    Table,
    bars,
    head_map,
)
from lib.judging.statistics import Estimate, mean_over_prompts
from lib.models.activations import Run, Weights
from lib.models.heads import Head, select
from lib.models.model import Model

DRAWN_PROMPTS = 200  # points of a scatter, at most: more hide each other and swell the page
# Where heads attend from and to, and what the publication calls those that do.
WORK = (
    ("END", "IO", "name mover"),
    ("END", "S2", "S-inhibition"),
    ("S2", "S1", "duplicate token"),
    ("S2", "S1+1", "induction"),
    ("S1+1", "S1", "previous token"),
)
CLASS_OF = {head: name for name, (members, _) in CIRCUIT.items() for head in members}


def words_of(model: Model, batch: Batch, prompt: int = 0) -> list[str]:
    """The tokens of one prompt as text, without padding."""
    return [_token(model, id) for id in batch.tokens[prompt, : batch.lengths[prompt]].tolist()]


def pattern_of(head: Head, model: Model, batch: Batch, run: Run, prompt: int = 0) -> Pattern:
    """What a head attends to on one prompt."""
    words = words_of(model, batch, prompt)
    rows = run["pattern"][head.layer, prompt, head.index].tolist()
    weights = [rows[query][: query + 1] for query in range(len(words))]
    return Pattern(title=f"Attention of {head} on one prompt", words=words, weights=weights)


def attention_by_position(name: str, members: tuple[Head, ...], batch: Batch, run: Run) -> Bars:
    """Mean attention of some heads from END to each named position."""
    end = batch.positions["END"]
    looks = {key: attention(run, query=end, key=at) for key, at in batch.positions.items()}
    means = {key: mean_over_prompts(select(value, members).mean(0)) for key, value in looks.items()}
    return bars(f"Attention of {name} from END", "attention probability", means)


def heads_at_work(weights: Weights, batch: Batch, run: Run) -> list[HeadMap]:
    """What every head does that a circuit's classes are known by: where it attends, and what it writes."""
    position = batch.positions
    maps = [
        head_map(
            f"Attention from {query} to {key} ({role})",
            "attention probability",
            attention(run, query=position[query], key=position[key]).mean(-1),
        )
        for query, key, role in WORK
    ]
    written = attribution_by_head(run, weights, batch.answers).mean(-1)
    return [*maps, head_map("Direct attribution", "logit difference", written)]


def attention_against_projection(head: Head, weights: Weights, batch: Batch, run: Run) -> Scatter:
    """How much a head attends to a name, against how much of that name it writes (Wang et al. 2022, Fig. 3c)."""
    shown = slice(DRAWN_PROMPTS)
    series = []
    for name, keys, answer in (("IO", ("IO",), 0), ("S", ("S1", "S2"), 1)):
        looks = [attention(run, query=batch.positions["END"], key=batch.positions[key])[head] for key in keys]
        written = projection_on_token(run, weights, batch.answers[:, answer])[head]
        texts = [prompt.text for prompt in batch.prompts[shown]]
        series.append(Series(name=name, x=sum(looks)[shown].tolist(), y=written[shown].tolist(), names=texts))
    title = f"What {head} writes of a name it attends to, one point a prompt"
    return Scatter(title=title, x="attention from END to the name", y="projection on the name", series=series)


def lens_by_layer(lens: Tensor) -> Lines:
    """The mean logit difference read off the residual stream before each layer and at the end. lens: [layer+1 batch]"""
    ticks = [*map(str, range(len(lens) - 1)), "final"]
    means = Series(name="mean over prompts", x=list(range(len(lens))), y=lens.mean(-1).tolist())
    return Lines(title="Logit lens at END", x="before layer", y="logit difference", ticks=ticks, series=[means])


def top_tokens_of(model: Model, batch: Batch, run: Run, prompt: int = 0) -> Table:
    """The token that the residual stream of one prompt predicts, before each layer and at each word."""
    words = words_of(model, batch, prompt)
    rows = [[_token(model, id) for id in row[: len(words)]] for row in top_tokens(run, model.weights, prompt).tolist()]
    names = [f"before layer {layer}" for layer in range(len(rows) - 1)] + ["final"]
    return Table(
        title="Most likely next token, by layer and word of one prompt",
        columns=["", *words],
        rows=[[name, *row] for name, row in zip(names, rows, strict=True)],
    )


def attribution_by_part(attention_layers: Tensor, mlps: Tensor) -> Bars:
    """What each attention layer and each MLP writes of the answer. Both [layer batch]."""
    found = {f"attention {i}": mean_over_prompts(values) for i, values in enumerate(attention_layers)}
    found |= {f"MLP {i}": mean_over_prompts(values) for i, values in enumerate(mlps)}
    title = "Direct attribution to the logit difference"
    return bars(title, "logit difference", found, {label: label.split()[0] for label in found})


def estimates_by_head(title: str, unit: str, members: Iterable[Head], estimate: Callable[[Head], Estimate]) -> Bars:
    """One estimate a head, coloured by the head's class in the circuit."""
    found = {str(head): estimate(head) for head in members}
    return bars(title, unit, found, {str(head): name for head, name in CLASS_OF.items()})


def change_by_head(title: str, changes: Tensor) -> Bars:
    """What heads of the circuit write beyond what they wrote before. changes: [layer head batch]"""
    return estimates_by_head(title, "logit difference", CIRCUIT_HEADS, lambda head: mean_over_prompts(changes[head]))


def differences_by_signal(differences: Mapping[Cell, Tensor]) -> Bars:
    """Logit differences by the token and position that the S-inhibition heads are told."""
    found = {
        f"{token} token, {position} position": mean_over_prompts(v) for (token, position), v in differences.items()
    }
    groups = {f"{token} token, {position} position": f"{position} position" for token, position in differences}
    return bars("Logit difference by signal", "logit difference", found, groups)


@pytest.fixture(scope="session")
def minimality(whole: Whole, circuit_alone: Callable[[frozenset[Head]], Tensor]) -> Callable[[str], Bars]:
    """What removing each head beyond its set K changes in the circuit, as a share of F(M), by whose sets they are."""

    def change(sets: Mapping[Head, frozenset[Head]], head: Head) -> Estimate:
        return whole.share(circuit_alone(sets[head] | {head}) - circuit_alone(sets[head]))

    @cache
    def drawn(source: str) -> Bars:
        title = f"Minimality, {source}'s sets K"
        return estimates_by_head(title, "share of F(M)", CIRCUIT_HEADS, partial(change, K_SETS[source]))

    return drawn


def completeness(
    circuit_alone: Callable[[frozenset[Head]], Tensor], model_without: Callable[[frozenset[Head]], Tensor]
) -> Scatter:
    """Circuit and model with the same heads removed; on the diagonal nothing is missing from the circuit."""
    random = {" ".join(map(str, sorted(k))) or "none": k for k in map(random_subset, range(RANDOM_SETS))}
    series = [
        Series(
            name=name,
            x=[float(circuit_alone(removed).mean()) for removed in sets.values()],
            y=[float(model_without(removed).mean()) for removed in sets.values()],
            names=list(sets),
        )
        for name, sets in (("a class removed", COMPLETENESS_K), ("a random set removed", random))
    ]
    x, y = "F(C minus K), logits", "F(M minus K), logits"
    return Scatter(title="Completeness", x=x, y=y, series=series, diagonal=True)


def recovery_by_layer(patched_streams: Callable[[str, str, int], Tensor], pair: Pair) -> Lines:
    """How much of the logit difference the residual stream brings back, patched at S2 or END before each layer."""
    layers = range(len(pair.clean["resid_pre"]))
    series = [
        Series(
            name=position,
            x=list(layers),
            y=[pair.recovered(patched_streams("resid_pre", position, layer)).value for layer in layers],
        )
        for position in ("S2", "END")
    ]
    ticks = [str(layer) for layer in layers]
    return Lines(title="Patched residual stream", x="before layer", y="share recovered", ticks=ticks, series=series)


@pytest.fixture(scope="session")
def circuit_graph(
    whole: Whole,
    paths_to_logits: Tensor,
    paths_to_name_mover_queries: Tensor,
    paths_to_s_inhibition_values: Tensor,
    patched_paths: Callable[..., Tensor],
) -> Callable[[], Graph]:
    """The circuit, with the effect of each head's path to the logits or to the class that reads it."""

    def drawn() -> Graph:
        keys = patched_paths("induction", "k", "S1+1", [[head] for head in PREVIOUS_TOKEN])
        queries = {head: paths_to_name_mover_queries[head] for head in S_INHIBITION}
        early = [head for name in ("duplicate token", "induction") for head in CIRCUIT[name][0]]
        late = [head for head, position in CIRCUIT_HEADS.items() if position == "END" and head not in S_INHIBITION]
        ports = {
            "induction\nkeys at S1+1": (dict(zip(PREVIOUS_TOKEN, keys, strict=True)), INDUCTION, 1, 6),
            "S-inhibition\nvalues at S2": ({h: paths_to_s_inhibition_values[h] for h in early}, S_INHIBITION, 3, 4),
            "name mover\nqueries at END": (queries, NAME_MOVERS, 5, 4),
            "logits": ({h: paths_to_logits[h] for h in late}, (), 8, 6),
        }
        nodes = [Node(name=name, group="input", column=column, row=row) for name, (_, _, column, row) in ports.items()]
        edges = []
        for port, (senders, readers, _, _) in ports.items():
            share = {head: whole.share(patched - whole.difference).value for head, patched in senders.items()}
            edges += [Edge(source=str(head), target=port, value=value) for head, value in share.items()]
            edges += [Edge(source=port, target=str(head)) for head in readers]
        for name, (column, first) in _PLACES.items():
            for i, head in enumerate(CIRCUIT[name][0]):
                nodes.append(Node(name=str(head), group=name, column=column, row=first - i))
        title = "The circuit: the effect of patching each path from ABC (red lowers the logit difference)"
        return Graph(title=title, unit="share of the logit difference", nodes=nodes, edges=edges)

    return drawn


# Column and topmost row of each class: early layers on the left, the logits on the right.
_PLACES = {
    "previous token": (0, 6.5),
    "induction": (2, 8),
    "duplicate token": (2, 2.5),
    "S-inhibition": (4, 5.5),
    "name mover": (6.2, 12),
    "negative name mover": (6.2, 8.5),
    "backup name mover": (6.2, 6),
}


def _token(model: Model, id: int) -> str:
    text = model.tokenizer.decode([id])
    return text.strip() or repr(text)
