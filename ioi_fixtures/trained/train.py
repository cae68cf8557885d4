"""Trains the model in this directory: `python -m ioi_fixtures.trained.train` (six minutes of one core's time).

Weights come out the same, bit for bit, on the same machine with the same libraries; on another one rounding makes it
another model of the same kind, whose circuit `find` may find elsewhere. training.json holds the loss curve.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from ioi_fixtures.planted import tokenizer
from ioi_fixtures.sentences.prompts import encode
from ioi_fixtures.trained import DIRECTORY
from ioi_fixtures.trained.sentences import Sentences, kept_back
from lib.files import write_whole
from lib.judging.statistics import mean_over_prompts, share
from lib.models.model import hash_weights, load

SEED = 0
STEPS = 6000
BATCH = 64  # sentences
LEARNING_RATE = 3e-3  # the highest; it rises over the first tenth of the steps and then falls
OTHER_TOKENS = 0.1  # weight of all other tokens' loss beside the answer's
EVERY = 50  # steps that a point of the loss curve averages
SHAPE = {"n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 64}


def losses(model: GPT2LMHeadModel, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the answers, and of all other next tokens. tokens: [batch pos]; lengths: [batch]."""
    logits = model(tokens[:, :-1]).logits
    each = cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")  # batch pos
    place = torch.arange(each.shape[1])
    is_answer, is_other = place == lengths[:, None] - 2, place < lengths[:, None] - 2
    return each[is_answer].mean(), each[is_other].mean()


def train(
    *, steps: int = STEPS, seed: int = SEED, after: Callable[[int, GPT2LMHeadModel], None] = lambda step, model: None
) -> tuple[GPT2LMHeadModel, list[dict[str, float]]]:
    """A trained model, and its loss curve. after: is given every step and the model as it leaves it."""
    torch.set_num_threads(1)  # the order of sums, and so the last bits, would depend on their number
    torch.manual_seed(seed)
    words = tokenizer.vocabulary()
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(words), **SHAPE, **dropouts, bos_token_id=0, eos_token_id=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    sentences, curve, recent = Sentences(seed), [], []
    for step in range(1, steps + 1):
        answer, other = losses(model, *sentences.batch(BATCH))
        optimizer.zero_grad()
        (answer + OTHER_TOKENS * other).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        after(step, model)
        recent.append((answer.item(), other.item()))
        if step % EVERY == 0 or step == steps:
            of_answers, of_others = (round(sum(column) / len(recent), 4) for column in zip(*recent, strict=True))
            curve.append({"step": step, "answers": of_answers, "other tokens": of_others})
            print(f"step {step}: loss of answers {of_answers:.4f}, of other tokens {of_others:.4f}", flush=True)
            recent.clear()
    return model, curve


def evaluate(directory: Path) -> dict[str, float]:
    """How the saved model does on prompts whose templates and pairs of names it has never seen."""
    model = load(directory, device="cpu", dtype="float64", backend="plain")
    batch = encode(kept_back(2000, seed=1), model.tokenizer, prepend_bos=False)
    run = model.run(batch.tokens, last=batch.positions["END"])
    difference = run.logit_difference(batch.answers)
    return {
        "prompts": len(batch),
        "logit difference": round(mean_over_prompts(difference).value, 3),
        "accuracy": round(share(difference > 0).value, 4),
        "answer is the most likely token": round(share(run.logits.argmax(-1) == batch.answers[:, 0]).value, 4),
    }


def save(model: GPT2LMHeadModel, into: Path) -> None:
    """The model as a directory that claims can be asked of."""
    into.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(into)
    (into / "generation_config.json").unlink(missing_ok=True)  # of no use here
    tokenizer.save(into, SHAPE["n_positions"])


def main() -> None:
    """Trains, saves and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--into", type=Path, default=DIRECTORY, help="the model's directory (default: this package)")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    start = time.monotonic()
    model, curve = train(steps=asked.steps, seed=asked.seed)
    seconds = round(time.monotonic() - start)
    save(model, asked.into)
    found = {
        "seed": asked.seed,
        "steps": asked.steps,
        "sentences": asked.steps * BATCH,
        "seconds": seconds,
        "machine": f"one thread of {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "weights": hash_weights(asked.into),
        "held out": evaluate(asked.into),
        "loss": curve,
    }
    write_whole(asked.into / "training.json", json.dumps(found, indent=1) + "\n")
    print(f"{seconds} s; on templates and pairs of names never seen: {found['held out']}")


if __name__ == "__main__":
    main()
