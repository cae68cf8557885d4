"""Which subjects a session tests, decided at collection. Whatever cannot be tested although it was asked for is a usage
error, never a silent skip."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ioi_fixtures.circuits.circuit_file import CircuitFile, HubModel
from ioi_fixtures.pytest_fixtures.applicable import names_other_heads, what_does_not_apply
from ioi_fixtures.pytest_fixtures.subjects import GPT2_SMALL, PLANTED, Subject, subject
from lib.models.backends import check_backend
from lib.models.checkpoint import Checkpoint
from lib.models.config import CannotLoad
from lib.models.model import choose_device, read_tokenizer
from lib.one_line import counted
from lib.plugin.item_records import subject_name
from lib.plugin.reporting import NOT_MEASURED

GPU_NOTE = (
    "{names}: {count} claims were not checked in this run. "
    "On a machine with a GPU and its weights: pytest claims/ -m gpu"
)
NOT_OF_THIS_CIRCUIT = "{names}: {count} claims name GPT-2 small's heads, so they are not asked with --claims-circuit"
NOT_STATED = "{names}: {claims} about what the circuit file does not state"
CIRCUIT = pytest.StashKey[CircuitFile]()  # what --claims-circuit names, if anything
CLAIMS_OF_IT = (Path("claims", "test_circuit_file.py"), Path("claims", "test_circuit_figures.py"))
OF_WHOLE_CIRCUITS = {"stated_alone", "stated_random_circuits", "model_without_class"}  # what such a claim asks for


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without a circuit file there is nothing to ask of its claims."""
    of_it = {config.rootpath / path for path in CLAIMS_OF_IT}
    return True if collection_path in of_it and CIRCUIT not in config.stash else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that asks for `subject`, directly or through another fixture, runs once a subject."""
    if "subject" in metafunc.fixturenames:
        metafunc.parametrize("subject", _subjects(metafunc.config), ids=str, scope="session", indirect=True)


def _subjects(config: pytest.Config) -> list:
    stated = config.stash[CIRCUIT].model if CIRCUIT in config.stash else ""
    asked = config.option.claims_model or ([str(stated)] if isinstance(stated, HubModel) else [])
    if not asked:
        return [_with_heads(config, PLANTED), pytest.param(_with_heads(config, GPT2_SMALL), marks=pytest.mark.gpu)]
    chosen = list(dict.fromkeys(_with_heads(config, subject(one)) for one in asked))
    names = [one.name for one in chosen]
    twice = {name for name in names if names.count(name) > 1}
    chosen = [replace(one, name=one.source) if one.name in twice else one for one in chosen]
    return [pytest.param(one, marks=pytest.mark.gpu) for one in chosen] if _gpu_is_asked_for(config) else chosen


def _with_heads(config: pytest.Config, one: Subject) -> Subject:
    """The subject, which has to have the heads that this session's claims name."""
    circuit = config.stash.get(CIRCUIT, None)
    return one if circuit is None else replace(one, heads=circuit.heads)


def _gpu_is_asked_for(config: pytest.Config) -> bool:
    return bool(re.search(r"\bgpu\b", config.option.markexpr))


@pytest.hookimpl(trylast=True)  # after -m and -k have had their say
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _set_aside(
        config, items, _is_for_another_subject, "{names}: {count} claims are about other models and do not apply"
    )
    if CIRCUIT in config.stash:
        _set_aside(config, items, names_other_heads, NOT_OF_THIS_CIRCUIT)
        _set_aside(config, items, _is_not_stated, NOT_STATED)
    if not _gpu_is_asked_for(config):
        _set_aside(config, items, _needs_gpu, GPU_NOTE)
    for one, item in _subjects_of(items).items():
        of_it = [item for item in items if subject_name(item) == one.name]
        try:
            check_backend(config.option.claims_backend)
            device = choose_device(config.option.claims_device)
            if item.get_closest_marker("gpu") and device.type != "cuda":
                choose_device("cuda")  # says what is missing
                raise CannotLoad(f"-m gpu and --claims-device {device} contradict each other: drop one of them")
            check_backend(config.option.claims_backend, one.directory())
            for unwanted, note in what_does_not_apply(one, of_it, stated=CIRCUIT in config.stash):
                aside = set(filter(unwanted, of_it))
                _set_aside(config, items, aside.__contains__, note)
            _check_is_whole(one, items)
        except CannotLoad as error:
            raise pytest.UsageError(f"{one} cannot be tested: {error}") from error


def _subjects_of(items: list[pytest.Item]) -> dict[Subject, pytest.Item]:
    """Each subject that is asked something, with one of the claims."""
    return {item.callspec.params["subject"]: item for item in items if subject_name(item)}


def _check_is_whole(one: Subject, items: list[pytest.Item]) -> None:
    """Raises CannotLoad where the subject cannot be had, is damaged, or lacks tensors although a claim runs it."""
    checkpoint = Checkpoint(one.directory())
    checkpoint.check()
    missing, of_attention = checkpoint.missing(), checkpoint.missing_attention()
    lacks = f"it lacks {len(missing)} tensors ({', '.join(missing[:3])}{', ...' if missing[3:] else ''})"
    runs = [item for item in items if subject_name(item) == one.name and "model" in item.fixturenames]
    if of_attention:
        raise CannotLoad(
            f"{lacks}, {len(of_attention)} of them of attention: save the whole model with save_pretrained"
        )
    if missing and runs:
        raise CannotLoad(f"{lacks}, but {runs[0].name} runs the model: ask it claims/test_weights.py alone")
    if runs:
        read_tokenizer(one.directory())


def _set_aside(config: pytest.Config, items: list[pytest.Item], unwanted: Callable, note: str) -> None:
    """Deselect what is unwanted, and say so in the report: a reader must not take it for checked."""
    aside = [item for item in items if unwanted(item)]
    if not aside:
        return
    config.hook.pytest_deselected(items=aside)
    items[:] = [item for item in items if not unwanted(item)]
    counts = Counter(map(subject_name, aside))
    notes = config.stash.setdefault(NOT_MEASURED, [])
    notes += [note.format(names=name, count=count, claims=_claims_are(count)) for name, count in counts.items()]


def _claims_are(count: int) -> str:
    """So many claims, and the verb that goes with them."""
    return f"{counted(count, 'claim')} {'is' if count == 1 else 'are'}"


def _needs_gpu(item: pytest.Item) -> bool:
    return item.get_closest_marker("gpu") is not None


def _is_for_another_subject(item: pytest.Item) -> bool:
    """`@pytest.mark.only_for("gpt2-small")`: a claim about one model's own numbers, asked of another model."""
    marker = item.get_closest_marker("only_for")
    return bool(marker and subject_name(item)) and subject_name(item) not in marker.args


def _is_not_stated(item: pytest.Item) -> bool:
    """A claim asked of nothing (see `circuit_fixtures.pytest_generate_tests`), or about what heads do alone, of heads
    that are not said to be the whole circuit."""
    if not subject_name(item):
        return False
    circuit = item.config.stash[CIRCUIT]
    whole = circuit.complete and circuit.classes
    return None in item.callspec.params.values() or (not whole and bool(OF_WHOLE_CIRCUITS & {*item.fixturenames}))
