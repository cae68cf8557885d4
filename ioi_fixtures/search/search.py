"""What a search knows: a model that does the task, prompts and their runs, the places found so far, what each does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ioi_fixtures.circuits.circuit_file import by_head
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.known import in_known_words, words_of
from ioi_fixtures.sentences.prompts import Batch, encode, make_prompts
from lib.instruments.ablation import means_by_group, run_circuits
from lib.instruments.addresses import Place
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.path_patching import path_patch_to_heads, receivers_of
from lib.instruments.screening import effects_of_keeping
from lib.judging.statistics import mean_over_prompts, share
from lib.models.activations import Run
from lib.models.heads import Head
from lib.models.model import Model

WRITES = 0.05  # of the model's logit difference, from which on a head writes for or against the answer
ATTENDS = 0.15  # attention beyond the average head's from which on a head attends somewhere
RIGHT = 0.90  # of prompts, as behaviour/accuracy asks
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
    """A model that does the task, IOI prompts and their ABC partners, and the places found so far.

    tell: is told each step as a line, for who waits.
    """

    model: Model
    prompts: int
    seed: int
    found: set[Place] = field(default_factory=set)
    tell: Callable[[str], None] = lambda line: None
    dropped: list[str] = field(default_factory=list)
    _attended: dict[tuple[str, str], Tensor] = field(default_factory=dict)  # every class is asked for it again

    def __post_init__(self) -> None:
        self.batch, abc = prompts_of(self.model, self.prompts, self.seed)
        self.run, self.abc_run = (
            self.model.run(one.tokens, last=one.positions["END"], keep=keep)
            for one, keep in ((self.batch, KEEP), (abc, ("z",)))
        )
        self.means = means_by_group(self.abc_run["z"], abc.template)
        self.whole = self.run.logit_difference(self.batch.answers)
        check_task(self.model, self.whole)
        written = attribution_by_head(self.run, self.model.weights, self.batch.answers)
        self.written = written.mean(-1) / self.whole.mean()

    def ranked(self) -> list[Place]:
        """Every head at every position, by how much keeping it there is estimated to add or take away, the most first;
        without those that do neither."""
        positions = {name: self.batch.positions[name] for name in BEFORE}
        run, weights = self.run, self.model.weights
        estimated = effects_of_keeping(
            weights, run.tokens, run.last, self.batch.answers, positions=positions, values=self.means
        )
        sizes = {
            (Head(layer, index), name): abs(effect)
            for name, effects in estimated.items()
            for layer, row in enumerate(effects.tolist())
            for index, effect in enumerate(row)
        }
        return sorted((place for place in sizes if sizes[place]), key=lambda place: -sizes[place])

    def to_heads(self, receivers: Collection[Head], input: str, position: str, senders: list) -> Tensor:
        """Change of the logit difference by the path of each set of heads to an input of others, as a share of it.
        [sender]"""
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
        return (patched - self.whole).mean(-1) / self.whole.mean()

    def alone(self, circuits: Sequence[Collection[Place]]) -> Tensor:
        """F(C) / F(M) of some circuits. [circuit]"""
        return differences(self.model, self.run, self.batch, self.means, circuits).mean(-1) / self.whole.mean()

    def attended(self, at: str, name: str) -> Tensor:
        """Mean attention from a position to another one. [layer head]"""
        if (at, name) not in self._attended:
            query, key = self.batch.positions[at], self.batch.positions[name]
            self._attended[at, name] = attention(self.run, query=query, key=key).mean(-1)
        return self._attended[at, name]

    def looks(self, at: str, heads: Collection[Head], name: str) -> float:
        """How much heads attend from a position to another one, on average."""
        attended = self.attended(at, name)
        return float(torch.stack([attended[head] for head in heads]).mean())

    def role(self, place: Place) -> Role:
        """What a head does at a position."""
        head, at = place
        leads = {}
        for name in (*BEFORE[at], at):
            attended = self.attended(at, name)
            leads[name] = float(attended[head] - attended.mean())
        most = max(leads, key=leads.get)
        share = float(self.written[head]) if at == "END" else 0.0
        writes = "" if abs(share) < WRITES else "answer" if share > 0 else "against"
        return at, most if leads[most] >= ATTENDS else "", writes

    def classes(self) -> dict[Role, list[Head]]:
        """The heads found so far by what they do, the last layers first."""
        by_role: dict[Role, list[Head]] = {}
        for place in sorted(self.found, key=lambda place: (list(BEFORE).index(place[1]), place[0]), reverse=True):
            by_role.setdefault(self.role(place), []).append(place[0])
        return by_role


def prompts_of(model: Model, n: int, seed: int) -> tuple[Batch, Batch]:
    """So many prompts in words that the model's tokenizer has, and their ABC partners."""
    words = words_of(model.tokenizer)
    prompts = in_known_words(make_prompts(n, seed=seed), words)
    ioi, abc = (
        encode(some, model.tokenizer, prepend_bos=model.prepend_bos).to(model.device)
        for some in (prompts, variants.abc(prompts, seed=seed, names=words.names))
    )
    return ioi, abc


def differences(model: Model, run: Run, batch: Batch, means: Tensor, circuits: Sequence[Collection[Place]]) -> Tensor:
    """F(C) of some circuits on prompts that were run. [circuit batch]"""
    by_heads = [by_head(places) for places in circuits]
    settings = {"positions": batch.positions, "values": means, "answers": batch.answers}
    return run_circuits(model.weights, run, by_heads, **settings)


def check_task(model: Model, differences: Tensor) -> None:
    """Raises NothingFound where logit differences [batch] do not say that the model does the task."""
    mean, right = mean_over_prompts(differences), share(differences > 0)
    if mean.low <= 0 or right.value < RIGHT:
        raise NothingFound(
            f"{model.name} does not do the task, so there is no circuit to find: mean logit difference {mean}; right "
            f"on {right} of prompts, where at least {RIGHT} is asked"
        )


def name_of(role: Role) -> str:
    """What a class is called."""
    at, attends_to, writes = role
    plain = f"{at} to {attends_to or 'elsewhere'}" + (f", {writes}" if writes else "")
    return NAMES.get(role, plain)
