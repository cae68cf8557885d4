"""Finds a circuit from the logits backwards, in any model that does the task.

The method of Wang et al. 2022, §3, without a human in it:

1. heads whose direct path to the logits, patched from ABC, changes the logit difference by THRESHOLD or more;
2. heads whose path to the queries, keys or values of a class found so far does, until no more are found; keys and
   values are asked about where the class attends, LOOKS or more of its attention;
3. while the circuit alone misses the model's logit difference by more than GAP: the head and position that helps most,
   of the CANDIDATES that came nearest to THRESHOLD before;
4. heads and classes without which the circuit does the same are dropped, the least needed first;
5. a class reads from another where the path between them, all heads together, carries STATED more than the paths from
   as many other heads do on average.

A class is the heads that work at the same position, attend most to the same name and write alike. Prompts are of
another seed than the claims'. A greedy search: another circuit may do as well, and claims decide whether this holds.
A model that does not do the task is refused, since of next to nothing any few heads have 97%; and so is what was found
where it does not do most of the task on prompts that the search did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor

from ioi_fixtures.circuits.circuit_file import BEFORE, by_head
from ioi_fixtures.circuits.other_heads import other_senders
from ioi_fixtures.search.search import (
    THRESHOLD,
    NothingFound,
    Role,
    Search,
    check_task,
    name_of,
    prompts_of,
)
from lib.instruments.ablation import means_by_group, run_circuits
from lib.judging.statistics import Estimate, ratio_of_means
from lib.models.heads import Head
from lib.models.model import Model

# Shares of the model's logit difference. What is stated in the file is asked for more than its claim accepts, since
# claims are asked on other prompts.
STATED = 0.10
GAP = 0.15
HEAD_NEEDED = 0.02
CLASS_NEEDED = 0.08
LOOKS = 0.02  # a class's mean attention from which on its keys and values are asked about
CANDIDATES = 100
AT_ONCE = 20
UNSEEN = 1000  # prompts of the next seed, to check on what was found
ALONE = (0.75, 1.25)  # the circuit's share on unseen prompts, as circuit-file/faithfulness asks


def find(model: Model, prompts: int, seed: int, tell: Callable[[str], None] = lambda line: None) -> Search:
    """Steps 1 to 4 on a model. Raises NothingFound where it does not do the task."""
    search = Search(model, prompts, seed, tell=tell)
    for step in (backwards, complete, prune):
        step(search)
    return search


def _inputs(at: str) -> list[tuple[str, str]]:
    """What heads at a position read, and where: queries there, keys and values there and before."""
    return [("q", at), *((input, name) for name in (at, *BEFORE[at]) for input in ("k", "v"))]


def backwards(search: Search) -> None:
    """Steps 1 and 2: what acts on the logits, and on what was found."""
    _add(search, search.to_logits(), "END", "the logits")
    asked = set()
    while True:
        left = [(role, tuple(heads), *read) for role, heads in search.classes().items() for read in _inputs(role[0])]
        left = [one for one in left if one[1:] not in asked and _looks(search, *one)]
        if not left:
            return
        asked |= {one[1:] for one in left}
        for role, heads, input, position in left:
            if max(heads).layer:
                what = f"the {input} of {name_of(role)} at {position}"
                _add(search, search.to_heads(heads, input, position), position, what)


def _looks(search: Search, role: Role, heads: Collection[Head], input: str, position: str) -> bool:
    """Whether a class attends to a position enough to be asked what it reads there."""
    attended = search.attended(role[0], position)
    return input == "q" or float(torch.stack([attended[head] for head in heads]).mean()) >= LOOKS


def _add(search: Search, effects: Tensor, position: str, what: str) -> None:
    """Adds the places whose path is strong. effects: [layer head]"""
    before = len(search.found)
    for layer, index in torch.cartesian_prod(*map(torch.arange, effects.shape)).tolist():
        place, effect = (Head(layer, index), position), float(effects[layer, index].abs())
        search.nearly[place] = max(effect, search.nearly.get(place, 0.0))
        if effect >= THRESHOLD:
            search.found.add(place)
    new = len(search.found) - before
    search.tell(f"paths to {what}: {new} new of {int((effects.abs() >= THRESHOLD).sum())} strong ones")


def complete(search: Search) -> None:
    """Step 3: what is missing."""
    n_layers, n_heads = search.model.weights.W_Q.shape[:2]
    everywhere = [(Head(layer, i), at) for layer in range(n_layers) for i in range(n_heads) for at in BEFORE]
    everywhere.sort(key=lambda place: -search.nearly.get(place, 0.0))
    [gap] = (1 - search.alone([search.found])).abs().tolist()
    while gap > GAP:
        others = sorted([place for place in everywhere if place not in search.found][:CANDIDATES])
        gaps = (1 - search.alone([search.found | {place} for place in others])).abs()
        if gap - gaps.min() < HEAD_NEEDED:
            return
        gap = float(gaps.min())
        head, at = others[int(gaps.argmin())]
        search.found.add((head, at))
        search.tell(f"alone it misses {gap:.0%} with {head} at {at}")


def prune(search: Search) -> None:
    """Step 4: what is superfluous, a head or class after the other, or of many at a time one in AT_ONCE."""
    while True:
        whole, sets, floors, drops = search.found, [], [], []
        for (at, *_), heads in search.classes().items():
            members = {(head, at) for head in heads}
            sets += [(whole - members, whole), *((whole - members, whole - members | {one}) for one in members)]
            floors += [CLASS_NEEDED, *[HEAD_NEEDED] * len(members)]
            drops += [members, *({one} for one in members)]
        shares = search.alone([places for pair in sets for places in pair]).view(-1, 2)
        effects = (shares[:, 1] - shares[:, 0]).abs()
        needed = effects / torch.tensor(floors, device=shares.device)
        least = [i for i in needed.argsort().tolist() if needed[i] < 1][: max(1, len(whole) // AT_ONCE)]
        for i in least:
            if search.found - drops[i]:
                search.found = search.found - drops[i]
                names = " ".join(f"{head}" for head, _ in sorted(drops[i]))
                [(_, at), *_] = drops[i]
                search.dropped.append(f"{names} at {at}: {float(effects[i]):.1%}")
                search.tell(f"dropped {search.dropped[-1]} of the logit difference")
        if search.found == whole:
            return


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


def check(search: Search) -> Estimate:
    """F(C) / F(M) of what was found on prompts that the search did not see. Raises NothingFound where that is not most
    of what the model does."""
    batch, abc = prompts_of(search.model, UNSEEN, search.seed + 1)
    run = search.model.run(batch.tokens, last=batch.positions["END"], keep=("resid_pre",))
    z = search.model.run(abc.tokens, last=abc.positions["END"], keep=("z",))["z"]
    whole = run.logit_difference(batch.answers)
    check_task(search.model, whole)
    [differences] = run_circuits(
        search.model.weights,
        run,
        [by_head(search.found)],
        positions=batch.positions,
        values=means_by_group(z, abc.template),
        answers=batch.answers,
    )
    alone = ratio_of_means(differences, whole)
    least, most = ALONE
    if not least <= alone.low <= alone.high <= most:
        raise NothingFound(
            f"what was found in {search.model.name} does not hold on prompts that the search did not see: alone it has "
            f"{alone} of the logit difference there, where {least} to {most} is asked"
        )
    return alone
