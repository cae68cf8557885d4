"""The real model with one thing broken: what the claims of its circuit file must be able to tell apart.

A broken copy is a change of the checkpoint's tensors, or of its config. `NEUTRAL` breaks nothing: every weight moves by
the last bit that bfloat16 has, and no claim may fail. `python -m ioi_fixtures.smollm2.broken NAME FOLDER` writes one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ioi_fixtures import smollm2
from lib.models.heads import Head, heads
from lib.suggestions import suggestion

D_HEAD, GROUP, BLOCK = 64, 3, 32  # a head's width, heads that share keys and values, weights that share a step
Tensors = dict[str, Tensor]
Config = dict[str, Any]
Change = Callable[[Tensors, Config], object]


class Broken(NamedTuple):
    """What is broken; the claims that name the mechanism, by the beginnings of their names, each of which must fail for
    one thing at least; how it is brought about."""

    says: str
    named: tuple[str, ...]
    change: Change


def _rows(index: int) -> slice:
    """Where a head's own rows, or columns, are."""
    return slice(index * D_HEAD, (index + 1) * D_HEAD)


def _of(tensors: Tensors, layer: int, name: str) -> Tensor:
    return tensors[f"model.layers.{layer}.self_attn.{name}_proj.weight"]


def _swap(weight: Tensor, i: int, j: int) -> None:
    """Two heads' rows change places."""
    first = weight[_rows(i)].clone()
    weight[_rows(i)] = weight[_rows(j)]
    weight[_rows(j)] = first


def _output_times(factor: float, *broken: Head) -> Change:
    def change(tensors: Tensors, _: Config) -> None:
        for layer, index in broken:
            _of(tensors, layer, "o")[:, _rows(index)] *= factor

    return change


def _moved(layer: int, here: int, there: int) -> Change:
    """Two heads of one group change addresses."""

    def change(tensors: Tensors, _: Config) -> None:
        _swap(_of(tensors, layer, "q"), here, there)
        _swap(_of(tensors, layer, "o").T, here, there)

    return change


def _no_queries(broken: Iterable[Head]) -> Change:
    def change(tensors: Tensors, _: Config) -> None:
        for layer, index in broken:
            _of(tensors, layer, "q")[_rows(index)] = 0

    return change


def _shifted_keys(broken: Iterable[Head]) -> Change:
    """The keys of these heads' groups, every number one dimension further."""

    def change(tensors: Tensors, _: Config) -> None:
        for layer, shared in sorted({(layer, index // GROUP) for layer, index in broken}):
            keys = _of(tensors, layer, "k")
            keys[_rows(shared)] = keys[_rows(shared)].roll(1, 0)

    return change


def _swapped_groups(layer: int, i: int, j: int) -> Change:
    def change(tensors: Tensors, _: Config) -> None:
        for name in "kv":
            _swap(_of(tensors, layer, name), i, j)

    return change


def _rotary_base(base: float) -> Change:
    return lambda _, config: config["rope_parameters"].update(rope_theta=base)


def _each_matrix(moved: Callable[[Tensor, torch.Generator], Tensor]) -> Change:
    def change(tensors: Tensors, _: Config) -> None:
        generator = torch.Generator().manual_seed(0)
        for name, weight in sorted(tensors.items()):
            if weight.ndim == 2:
                tensors[name] = moved(weight, generator)

    return change


def rounded_again(weight: Tensor, generator: torch.Generator) -> Tensor:
    """With noise like that of rounding to 4 bits: uniform over the step between neighbouring values, which is one for
    each block of 32 weights, and is read off them."""
    blocks = weight.reshape(-1, BLOCK)
    gaps = blocks.sort(-1).values.diff(dim=-1)
    step = gaps.masked_fill(gaps <= 1e-3 * gaps.amax(-1, keepdim=True), torch.inf).amin(-1, keepdim=True)
    step = torch.where(step.isinf(), 0.0, step)  # a block of one value
    return (blocks + step * (torch.rand(blocks.shape, generator=generator) - 0.5)).view_as(weight)


def last_bit_moved(weight: Tensor, generator: torch.Generator) -> Tensor:
    """One unit up or down in the last of bfloat16's 8 significant bits."""
    exponent = torch.frexp(weight).exponent - 1  # weight is 1.xxx times 2 to it
    sign = torch.randint(2, weight.shape, generator=generator) * 2 - 1
    return torch.where(weight == 0, weight, weight + sign * torch.ldexp(torch.ones_like(weight), exponent - 7))


NEUTRAL = "last_bit_moved"
BROKEN: Mapping[str, Broken] = MappingProxyType(
    {
        "suppressor_silent": Broken(
            "Head 23.3, which writes most of the answer, attends as before and writes nothing.",
            ("every_head_writes_as_its_class_does[subject suppressor 23.3", "every_head_is_needed[subject suppressor"),
            _output_times(0, Head(23, 3)),
        ),
        "suppressor_moved": Broken(
            "Heads 23.3 and 23.5, of one group, have changed addresses.",
            ("every_head_attends_where_its_class_does[subject suppressor 23.3",),
            _moved(23, 3, 5),
        ),
        "suppressor_flipped": Broken(
            "Head 23.3 writes with the opposite sign.",
            ("every_head_copies_as_its_class_does[subject suppressor 23.3",),  # of F(M) below 0 no share is judged
            _output_times(-1, Head(23, 3)),
        ),
        "movers_silent": Broken(
            "Name movers 23.0 and 23.2, which write most of those, attend as before and write nothing.",
            (
                "every_head_writes_as_its_class_does[name mover 23.0",
                "every_head_writes_as_its_class_does[name mover 23.2",
            ),
            _output_times(0, *heads("23.0 23.2")),
        ),
        "inhibition_blind": Broken(
            "The queries of S-inhibition heads 19.2, 20.0 and 22.5 are zero: they look at everything alike.",
            ("every_head_attends_where_its_class_does[S-inhibition",),
            _no_queries(heads("19.2 20.0 22.5")),
        ),
        "induction_keys_shifted": Broken(
            "The keys that induction heads 17.3, 17.4 and 18.6 read are shifted by one dimension.",
            (
                "every_head_attends_where_its_class_does[induction",
                "every_head_scores_on_random_tokens_as_its_class_does[induction",
            ),
            _shifted_keys(heads("17.3 17.4 18.6")),
        ),
        "groups_swapped": Broken(
            "In layer 23 the keys and values of name movers 23.0 to 23.2 and those of 23.3 to 23.5 are swapped.",
            (
                "every_head_attends_where_its_class_does[name mover 23.",
                "every_head_attends_where_its_class_does[subject suppressor 23.3",
            ),
            _swapped_groups(23, 0, 1),
        ),
        "rotary_base_changed": Broken(
            "Positions turn queries and keys by the angles of base 10,000 and not 100,000.",
            # 50 tokens apart; prompts have 20, and hardly show it
            ("every_head_scores_on_random_tokens_as_its_class_does",),
            _rotary_base(10_000.0),
        ),
        "noise_doubled": Broken(
            "To the noise of rounding to 4 bits the same again is added, in every matrix.",
            ("",),
            _each_matrix(rounded_again),
        ),
        NEUTRAL: Broken(
            "Control: every weight of a matrix moves by the last bit that bfloat16 has, up or down.",
            (),
            _each_matrix(last_bit_moved),
        ),
    }
)


def write(name: str, folder: Path) -> Path:
    """The broken copy of that name, as a directory in `folder` that is called like it.

    Raises ValueError for an unknown name, CannotLoad where the model cannot be had.
    """
    if name not in BROKEN:
        raise ValueError(f"{name!r} is no broken copy: {suggestion(name, BROKEN)}")
    whole, into = smollm2.directory(), folder / name
    tensors = load_file(whole / "model.safetensors")
    config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    BROKEN[name].change(tensors, config)
    into.mkdir(parents=True)
    for path in whole.glob("*token*.json"):
        shutil.copy(path, into)
    (into / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({key: one.contiguous() for key, one in tensors.items()}, into / "model.safetensors", {"format": "pt"})
    return into


if __name__ == "__main__":
    print(write(sys.argv[1], Path(sys.argv[2])))
