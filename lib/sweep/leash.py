"""Runs a Python file that ends when whoever started it does, however that ends: `python -m lib.sweep.leash FILE ...`.

Standard input is the leash: a pipe that its owner holds open. When the owner dies, by whatever signal, the system
closes the pipe, and this process ends at once, with the GPU memory that it held.
"""

from __future__ import annotations

import os
import runpy
import sys

from lib.sweep.processes import end_with

if __name__ == "__main__":
    end_with(os.dup(0))  # a copy, since pytest puts something else in the place of standard input
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
