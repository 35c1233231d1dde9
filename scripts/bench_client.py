"""A minimal streaming client, the yardstick of bench-overhead.sh.

The same closed loop as `kitt ci run --tests batch_inference --skip-warmup`: 1, 4, 8 and 16 in
flight, one thread and one connection per stream. It stamps and parses every event, as any client
that reports TTFT and ITL must, and keeps nothing else: no files, no statistics beyond two medians.
"""

import http.client
import json
import random
import statistics
import sys
import threading
import time

WORDS = "the of and to in is that for it as was with be by on not he his but at are this have".split()


def body(model, index, tokens):
    text = random.Random(index).choices(WORDS, k=128)
    return json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": " ".join(text)}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


def stream(connection, payload):
    """Sends one request; seconds to the first token, gaps between tokens."""
    sent = time.monotonic()
    connection.request("POST", "/v1/chat/completions", payload, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"HTTP {answer.status}")
    stamps = []
    for line in answer:
        now = time.monotonic()
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        choices = json.loads(line[6:])["choices"]
        if choices and choices[0]["delta"].get("content"):
            stamps.append(now)
    return stamps[0] - sent, [after - before for before, after in zip(stamps, stamps[1:])]


def scenario(address, model, concurrency, requests, tokens):
    payloads = iter([body(model, index, tokens) for index in range(requests)])
    lock = threading.Lock()
    ttft, itl, failed = [], [], []

    def slot():
        connection = http.client.HTTPConnection(address)
        try:
            while True:
                with lock:
                    payload = next(payloads, None)
                if payload is None:
                    return
                first, gaps = stream(connection, payload)
                ttft.append(first)
                itl.extend(gaps)
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=slot) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"c{concurrency}: {failed[0]}")
    print(f"c{concurrency}: {statistics.median(ttft):.6f} {statistics.median(itl or [0]):.6f}")


def main():
    address, model, requests, tokens = sys.argv[1:]
    for concurrency in (1, 4, 8, 16):
        print(f"c{concurrency}: sending {requests} requests", file=sys.stderr, flush=True)
        scenario(address, model, concurrency, int(requests), int(tokens))


main()
