"""Finds a circuit, in any model that does the task.

1. Every head at every position is ranked by an estimate of what keeping it there adds (`screening`);
2. of those, so many of the strongest, doubled from FIRST on, that the circuit alone misses the model's logit difference
   by no more than GAP; where no number does, the one that misses least, and then, one at a time, the head and position
   of the next CANDIDATES that helps most;
3. heads and classes without which the circuit does the same are dropped, the least needed first;
4. a class reads from another where the path between them, all heads together, carries STATED more than the paths from
   as many other heads do on average.

All but the ranking is measured exactly. A class is the heads that work at the same position, attend most to the same
name and write alike. Prompts are of another seed than the claims'. A greedy search: another circuit may do as well, and
claims decide whether this holds. A model that does not do the task is refused, since of next to nothing any few heads
have 97%; and so is what was found where it does not do most of the task on prompts that the search did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from ioi_fixtures.circuits.other_heads import other_senders
from ioi_fixtures.circuits.positions import BEFORE
from ioi_fixtures.search.search import (
    NothingFound,
    Role,
    Search,
    check_task,
    differences,
    name_of,
    prompts_of,
)
from lib.instruments.ablation import means_by_group
from lib.judging.statistics import Estimate, ratio_of_means
from lib.models.model import Model

# Shares of the model's logit difference. What is stated in the file is asked for more than its claim accepts, since
# claims are asked on other prompts.
STATED = 0.10
GAP = 0.15
HEAD_NEEDED = 0.02
CLASS_NEEDED = 0.08
FIRST = 5
LOOKS = 0.02  # a class's mean attention to a position from which on it may read keys and values there
CANDIDATES = 100
AT_ONCE = 20
UNSEEN = 1000  # prompts of the next seed, to check on what was found
ALONE = (0.75, 1.25)  # the circuit's share on unseen prompts, as circuit-file/faithfulness asks


def find(model: Model, prompts: int, seed: int, tell: Callable[[str], None] = lambda line: None) -> Search:
    """Steps 1 to 3 on a model. Raises NothingFound where it does not do the task."""
    search = Search(model, prompts, seed, tell=tell)
    grow(search)
    prune(search)
    return search


def _inputs(at: str) -> list[tuple[str, str]]:
    """What heads at a position read, and where: queries there, keys and values there and before."""
    return [("q", at), *((input, name) for name in (at, *BEFORE[at]) for input in ("k", "v"))]


def grow(search: Search) -> None:
    """Steps 1 and 2."""
    ranked, least, size = search.ranked(), torch.inf, 0
    while least > GAP and size < len(ranked):
        size = min(2 * size or FIRST, len(ranked))
        [gap] = (1 - search.alone([ranked[:size]])).abs().tolist()
        search.tell(f"the first {size} of {len(ranked)} heads at their positions miss {gap:.0%}")
        if gap < least:
            least, search.found = gap, set(ranked[:size])
    while least > GAP and (others := [place for place in ranked if place not in search.found][:CANDIDATES]):
        gaps = (1 - search.alone([search.found | {place} for place in others])).abs()
        if least - gaps.min() < HEAD_NEEDED:
            return
        least = float(gaps.min())
        head, at = others[int(gaps.argmin())]
        search.found.add((head, at))
        search.tell(f"with {head} at {at} they miss {least:.0%}")


def prune(search: Search) -> None:
    """Step 3: what is superfluous, a head or class after the other, or of many at a time one in AT_ONCE."""
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
            left, gone = search.found - drops[i], sorted(search.found & drops[i])
            if left and gone:
                search.found = left
                names = " ".join(str(head) for head, _ in gone)
                [(_, at), *_] = gone
                search.dropped.append(f"{names} at {at}: {float(effects[i]):.1%}")
                search.tell(f"dropped {search.dropped[-1]} of the logit difference")
        if search.found == whole:
            return


def edges(search: Search) -> Iterator[tuple[Role, Role, str, float]]:
    """Step 4: (receiver, sender, input, effect) of every path between classes that carries enough. Keys and values are
    asked about where the receiver attends."""
    classes, n_heads = search.classes(), search.model.weights.n_heads
    for receiver, receivers in classes.items():
        for input, position in _inputs(receiver[0]):
            below = {
                sender: senders
                for sender, senders in classes.items()
                if sender[0] == position and min(senders).layer < max(receivers).layer
            }
            if not below or (input != "q" and search.looks(receiver[0], receivers, position) < LOOKS):
                continue
            search.tell(f"paths to the {input} of {name_of(receiver)} at {position}")
            for sender, senders in below.items():
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
    [found] = differences(search.model, run, batch, means_by_group(z, abc.template), [search.found])
    alone = ratio_of_means(found, whole)
    least, most = ALONE
    if not least <= alone.low <= alone.high <= most:
        raise NothingFound(
            f"what was found in {search.model.name} does not hold on prompts that the search did not see: alone it has "
            f"{alone} of the logit difference there, where {least} to {most} is asked"
        )
    return alone
