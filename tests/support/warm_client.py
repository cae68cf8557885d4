"""Stands in Python's place for one run in a fork of the server: see warm_process.py, which starts it.

It hands over arguments, folder, environment and standard files, then passes signals on, and ends as the run ends.
Imports little, since it is started for every run.
"""

import os
import signal
import sys
from multiprocessing.connection import Client
from multiprocessing.reduction import send_handle


def main(address: str, *arguments: str) -> None:
    with Client(address) as server:
        server.send((arguments, os.getcwd(), dict(os.environ)))
        for number in range(3):
            send_handle(server, number, None)
        run = server.recv()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(run, number))
        status = server.recv()
    sys.exit(status if status >= 0 else 128 - status)  # where a signal ended it, what a shell would say


if __name__ == "__main__":
    main(*sys.argv[1:])
