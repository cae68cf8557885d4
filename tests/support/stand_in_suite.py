"""Stands in the suite's place in tests of sweeps: starts in no time, and does what the model's folder says.

A file `behaves` in it holds one of the words below; without it the run ends well. Its report is `session.json` of the
folder above, under the model's name.
"""

import os
import signal
import sys
import time
from pathlib import Path

arguments = dict(zip(sys.argv, sys.argv[1:], strict=False))
name, _, source = arguments["--claims-model"].partition("=")
model, report = Path(source), Path(arguments["--claims-report"])
behaves = (model / "behaves").read_text() if (model / "behaves").exists() else ""
first = not (model / "asked").exists()
(model / "asked").touch()

if behaves == "corrupt":
    print("usage: something", "ERROR: corrupt cannot be tested:", "the file is damaged", sep="\n")
    sys.exit(4)
if behaves == "hangs" or (behaves == "waits at first" and first):
    time.sleep(600)
if behaves == "takes memory":
    held = b"x" * 10**9
    time.sleep(600)
if behaves == "runs out of memory":
    print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    sys.exit(1)
if behaves == "dies":
    os.kill(os.getpid(), signal.SIGSEGV)
if behaves == "kills its worker at first" and first:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)

text = (model.parent / "session.json").read_text().replace("MODEL", name)
(report / "claims.html").write_text("<p>a page</p>")
(report / "claims.json").write_text(text)
sys.exit(1)  # a claim that fails is a result
