"""What watching the GPUs costs, with the stand-in for NVIDIA's library. Linux, standard library.

Prints the share of one core that the watching threads take at ten readings a second, and what
watching does to the client: runs in the order off, on, on, off, so that a drift of the machine
falls on both alike.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
THREADS = {"gpu-sampler", "gpu-events"}
ENGINE = "--seed=1 --prefill-base-ms=2 --decode-base-ms=2 --decode-per-sequence-ms=0 --run-cv=0.001"
METRICS = ["ttft_ms.p50", "itl_ms.mean", "itl_ms.p99", "e2e_ms.p50", "output_tps"]


def spent(pid):
    """Processor seconds of the watching threads so far, from the scheduler's own account."""
    total = 0.0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "comm").read_text().strip() in THREADS:
                # Nanoseconds on a processor: finer than the ticks of stat.
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
    return total


def run(options, folder, watched):
    """One run: its metrics, the share of a core that watching took, the readings' cost."""
    results = folder / f"results-{time.monotonic_ns()}"
    command = [options.binary, "run", "-m", "sim", "-e", "sim", "--runs", "1", "--skip-warmup",
               "--concurrency", "8", "--input-tokens", "16", "--output-tokens", "128",
               "--requests", str(options.requests), "--engine-args", ENGINE,
               "--telemetry", "nvml" if watched else "off", "-o", str(results)]
    env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(folder),
           "FAKE_NVML_SCRIPT": str(folder / "script")}
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = []
    stop = threading.Event()

    def watch():
        while not stop.wait(0.2):
            try:
                seen.append((time.monotonic(), spent(child.pid)))
            except OSError:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    child.wait()
    stop.set()
    watcher.join()
    measured = json.loads((results / "metrics.json").read_text())["measurements"][0]
    metrics = {name: measured["metrics"][name]["value"] for name in METRICS}
    share = None
    if watched and len(seen) > 2:
        # The last looks may find threads that have ended.
        (began, before), (ended, after) = seen[0], max(seen, key=lambda one: one[1])
        share = (after - before) / (ended - began)
    watching = (measured.get("gpu") or {}).get("watching")
    return metrics, share, watching


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--library", required=True, help="the stand-in")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "libnvidia-ml.so.1").symlink_to(pathlib.Path(options.library).resolve())
        (folder / "script").write_text(f"gpus {options.gpus}\ngpu * util 90\n")
        runs = {False: [], True: []}
        shares, costs = [], []
        for watched in [False, True, True, False] * options.rounds:
            metrics, share, watching = run(options, folder, watched)
            runs[watched].append(metrics)
            if watched:
                shares.append(share)
                costs.append(watching)
        print(f"{options.gpus} GPUs, {options.rounds * 2} runs each way")
        print(f"watching threads: {max(shares) * 100:.2f} % of one core at most, "
              f"{statistics.mean(shares) * 100:.2f} % on average")
        print(f"a reading: p50 {statistics.median(c['tick_p50_us'] for c in costs):.0f} us, "
              f"p99 {max(c['tick_p99_us'] for c in costs):.0f} us at most; "
              f"{sum(c['missed'] for c in costs)} missed, "
              f"largest gap {max(c['largest_gap_ms'] for c in costs):.0f} ms")
        print("| metric | off | on | change |\n|---|---|---|---|")
        for metric in METRICS:
            off, on = (statistics.median(run[metric] for run in runs[way]) for way in (False, True))
            print(f"| {metric} | {off:.3f} | {on:.3f} | {(on / off - 1) * 100:+.2f} % |")


if __name__ == "__main__":
    main()
