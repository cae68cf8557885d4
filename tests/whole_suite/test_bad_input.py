"""What cannot be tested is refused: exit status 4, a message of a few lines that says what to do, and no traceback."""

import json
import os
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from ioi_fixtures import planted
from ioi_fixtures.trained import DIRECTORY as TRAINED
from lib.judging.measurements import SCHEMA_VERSION
from tests.support.warm_process import run_module, start_module, warm_python
from tests.whole_suite.test_command_line import ROOT, claims

SCREEN = 40  # lines


def copy_of_planted(folder):
    """A copy of the reference model, whose files may be spoilt."""
    return shutil.copytree(planted.directory(), folder / "copy")


def with_tensors(change):
    """Rewrites the stored tensors by `change`, which may add, drop or alter some."""

    def spoil(directory):
        tensors = load_file(directory / "model.safetensors")
        change(tensors)
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})

    return spoil


def with_json(file, change):
    """Rewrites a JSON file after `change`."""

    def spoil(directory):
        content = json.loads((directory / file).read_text())
        change(content)
        (directory / file).write_text(json.dumps(content))

    return spoil


def cut_short(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def pickle_only(directory):
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


def short_context(directory):
    with_tensors(
        lambda tensors: tensors.update({"transformer.wpe.weight": tensors["transformer.wpe.weight"][:8].clone()})
    )(directory)
    with_json("config.json", lambda config: config.update(n_positions=8))(directory)


def rename(change):
    """Every tensor under another name."""

    def renamed(tensors):
        items = list(tensors.items())
        tensors.clear()
        tensors.update({change(name): tensor for name, tensor in items})

    return renamed


def set_first(tensors, name, value):
    tensors[name].view(-1)[0] = value


def split_words(tokenizer):
    tokenizer["pre_tokenizer"]["pattern"]["Regex"] = r" ?\w{1,2}|[^\w\s]"


SPOILT = {
    "NaN": (
        with_tensors(lambda tensors: set_first(tensors, "transformer.h.3.mlp.c_fc.weight", float("nan"))),
        "1 of the numbers in h.3.mlp.c_fc.weight",
        "save the weights again",
    ),
    "infinite": (
        with_tensors(lambda tensors: set_first(tensors, "transformer.wte.weight", float("inf"))),
        "in wte.weight",
        "NaN or infinite",
    ),
    "cut short": (cut_short, "model.safetensors is damaged or cut short", "fetch or save it again"),
    "pickle": (pickle_only, "has no *.safetensors", "save the weights as such"),
    "partial": (
        with_tensors(lambda tensors: tensors.pop("transformer.h.5.ln_2.bias")),
        "it lacks 1 tensors (h.5.ln_2.bias)",
        "ask it claims/test_weights.py alone",
    ),
    "stray file": (
        lambda directory: shutil.copy(directory / "model.safetensors", directory / "model_step_1000.safetensors"),
        "model_step_1000.safetensors holds 149 tensors of the model as well",
        "while what is loaded is model.safetensors",
    ),
    "two unembeddings": (
        with_json("config.json", lambda config: config.pop("tie_word_embeddings")),
        "lm_head.weight in",
        "set tie_word_embeddings to false",
    ),
    "compiled": (
        with_tensors(rename(lambda name: f"_orig_mod.{name}")),
        "as saved from a model that torch.compile made",
        "model._orig_mod",
    ),
    "nothing known": (
        with_tensors(rename(lambda name: name.replace(".", "_"))),
        "it lacks 149 tensors (wte.weight, wpe.weight, h.0.ln_1.weight, ...), 72 of them of attention",
        "save the whole model with save_pretrained",
    ),
    "adapter": (
        lambda directory: (directory / "adapter_config.json").write_text("{}"),
        "holds an adapter (adapter_config.json",
        "merge_and_unload()",
    ),
    "cross attention": (
        with_json("config.json", lambda config: config.update(add_cross_attention=True)),
        "'add_cross_attention': true, which changes what the model computes",
        "test a model without it",
    ),
    "config": (lambda directory: (directory / "config.json").write_text("{"), "config.json cannot be read", "again"),
    "architecture": (
        with_json("config.json", lambda config: config.update(model_type="mamba")),
        "'mamba' model",
        "cover the model types gpt2, gpt_neo",
    ),
    "no tokenizer": (
        lambda directory: [path.unlink() for path in directory.glob("tokenizer*")],
        "has no tokenizer (tokenizer.json",
        "save one there",
    ),
    "damaged tokenizer": (
        with_json("tokenizer.json", lambda tokenizer: tokenizer.pop("model")),
        "the tokenizer in",
        "save it there again",
    ),
    "tokenizer of another model": (
        with_json(
            "tokenizer.json",
            lambda tokenizer: tokenizer["model"]["vocab"].update({f" w{i}": 300 + i for i in range(999)}),
        ),
        "tokens, but the model has",
        "put the tokenizer there",
    ),
    "split names": (
        with_json("tokenizer.json", split_words),
        "not one token",
        "use other words",
    ),
    "short context": (short_context, "and the model 8 positions", "use shorter prompts"),
}


def assert_refused(done, *says):
    output = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, output
    assert "Traceback" not in output
    assert len(output.splitlines()) <= SCREEN, output
    for words in says:
        assert words in " ".join(output.split()), output


@pytest.mark.parametrize("case", SPOILT)
def test_a_model_that_cannot_be_tested_is_refused_with_a_remedy(case, tmp_path):
    spoil, *says = SPOILT[case]
    directory = copy_of_planted(tmp_path)
    spoil(directory)
    done = claims("-k", "behaviour", "--claims-model", str(directory), report=tmp_path)
    assert_refused(done, *says)
    assert ("test_weights.py" in done.stdout + done.stderr) == (case == "partial")  # which fails on the others too


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--claims-prompts", "0"), ("whole number of at least 24", "'0'")),
        (("--claims-backend", "numpy"), ("invalid choice: 'numpy'", "bridge")),
        (("--claims-prompt-file", "no/such/file.json"), ("--claims-prompt-file", "no/such/file.json")),
        (("--claims-model", "no/such-model"), ("'no/such-model' is no directory", "`hf download no/such-model` once")),
        (("--claims-model", "./ioi_fixtures/traned"), ("did you mean 'ioi_fixtures/trained'?",)),
        (("--claims-model=ioi_fixtures/traned",), ("there is no directory", "did you mean 'ioi_fixtures/trained'?")),
        (("--claims-device", "tpu"), ("'tpu' is no device", "use auto, cpu, cuda or cuda:N")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_an_option_that_cannot_be_followed_is_refused(arguments, says, tmp_path):
    assert_refused(claims("-k", "behaviour", *arguments, report=tmp_path), *says)


def test_a_claim_that_does_not_exist_is_refused():
    command = ["pytest", "-p", "no:cacheprovider", "claims/test_behaviour.py::test_no_such_claim"]
    done = run_module(*command, folder=ROOT, environment=os.environ)
    assert_refused(done, "not found", "test_no_such_claim")


def test_a_selection_of_no_claim_is_no_success(tmp_path):
    done = claims("-k", "no_such_claim", report=tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "deselected" in done.stdout
    assert not (tmp_path / "claims.json").exists()


@pytest.mark.parametrize(
    "network", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}], ids=str
)
def test_weights_that_are_neither_in_the_cache_nor_on_the_network_are_refused(network, tmp_path, monkeypatch):
    for name, value in {**network, "HF_HOME": str(tmp_path / "empty")}.items():
        monkeypatch.setenv(name, value)
    # From nothing: the hub's client reads where its cache and the hub are while it is imported.
    done = claims("-k", "behaviour", "--claims-model", "gpt2-small", report=tmp_path, start=start_module)
    assert_refused(done, "gpt2-small cannot be tested", "`hf download openai-community/gpt2` once")


KEPT = {
    "corrupt": ("{", "is not a claims.json of this suite"),
    "foreign": ('{"benchmarks": [], "version": "5.1.0"}', "is not a claims.json of this suite"),
    "of a newer version": (json.dumps({"schema_version": SCHEMA_VERSION + 1}), "update the suite"),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_kept_run_that_cannot_be_read_is_refused(case, tmp_path):
    text, says = KEPT[case]
    (tmp_path / "kept.json").write_text(text)
    done = claims("-k", "behaviour", "--claims-baseline", str(tmp_path / "kept.json"), report=tmp_path)
    assert_refused(done, "kept.json", says, "name another file")
    command = ["lib.reports.render", str(tmp_path / "kept.json"), str(tmp_path / "page.html")]
    done = run_module(*command, folder=ROOT, environment=os.environ)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_a_cache_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()  # root may write to any folder, but nobody into a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    done = claims("-k", "behaviour", report=tmp_path)
    assert_refused(done, "cannot be kept in its cache folder", "set XDG_CACHE_HOME")


def test_two_processes_that_build_the_reference_model_at_once_get_the_same_one(tmp_path):
    script = "from ioi_fixtures import planted; print(planted.directory())"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [warm_python(), "-c", script]
    both = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert first == second
    [left] = (tmp_path / "circuit-claims").iterdir()
    assert str(left) == first.strip()
    assert (left / "model.safetensors").read_bytes() == (planted.directory() / "model.safetensors").read_bytes()


def test_two_runs_give_the_same_report_but_for_the_time(tmp_path):
    reports = []
    for start in (run_module, start_module):  # each Python that starts from nothing has a hash seed of its own
        folder = tmp_path / start.__name__
        asked = ["--claims-model", TRAINED, "--claims-circuit", TRAINED / "circuit.toml", "--claims-prompts", "24"]
        claims(*map(str, asked), "-k", "behaviour or circuit_file", report=folder, start=start)
        reports.append(timeless(json.loads((folder / "claims.json").read_text())))
    assert reports[0]["claims"]
    assert reports[0] == reports[1]


def timeless(value):
    """A report without what names its time or its folder."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "started", "command")}
    return [timeless(item) for item in value] if isinstance(value, list) else value
