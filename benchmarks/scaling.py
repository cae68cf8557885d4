"""How time and memory of an instrument grow with the number of prompts, the width of the model, and the budget."""

from __future__ import annotations

from functools import partial

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.device import peak_bytes, timed
from benchmarks.work import Case, make_case
from lib.instruments.path_patching import path_patch_to_logits
from lib.models.forward import blocks

MIB = 2**20


def all_heads_to_logits(case: Case, *, budget: int | None = None) -> tuple[float, float, float, float]:
    """Seconds, TFLOP, and peak MiB of patching every head's path to the logits; it runs once for each. At last MiB of
    the attention weights, which every instrument copies and no budget covers."""
    work = partial(
        path_patch_to_logits, case.model.weights, case.clean, case.pairs["B"], case.batch.answers, budget=budget
    )
    with FlopCounterMode(display=False) as counter:
        work()
    device = case.model.device
    _, seconds = timed(work, device)
    copied = peak_bytes(lambda: blocks(case.model.weights), device)
    return seconds, counter.get_total_flops() / 1e12, (peak_bytes(work, device) - copied) / MIB, copied / MIB


def report(device: str, *, prompts: int) -> None:
    """Print the table: prompts from a quarter to four times as many, widths, and budgets."""
    print("\n| N | d_model | budget MiB | s | TFLOP | s per TFLOP | peak MiB | and weights MiB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for n, n_embd, budget in (
        (max(1, prompts // 4), 384, 100),
        (prompts, 384, 100),
        (4 * prompts, 384, 100),
        (prompts, 192, 100),
        (prompts, 768, 100),
        (prompts, 384, 20),
        (prompts, 384, 400),
        (prompts, 384, None),
    ):
        case = make_case(n, n_embd=n_embd, vocab_size=500, device=device)
        seconds, tflop, mib, weights_mib = all_heads_to_logits(case, budget=None if budget is None else budget * MIB)
        shown = "free / 2" if budget is None else budget
        figures = f"{seconds:.1f} | {tflop:.2f} | {seconds / tflop:.1f} | {mib:.0f} | {weights_mib:.0f}"
        print(f"| {n} | {n_embd} | {shown} | {figures} |", flush=True)
