"""Do all routes agree on every family of decoders? Writes docs/evidence/FAMILIES.md.

Run: python -m benchmarks.pages.families (a minute of one core). Each is a randomly initialised model of
ioi_fixtures/controls/random_families.py, with what is unusual about the family made to matter. Compared are
TransformerLens' bridge, nnsight, this suite's plain route, and plain `transformers`, whose module hooks are also what
path patching and circuits are held against, one pass an intervention. Out of scope: speed, and trained models.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.bench import measured_on
from benchmarks.pages import evidence
from ioi_fixtures.controls.module_hooks import PlainModel, exactly
from ioi_fixtures.controls.random_families import FAMILIES, save_random_of
from ioi_fixtures.controls.random_model import Prompts, other_names, prompts
from lib.instruments.ablation import run_circuits
from lib.instruments.edits import EDITABLE, flipped_by_hooks, flipped_in_plain_tensors
from lib.instruments.identities import forward_in_plain_transformers, largest_gap
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits
from lib.instruments.witness import site_gap
from lib.models.activations import Run, sites_of
from lib.models.checkpoint import Checkpoint
from lib.models.heads import Head
from lib.models.model import Model, load

NAME = "FAMILIES.md"
PROMPTS = 6


class Row(NamedTuple):
    """The largest differences found of one model. float32 but for what is called exact, which is float64."""

    name: str
    sizes: str
    bridge: float  # logits, less those of transformers
    nnsight: float
    plain: float
    sites: float  # bridge less plain, as a share of the largest number there
    edits: float  # logits with each site's sign flipped, bridge less plain
    exact: float  # logits, plain less transformers that forces no float32
    paths: float  # path patching less module hooks, logits
    circuits: float
    traced: float  # nnsight less plain: logits, activations as a share, and logits with each site's sign flipped
    lost: str  # sites whose edits the library loses


def measure(name: str) -> Row:
    """Every comparison of one model of FAMILIES."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        save_random_of(name, directory)
        batch = prompts(PROMPTS)
        routes = [load(directory, device="cpu", backend=backend) for backend in ("bridge", "nnsight", "plain")]
        bridge, _, plain = routes
        keep = sites_of(plain.weights.architecture)
        runs = [one.run(batch.tokens, last=batch.last, keep=keep) for one in routes]
        theirs = forward_in_plain_transformers(directory, batch.tokens, batch.last, torch.float32)
        lost = Checkpoint(directory).family.read_only
        edits = [site for site in EDITABLE if site in keep and site not in lost]
        exact = load(directory, device="cpu", dtype="float64", backend="plain")
        by_hooks = PlainModel(directory)
        other = other_names(batch)
        mine, source = (exact.run(one.tokens, last=one.last, keep=keep) for one in (batch, other))
        one = plain.weights.architecture
        return Row(
            name,
            f"{one.n_heads} heads on {one.n_kv_heads}, d_model {one.d_model}, d_head {one.d_head}",
            *(float(largest_gap(run.logits, theirs).max()) for run in runs),
            max(float(site_gap(runs[0], runs[-1], site).max()) for site in keep),
            max(_edit_gap(bridge, runs[0], site) for site in edits),
            float(largest_gap(mine.logits, by_hooks.logits(batch.tokens, batch.last, {})).max()),
            max(_path_gaps(exact, mine, source, batch, other, by_hooks)),
            _circuit_gap(exact, mine, source, batch, other, by_hooks),
            _traced_gap(directory, exact, mine, batch),
            ", ".join(lost),
        )


def _edit_gap(bridge: Model, run: Run, site: str) -> float:
    hooked, plain = flipped_by_hooks(bridge, run, site), flipped_in_plain_tensors(bridge.weights, run, site)
    return float(largest_gap(hooked, plain).max())


def _traced_gap(directory: Path, exact: Model, expected: Run, batch: Prompts) -> float:
    traced = load(directory, device="cpu", dtype="float64", backend="nnsight")
    flipped = {site: flipped_in_plain_tensors(exact.weights, expected, site) for site in expected.activations}
    with exactly():
        run = traced.run(batch.tokens, last=batch.last, keep=[*flipped])
        edited = {site: flipped_by_hooks(traced, run, site) for site in flipped}
    gaps = [largest_gap(run.logits, expected.logits), *(site_gap(run, expected, site) for site in flipped)]
    gaps += [largest_gap(edited[site], flipped[site]) for site in flipped]
    return float(torch.stack([gap.max() for gap in gaps]).max())


def _path_gaps(
    exact: Model, base: Run, source: Run, batch: Prompts, other: Prompts, by_hooks: PlainModel
) -> Iterator[float]:
    asked = batch.tokens, other.tokens, batch.last, batch.answers
    to_logits = path_patch_to_logits(exact.weights, base, source, batch.answers)
    for head in (Head(0, 1), Head(2, 3)):
        yield _apart(to_logits[head], by_hooks.path_patch(*asked, [head], position=batch.last))
    for inputs in "qkv":
        shared = exact.weights.architecture.n_kv_heads if inputs in "kv" else exact.weights.n_heads
        receivers, position = [Head(2, 0), Head(3, shared - 1)], batch.positions["END" if inputs == "q" else "S2"]
        keywords = {"receivers": receivers, "inputs": inputs, "position": position}
        found = path_patch_to_heads(
            exact.weights, base, source, batch.answers, senders=[[Head(0, 0), Head(1, 3)]], **keywords
        )
        yield _apart(found[0], by_hooks.path_patch(*asked, [Head(0, 0), Head(1, 3)], **keywords))


def _circuit_gap(exact: Model, base: Run, source: Run, batch: Prompts, other: Prompts, by_hooks: PlainModel) -> float:
    kept = {Head(0, 1): "S2", Head(2, 3): "END", Head(3, 0): "END", Head(1, 2): "S1+1"}
    alone = run_circuits(
        exact.weights, base, [kept], positions=batch.positions, values=source["z"], answers=batch.answers
    )
    where = {head: [batch.positions[at]] for head, at in kept.items()}
    return _apart(alone[0], by_hooks.replace(batch.tokens, other.tokens, batch.last, batch.answers, kept=where))


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def page(rows: list[Row]) -> str:
    """The whole of FAMILIES.md."""
    lines = [
        "# Every family of decoders, by every route",
        "",
        "Randomly initialised models of 4 layers whose windows are shorter than the prompts, whose caps bend, whose",
        "heads share keys and values (ioi_fixtures/controls/random_families.py). The largest differences, of logits",
        "about one in size: of TransformerLens' bridge, of nnsight and of this suite's plain route from plain",
        "`transformers`, in float32; of every activation between bridge and plain, as a share of the largest; of the",
        "logits when the sign of each activation is flipped. Exact: in float64, from `transformers` whose casts to",
        "float32 in norms and softmax are left out; and path patching (to the logits, to q, k and v) and a circuit",
        "alone, from one pass an intervention with module hooks on it; and, without those casts too, nnsight from",
        "plain: the largest difference of logits, of every activation, and of logits with each activation flipped.",
        "",
        measured_on(PROMPTS),
        "",
        "| model | sizes | bridge | nnsight | plain | activations | edits "
        "| exact: logits | exact: paths | exact: circuit | exact: nnsight |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row.name} | {row.sizes} | {row.bridge:.1e} | {row.nnsight:.1e} | {row.plain:.1e} "
            f"| {row.sites:.1e} | {row.edits:.1e} | {row.exact:.1e} | {row.paths:.1e} | {row.circuits:.1e} "
            f"| {row.traced:.1e} |"
            for row in rows
        ),
        "",
        "Edits that the bridge loses, so that no claim makes them (the activation is shown and right, and the",
        "library computes on with a copy; nnsight loses none): "
        + "; ".join(f"{row.lost} of {row.name}" for row in rows if row.lost)
        + ".",
        "",
        "Not had: OPT models that normalise after the block (opt-350m), MLP biases in Llamas, norms of q and k in Phi,",
        "rotary positions other than default, linear and llama3. Each is refused by the key that asks for it.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    evidence.write(NAME, page([measure(name) for name in FAMILIES]), command="make docs", of="other things")
