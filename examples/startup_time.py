"""Measures how long `keras-distill --help` takes to start, beside Python itself.

    python examples/startup_time.py

It prints the minimum of several starts of each, in seconds.
"""

import subprocess
import sys
import time


def seconds(*argv: str, starts: int = 10) -> float:
    """Returns the shortest time of several starts of Python with `argv`."""
    times = []
    for _ in range(starts):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *argv], capture_output=True, check=True)
        times.append(time.perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    print(f"python                {seconds('-c', 'pass'):.3f}")
    print(f"keras-distill --help  {seconds('-m', 'keras_distill', '--help'):.3f}")
