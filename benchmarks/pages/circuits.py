"""Every circuit that comes with the suite: what is claimed, and can it fail? Writes docs/evidence/CIRCUITS.md.

Those models' weights cannot be had here. So each file is asked of a random model of its shape, whose claims must be
judged and fail, and GPT-2 small's of `planted`, where they must hold, and of its broken copies, which must fail one.
The runs are kept (see runs.py), so the program may be stopped and go on. The exit status is 1 where something is wrong.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.pages import evidence
from benchmarks.pages.mutants import failing
from benchmarks.pages.runs import SEEDED, in_short, kept, run
from ioi_fixtures import planted
from ioi_fixtures.circuits.circuit_file import CircuitFile, read_circuit
from ioi_fixtures.circuits.library import FILE, FOLDER
from ioi_fixtures.controls.random_families import save_random_like, tokens_of
from ioi_fixtures.planted import CONTROL, MUTANTS
from ioi_fixtures.planted.tokenizer import vocabulary
from ioi_fixtures.smollm2 import NAME as REAL
from lib.judging.measurements import Claim, Session
from lib.judging.verdicts import is_control, standing
from lib.one_line import first_of

NAME, GPT2 = "CIRCUITS.md", "gpt2-small"
PROMPTS = 24
D_HEAD = 8  # of the random models, which have their models' layers and heads, and small ones
# Model type, layers, heads, and key/value heads where they are fewer.
SHAPES: Mapping[str, tuple[str, int, int, int]] = MappingProxyType(
    {
        GPT2: ("gpt2", 12, 12, 12),
        "gpt2-medium": ("gpt2", 24, 16, 16),
        "stanford-crfm-alias": ("gpt2", 12, 12, 12),
        "pythia-160m": ("gpt_neox", 12, 12, 12),
        "pythia-160m-deduped": ("gpt_neox", 12, 12, 12),
        "pythia-410m": ("gpt_neox", 24, 16, 16),
        "pythia-410m-deduped": ("gpt_neox", 24, 16, 16),
        "pythia-1b-deduped": ("gpt_neox", 16, 8, 8),
        "pythia-1.4b": ("gpt_neox", 24, 16, 16),
        "pythia-2.8b": ("gpt_neox", 32, 32, 32),
        "llama-3-8b": ("llama", 32, 32, 8),
        REAL: ("llama", 30, 9, 3),
    }
)


def config_of(name: str) -> tuple[str, dict]:
    """Model type and config of a small random model with the layers and heads of a circuit's model."""
    model_type, layers, n_heads, n_kv = SHAPES[name]
    width = D_HEAD * n_heads
    tokens = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": len(tokens_of(words())), "tie_word_embeddings": False}
    if model_type == "gpt2":
        return model_type, {**tokens, "n_layer": layers, "n_head": n_heads, "n_embd": width, "n_positions": 64}
    sizes = {"num_hidden_layers": layers, "num_attention_heads": n_heads, "num_key_value_heads": n_kv}
    sizes |= {"hidden_size": width, "intermediate_size": width, "max_position_embeddings": 64}
    return model_type, {**tokens, **sizes}


def words() -> tuple[str, ...]:
    """The reference model's, so that the suite's own prompts can be asked of any."""
    return vocabulary()[1:]


def of_random(name: str) -> Session:
    """A circuit's claims, asked of a random model of its shape."""
    called = f"random-{name}"
    if not kept(called):
        with tempfile.TemporaryDirectory(prefix=f"{called}-") as folder:
            save_random_like(*config_of(name), Path(folder), tokens_of(words()))
            _ask(called, folder, name)
    return kept(called)


def of_planted() -> dict[str, Session]:
    """GPT-2 small's file, asked of the reference model ("intact") and of each broken copy."""
    found = {"intact": _ask(f"file-intact-{PROMPTS}", "planted", GPT2)}
    for name in MUTANTS:
        directory = planted.directory(broken=name)
        found[name] = _ask(f"file-{directory.name}", str(directory), GPT2)
    return found


def _ask(called: str, model: str, circuit: str) -> Session:
    asked = ("--claims-model", model, "--claims-circuit", circuit, "--claims-prompts", str(PROMPTS))
    session = run(called, *asked, *SEEDED)
    print(f"{called}: {len(failing(session))} of {len(session.claims)} claims fail", flush=True)
    return session


def is_positive(claim: Claim) -> bool:
    """Whether it states something that a model has by no chance: no control, and zero is outside its bands."""
    bands = [figure.published.accept for figure in claim.measurements]
    return not is_control(claim) and not any(band.low < 0 < band.high for band in bands)


def passing(session: Session) -> list[str]:
    """Positive claims that hold."""
    return [in_short(claim.test.partition("[")[0]) for claim in session.claims if _holds(claim)]


def _holds(claim: Claim) -> bool:
    return is_positive(claim) and standing(claim) == "holds"


def problems(random: Mapping[str, Session], broken: Mapping[str, Session]) -> list[str]:
    """What must not be."""
    wrong = [f"{name}, a random model: {claim} holds" for name, session in random.items() for claim in passing(session)]
    for name in ("intact", CONTROL):
        wrong += [f"{name}: {in_short(claim)} fails" for claim in failing(broken[name])]
    seen = {name: failing(session) for name, session in broken.items() if name not in ("intact", CONTROL)}
    return wrong + [f"{name}: nothing fails" for name, failed in seen.items() if not failed]


def page(random: Mapping[str, Session], broken: Mapping[str, Session]) -> str:
    """The whole of CIRCUITS.md."""
    lines = [
        "# Circuits that come with the suite",
        "",
        "Folders of [ioi_fixtures/circuits/](../../ioi_fixtures/circuits), each with a README on whose circuit it is "
        f"and what is contradictory. Of `{REAL}` alone the weights can be had where this was written (SMOLLM2.md). "
        "**What stands here of all others is published, not measured: to be verified by whoever has the weights.** Of "
        "a random model of the same layers and heads, every claim that states something of the model has to fail.",
        "",
        "| circuit | of | heads | claims asked of a random model | positive ones | of which hold |",
        "|---|---|---|---|---|---|",
        *(_row(name, session) for name, session in random.items()),
        "",
        *(line for name in random for line in _published(name)),
        f"## `{GPT2}` asked of `planted`, and of its broken copies",
        "",
        f"{PROMPTS} prompts. Intact: {_count(broken['intact'])}.",
        "",
        "| broken | claims of the file that fail | |",
        "|---|---|---|",
        *(_of_mutant(name, session) for name, session in broken.items() if name != "intact"),
        "",
        "## What must not be",
        "",
        *(f"- {line}" for line in problems(random, broken) or ["nothing"]),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, session: Session) -> str:
    circuit = read_circuit(FOLDER / name / FILE)
    positive = sum(map(is_positive, session.claims))
    count = len(circuit.places) or "none: behaviour"
    link = f"[{name}](../../ioi_fixtures/circuits/{name}/README.md)"
    holding = len(passing(session)) or "none"
    return f"| {link} | {circuit.model} | {count} | {len(session.claims)} | {positive} | {holding} |"


def _published(name: str) -> Iterator[str]:
    circuit: CircuitFile = read_circuit(FOLDER / name / FILE)
    if not circuit.figures:
        return
    yield from (f"## Published of `{name}`", "", "| figure | published | source | accepted |", "|---|---|---|---|")
    for figure in circuit.figures.values():
        yield f"| {figure.id} | {figure.says} | {figure.source} | {figure.accept} |"
    yield ""


def _of_mutant(name: str, session: Session) -> str:
    failed = [in_short(claim) for claim in failing(session)]
    return f"| {name}: {MUTANTS[name].says} | {len(failed)} | {first_of(failed, 2) if failed else '**nothing**'} |"


def _count(session: Session) -> str:
    return f"{len(session.claims) - len(failing(session))} of {len(session.claims)} claims and controls hold"


def main() -> int:
    """The exit status: 1 where something must not be."""
    random = {name: of_random(name) for name in SHAPES}
    broken = of_planted()
    evidence.write(NAME, page(random, broken), command="make circuits", of="the model")
    return bool(problems(random, broken))


if __name__ == "__main__":
    sys.exit(main())
