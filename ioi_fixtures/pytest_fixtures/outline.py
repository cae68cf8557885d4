"""How the report is laid out: what the claims are about, families of them in the paper's order, where publications are
to be found, and what the claims have been seen to fail on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from pydantic import TypeAdapter

from ioi_fixtures.pytest_fixtures.glossary import GLOSSARY, TASK
from lib.judging.measurements import Mutant
from lib.plugin.reporting import OUTLINE, Outline

HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "test_behaviour.py": "Behaviour",
        "test_localisation.py": "Localisation",
        "test_name_movers.py": "Name movers",
        "test_negative_name_movers.py": "Negative name movers",
        "test_s_inhibition.py": "S-inhibition",
        "test_early_heads.py": "Early heads",
        "test_paths.py": "Paths",
        "test_backup_name_movers.py": "Backup name movers",
        "test_activation_patching.py": "Activation patching",
        "test_circuit.py": "The circuit",
        "test_circuit_file.py": "The circuit file",
        "test_circuit_figures.py": "Published of this model",
        "test_weights.py": "Weights",
        "test_canaries.py": "Canaries",
        "test_instruments.py": "Instruments",
        "test_generated_prompts.py": "Generated prompts",
    }
)

_TRANSFORMER_LENS = "https://github.com/TransformerLensOrg/TransformerLens"
# Names as ioi_fixtures/published/ writes them.
ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        "Wang et al. 2022": "https://arxiv.org/abs/2211.00593",
        "McDougall et al. 2023": "https://arxiv.org/abs/2310.04625",
        "Conmy et al. 2023": "https://arxiv.org/abs/2304.14997",
        "ACDC": "https://arxiv.org/abs/2304.14997",
        "Kobayashi et al. 2020": "https://arxiv.org/abs/2004.10102",
        "Miller et al. 2024": "https://arxiv.org/abs/2407.08734",
        "Shi et al. 2024": "https://arxiv.org/abs/2410.13032",
        "Ainslie et al. 2023": "https://arxiv.org/abs/2305.13245",
        "Elhage et al. 2021": "https://transformer-circuits.pub/2021/framework/index.html",
        "Radford et al. 2019": "https://github.com/openai/gpt-2",
        "Exploratory Analysis demo": f"{_TRANSFORMER_LENS}/blob/main/demos/Exploratory_Analysis_Demo.ipynb",
        "Activation Patching demo": f"{_TRANSFORMER_LENS}/blob/main/demos/Activation_Patching_in_TL_Demo.ipynb",
        "TransformerLens documentation": "https://transformerlensorg.github.io/TransformerLens/",
        "TransformerLens, process_weights": _TRANSFORMER_LENS,
        **{
            f"TransformerLens#{issue}": f"{_TRANSFORMER_LENS}/issues/{issue}" for issue in (713, 1256, 1317, 1526, 1740)
        },
        "ARENA": "https://github.com/callummcdougall/ARENA_3.0",
        "pyvene": "https://github.com/stanfordnlp/pyvene",
        "stored data": "https://github.com/redwoodresearch/Easy-Transformer",
        "openai-community/gpt2": "https://huggingface.co/openai-community/gpt2",
    }
)


KILLS = Path(__file__).with_name("mutants.json")  # written by `make mutants`


def pytest_configure(config: pytest.Config) -> None:
    mutants = TypeAdapter(list[Mutant]).validate_json(KILLS.read_bytes())
    config.stash[OUTLINE] = Outline(TASK, dict(HEADINGS), dict(ADDRESSES), dict(GLOSSARY), mutants)
