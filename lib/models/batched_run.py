"""A run of many prompts within a memory budget: some prompts at a time, and what is kept in memory or on disk.

The pass over some prompts is the backend's; all there is here is which prompts, and where their activations go:

- where everything fits the budget, it is one pass, and a tensor each;
- where half of the budget holds what is kept, it is put together in memory;
- else each site is run for when it is first asked for, and kept in a file (see `budget.on_disk`). On a GPU, whose
  memory no file can stand for, it is kept there.

Every prompt is computed alike whatever others are beside it, up to the rounding of sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lib.models.activations import Edit, OnDemand, Run, Weights, is_layered, layers_of
from lib.models.backends import Backend
from lib.models.budget import in_batches, limit, on_disk

EditsOf = Callable[[Tensor], Sequence[Edit]]  # from the indices of some prompts to their edits


def run_in_batches(
    backend: Backend, tokens: Tensor, *, last: Tensor, keep: Sequence[str], edits: EditsOf | None, mask: Tensor
) -> Run:
    """The run of `tokens` [batch pos]; arguments as `Backend.run` has them. Raises ValueError where the budget does not
    hold one prompt, and OSError where neither memory nor disk holds what is kept."""
    weights, device = backend.weights, tokens.device
    prompts = torch.arange(len(tokens), device=device)
    kept_bytes = weights.computes_in.itemsize * sum(_size(site, weights, tokens.shape[1]) for site in keep)
    in_memory = len(tokens) * kept_bytes <= limit(device) // 2

    def activations_and_logits(sites: Sequence[str], *, disk: bool) -> tuple[dict[str, Tensor], Tensor]:
        kept: dict[str, Tensor] = {}
        written: dict[str, Callable[[], None]] = {}  # what to call when some of a site has been

        def measure(some: Tensor) -> Tensor:
            asked = () if edits is None else edits(some)
            run = backend.run(tokens[some], last=last[some], keep=sites, edits=asked, mask=mask[some])
            for site in sites:
                if len(some) == len(tokens) and not disk:
                    kept[site] = run[site]
                    continue
                axis = int(is_layered(site))
                if site not in kept:
                    shape = (*run[site].shape[:axis], len(tokens), *run[site].shape[axis + 1 :])
                    empty = on_disk(shape, run[site].dtype) if disk else (run[site].new_empty(shape), lambda: None)
                    kept[site], written[site] = empty
                kept[site].index_copy_(axis, some, run[site])
                written[site]()
            return run.logits.T

        # What is kept of a batch is there twice while it is put with the others.
        row_bytes = transient_bytes(weights, tokens.shape[1]) + 2 * kept_bytes // tokens.shape[1]
        logits = in_batches(measure, prompts, rows=tokens.shape[1], row_bytes=row_bytes, budget=None)
        return kept, logits.T.contiguous()

    if in_memory:
        kept, logits = activations_and_logits(keep, disk=False)
        return Run(tokens, last, logits, kept)
    _, logits = activations_and_logits((), disk=False)
    disk = device.type == "cpu"
    return Run(tokens, last, logits, OnDemand(keep, lambda site: activations_and_logits([site], disk=disk)[0][site]))


def transient_bytes(weights: Weights, positions: int) -> int:
    """Memory of one token while it is run: streams, q, k, v and z, attention, the MLP's hidden layer, and logits."""
    one = weights.architecture
    attention, heads = 6 * one.n_heads * positions, 6 * one.n_heads * one.d_head
    hidden = (7 if one.gated else 5) * one.d_mlp
    numbers = 10 * one.d_model + heads + attention + hidden + 2 * one.d_vocab
    return numbers * weights.computes_in.itemsize


def _size(site: str, weights: Weights, positions: int) -> int:
    """How many numbers a site keeps of one prompt."""
    one = weights.architecture
    queries, shared = one.n_heads * one.d_head, one.n_kv_heads * one.d_head
    a_token = {
        "pattern": one.n_heads * positions,
        "final_scale": 1,
        "q": queries,
        "z": queries,
        "k": shared,
        "v": shared,
    }
    return len(layers_of(site, weights)) * positions * a_token.get(site, one.d_model)
