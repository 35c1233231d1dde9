"""Measures for bench-overhead.sh and prints the table. Standard library, Linux, loopback only."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLIENT = ROOT / "scripts" / "bench_client.py"
# Nothing of the caller's environment: no proxies, no tokens, no KITT_*.
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_COLOR": "1"}
SHORT_REPEATS = 9
OUTPUT_TOKENS = 128
# 500 tokens a second in each stream; seeded, so that all clients meet the same answers.
SIM = ["--seed=1", "--prefill-base-ms=2", "--prefill-per-token-ms=0", "--decode-base-ms=2", "--decode-per-sequence-ms=0"]
LEVELS = (1, 4, 8, 16)
POST = """
import http.client
c = http.client.HTTPConnection({address!r})
c.request("POST", "/v1/chat/completions", b'{{"model": "m", "stream": true}}', {{"Content-Type": "application/json"}})
c.getresponse().read()
"""
READ = "import json, sys; [json.load(open(path)) for path in sys.argv[1:]]"


@contextlib.contextmanager
def started(command, **options):
    """A process that is gone at the end of the block, whatever happens in it."""
    process = subprocess.Popen(command, env=ENV, cwd=options.pop("cwd", "/"), **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Server:
    """Answers like an OpenAI-compatible engine of two tokens and notes when requests came."""

    def __init__(self):
        self.seen = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                now = time.monotonic()
                length = 0
                while (header := reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                reader.read(length)
                method, path = line.split()[:2]
                self.seen.append((now, method.decode()))
                connection.sendall(self.answer(method, path))

    @staticmethod
    def answer(method, path):
        status, kind, body = "404 Not Found", "text/plain", ""
        if path == b"/v1/models":
            status, kind = "200 OK", "application/json"
            body = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]})
        elif method == b"POST":
            status, kind = "200 OK", "text/event-stream"
            delta = [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]
            end = [{"index": 0, "delta": {}, "finish_reason": "length"}]
            usage = {"prompt_tokens": 128, "completion_tokens": 2, "total_tokens": 130}
            events = [{"choices": delta}, {"choices": delta}, {"choices": end}, {"choices": [], "usage": usage}]
            body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def until_request(command, server, wanted, allowed):
    """Milliseconds from before exec to the first request and to the first one of method `wanted`."""
    server.seen.clear()
    begin = time.monotonic()
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=60)
    if process.returncode not in allowed:
        sys.exit(f"{command[0]} ended with {process.returncode}:\n{errors.decode()}")
    first = min(at for at, _ in server.seen)
    load = min(at for at, method in server.seen if method == wanted)
    return (first - begin) * 1e3, (load - begin) * 1e3


def startup(kitt):
    server = Server()
    figures = {"kitt first": [], "kitt POST": [], "python POST": []}
    python = [sys.executable, "-c", POST.format(address=server.address)]
    for repeat in range(SHORT_REPEATS):
        with tempfile.TemporaryDirectory() as out:
            measure = [kitt, "run", "-e", "openai", "-m", "m", "--endpoint", f"http://{server.address}"]
            measure += ["--tests", "throughput", "--requests", "1", "--skip-warmup", "--output-tokens", "2", "-o", out]
            # 21: one request is no valid measurement, which is not asked for here.
            pairs = [("kitt", measure, (0, 21)), ("python", python, (0,))]
            for name, command, allowed in pairs if repeat % 2 == 0 else reversed(pairs):
                first, load = until_request(command, server, "POST", allowed)
                figures[f"{name} POST"].append(load)
                if name == "kitt":
                    figures["kitt first"].append(first)
    server.listener.close()
    return figures


def wall(command):
    begin = time.monotonic()
    subprocess.run(command, env=ENV, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return (time.monotonic() - begin) * 1e3


def report(kitt):
    sides = [str(ROOT / "fixtures" / "kitt" / side) for side in ("baseline", "current")]
    figures = {"kitt": [], "python": []}
    with tempfile.TemporaryDirectory() as out:
        judge = [kitt, "ci", "report", "--baseline-dir", sides[0], "--results-dir", sides[1], "-o", f"{out}/comment.md"]
        read = [sys.executable, "-c", READ, *(f"{side}/metrics.json" for side in sides)]
        commands = [("kitt", judge), ("python", read)]
        for repeat in range(SHORT_REPEATS):
            for name, command in commands if repeat % 2 == 0 else reversed(commands):
                figures[name].append(wall(command))
    return figures


def cpu_clock(pid):
    """CPU time of a whole process so far, in seconds: the kernel's clock of that process (the
    encoding of clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def high_water(pid):
    """Largest resident memory so far, in KiB; 0 once the process has ended."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) if found else 0
    return 0


def observe(command, out):
    """Runs a client; CPU at the beginning of each concurrency and at the end, wall, peak memory."""
    marks, errors, peak = [], [], [0]
    begin = time.monotonic()
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=out) as process:
        ended = threading.Event()

        def watch():
            while not ended.wait(0.01):
                peak[0] = max(peak[0], high_water(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for line in process.stderr:
                errors.append(line)
                if re.search(r"\bc\d+: sending ", line):
                    marks.append(cpu_clock(process.pid))
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            ended.set()
            watcher.join()
    took = time.monotonic() - begin
    if process.returncode != 0 or len(marks) != len(LEVELS):
        sys.exit(f"{command} ended with {process.returncode}:\n{''.join(errors)}")
    # The kernel counts this program's own memory at exec as the child's: only more than that is
    # the child's for certain, else what was seen while it ran counts.
    if usage.ru_maxrss > high_water(os.getpid()):
        peak[0] = usage.ru_maxrss
    total = usage.ru_utime + usage.ru_stime
    slices = [after - before for before, after in zip(marks, [*marks[1:], total])]
    return {"cpu": total, "slices": slices, "wall": took, "peak": peak[0]}


def of_server(record, requests):
    """Output tokens of each concurrency, and seconds in which the server had work."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    served = sorted((line for line in lines if line["kind"] == "request"), key=lambda line: line["id"])
    if len(served) != requests * len(LEVELS) or any(line["outcome"] != "ok" for line in served):
        sys.exit(f"{record}: {len(served)} requests, not all of them answered")
    parts = [served[at : at + requests] for at in range(0, len(served), requests)]
    tokens = [sum(line["output_tokens"] for line in part) for part in parts]
    busy = [max(line["finished_ns"] for line in part) - part[0]["arrived_ns"] for part in parts]
    return tokens, sum(busy) / 1e9


def load(kitt, name, requests, tokens):
    """One client against a fresh server: its costs, the tokens and the server's busy time."""
    with tempfile.TemporaryDirectory() as out:
        record = pathlib.Path(out, "record.jsonl")
        serve = [kitt, "sim", "--port", "0", "--record", str(record), *SIM]
        with started(serve, stderr=subprocess.PIPE, text=True) as server:
            url = re.search(r"http://([0-9.:]+)", server.stderr.readline())
            if not url:
                sys.exit("kitt sim does not say where it listens")
            command = [sys.executable, str(CLIENT), url[1], "sim", str(requests), str(tokens)]
            if name == "kitt":
                command = [kitt, "ci", "run", "-e", "openai", "-m", "sim", "--endpoint", url[0]]
                command += ["--tests", "batch_inference", "--skip-warmup", "--requests", str(requests)]
                command += ["--output-tokens", str(tokens), "--results-dir", f"{out}/results"]
            seen = observe(command, out)
        seen["tokens"], seen["busy"] = of_server(record, requests)
        return seen


def loads(kitt, runs, requests):
    """Full and empty (one token a request) loads of both clients, interleaved."""
    figures = {(name, size): [] for name in ("kitt", "python") for size in ("full", "empty")}
    for repeat in range(runs):
        for name in ("kitt", "python") if repeat % 2 == 0 else ("python", "kitt"):
            figures[name, "empty"].append(load(kitt, name, 1, 1))
            figures[name, "full"].append(load(kitt, name, requests, OUTPUT_TOKENS))
            print(f"load {repeat + 1}/{runs} {name}: {figures[name, 'full'][-1]['cpu']:.2f} s of CPU", file=sys.stderr)
    return figures


def per_tokens(figures, name, level):
    """CPU seconds per 100,000 output tokens at one concurrency, start-up and report taken off."""
    at = LEVELS.index(level)
    fixed = statistics.median(run["slices"][at] for run in figures[name, "empty"])
    return [(run["slices"][at] - fixed) / run["tokens"][at] * 1e5 for run in figures[name, "full"]]


def spread(values, digits):
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def compared(what, ours, theirs, against, digits=2):
    """A row: our median, theirs, and the ratio of the medians."""
    middle = statistics.median(theirs)
    ratio = f"{statistics.median(ours) / middle:.2f}" if middle else "—"
    return what, spread(ours, digits), spread(theirs, digits), ratio, against


def rows(options):
    kitt = options.binary
    size = {name: os.stat(getattr(options, name)).st_size for name in ("binary", "archive", "hello")}
    mib = {name: size[name] / 2**20 for name in size}
    yield "binary, MiB", f"{mib['binary']:.2f}", f"{mib['hello']:.2f}", f"{mib['binary'] / mib['hello']:.1f}", "`println!` under the same profile"
    yield "archive (.tar.gz), MiB", f"{mib['archive']:.2f}", f"{mib['binary']:.2f}", f"{mib['archive'] / mib['binary']:.2f}", "the binary"
    times = startup(kitt)
    post = "python3 -c, `http.client`, exec to its POST"
    yield compared("exec to first HTTP request (GET /v1/models), ms", times["kitt first"], times["python POST"], post, 1)
    yield compared("exec to first load request (POST), ms", times["kitt POST"], times["python POST"], post, 1)
    times = report(kitt)
    yield compared("`kitt ci report` on fixtures/kitt, wall, ms", times["kitt"], times["python"], "python3 -c that only reads the two metrics.json", 1)
    figures = loads(kitt, options.runs, options.requests)
    client = "scripts/bench_client.py, the same requests"
    for level in (1, 16):
        ours, theirs = (per_tokens(figures, name, level) for name in ("kitt", "python"))
        yield compared(f"CPU per 100,000 output tokens, c={level}, s", ours, theirs, client)

    def each(name, of, which="full"):
        return [of(run) for run in figures[name, which]]

    def both(what, of, which="full", against=client, digits=2):
        return compared(what, each("kitt", of, which), each("python", of, which), against, digits)

    yield both("CPU per 100,000 output tokens, whole process, s", lambda run: run["cpu"] / sum(run["tokens"]) * 1e5)
    yield both("CPU of everything but load (one token a request), ms", lambda run: run["cpu"] * 1e3, "empty", digits=0)
    yield both("wall beside the server's busy time, s", lambda run: run["wall"] - run["busy"])
    yield both("peak RSS, MiB", lambda run: run["peak"] / 1024, digits=1)
    busy = [run["busy"] for run in figures["kitt", "full"]]
    share = statistics.median(each("kitt", lambda run: (run["wall"] - run["busy"]) / run["busy"] * 100))
    print(f"load: {sum(figures['kitt', 'full'][0]['tokens'])} tokens, server busy {spread(busy, 1)} s; kitt's wall beside it: {share:.1f} %", file=sys.stderr)


def lengths():
    lines = sorted(len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.rs"))
    middle = statistics.median(lines)
    ninety = statistics.quantiles(lines, n=10, method="inclusive")[-1]
    yield f"lines per file, median of {len(lines)} in src", f"{middle:.0f}", "200", f"{middle / 200:.2f}", "what most files should stay under"
    yield "lines per file, p90", f"{ninety:.0f}", "200", f"{ninety / 200:.2f}", "what most files should stay under"
    yield "lines per file, max", f"{lines[-1]}", "600", f"{lines[-1] / 600:.2f}", "the limit"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("binary", "archive", "hello"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=64)
    options = parser.parse_args()
    # Told to stop, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = os.getloadavg()
    table = [*rows(options), *lengths()]
    after = os.getloadavg()
    print(f"{os.cpu_count()} cores; load average {before[0]:.1f} before, {after[0]:.1f} after; python {sys.version.split()[0]}.")
    print(f"Median (min–max) of {SHORT_REPEATS} short runs or {options.runs} loads, interleaved; {options.requests} requests at each of 1, 4, 8 and 16 in flight.\n")
    print("| figure | kitt | beside it | ratio | beside it is |\n|---|--:|--:|--:|---|")
    for row in table:
        print("| " + " | ".join(row) + " |")


main()
