"""Downloads what a model needs: `python -m backend.app.workers.download`, a `Job` on stdin.

A process of its own because huggingface_hub blocks, may hang, and cannot be cancelled: whoever
wants it to stop kills it. What has arrived is kept and resumed, also after a kill inside a file.
See `hub_protocol` for what it says and `hub_layout` for what it leaves on the disk.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from backend.app.workers.download_errors import (
    Explainer,
    Failure,
    cache_unusable,
    disk_full,
    disk_needed,
    free_bytes,
)
from backend.app.workers.download_file import Fetcher, Task
from backend.app.workers.download_meter import Meter
from backend.app.workers.download_plan import (
    PIPELINE,
    Lister,
    Planned,
    lock,
    plan,
    references,
)
from backend.app.workers.download_retry import GivenUp, Ladder
from backend.app.workers.hub_layout import NO_SPACE, Manifest, Want
from backend.app.workers.hub_protocol import Done, Failed, Job, Message, encode

ORPHAN_S = 3600.0
"""A file of huggingface_hub's that nobody has written to for so long is nobody's."""


class Speaker:
    """Writes messages to stdout, whole lines, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        with self._lock:
            sys.stdout.buffer.write(encode(message))
            sys.stdout.buffer.flush()


class Download:
    def __init__(self, job: Job, say: Speaker) -> None:
        self._job = job
        self._limits = job.limits
        self._cache_dir = Path(job.cache_dir)
        self._stop = threading.Event()
        self._failures: SimpleQueue[BaseException | None] = SimpleQueue()
        self._fetcher = Fetcher(job, self._stop)
        self._ladder = Ladder(job.limits, self._stop)
        self._lister = Lister(job.endpoint, job.token, job.limits.stall_s)
        self._explain = Explainer(job.endpoint, job.token)
        self._meter = Meter(job, say, self._failures.put)
        self._locks: list[int] = []
        self._note = ""

    def run(self) -> Done:
        """Raises Failure, or OSError from the disk."""
        planned: list[Planned] = []
        for want in self._job.wants:
            planned += self._plan(want)
        tasks = [Task(repo, entry) for repo in planned for entry in repo.entries]
        self._check_space(tasks)
        self._meter.follow(tasks)
        self._all(tasks)
        for repo in planned:
            self._finish(repo, planned)
        self._meter.close()
        return Done(
            commits={repo.want.repo: repo.commit for repo in planned},
            fetched=sum(task.fetched for task in tasks),
            repaired=tuple(f"{t.planned.want.repo}/{t.name}" for t in tasks if t.repaired),
            note=self._note,
        )

    # ---- what is to be done -------------------------------------------------------------------

    def _plan(self, want: Want) -> list[Planned]:
        """One repository and those that it refers to."""
        self._locks.append(lock(self._cache_dir, want.repo, self._wait))
        main = self._list(want)
        if not want.follow:
            return [main]
        config = next((e for e in main.entries if e.path == PIPELINE), None)
        if config is None:
            raise Failure("nothing_to_load", f"{want.repo} has no {PIPELINE}.")
        self._fetcher.run(Task(main, config))
        needs = references(main.directory.file(main.commit, config))
        needs = tuple(need for need in needs if need.repo != want.repo)
        main.directory.keep(msgspec.structs.replace(main.manifest, needs=needs))
        return [
            main,
            *(p for need in sorted(needs, key=lambda n: n.repo) for p in self._plan(need)),
        ]

    def _list(self, want: Want) -> Planned:
        found: list[Manifest] = []

        def ask() -> None:
            try:
                found.append(self._lister.manifest(want))
            except Exception as exc:
                raise self._explain(exc, want) from None

        def listing() -> Manifest:
            attempts, tell = self._limits.list_attempts, self._meter.wait_for
            try:
                self._ladder.climb(ask, attempts=attempts, arrived=lambda: 0, tell=tell)
            except GivenUp as why:
                raise self._explain.unreachable(why.reason) from None
            return found[0]

        planned, offline = plan(want, self._cache_dir, listing)
        if offline:
            self._note = "The Hub could not be reached; what was here has been verified."
        return planned

    def _wait(self, note: str) -> None:
        self._meter.wait_for(note)
        self._ladder.rest(self._limits.lock_poll_s)
        self._meter.wait_for("")

    def _check_space(self, tasks: list[Task]) -> None:
        missing = sum(task.entry.size - task.on_disk for task in tasks)
        free = free_bytes(self._job.cache_dir)
        if missing and free < missing + self._limits.reserve_bytes:
            raise disk_needed(self._job.cache_dir, missing, free, self._limits.reserve_bytes)

    # ---- doing it -----------------------------------------------------------------------------

    def _all(self, tasks: list[Task]) -> None:
        """Run every task, what is missing first, the largest first. Raises the first failure."""
        waiting: SimpleQueue[Task] = SimpleQueue()
        for task in sorted(tasks, key=lambda t: (t.present, -t.entry.size)):
            waiting.put(task)
        threads = min(self._limits.connections, len(tasks))
        for number in range(threads):
            name = f"file {number}"
            threading.Thread(target=self._work, args=(waiting,), name=name, daemon=True).start()
        for _ in range(threads):
            failure = self._failures.get()
            if failure is not None:
                self._stop.set()
                raise failure

    def _work(self, waiting: SimpleQueue[Task]) -> None:
        try:
            while True:
                self._fetcher.run(waiting.get_nowait())
        except Empty:
            self._failures.put(None)
        except BaseException as exc:
            self._failures.put(exc)

    def _finish(self, repo: Planned, planned: list[Planned]) -> None:
        """All of it is there: say so in refs, and drop what nobody will resume."""
        repo.directory.point(repo.want.revision, repo.commit)
        for path in _listed(repo.directory.partials):
            path.unlink(missing_ok=True)
        for path in repo.directory.blobs.glob("*.incomplete"):
            if time.time() - path.stat().st_mtime > ORPHAN_S:
                path.unlink(missing_ok=True)


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def main() -> int:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    say = Speaker()
    try:
        say(Download(job, say).run())
        return 0
    except Failure as failure:
        say(Failed(failure.code, failure.message, failure.url))
    except OSError as exc:
        if exc.errno in NO_SPACE:
            full = disk_full(exc, job.cache_dir)
            say(Failed(full.code, full.message))
        else:
            traceback.print_exc()
            unusable = cache_unusable(exc, job.cache_dir)
            say(Failed(unusable.code, unusable.message))
    return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread may still wait for a Hub that says nothing
