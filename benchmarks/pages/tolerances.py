"""How far does the number type move a figure? Writes docs/evidence/TOLERANCES.md.

Run: python -m benchmarks.pages.tolerances [--prompts 24] [--threads 1]. The same prompts are run
in float64 by plain tensors and in each other number type; what is told is how far each figure is from float64's. TF32,
which only GPUs have, is emulated: the factors of every product of float32 matrices are rounded to ten bits of
mantissa, and the products are added up in float32, as the hardware does. Two models: the reference model, and a random
one of GPT-2 small's shape, of which every matrix is drawn and no figure means anything, but whose sums are as long as
GPT-2 small's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.bench import measured_on
from benchmarks.pages import evidence
from benchmarks.pages.orders import PRODUCTS
from benchmarks.work import LAYOUTS
from ioi_fixtures import planted
from ioi_fixtures.circuits.circuit import CIRCUIT_HEADS
from ioi_fixtures.controls.random_model import Prompts, other_names, prompts, save_random
from ioi_fixtures.published import FOLDER
from ioi_fixtures.sentences.prompts import Batch, encode, make_prompts
from ioi_fixtures.sentences.variants import abc
from lib.instruments.attention import attention
from lib.instruments.attribution import attribution_by_head
from lib.instruments.path_patching import path_patch_to_logits
from lib.instruments.witness import figure_gap, removal_effects
from lib.judging.references import read_references
from lib.models.backends import default_backend
from lib.models.heads import Head
from lib.models.model import Model, load

NAME = "TOLERANCES.md"
KEPT = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern", "final_scale")
HEAD = Head(9, 9)
VOCABULARY = 1000  # of the random model; a product is as long whatever it is


class TF32(TorchDispatchMode):
    """While it is entered, factors of matrix products in float32 have TF32's ten bits of mantissa."""

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        factors = PRODUCTS.get(func.overloadpacket.__name__.rstrip("_"), ())
        return func(*(rounded(arg) if i in factors else arg for i, arg in enumerate(args)), **(kwargs or {}))


def rounded(x: Tensor) -> Tensor:
    """float32 numbers to the nearest that have ten bits of mantissa; others as they are."""
    return (x.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32) if x.dtype == torch.float32 else x


@dataclass(frozen=True)
class Kind:
    """A way to compute: a number type, what runs the model, and what is in force meanwhile."""

    name: str
    dtype: str
    backend: str = "plain"
    within: Callable[[], AbstractContextManager] = nullcontext


EXACT = Kind("float64", "float64")
KINDS = (
    Kind(f"float32, {default_backend()}", "float32", default_backend()),
    Kind("float32, plain", "float32"),
    Kind("TF32, emulated", "float32", within=TF32),
    Kind("weights in bfloat16, plain", "bfloat16"),
    Kind(f"bfloat16, {default_backend()}", "bfloat16", default_backend()),
)
MINIMALITY = "minimality: a head removed from the circuit"
FIGURES = {
    "logit difference": "logits",
    f"direct logit attribution of {HEAD}": "logits",
    f"attention of {HEAD} from END to IO": "probability",
    "path patching, every head to the logits": "logits",
    MINIMALITY: "of the logit difference",
}


def measure(model: Model, batch: Batch | Prompts, other: Batch | Prompts) -> dict[str, Tensor]:
    """The core figures of one model, in the order of FIGURES. Each [... batch]."""
    clean, changed = (model.run(one.tokens, last=one.positions["END"], keep=KEPT) for one in (batch, other))
    at, weights = batch.positions, model.weights
    values = (
        clean.logit_difference(batch.answers),
        attribution_by_head(clean, weights, batch.answers)[HEAD],
        attention(clean, query=at["END"], key=at["IO"])[HEAD],
        path_patch_to_logits(weights, clean, changed, batch.answers),
        removal_effects(weights, clean, changed, batch.answers, circuit=CIRCUIT_HEADS, positions=at),
    )
    return dict(zip(FIGURES, values, strict=True))


def gaps(mine: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """For each figure the largest deviation of a mean over prompts, and of a single prompt."""
    return {
        name: (
            float((mine[name].double().mean(-1) - right.mean(-1)).abs().max()),
            float(figure_gap(mine[name], right).max()),
        )
        for name, right in exact.items()
    }


def of_kinds(directory: Path, batches: Callable[[Model], tuple]) -> Iterator[tuple[str, dict]]:
    """The deviations of each kind on one model, by its name."""
    exact = measured(directory, batches, EXACT)
    yield EXACT.name, {name: float(value.mean(-1).abs().max()) for name, value in exact.items()}
    for kind in KINDS:
        yield kind.name, gaps(measured(directory, batches, kind), exact)


def measured(directory: Path, batches: Callable[[Model], tuple], kind: Kind) -> dict[str, Tensor]:
    """The figures of one kind. The model is loaded as ever: its weights are processed before TF32 is in force."""
    model = load(directory, device="cpu", dtype=kind.dtype, backend=kind.backend)
    with kind.within():
        return measure(model, *batches(model))


def of_planted(model: Model, *, n: int) -> tuple[Batch, Batch]:
    """IOI prompts and their ABC prompts."""
    ioi = make_prompts(n, seed=0)
    return tuple(encode(one, model.tokenizer, prepend_bos=False) for one in (ioi, abc(ioi, seed=0)))


def of_random(model: Model, *, n: int) -> tuple[Prompts, Prompts]:
    """Random tokens laid out like prompts, and the same with other names."""
    batch = prompts(n, vocab_size=VOCABULARY, layouts=LAYOUTS)
    return batch, other_names(batch)


def page(found: Mapping[str, Mapping[str, Mapping]], n: int) -> str:
    """The whole page, from what was found for each model and kind."""
    band = read_references(FOLDER)["instruments/number-type"].accept
    lines = [
        "# How far the number type moves a figure",
        "",
        "How far figures are from those of plain tensors in",
        "float64: the mean over prompts and, in brackets, the prompt that is furthest off; of a figure of many heads",
        "the head that is. TF32 is emulated on a CPU: factors rounded to ten bits of mantissa, sums in float32.",
        "",
        measured_on(n),
    ]
    for model, kinds in found.items():
        lines += ["", f"## {model}", "", *table(kinds)]
    lines += [
        "",
        "## What follows",
        "",
        "The smallest effect that a claim is about is minimality's, 1% of the logit difference. The claim",
        f"`the_number_type_is_fine_enough_for_the_smallest_effect` accepts a tenth of that, {band}, on any prompt:",
        "",
    ]
    for model, kinds in found.items():
        moved = {name: kinds[name][MINIMALITY][1] for name in kinds if name != EXACT.name}
        fine = [name for name, gap in moved.items() if gap <= band.high]
        coarse = [name for name, gap in moved.items() if gap > band.high]
        lines.append(f"- {model}: {'; '.join(fine) or 'none'} within it, {'; '.join(coarse) or 'none'} not.")
    lines += ["", "## On a GPU", "", "float32, TF32 and bfloat16 on CUDA: not measured, no GPU at hand."]
    return "\n".join(lines) + "\n"


def table(kinds: Mapping[str, Mapping]) -> Iterator[str]:
    """A row a figure: how large it is, and how far each kind moves it."""
    names = [name for name in kinds if name != EXACT.name]
    yield f"| figure | unit | largest | {' | '.join(names)} |"
    yield "|---" * (3 + len(names)) + "|"
    for figure, unit in FIGURES.items():
        moved = " | ".join("{:.1e} ({:.1e})".format(*kinds[name][figure]) for name in names)
        yield f"| {figure} | {unit} | {kinds[EXACT.name][figure]:.3g} | {moved} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=24, help="prompts (default 24)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as folder:
        save_random(Path(folder), n_layer=12, n_head=12, n_embd=768, vocab_size=VOCABULARY)
        models = {
            "The reference model, planted": (planted.directory(), partial(of_planted, n=options.prompts)),
            "A random model of GPT-2 small's shape": (Path(folder), partial(of_random, n=options.prompts)),
        }
        found = {name: dict(of_kinds(*model)) for name, model in models.items()}
    evidence.write(NAME, page(found, options.prompts), command="python -m benchmarks.pages.tolerances", of="the model")


if __name__ == "__main__":
    main()
