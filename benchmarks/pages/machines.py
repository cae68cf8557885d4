"""Do tests and claims come out the same on other processors? Writes docs/evidence/MACHINES.md.

Run: python -m benchmarks.pages.machines [--quick]. One machine can imitate others: its libraries can be told to use
older instructions or other threads, products to add up in another order (`orders`), and Python to hash otherwise or to
speak another locale. Under each such setting the tests of routes and instruments, the claims on the reference model
and those on the trained one are run. Told are the largest deviation of each family, what is allowed, and the room
left, which has to be LEAST times everywhere; the exit status says whether all of that held. A setting that changes no
bit of a probe is one that this processor ignores, or does anyway: it is named, not counted as tried. --quick runs a
part of it under two settings, asks that nothing fails, and writes no page. What has run is kept in reports/machines
until sources change.
Out of scope: GPUs, other operating systems.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.pages import machines_page, orders
from benchmarks.pages.evidence import BASELINE, ROOT
from benchmarks.pages.machines_page import Outcome
from benchmarks.pages.runs import sources
from lib.judging.baselines import read_session
from lib.judging.measurements import Session

PLAIN = {"HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}  # two settings run beside each other
FOLDER = ROOT / "reports" / "machines"
TRAINED = ROOT / "ioi_fixtures" / "trained"
PLANTED_RUN, TRAINED_RUN = Path("planted", "claims.json"), Path("trained", "claims.json")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
TESTS = ("models/test_backends", "models/test_attention_weights", "models/test_forward")
INSTRUMENTS = "ablation attention attribution copying patching path_patching"
TESTS += tuple(f"instruments/test_{name}" for name in INSTRUMENTS.split())
# What came out otherwise on another processor: activations by the two routes, and how far bfloat16 moves a figure (once
# compared with a kept value). Beside them the logits, prompt by prompt, and figures of the weights.
QUICK_TESTS = ("models/test_backends", "models/test_forward")
QUICK_CLAIMS = ("behaviour.py", "weights.py", "instruments.py::test_bfloat16_is_too_coarse_for_it")


class UnknownInstruction(RuntimeError):
    """The processor does not know an instruction that was asked for."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One way to run: variables that are set, and how they are written down."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        kind = hashlib.sha256(json.dumps(dict(self.variables), sort_keys=True).encode()).hexdigest()[:12]
        return FOLDER / sources() / kind

    @property
    def plugins(self) -> list[str]:
        """What pytest is given besides the variables."""
        return ["-p", "benchmarks.pages.orders"] if orders.VARIABLE in self.variables else []

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **PLAIN, **self.variables}


def _each(variable: str, *values: str) -> list[Setting]:
    return [Setting(f"{variable}={value}", {variable: value}) for value in values]


AS_IT_IS = Setting("one thread, nothing else set")
ELSEWHERE = {
    "PYTHONHASHSEED": "1",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "TZ": "Asia/Kathmandu",
}
ISA = ("SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_BF16", "AVX512_CORE_AMX")
OTHER_ORDERS = _each(orders.VARIABLE, *orders.ORDERS)
SETTINGS = (
    *OTHER_ORDERS,
    *_each("ATEN_CPU_CAPABILITY", "default", "avx2", "avx512"),
    *_each("MKL_CBWR", "COMPATIBLE", "AVX2"),
    *_each("OMP_NUM_THREADS", "4", "2"),
    Setting("another hash seed, the C locale without UTF-8, Nepal's time zone", ELSEWHERE),
    *_each("MKL_ENABLE_INSTRUCTIONS", "SSE4_2", "AVX2", "AVX512"),
    *_each("ONEDNN_MAX_CPU_ISA", *ISA),
)
QUICK = (
    Setting("ATEN_CPU_CAPABILITY=default", {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("sums backwards", {orders.VARIABLE: "backwards"}),
)
# How far each number type's rounding moves a figure is measured under these, which differ most from one another.
OF_NUMBER_TYPES = (AS_IT_IS, OTHER_ORDERS[0])
# In 16 bits a product takes a processor without instructions for them a hundred times as long: of the small model.
_TRAINED = ("--claims-model", str(TRAINED), "--claims-circuit", str(TRAINED / "circuit.toml"))
_SMALL = (*_TRAINED, "claims/test_circuit_file.py")
_LARGE = [f"claims/test_{name}.py" for name in ("behaviour", "localisation", "name_movers", "paths")]
NUMBER_TYPES = {
    "float64": ("--claims-model", "planted", *_LARGE),
    "bfloat16": _SMALL,
    "float16": _SMALL,
}


def probe_of(setting: Setting, *, build: bool = True) -> dict[str, str]:
    """The probe in a process of its own, with the hash of the reference model, if it is to `build` that anew. Empty
    where the processor does not know the instructions that the setting asks for, and ends the process."""
    command = [sys.executable, "-m", "benchmarks.pages.probe", *(["--build"] if build else [])]
    try:
        return json.loads(_kept(setting.folder / "probe.json", command, setting, output=True))
    except UnknownInstruction:
        return {}


def outcome(setting: Setting, *, quick: bool = False) -> Outcome:
    """Everything run under a setting, now or earlier. quick: a part of it, in one process."""
    folder, pytest = setting.folder / ("quick" if quick else "full"), [*PYTEST, *setting.plugins]
    of_tests, of_planted, of_trained = (folder / name for name in ("tests.xml", PLANTED_RUN, TRAINED_RUN))
    tests = [*(f"tests/{name}.py" for name in (QUICK_TESTS if quick else TESTS)), "--junitxml", str(of_tests)]
    planted = ["--claims-device", "cpu", "--claims-model", "planted", "--claims-report", str(of_planted.parent)]
    if quick:
        _kept(of_planted, [*pytest, *tests, *(f"claims/test_{name}" for name in QUICK_CLAIMS), *planted], setting)
    else:
        _kept(of_tests, [*pytest, *tests], setting)
        _kept(of_planted, [*pytest, "claims/", *planted], setting)
        asked = [*_TRAINED, "--claims-device", "cpu", "--claims-prompts", "1000", "--claims-one-look"]
        _kept(of_trained, [*pytest, "claims/", *asked, "--claims-report", str(of_trained.parent)], setting)
    return Outcome(
        tests=machines_page.deviations(of_tests),
        failed=machines_page.failed(of_tests),
        planted=read_session(of_planted),
        trained=None if quick else read_session(of_trained),
    )


def of_number_type(dtype: str, setting: Setting) -> Path:
    """Some of the claims on one of our models in a number type, where they may fail."""
    report = setting.folder / dtype / "claims.json"
    command = [*PYTEST, *setting.plugins, *NUMBER_TYPES[dtype], "--claims-device", "cpu"]
    _kept(report, [*command, "--claims-dtype", dtype, "--claims-report", str(report.parent)], setting)
    return report


def _kept(file: Path, command: list[str], setting: Setting, *, output: bool = False) -> str:
    """The file that a command writes under a setting (or prints: `output`), made now or earlier.

    Raises RuntimeError where there is none afterwards; that tests or claims fail is for the page to say.
    """
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command, cwd=ROOT, env=setting.environment, capture_output=True, text=True, errors="replace", check=False
        )
        log = file.with_suffix(".log")
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode == -signal.SIGILL:
            raise UnknownInstruction(setting.name)
        if output and done.returncode == 0:
            file.write_text(done.stdout, encoding="utf-8")
        if not file.is_file() or done.returncode not in (0, 1):
            file.unlink(missing_ok=True)
            raise RuntimeError(f"under {setting.name}: {' '.join(command)} ended with {done.returncode}: see {log}")
    return file.read_text(encoding="utf-8")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a part of it, under two settings; writes no page")
    parser.add_argument("--most", type=int, help="try so many settings at the most; the page names those left out")
    asked = parser.parse_args()
    return try_quickly() if asked.quick else try_everything(asked.most)


def try_quickly() -> int:
    """A part of it under two settings, one after the other, since CI has other work for the second core. The exit
    status: how much room is left is for the page to ask."""
    kept = read_session(BASELINE)
    found = {setting.name: outcome(setting, quick=True) for setting in QUICK}
    wrong = machines_page.problems(found, kept, least=1)
    print("\n".join(wrong) or f"all held under {len(QUICK)} settings: {machines_page.least_room(found, kept)}")
    return bool(wrong)


def try_everything(most: int | None) -> int:
    """Every setting that acts here, or so many of them, and the page. The exit status."""
    probes = {setting: probe_of(setting) for setting in (AS_IT_IS, *SETTINGS)}
    acting = [setting for setting in SETTINGS if probes[setting] not in ({}, probes[AS_IT_IS])]
    ignored = [setting.name for setting in SETTINGS if setting not in acting]
    tried, left_out = [AS_IT_IS, *acting[:most]], [setting.name for setting in acting[most:]] if most else []
    print(f"to be tried: {', '.join(setting.name for setting in tried)}", flush=True)
    pairs = [(dtype, setting) for dtype in NUMBER_TYPES for setting in OF_NUMBER_TYPES]
    with ThreadPoolExecutor(2) as pool:
        found, files = pool.map(outcome, tried), pool.map(lambda pair: of_number_type(*pair), pairs)
        outcomes = {setting.name: one for setting, one in zip(tried, found, strict=True)}
        types: dict[str, dict[str, Session]] = {dtype: {} for dtype in NUMBER_TYPES}
        for (dtype, setting), file in zip(pairs, files, strict=True):
            types[dtype][setting.name] = read_session(file)
    hashes = {found["reference model"] for found in probes.values() if found}
    wrong = machines_page.write(outcomes, ignored, left_out, read_session(BASELINE), types, hashes)
    print("\n".join(wrong) or f"all held under {len(outcomes)} settings")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
