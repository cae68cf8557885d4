"""What people copy from docs/SWEEPS.md is what it should be: the script is clean, the manifest names what there is."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

from lib.sweep.plan import read_plan
from tests.support.places import ROOT

FOLDER = ROOT / "docs" / "sweeps"


def test_the_batch_script_is_clean():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, FOLDER / "slurm.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_job_of_kubernetes_is_of_the_pinned_ray_and_without_telemetry():
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text(encoding="utf-8"))["spec"]
    assert job["entrypoint"].startswith("circuit-claims sweep")
    cluster = job["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["disable-usage-stats"] == "true"


def test_the_example_in_the_document_can_be_read(tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "SWEEPS.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "pythia-160m.toml").touch()
    (tmp_path / "sweep.toml").write_text(example, encoding="utf-8")
    made = read_plan(tmp_path / "sweep.toml")
    assert len(made.models) == 29  # two of the log-spaced ones round to one
    assert {one.line for one in made.models} == {"160m", "410m"}
