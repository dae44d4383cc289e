"""Runs one command and tells what it took, from a process that is small itself.

Linux counts the peak memory of the process that starts another as the other's own, so that a benchmark of some hundred
megabytes could not tell what its children need. Started by path with the file descriptor of a pipe and the command.
"""

from __future__ import annotations

import json
import os
import sys
import time

if __name__ == "__main__":
    pipe, *command = sys.argv[1:]
    os.set_inheritable(int(pipe), False)
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    # wait4 and not wait: it tells the memory of this child alone.
    _, status, usage = os.wait4(child, 0)
    report = {
        "seconds": time.perf_counter() - start,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    os.write(int(pipe), json.dumps(report).encode())
