"""What a machine, or a setting that imitates another one, may change: digests of products, sums and exponentials by
number type, and what Python sees, as JSON. `python -m benchmarks.pages.probe [--build]`, for machines.py.

A program of its own, since it runs in a process for every setting and needs little of what machines.py imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import locale
import os
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.pages import orders


def probe() -> dict[str, str]:
    """By what it is of."""
    generator = torch.Generator().manual_seed(0)
    if orders.VARIABLE in os.environ:
        orders.OtherOrder(os.environ[orders.VARIABLE]).__enter__()  # for the rest of this process
    found = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x, w = (torch.randn(96, 768, generator=generator).to(dtype) for _ in range(2))
        values = (x @ w.T, x.softmax(-1), torch.nn.functional.layer_norm(x, (768,)), torch.nn.functional.gelu(x))
        bits = b"".join(value.double().numpy().tobytes() for value in values)
        found[str(dtype)] = hashlib.sha256(bits).hexdigest()[:12]
    found |= {"threads": str(torch.get_num_threads()), "hash": str(hash("probe")), "time zone": str(time.tzname)}
    return found | {"encoding": locale.getpreferredencoding(False), "kernels": torch.backends.cpu.get_cpu_capability()}


def built() -> dict[str, str]:
    """The hash of the reference model, built anew."""
    from ioi_fixtures import planted  # imported here: the probe alone needs neither these nor what they import
    from lib.models.model import hash_weights

    with tempfile.TemporaryDirectory() as folder:
        return {"reference model": hash_weights(planted.directory(cache=Path(folder)))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", action="store_true", help="and the hash of the reference model, built anew")
    print(json.dumps((built() if parser.parse_args().build else {}) | probe()))
