"""The claims under every supported version of the hooking libraries, one environment each, for `make upgrade-report`.

Each session leaves reports/upgrades/VERSION-BACKEND/claims.json, from which benchmarks/pages/upgrades.py writes a page.
A version is added by a row here and, if its dependencies differ, a file of pins under constraints/.
"""

from pathlib import Path

import nox

PINS = "constraints.txt"
NEWEST = "what PINS has, but for what is to be the newest"
FREE = ("transformer-lens", "transformers", "tokenizers", "huggingface-hub")  # which go together
# By version: what pip is asked for besides this project, with which pins, and what then runs the claims.
INSTALLED = {
    "2.18.0": (["transformer-lens==2.18.0"], "constraints/transformer-lens-2.18.0.txt", ["hooked"]),
    "3.5.1": (["transformer-lens==3.5.1"], "constraints/transformer-lens-3.5.1.txt", ["hooked", "bridge"]),
    "4.3.0": (["transformer-lens==4.3.0"], PINS, ["bridge", "plain"]),
    "newest": (["--upgrade", "--pre", "transformer-lens", "transformers"], NEWEST, ["bridge"]),
    "0.5.0": (["nnsight==0.5.0"], "constraints/nnsight-0.5.0.txt", ["nnsight"]),
    "0.8.1": (["nnsight==0.8.1"], PINS, ["nnsight"]),
}

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"


@nox.session
@nox.parametrize("version", list(INSTALLED), ids=list(INSTALLED))
def upgrades(session: nox.Session, version: str) -> None:
    """Every claim on the reference model, with each backend that this version is for."""
    asked, pins, backends = INSTALLED[version]
    if pins is NEWEST:
        kept = [line for line in Path(PINS).read_text().splitlines() if line.partition("==")[0] not in FREE]
        pins = Path(session.create_tmp()) / "constraints.txt"
        pins.write_text("\n".join(kept))
    session.install("-c", str(pins), "-e", ".", *asked)
    for backend in backends:
        command = ["pytest", "claims/", "-q", "--claims-model", "planted", "--claims-device", "cpu"]
        command += ["--claims-backend", backend, "--claims-report", f"reports/upgrades/{version}-{backend}"]
        # A claim that fails is for the page to show.
        session.run(*command, *session.posargs, success_codes=[0, 1], env={"HF_HUB_OFFLINE": "1"})
