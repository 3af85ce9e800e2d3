"""Time in which a process is stopped does not count as time in which it hangs."""

import signal
import subprocess
import sys
import time

PROGRAM = """
import time
from slipway.ranks import awake
begun, clock = time.monotonic(), awake.now()
print("begun", flush=True)
input()
print(time.monotonic() - begun, awake.now() - clock)
"""


def test_a_clock_that_stands_while_the_process_is_stopped() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    time.sleep(1.5)
    process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    process.send_signal(signal.SIGCONT)
    passed, awake = map(float, process.communicate("\n", timeout=30)[0].split())
    assert passed > 6.5
    assert 0.5 < awake < passed - 4
