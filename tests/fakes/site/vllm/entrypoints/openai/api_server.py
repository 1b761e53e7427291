"""`python -m vllm.entrypoints.openai.api_server`: starts like vLLM, in a fraction of a second."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys

try:
    from uvloop import run
except ImportError:
    from asyncio import run

from vllm.fake.flags import parse
from vllm.fake.server import Server

SHARDS = 2
FLUSH_S = 1


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def spawn_orphan() -> None:
    """A child in its own session that no SIGTERM ends, holding our output open."""
    pid = os.fork()
    if pid:
        say(f"WARNING orphan pid={pid}")
        return
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


async def load(options: argparse.Namespace) -> None:
    say("INFO [api_server.py:1] vLLM API server version 0.0.0+fake")
    say(f"INFO [model.py:1] Starting to load model {options.model}...")
    for shard in range(SHARDS + 1):
        percent = 100 * shard // SHARDS
        # As tqdm does under vLLM: a carriage return before, a newline after.
        say(
            f"(EngineCore pid={os.getpid()}) \rLoading safetensors checkpoint shards: "
            f"{percent:3d}% Completed | {shard}/{SHARDS} [00:00<00:00,  9.45it/s]"
        )
        if shard < SHARDS:
            await asyncio.sleep(options.fake_load_s / SHARDS)
    say(f"INFO [default_loader.py:1] Loading weights took {options.fake_load_s:.2f} seconds")
    if options.fake_kv_gib is not None:
        say(f"INFO [gpu_worker.py:1] Available KV cache memory: {options.fake_kv_gib} GiB")
    say(f"INFO:     Started server process [{os.getpid()}]")
    say("INFO:     Waiting for application startup.")
    say("INFO:     Application startup complete.")


async def serve(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    asked, term = asyncio.Event(), signal.SIGTERM
    loop.add_signal_handler(signal.SIGINT, asked.set)
    loop.add_signal_handler(term, (lambda: None) if options.fake_ignore_term else asked.set)

    # Bound at once, listening when loaded: until then a connection is refused, as with vLLM.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(options.uds)
    loading = asyncio.ensure_future(load(options))
    stopping = asyncio.ensure_future(asked.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        loading.cancel()
        return 0

    server = Server(options)
    listening = await loop.create_unix_server(server.connect, sock=listener, backlog=2048)
    done, _ = await asyncio.wait({stopping}, timeout=options.fake_exit_after_s)
    if not done:
        return int(options.fake_exit_code)
    listening.close()
    slowly = asyncio.ensure_future(asyncio.sleep(options.fake_slow_term_s))
    await asyncio.wait(
        {asyncio.ensure_future(server.idle.wait())}, timeout=options.shutdown_timeout
    )
    await slowly
    open_ones = list(server.connections)
    for connection in open_ones:
        connection.close()
    flushed = asyncio.gather(*(connection.closed.wait() for connection in open_ones))
    await asyncio.wait({asyncio.ensure_future(flushed)}, timeout=FLUSH_S)
    return 0


def main() -> int:
    options = parse()
    if options.fake_exit_at_start is not None:
        say("(EngineCore pid=7) ValueError: No available memory for the cache blocks.")
        say("RuntimeError: Engine core initialization failed. See root cause above.")
        return int(options.fake_exit_at_start)
    if options.fake_spawn_orphan:
        spawn_orphan()
    return run(serve(options))


if __name__ == "__main__":
    # Without teardown of the interpreter: what is still running ends with us, silently.
    code = main()
    sys.stderr.flush()
    os._exit(code)
