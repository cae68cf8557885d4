"""Runs are forks of a process that has imported everything, and end with whoever started them."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lib.sweep.processes import Server
from tests.support.places import ROOT

SUITE = """
import os, sys, time
loaded = []

def main(arguments):
    if "--collect-only" in arguments:
        loaded.append("once")
        return 0
    print(*loaded, *arguments, os.environ["SAID"], flush=True)
    if "waits" in arguments:
        time.sleep(600)
    return len(arguments)
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "suite.py").write_text(SUITE)
    return [sys.executable, "-m", "lib.sweep.leash", str(tmp_path / "suite.py")]


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def fork(server, suite, folder, *arguments, said="this"):
    environment = {**os.environ, "SAID": said, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return server.fork([*suite, *arguments], folder, folder / "log.txt", environment)


def until_it_ends(process):
    for _ in range(200):
        if found := process.ended():
            return found
        time.sleep(0.05)
    raise TimeoutError


def test_every_run_is_a_fork_of_what_was_imported_once(server, suite, tmp_path):
    for arguments, said in ((["a"], "one"), (["a", "b"], "other")):
        found = until_it_ends(fork(server, suite, tmp_path, *arguments, said=said))
        assert found.status == len(arguments)
        assert found.peak_bytes > 10**6
        assert (tmp_path / "log.txt").read_text() == f"once {' '.join(arguments)} {said}\n"


class Late:
    """A pipe that is read half a second late."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def readline(self):
        time.sleep(0.5)
        return self.pipe.readline()


def test_a_run_that_has_ended_before_anybody_looks_is_seen_to_end(server, suite, tmp_path):
    until_it_ends(fork(server, suite, tmp_path, "a"))
    server._process.stdout = Late(server._process.stdout)
    assert until_it_ends(fork(server, suite, tmp_path, "a", "b")).status == 2


def test_a_run_can_be_ended_and_the_next_one_asked(server, suite, tmp_path):
    process = fork(server, suite, tmp_path, "waits")
    assert process.ended() is None
    process.kill()
    assert not psutil.pid_exists(process.pid)
    assert until_it_ends(fork(server, suite, tmp_path, "a")).status == 1


def test_a_run_that_is_killed_says_so(server, suite, tmp_path):
    process = fork(server, suite, tmp_path, "waits")
    os.kill(process.pid, signal.SIGKILL)
    assert until_it_ends(process).status == -signal.SIGKILL


OWNER = """
import os, sys, time
from pathlib import Path
from tests.sweep.test_processes import Server, fork
folder = Path(sys.argv[1])
server = Server()
process = fork(server, sys.argv[2:], folder, "waits")
print(process.pid, flush=True)
time.sleep(600)
"""


def test_a_run_ends_with_its_owner_and_so_does_the_server(suite, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-c", OWNER, str(tmp_path), *suite]
    owner = subprocess.Popen(asked, env=environment, stdout=subprocess.PIPE, text=True)
    run = psutil.Process(int(owner.stdout.readline()))
    server = run.parent()
    owner.kill()
    owner.communicate()
    _, alive = psutil.wait_procs([run, server], timeout=30)
    assert alive == []
