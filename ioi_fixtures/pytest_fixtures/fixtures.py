"""The pytest fixtures that claims share: session-scoped, read-only, computed once a subject."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from torch import Tensor

from ioi_fixtures.pytest_fixtures.encoding import encode_for, hash_prompts, start_token
from ioi_fixtures.pytest_fixtures.files_asked import prompt_file, stated_circuit
from ioi_fixtures.pytest_fixtures.prompt_fixtures import sizes_of_groups
from ioi_fixtures.pytest_fixtures.selection import (
    CIRCUIT,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    pytest_ignore_collect,
)
from ioi_fixtures.pytest_fixtures.subjects import Subject
from ioi_fixtures.sentences import variants
from ioi_fixtures.sentences.prompt_files import Chosen
from ioi_fixtures.sentences.prompts import Batch, Prompt
from lib.instruments.ablation import means_by_group
from lib.instruments.attention import attended_and_written
from lib.instruments.composition import composition, eigenvalue_scores
from lib.judging.measurements import Subject as SubjectRecord
from lib.judging.recorder import Recorder
from lib.models.activations import Run
from lib.models.adapters import merged_from
from lib.models.attention_weights import AttentionWeights, read_attention_weights
from lib.models.backends import unverified
from lib.models.checkpoint import missing_tensors
from lib.models.folding import PROCESSING
from lib.models.model import DTYPES, Model, choose_device, hash_weights, load
from lib.models.precision import precision_of
from lib.models.traces import State, changed_since, state_of
from lib.plugin.item_records import subject_name

# Hooks, picked up by pytest from here.
__all__ = ["pytest_collection_modifyitems", "pytest_generate_tests", "pytest_ignore_collect"]

NEXT = pytest.StashKey[pytest.Item | None]()
kept = lru_cache(maxsize=2)(load)  # a later look, or a later session of the same process, finds its model loaded
EVERYTHING = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern", "resid_final", "final_scale")


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Subject:
    """The subject under test."""
    return request.param


@pytest.fixture(scope="session")
def model(subject: Subject, request: pytest.FixtureRequest) -> Model:
    """The subject, loaded."""
    option = request.config.option
    try:
        bos = start_token(option.claims_bos, request.config.stash.get(CIRCUIT, None), option.claims_prompt_file)
    except (OSError, ValueError) as error:
        pytest.exit(f"--claims-prompt-file: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    return kept(
        subject.directory(),
        name=subject.name,
        device=option.claims_device,
        dtype=option.claims_dtype,
        backend=option.claims_backend,
        bos=bos,
    )


@pytest.fixture(scope="module")
def witness(subject: Subject, model: Model) -> Model:
    """The subject read and run without any hooking library, in float64."""
    return load(subject.directory(), name="witness", device=str(model.device), dtype="float64", backend="plain")


@pytest.fixture(scope="session")
def untouched(model: Model) -> State:
    """The model as it was loaded. No claim is asked of one that answers otherwise when it is asked the same again."""
    try:
        return state_of(model)
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(autouse=True)
def leaves_no_trace(request: pytest.FixtureRequest) -> Iterator[None]:
    """No claim may leave a hook or a changed weight behind. Hooks, writes and settings are compared after every test,
    and after the last one of a file the logits on a probe prompt, bit for bit."""
    if "model" not in request.fixturenames:
        yield
        return
    model, before = request.getfixturevalue("model"), request.getfixturevalue("untouched")
    yield
    found = changed_since(model, before, ask=is_last_of_file(request.node))
    if found:
        before.changed_after.append(request.node.name)
        pytest.fail(f"after {before.changed_after[0]}, {found}", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Note what this process runs next: in a worker process that is not the next test of the session."""
    item.stash[NEXT] = nextitem


def is_last_of_file(item: pytest.Item) -> bool:
    """Whether what runs next comes from another file or is about another subject."""
    following = item.stash[NEXT]
    return following is None or (following.path, subject_name(following)) != (item.path, subject_name(item))


@pytest.fixture(autouse=True)
def described(request: pytest.FixtureRequest, record: Recorder) -> None:
    """Tells the report what is under test, and on which prompts of a file."""
    record.available = None
    if {"model", "attention_weights"} & set(request.fixturenames):
        subject = request.getfixturevalue("description")
        record.describe(subject)
        if untested := unverified(request.config.option.claims_backend):
            record.note(untested)
        if subject.prompts:
            chosen: Chosen = request.getfixturevalue("chosen")
            record.available = chosen.available
            groups = [sizes_of_groups(chosen.prompts)] if request.config.option.claims_prompt_file else []
            for note in (*chosen.notes, *groups):
                record.note(f"{subject.name}: {note}")


@pytest.fixture(autouse=True)
def prompts_of_figures(request: pytest.FixtureRequest, record: Recorder) -> Iterator[None]:
    """Tells the report whose prompts a claim's figures are of; what compares IOI with ABC goes by the former."""
    kind = next((name for name in ("ioi", "s2_swapped_pair", "abc") if name in request.fixturenames), None)
    if kind:
        found = request.getfixturevalue(kind)
        record.prompts = [prompt.text for prompt in getattr(found, "batch", found).prompts]
    yield
    record.prompts = ()


@pytest.fixture(scope="session")
def description(subject: Subject, request: pytest.FixtureRequest) -> SubjectRecord:
    """What is under test, as a record: a loaded model, or a checkpoint of attention weights alone."""
    directory, option = subject.directory(), request.config.option
    if missing_tensors(directory):
        weights = request.getfixturevalue("attention_weights")
        weights_hash, prompts, precision, bos = hash_weights(directory), (), "", False
    else:
        model = request.getfixturevalue("model")
        weights, weights_hash, prompts = model.weights, model.weights_hash, request.getfixturevalue("every_prompt")
        precision, bos = precision_of(model), model.prepend_bos
    from_file, stated = bool(prompts) and option.claims_prompt_file, option.claims_circuit
    return SubjectRecord(
        name=subject.name,
        about=subject.about or merged_from(directory),
        directory=str(directory).replace(str(Path.home()), "~", 1),
        weights_hash=weights_hash,
        shape=repr(weights).strip("<>").removeprefix("Weights: "),
        device=str(weights.W_Q.device),
        dtype=str(weights.W_Q.dtype).removeprefix("torch."),
        backend=option.claims_backend,
        prompts=len(prompts),
        seed=option.claims_seed,
        prepend_bos=bos,
        prompts_hash=hash_prompts(prompts) if prompts else "",
        processing=", ".join(name for name, done in PROCESSING.items() if done),
        prompt_file=prompt_file(option.claims_prompt_file, request.getfixturevalue("chosen")) if from_file else None,
        circuit_file=stated_circuit(option.claims_circuit, request.config.stash[CIRCUIT]) if stated else None,
        precision=precision,
    )


@pytest.fixture(scope="session")
def attention_weights(subject: Subject, request: pytest.FixtureRequest) -> AttentionWeights:
    """The subject's attention weights, processed; also of a checkpoint that holds no more than those."""
    directory, option = subject.directory(), request.config.option
    if not missing_tensors(directory):
        return AttentionWeights.of(request.getfixturevalue("model").weights)
    weights = read_attention_weights(directory, dtype=DTYPES[option.claims_dtype])
    return weights.to(choose_device(option.claims_device))


@pytest.fixture(scope="session")
def k_composition(attention_weights: AttentionWeights) -> Tensor:
    """How much each head composes with the keys of each later head. [layer head layer head]"""
    return composition(attention_weights, "K")


@pytest.fixture(scope="session")
def q_composition(attention_weights: AttentionWeights) -> Tensor:
    """How much each head composes with the queries of each later head. [layer head layer head]"""
    return composition(attention_weights, "Q")


@pytest.fixture(scope="session")
def ov_eigenvalues(attention_weights: AttentionWeights) -> Tensor:
    """How positive the eigenvalues of each head's OV circuit are. [layer head]"""
    return eigenvalue_scores(attention_weights)


@pytest.fixture(scope="session")
def ioi(model: Model, prompts: tuple[Prompt, ...]) -> Batch:
    """The IOI prompts as tokens."""
    return encode_for(model, prompts)


@pytest.fixture(scope="session")
def ioi_run(model: Model, ioi: Batch) -> Run:
    """The model on the IOI prompts."""
    return model.run(ioi.tokens, last=ioi.positions["END"], keep=EVERYTHING)


@pytest.fixture(scope="session")
def every_abc(
    model: Model, averaged: tuple[Prompt, ...], names: tuple[str, ...], request: pytest.FixtureRequest
) -> tuple[Batch, Run]:
    """Every prompt with three fresh names, scored with the original answers: no name is the right one. The source of
    means, also for a look at some of the prompts: a mean over fewer would be another ablation, not a vaguer one."""
    batch = encode_for(model, variants.abc(averaged, seed=request.config.option.claims_seed, names=names))
    return batch, model.run(batch.tokens, last=batch.positions["END"], keep=("z", "pattern", "mlp_out"))


@pytest.fixture(scope="session")
def abc(every_abc: tuple[Batch, Run], prompts: tuple[Prompt, ...]) -> Batch:
    """The ABC partners of the prompts."""
    return every_abc[0][: len(prompts)]


@pytest.fixture(scope="session")
def abc_run(every_abc: tuple[Batch, Run], prompts: tuple[Prompt, ...]) -> Run:
    """The model on those, the source of patches."""
    return every_abc[1].first(len(prompts))


@pytest.fixture(scope="session")
def abc_again(
    model: Model, prompts: tuple[Prompt, ...], names: tuple[str, ...], request: pytest.FixtureRequest
) -> tuple[Batch, Run]:
    """The prompts with three other fresh names: twice the names where a claim is about nothing but which one wins."""
    batch = encode_for(model, variants.abc(prompts, seed=request.config.option.claims_seed + 1, names=names))
    return batch, model.run(batch.tokens, last=batch.positions["END"])


@pytest.fixture(scope="session")
def abc_means(every_abc: tuple[Batch, Run], mean_groups: Tensor, prompts: tuple[Prompt, ...]) -> Tensor:
    """Mean head outputs over ABC prompts of the same template. [layer batch pos head d_head]"""
    return means_by_group(every_abc[1]["z"], mean_groups)[:, : len(prompts)]


@pytest.fixture(scope="session")
def names_attended_and_written(model: Model, ioi: Batch, ioi_run: Run) -> tuple[Tensor, Tensor]:
    """Attention from END to IO and to S (S1 and S2 added up), and the head's output on their unembedding.
    Each [layer head name batch]"""
    io, s1, s2 = (ioi.positions[name] for name in ("IO", "S1", "S2"))
    return attended_and_written(ioi_run, model.weights, tokens=ioi.answers.T, places=[[io], [s1, s2]])
