"""`planted`: a reference model with the IOI circuit built into its weights, at GPT-2 small's head addresses.

An ordinary `GPT2LMHeadModel` of GPT-2 small's shape (narrower MLPs, a vocabulary of a few hundred words) of which the
circuit of Wang et al. 2022 (arXiv 2211.00593) is true by construction: claims about it have a known answer, and every
one can be seen to fail on a mutant. `codes` and `layout` say how content is kept in the residual stream, `heads` what
heads and MLPs read and write, `build` turns that into tensors, `broken` breaks one thing, `tokenizer` holds the words,
`cache` keeps what was built.

Realistic: the 26 heads and their positions; logit difference, direct effects and their order; graded attention; self-
repair, by backups that wake up and negative heads that let go, under zero and mean ablation alike; position and token
signal of S-inhibition; MLP 0 as part of the embedding; a LayerNorm scale that differs between layers and prompts;
biases and LayerNorm gains that folding has to get right.

Not realistic, so no claim about GPT-2 should be tuned here: no language model lies beneath, so P(IO) is low; names are
never split; a head has one role, and heads outside the table are faint noise that hardly reaches the subspaces the
circuit uses, so maps of paths are far cleaner; late backups differ in strength but not in kind; MLPs 1, 2, 7 and 8 do
nothing; 5.x listens to 4.11 and 6.9 to 2.2 where GPT-2's heads mix them; the negative heads do more than GPT-2's within
the circuit.
How backups and negative heads know what is written already (they read its code in the residual stream) is one
mechanism that works, not a finding.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors.numpy import save_file

from ioi_fixtures.planted import build, heads, tokenizer
from ioi_fixtures.planted.broken import CONTROL, MUTANTS, broken_design
from ioi_fixtures.sentences import words
from lib.models.cache import built, default_cache
from lib.suggestions import suggestion

__all__ = ["CONTROL", "MUTANTS", "directory"]


def directory(*, broken: str | None = None, seed: int = 0, cache: Path | None = None) -> Path:
    """The model as a directory that `transformers` loads, built on first use and then kept.

    broken: a key of MUTANTS, or None for the intact model. cache: default $XDG_CACHE_HOME/circuit-claims, or
    ~/.cache/circuit-claims. The name holds a digest of everything the weights depend on, so a stale model is never
    returned. Raises ValueError for an unknown mutant.
    """
    if broken is not None and broken not in MUTANTS:
        raise ValueError(f"there is no mutant {broken!r}: {suggestion(broken, MUTANTS)}")
    design = broken_design(broken) if broken else heads.INTACT
    name = f"planted-{broken or 'intact'}-{seed}-{_digest(design, seed)}"
    return built(Path(cache or default_cache()) / name, lambda into: _write(into, design, seed))


def _digest(design: heads.Design, seed: int) -> str:
    """Of the arguments, the words and this folder's source. A mutant is no more than its design."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(words.__file__)]
    digest = hashlib.sha256(f"{seed} {design.text()}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _write(into: Path, design: heads.Design, seed: int) -> None:
    save_file(build.tensors(design, seed), into / "model.safetensors", metadata={"format": "pt"})
    (into / "config.json").write_text(json.dumps(build.config(), indent=2))
    tokenizer.save(into, build.N_CTX)
