"""Finds a circuit from the logits backwards and writes it as a circuit file: `python -m ioi_fixtures.trained.find`.

The method of Wang et al. 2022, §3, without a human in it, for any model that does the task:

1. heads whose direct path to the logits, patched from ABC, changes the logit difference by THRESHOLD or more;
2. heads whose path to the queries, keys or values of a class found so far does, until no more are found;
3. while the circuit alone misses the model's logit difference by more than GAP: the head and position that helps most;
4. heads and classes without which the circuit does the same are dropped, the least needed first;
5. a class reads from another where the path between them, all heads together, carries STATED more than the paths from
   as many other heads do on average.

A class is the heads that work at the same position, attend most to the same name and write alike. Prompts are of
another seed than the claims'. A greedy search: another circuit may do as well, and claims decide whether this holds.
A model that does not do the task is refused, since of next to nothing any few heads have 97%; and so is what was found
where it does not do most of the task on prompts that the search did not see.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ioi_fixtures.circuits.circuit_file import BEFORE, by_head, other_senders
from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompts import encode, make_prompts
from ioi_fixtures.trained import DIRECTORY
from lib.files import write_whole
from lib.instruments.ablation import means_by_group, run_circuits
from lib.instruments.addresses import Place
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.path_patching import path_patch_to_heads, path_patch_to_logits, receivers_of
from lib.judging.statistics import Estimate, mean_over_prompts, ratio_of_means, share
from lib.models.heads import Head
from lib.models.model import Model, load
from lib.one_line import counted

# Shares of the model's logit difference. What is stated in the file is asked for more than its claim accepts, since
# claims are asked on other prompts.
THRESHOLD = 0.05
STATED = 0.10
GAP = 0.15
HEAD_NEEDED = 0.02
CLASS_NEEDED = 0.08
ATTENDS = 0.15  # attention beyond the average head's from which on a head attends somewhere
PROMPTS, SEED = 3000, 1
UNSEEN, UNSEEN_SEED = 1000, 2  # prompts to check on what was found
RIGHT = 0.90  # of prompts, as behaviour/accuracy asks
ALONE = (0.75, 1.25)  # the circuit's share on unseen prompts, as circuit-file/faithfulness asks
KEEP = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern", "resid_final", "final_scale")
Role = tuple[str, str, str]  # position, the name attended to, and for or against the answer; "" for neither

NAMES: dict[Role, str] = {  # as the publication calls them; other roles are called what they are
    ("END", "IO", "answer"): "name mover",
    ("END", "IO", "against"): "negative name mover",
    ("END", "S2", "answer"): "subject suppressor",  # it writes against the name it attends to
    ("END", "S2", ""): "S-inhibition",
    ("S2", "S1", ""): "duplicate token",
    ("S2", "S1+1", ""): "induction",
    ("S1+1", "S1", ""): "previous token",
}


class NothingFound(Exception):
    """There is no circuit to write; the message says why."""


@dataclass(eq=False)
class Search:
    """A model that does the task, IOI prompts and their ABC partners, and the places found so far."""

    model: Model
    prompts: int
    seed: int
    found: set[Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        prompts = make_prompts(self.prompts, seed=self.seed)
        self.batch, abc = (
            encode(some, self.model.tokenizer, prepend_bos=False).to(self.model.device)
            for some in (prompts, variants.abc(prompts, seed=self.seed))
        )
        self.run, self.abc_run = (
            self.model.run(one.tokens, last=one.positions["END"], keep=KEEP) for one in (self.batch, abc)
        )
        self.means = means_by_group(self.abc_run["z"], abc.template)
        self.whole = self.run.logit_difference(self.batch.answers)
        mean, right = mean_over_prompts(self.whole), share(self.whole > 0)
        if mean.low <= 0 or right.low < RIGHT:
            raise NothingFound(
                f"{self.model.name} does not do the task, so there is no circuit to find: mean logit difference "
                f"{mean}; right on {right} of prompts, where at least {RIGHT} is asked"
            )
        written = attribution_by_head(self.run, self.model.weights, self.batch.answers)
        self.written = written.mean(-1) / self.whole.mean()

    def change(self, patched: Tensor) -> Tensor:
        """Change of the logit difference, as a share of it. patched: [... batch]. Returns [...]."""
        return (patched - self.whole).mean(-1) / self.whole.mean()

    def to_logits(self) -> Tensor:
        """The effect of every head's path to the logits. [layer head]"""
        weights, answers = self.model.weights, self.batch.answers
        return self.change(path_patch_to_logits(weights, self.run, self.abc_run, answers))

    def to_heads(self, receivers: Collection[Head], input: str, position: str, senders: list | None = None) -> Tensor:
        """The effect of every head's path, or that of sets, to an input of heads. [layer head] or [sender]"""
        patched = path_patch_to_heads(
            self.model.weights,
            self.run,
            self.abc_run,
            self.batch.answers,
            receivers=receivers_of(self.model.weights, receivers, input),
            inputs=input,
            position=self.batch.positions[position],
            senders=senders,
        )
        return self.change(patched)

    def alone(self, circuits: list[set[Place]]) -> Tensor:
        """F(C) / F(M) of some circuits. [circuit]"""
        return self.differences(circuits).mean(-1) / self.whole.mean()

    def differences(self, circuits: list[set[Place]]) -> Tensor:
        """F(C) of some circuits. [circuit batch]"""
        return run_circuits(
            self.model.weights,
            self.run,
            [by_head(places) for places in circuits],
            positions=self.batch.positions,
            values=self.means,
            answers=self.batch.answers,
        )

    def role(self, place: Place) -> Role:
        """What a head does at a position."""
        head, at = place
        query, leads = self.batch.positions[at], {}
        for name in (*BEFORE[at], at):
            attended = attention(self.run, query=query, key=self.batch.positions[name]).mean(-1)
            leads[name] = float(attended[head] - attended.mean())
        most = max(leads, key=leads.get)
        share = float(self.written[head]) if at == "END" else 0.0
        writes = "" if abs(share) < THRESHOLD else "answer" if share > 0 else "against"
        return at, most if leads[most] >= ATTENDS else "", writes

    def classes(self) -> dict[Role, list[Head]]:
        """The heads found so far by what they do, the last layers first."""
        by_role: dict[Role, list[Head]] = {}
        for place in sorted(self.found, key=lambda place: (list(BEFORE).index(place[1]), place[0]), reverse=True):
            by_role.setdefault(self.role(place), []).append(place[0])
        return by_role


def backwards(search: Search) -> None:
    """Steps 1 and 2: what acts on the logits, and on what was found."""
    search.found |= {(head, "END") for head in _strong(search.to_logits())}
    asked = set()
    while True:
        left = [(tuple(heads), *read) for role, heads in search.classes().items() for read in _inputs(role[0])]
        left = [question for question in left if question not in asked]
        if not left:
            return
        asked |= set(left)
        for heads, input, position in left:
            if max(heads).layer:
                search.found |= {(head, position) for head in _strong(search.to_heads(heads, input, position))}


def complete(search: Search) -> None:
    """Step 3: what is missing."""
    n_layers, n_heads = search.model.weights.W_Q.shape[:2]
    everywhere = {(Head(layer, i), at) for layer in range(n_layers) for i in range(n_heads) for at in BEFORE}
    [gap] = (1 - search.alone([search.found])).abs().tolist()
    while gap > GAP:
        others = sorted(everywhere - search.found)
        gaps = (1 - search.alone([search.found | {place} for place in others])).abs()
        if gap - gaps.min() < HEAD_NEEDED:
            return
        gap = float(gaps.min())
        search.found.add(others[int(gaps.argmin())])


def prune(search: Search) -> None:
    """Step 4: what is superfluous, one head or class after the other."""
    while True:
        whole, sets, floors, drops = search.found, [], [], []
        for (at, *_), heads in search.classes().items():
            members = {(head, at) for head in heads}
            sets += [(whole - members, whole), *((whole - members, whole - members | {one}) for one in members)]
            floors += [CLASS_NEEDED, *[HEAD_NEEDED] * len(members)]
            drops += [members, *({one} for one in members)]
        shares = search.alone([places for pair in sets for places in pair]).view(-1, 2)
        needed = (shares[:, 1] - shares[:, 0]).abs() / torch.tensor(floors, device=shares.device)
        least = drops[int(needed.argmin())]
        if needed.min() >= 1 or least == whole:
            return
        search.found = whole - least


def edges(search: Search) -> Iterator[tuple[Role, Role, str, float]]:
    """Step 5: (receiver, sender, input, effect) of every path between classes that carries enough."""
    classes, n_heads = search.classes(), search.model.weights.n_heads
    for receiver, receivers in classes.items():
        for sender, senders in classes.items():
            for input, position in _inputs(receiver[0]):
                if position == sender[0] and min(senders).layer < max(receivers).layer:
                    others = other_senders(senders, receivers, position, search.found, n_heads=n_heads)
                    effect, *of_others = search.to_heads(receivers, input, position, [senders, *others]).tolist()
                    if abs(effect) - sum(map(abs, of_others)) / len(of_others) >= STATED:
                        yield receiver, sender, input, effect


def name_of(role: Role) -> str:
    """What a class is called."""
    at, attends_to, writes = role
    plain = f"{at} to {attends_to or 'elsewhere'}" + (f", {writes}" if writes else "")
    return NAMES.get(role, plain)


def check(search: Search) -> Estimate:
    """F(C) / F(M) of what was found on prompts that the search did not see. Raises NothingFound where that is not most
    of what the model does."""
    unseen = Search(search.model, UNSEEN, UNSEEN_SEED, search.found)
    alone = ratio_of_means(unseen.differences([search.found])[0], unseen.whole)
    least, most = ALONE
    if not least <= alone.low <= alone.high <= most:
        raise NothingFound(
            f"what was found in {search.model.name} does not hold on prompts that the search did not see: alone it has "
            f"{alone} of the logit difference there, where {least} to {most} is asked"
        )
    return alone


def as_toml(search: Search, unseen: Estimate) -> str:
    """The circuit as a circuit file. unseen: its share of the logit difference on prompts that were not searched."""
    [share], weights = search.alone([search.found]).tolist(), search.model.weights
    shape = f"{counted(weights.n_layers, 'layer')} of {counted(weights.n_heads, 'head')}"
    lines = [
        f"# Found by ioi_fixtures/trained/find.py on {PROMPTS} prompts of seed {SEED}; the rules and their thresholds "
        "stand there.",
        f"# {counted(len(search.found), 'head')} at their positions; alone they have {share:.0%} of the logit "
        f"difference, {float(search.whole.mean()):.2f}.",
        f"# On prompts that the search did not see they have {unseen}.",
        f'model = "{shape}, weights {search.model.weights_hash[:12]}"',
    ]
    reads = list(edges(search))
    for role, heads in search.classes().items():
        at, attends_to, writes = role
        total = abs(float(sum(search.written[head] for head in heads)))
        lines += ["", f'[classes."{name_of(role)}"]', f'heads = "{" ".join(map(str, sorted(heads)))}"', f'at = "{at}"']
        lines += [f'attends_to = "{attends_to}"'] if attends_to else []
        lines += [f'writes = "{writes}"  # {total:.0%} of the logit difference'] if writes and total >= STATED else []
        mine = [(sender, input, effect) for receiver, sender, input, effect in reads if receiver == role]
        if mine:
            each = [
                f'    {{ from = "{name_of(sender)}", input = "{input}" }},  # {effect:+.0%}'
                for sender, input, effect in mine
            ]
            lines += ["reads = [", *each, "]"]
    return "\n".join(lines) + "\n"


def _strong(effects: Tensor) -> list[Head]:
    return [Head(*pair) for pair in (effects.abs() >= THRESHOLD).nonzero().tolist()]


def _inputs(at: str) -> list[tuple[str, str]]:
    """What heads at a position read, and where: queries there, keys and values there and before."""
    return [("q", at), *((input, name) for name in (at, *BEFORE[at]) for input in ("k", "v"))]


def find(directory: Path) -> str:
    """The circuit of the model in a directory, as a circuit file. Raises NothingFound where it has none."""
    search = Search(load(directory, device="cpu"), PROMPTS, SEED)
    for step in (backwards, complete, prune):
        step(search)
    return as_toml(search, check(search))


def main() -> None:
    """Finds the circuit of the model in a directory and writes its circuit.toml."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("directory", type=Path, nargs="?", default=DIRECTORY)
    directory = parser.parse_args().directory
    try:
        text = find(directory)
    except NothingFound as error:
        parser.exit(1, f"{error}\n")
    write_whole(directory / "circuit.toml", text)
    print(text)


if __name__ == "__main__":
    main()
