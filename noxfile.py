"""The claims under every supported version of the hooking library, one environment each. `make upgrade-report` runs it.

Each session leaves reports/upgrades/VERSION-BACKEND/claims.json, from which benchmarks/pages/upgrades.py writes a page.
A version is added by a row here and, if its dependencies differ, a file of pins under constraints/.
"""

import nox

CLASSES = {"2.18.0": ("hooked",), "3.5.1": ("hooked", "bridge"), "4.3.0": ("bridge", "plain")}
PINS = {version: f"constraints/transformer-lens-{version}.txt" for version in ("2.18.0", "3.5.1")}

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"


@nox.session
@nox.parametrize("version", list(CLASSES), ids=list(CLASSES))
def upgrades(session: nox.Session, version: str) -> None:
    """Every claim on the reference model, with each class of that version that can run it."""
    session.install("-c", PINS.get(version, "constraints.txt"), "-e", ".", f"transformer-lens=={version}")
    for backend in CLASSES[version]:
        command = ["pytest", "claims/", "-q", "--claims-model", "planted", "--claims-device", "cpu"]
        command += ["--claims-backend", backend, "--claims-report", f"reports/upgrades/{version}-{backend}"]
        # A claim that fails is for the page to show.
        session.run(*command, *session.posargs, success_codes=[0, 1], env={"HF_HUB_OFFLINE": "1"})
