"""Says four times a second where a download stands, and notices when it stands still."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from backend.app.workers.download_errors import Failure, disk_low, free_bytes
from backend.app.workers.download_file import Task
from backend.app.workers.hub_protocol import HEARTBEAT_S, Job, Transfer

TICK_S = 0.25
RATE_WINDOW_S = 8.0
LEAST_WINDOW_S = 1.0
XET_SILENCE_S = 60.0


class Meter:
    """`report` is called from a thread of its own, `fail` at most once."""

    def __init__(
        self,
        job: Job,
        report: Callable[[Transfer], None],
        fail: Callable[[Failure], None],
    ) -> None:
        self._job = job
        self._report = report
        self._fail = fail
        self._tasks: Sequence[Task] = ()
        self._note = ""
        self._seen: deque[tuple[float, int]] = deque()
        self._last: Transfer | None = None
        self._said_at = 0.0
        self._moved: tuple[int, int] = (0, 0)
        self._moved_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="meter")
        self._thread.start()

    def wait_for(self, note: str) -> None:
        """Nothing is transferred now, for this reason; an empty one: it is being listed."""
        self._note = note

    def follow(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks

    def close(self) -> None:
        """Say the last word."""
        self._ended.set()
        self._thread.join(TICK_S * 8)

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            self._tick()
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        state = self._look(now)
        if state != self._last or now - self._said_at >= HEARTBEAT_S:
            self._last, self._said_at = state, now
            self._report(state)
        if self._tasks:
            self._check(now)

    def _look(self, now: float) -> Transfer:
        tasks = self._tasks
        if not tasks:
            return Transfer("waiting" if self._note else "listing", note=self._note)
        if self._job.xet:
            for task in tasks:
                if task.active:
                    task.look()
        on_disk = sum(task.on_disk for task in tasks)
        total = sum(task.entry.size for task in tasks)
        active = [task for task in tasks if task.active]
        note = next((task.note for task in active if task.note), "")
        if on_disk < total:
            action, done = "downloading", on_disk
            active = [t for t in active if t.on_disk < t.entry.size] or active
        else:
            action, done = "verifying", sum(task.verified for task in tasks)
        rate = self._rate(now, action, done)
        file = active[0] if active else None
        part = 0 if file is None else file.on_disk if action == "downloading" else file.verified
        return Transfer(
            action,
            done=done,
            total=total,
            file=file.name if file else "",
            file_done=part,
            file_total=file.entry.size if file else 0,
            rate=rate,
            eta=(total - done) / rate if rate else None,
            note=note,
        )

    def _rate(self, now: float, action: str, done: int) -> float | None:
        """Bytes a second in the last seconds; None while it cannot be told."""
        if self._last is None or self._last.action != action:
            self._seen.clear()
        if self._seen and done < self._seen[-1][1]:  # a damaged file was thrown away
            self._seen.clear()
        self._seen.append((now, done))
        while now - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
        began, had = self._seen[0]
        if now - began < LEAST_WINDOW_S:
            return None
        return (done - had) / (now - began)

    def _check(self, now: float) -> None:
        """Xet may hang for ever, and a disk may fill up while nobody writes."""
        limits = self._job.limits
        moved = (sum(t.on_disk for t in self._tasks), sum(t.verified for t in self._tasks))
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        if self._job.xet and now - self._moved_at > max(XET_SILENCE_S, 2 * limits.stall_s):
            self._fail(
                Failure(
                    "download_stalled",
                    f"Xet brought no byte for {now - self._moved_at:.0f} s. Download again without"
                    " it: unset HF_XET.",
                )
            )
        if moved[0] < sum(t.entry.size for t in self._tasks):
            free = free_bytes(self._job.cache_dir)
            if free < limits.reserve_bytes:
                self._fail(disk_low(self._job.cache_dir, free, limits.reserve_bytes))
