"""The processes that decode uploads. Run by path: `python -I decode_child.py PID`.

    gateway ──socket on fd 0──▶ this program: imports the decoder once, reads no upload
                                   └─fork─▶ one job: limits, decode one upload, report, exit (5 ms)

A job gets three descriptors with its request: the upload, the file for the PCM (mono 16 kHz s16le)
and a socket for its report: first its own pidfd, by which the gateway kills it, then `{"samples"}`
as it goes on, at last `{"done"}` or `{"error"}`. Silence instead of the last means that the file or
a limit killed it. A job can open nothing (no descriptor left), start nothing and allocate little.
Death of the gateway kills this program, and its death kills the jobs (PR_SET_PDEATHSIG), in
whatever state they are.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import pkgutil
import resource
import signal
import socket
import sys
import wave
from pathlib import Path
from typing import NoReturn

import av

sys.path.append(str(Path(__file__).resolve().parents[3]))  # isolated, it would not find its own
from backend.app.audio.decoding import (
    FLUSH_BYTES,
    RATE,
    Nobody,
    Refused,
    Sink,
    decode,
    tell,
)

PR_SET_PDEATHSIG = 1


def follow(parent: int) -> None:
    """Die with the process that started this one."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def limit(job: dict[str, int]) -> None:
    for what, most in (
        (resource.RLIMIT_AS, job["memory_bytes"]),
        (resource.RLIMIT_CPU, job["cpu_s"]),
        (resource.RLIMIT_FSIZE, 2 * job["max_samples"] + 2 * FLUSH_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(what, (most, most))


def run(job: dict[str, int], upload: int, pcm: int, report: socket.socket, parent: int) -> NoReturn:
    try:
        follow(parent)
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
        pidfd = os.pidfd_open(os.getpid())
        socket.send_fds(report, [b"{}"], [pidfd])
        os.close(pidfd)
        limit(job)
        head = os.pread(upload, 1 << 20, 0)
        os.lseek(upload, 0, os.SEEK_SET)
        sink = Sink(pcm, job["max_samples"], report)
        with open(upload, "rb", buffering=0) as file:
            try:
                tell(report, decode(file, head, sink))
            except Refused as refused:
                tell(report, refused.report)
            except Exception as exc:
                tell(report, {"error": "killed", "why": repr(exc)[:500]})
        os._exit(0)
    finally:
        os._exit(1)


def rehearse() -> None:
    """Load now whatever the decoder loads when first used: a job cannot open files any more."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.startswith(("av.__main__", "av.datasets")):
            importlib.import_module(module.name)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, 44_100, 0, "NONE", ""))
        writer.writeframes(bytes(4 * 4410))
    with open(os.devnull, "wb") as null:
        file.seek(0)
        decode(file, file.getvalue(), Sink(null.fileno(), RATE, Nobody()))


def serve(gateway: socket.socket) -> None:
    """Fork for each request until the gateway hangs up."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    own = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(gateway, 4096, 3)
        if not message:
            return
        upload, pcm, report = descriptors
        if os.fork() == 0:
            gateway.close()
            run(json.loads(message), upload, pcm, socket.socket(fileno=report), own)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the gateway's to handle
    follow(int(sys.argv[1]))
    av.logging.set_level(av.logging.PANIC)
    rehearse()
    serve(socket.socket(fileno=0))
