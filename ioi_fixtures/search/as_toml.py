"""What a search found, as the text of a circuit file: with how it was found, and what was dropped, as comments."""

from __future__ import annotations

from ioi_fixtures.search.search import Search, name_of
from ioi_fixtures.search.steps import STATED, edges
from lib.judging.statistics import Estimate
from lib.one_line import counted

DROPPED = "# Tried and dropped, since without them the circuit does nearly the same (share of the logit difference):"


def as_toml(search: Search, unseen: Estimate) -> str:
    """The circuit as a circuit file. unseen: its share of the logit difference on prompts that were not searched."""
    [share], weights = search.alone([search.found]).tolist(), search.model.weights
    shape = f"{counted(weights.n_layers, 'layer')} of {counted(weights.n_heads, 'head')}"
    lines = [
        f"# Found by ioi_fixtures/search on {search.prompts:,} prompts of seed {search.seed}; the rules and their "
        "thresholds stand there.",
        f"# {counted(len(search.found), 'head')} at their positions; alone they have {share:.0%} of the logit "
        f"difference, {float(search.whole.mean()):.2f}.",
        f"# On prompts that the search did not see they have {unseen}.",
        *([DROPPED] * bool(search.dropped)),
        *(f"#   {one}" for one in search.dropped),
        f'model = "{shape}, weights {search.model.weights_hash[:12]}"',
        *([f"bos = {str(search.model.prepend_bos).lower()}"] if search.model.prepend_bos else []),
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
