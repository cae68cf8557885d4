"""Identities between what a run keeps, its weights and its logits: they hold on every model, up to rounding.

Where one does not hold, the hooking library reports something other than what the model computes, and no instrument
that reads it may be believed. Two kinds: parts that must make up a whole, and the same prompts run another way.
Every function returns the largest deviation of each prompt [batch], or logits to be compared. Reruns need the model
itself, so unlike other instruments these functions take it.
Out of scope: what a deviation may be (that is a band), edits (`edits`), gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lib.instruments.attribution import biases_along, written_along
from lib.models import forward
from lib.models.activations import Run, Weights, at_positions
from lib.models.config import family_of, read_config
from lib.models.model import Model


def relative_gap(whole: Tensor, parts: Iterable[Tensor]) -> Tensor:
    """How far `parts` are from adding up to `whole`, as a share of the longest vector among them. [batch]

    All are [... batch pos d]. The longest, not the whole: rounding follows the size of what is added, and large parts
    may cancel.
    """
    total, longest = torch.zeros_like(whole), whole.norm(dim=-1)
    for part in parts:
        total = total + part
        longest = torch.maximum(longest, part.norm(dim=-1))
    gap = (whole - total).norm(dim=-1) / longest
    return gap.amax(-1).flatten(0, -2).amax(0) if gap.ndim > 2 else gap.amax(-1)


def largest_gap(logits: Tensor, others: Tensor) -> Tensor:
    """Largest difference between two sets of logits [batch d_vocab], whose own means no softmax sees. [batch]"""
    return (_centred(logits) - _centred(others)).abs().amax(-1)


def _attention_adds(run: Run, weights: Weights) -> Tensor:
    if weights.architecture.parallel:  # where the sum is not handed on as a stream, the MLP's output is in it as well
        return relative_gap(run["resid_post"] - run["mlp_out"], [run["resid_pre"], run["attn_out"]])
    return relative_gap(run["resid_mid"], [run["resid_pre"], run["attn_out"]])


def _mlp_adds(run: Run, weights: Weights) -> Tensor:
    before = run["resid_pre"] + run["attn_out"] if weights.architecture.parallel else run["resid_mid"]
    return relative_gap(run["resid_post"], [before, run["mlp_out"]])


def _layers_hand_on(run: Run, weights: Weights) -> Tensor:
    entering = torch.cat([run["resid_pre"][1:], run["resid_final"][None]])
    return relative_gap(run["resid_post"], [entering])


def _stream_is_a_sum(run: Run, weights: Weights) -> Tensor:
    return relative_gap(run["resid_final"], [*_embedding(run.tokens, weights), *run["attn_out"], *run["mlp_out"]])


def _heads_add_up(run: Run, weights: Weights) -> Tensor:
    by_head = zip(
        run["z"].unbind(-2), weights.W_O.unbind(1), strict=True
    )  # layer batch pos d_head, layer d_head d_model
    written = [z @ W_O[:, None].to(z) for z, W_O in by_head]
    written.append(weights.b_O[:, None, None].expand_as(run["attn_out"]))
    if weights.post_attention is not None:  # the norm of the sum is linear once its scale is given
        factor = weights.post_attention[:, None, None] / forward.norm_scale(sum(written), weights)
        written = [part * factor for part in written]
    return relative_gap(run["attn_out"], written)


def _inputs_read_the_stream(run: Run, weights: Weights) -> Tensor:
    layers = zip(run["resid_pre"], forward.blocks(weights), strict=True)
    read = zip(*(forward.project(x, block, weights) for x, block in layers), strict=True)  # q, k, v, each by layer
    gaps = [
        relative_gap(run[site].flatten(-2), [torch.stack(by_layer).flatten(-2)])
        for site, by_layer in zip("qkv", read, strict=True)
    ]
    return torch.stack(gaps).amax(0)


def _pattern_is_softmax(run: Run, weights: Weights) -> Tensor:
    layers = zip(run["q"], run["k"], forward.blocks(weights), strict=True)
    expected = [forward.attention_pattern(q, k, block, weights) for q, k, block in layers]
    return (run["pattern"] - torch.stack(expected)).abs().amax((0, 2, 3, 4))


def _pattern_sums_to_one(run: Run, weights: Weights) -> Tensor:
    return (run["pattern"].sum(-1) - 1).abs().amax((0, 2, 3))


def _pattern_moves_values(run: Run, weights: Weights) -> Tensor:
    moved = [forward.mixed(pattern, v) for pattern, v in zip(run["pattern"], run["v"], strict=True)]
    return relative_gap(run["z"].flatten(-2), [torch.stack(moved).flatten(-2)])


def _scale_is_of_the_final_stream(run: Run, weights: Weights) -> Tensor:
    return relative_gap(run["final_scale"], [forward.norm_scale(run["resid_final"], weights)])


# What each says, as a sentence, and the deviation. Relative, so rounding is all that may be left.
PARTS: Mapping[str, Callable[[Run, Weights], Tensor]] = MappingProxyType(
    {
        "the stream after attention is the stream before it plus attn_out": _attention_adds,
        "the stream after an MLP is the stream before it plus mlp_out": _mlp_adds,
        "each layer is given what the layer before it handed on": _layers_hand_on,
        "the final stream is the embedding plus every attention and MLP output": _stream_is_a_sum,
        "attn_out is the sum of the heads' z W_O plus b_O": _heads_add_up,
        "q, k and v are read from the normalised stream entering the layer": _inputs_read_the_stream,
        "the pattern is the causal softmax of q k": _pattern_is_softmax,
        "the pattern of every query sums to 1": _pattern_sums_to_one,
        "z is the values weighted by the pattern": _pattern_moves_values,
        "the final LayerNorm's scale is that of the final stream": _scale_is_of_the_final_stream,
    }
)


def attention_to_later_tokens(run: Run) -> Tensor:
    """The largest attention from any position to a later one. [batch]"""
    later = torch.ones(run["pattern"].shape[-2:], dtype=torch.bool, device=run["pattern"].device).triu(1)
    return (run["pattern"].abs() * later).amax((0, 2, 3, 4))


def attribution_gap(run: Run, weights: Weights, answers: Tensor) -> Tensor:
    """How far attributions are from adding up to the logit difference: heads, b_O, MLPs, embedding and b_U. [batch]

    answers: [batch 2]. Where logits are capped, they have to add up to what each of the two was before its cap, and the
    caps of these sums to the difference; where what attention writes is normalised, heads and b_O have to add up to
    that with the norm's scale frozen. The run must have kept "z", "attn_out", "mlp_out" and "final_scale".
    """
    right, wrong = (_logit_from_parts(run, weights, token) for token in answers.T)
    cap = weights.architecture.final_cap
    return (forward.capped(right, cap) - forward.capped(wrong, cap) - run.logit_difference(answers)).abs()


def _logit_from_parts(run: Run, weights: Weights, token: Tensor) -> Tensor:
    """A token's logit, before any cap, as the sum of what each part of the stream adds. token: [batch]. [batch]"""
    direction = weights.W_U.T[token] / at_positions(run["final_scale"], run.last)
    others = at_positions(sum(_embedding(run.tokens, weights)) + run["mlp_out"].sum(0), run.last)
    by_head = written_along(run, weights, direction).sum((0, 1))
    return by_head + biases_along(run, weights, direction) + (others * direction).sum(-1) + weights.b_U[token]


def forward_in_plain_transformers(directory: Path, tokens: Tensor, last: Tensor, dtype: torch.dtype) -> Tensor:
    """Logits at `last` [batch] of the model saved in `directory`, loaded without any hooking library. [batch d_vocab]

    Weights are as stored, LayerNorms unfolded; attention is eager, the only kind that computes a pattern. Scores are
    computed in `dtype`: transformers can force them to float32 (reorder_and_upcast_attn), and then refuses float64.
    """
    as_stored = family_of(read_config(directory)).as_stored
    plain = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager", **as_stored)
    plain = plain.to(tokens.device).eval()
    with torch.no_grad():
        return at_positions(plain(tokens).logits, last)


def run_one_by_one(model: Model, run: Run) -> Tensor:
    """Logits of each prompt run by itself and without padding. [batch d_vocab]"""
    prompts = zip(run.tokens, run.last, strict=True)
    return torch.cat([model.run(row[None, : last + 1], last=last[None]).logits for row, last in prompts])


def run_with_other_padding(model: Model, run: Run) -> Tensor:
    """Logits with every token after the last position exchanged for another. [batch d_vocab]"""
    padding = torch.arange(run.tokens.shape[1], device=run.last.device) > run.last[:, None]
    other = (run.tokens + 1) % model.weights.W_E.shape[0]
    return model.run(torch.where(padding, other, run.tokens), last=run.last).logits


def run_padded_on_the_left(model: Model, run: Run) -> Tensor:
    """Logits with all padding, and one token more, moved in front of each prompt and masked out. [batch d_vocab]

    The mask is all the library is told: it has to count positions from the first real token by itself, which an
    earlier release did not (TransformerLens, issue 1609: wrong logits, and no error).
    """
    tokens = torch.cat([run.tokens, run.tokens[:, :1]], 1)  # one more, so that no prompt stays where it was
    width, device = tokens.shape[1], run.last.device
    column = torch.arange(width, device=device) - (width - 1 - run.last)[:, None]  # negative in front of the prompt
    ends = torch.full_like(run.last, width - 1)
    return model.run(tokens.gather(1, column % width), last=ends, mask=(column >= 0).long()).logits


def _embedding(tokens: Tensor, weights: Weights) -> list[Tensor]:
    """What the stream begins as a sum of: embedded tokens and, where they are learned, positions."""
    token = weights.W_E[tokens].to(weights.computes_in)
    if weights.W_pos is None:
        return [token]
    return [token, weights.W_pos[: tokens.shape[1]].to(weights.computes_in).expand_as(token)]


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)
