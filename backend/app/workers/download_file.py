"""One file from a Hub into its blob: resumed where it was left, verified, then put in place.

huggingface_hub 2.4 starts a file again from its first byte, so the bytes are fetched here: over its
own session and by its own URLs, with a Range, into a partial of ours.
"""

from __future__ import annotations

import os
import re
import threading
from typing import Any

from huggingface_hub import get_session, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from backend.app.workers.download_errors import (
    Explainer,
    Failure,
    Retry,
    authorization,
    http,
    retry_after,
    stopped,
)
from backend.app.workers.download_plan import Planned
from backend.app.workers.download_retry import GivenUp, Ladder
from backend.app.workers.hub_layout import Entry, digest_of
from backend.app.workers.hub_protocol import Job, Limits, size_of

READ_BYTES = 1 << 20
WRITE_S = 60.0
MISMATCHES = 2
"""So many times a file may arrive whole and wrong."""


class Mismatch(Exception):
    """The file is whole, and not what its hash promised."""


class Task:
    """One file on its way. `on_disk` and `verified` are bytes, read by another thread."""

    def __init__(self, planned: Planned, entry: Entry) -> None:
        self.planned = planned
        self.entry = entry
        self.present = planned.directory.has(planned.commit, entry)
        self.on_disk = planned.directory.bytes_on_disk(planned.commit, entry)
        self.verified = 0
        self.fetched = 0
        self.active = False
        self.repaired = False
        self.note = ""

    @property
    def name(self) -> str:
        return self.entry.path

    def tell(self, note: str) -> None:
        self.note = note

    def look(self) -> None:
        """Count what huggingface_hub has written so far, of a file that it fetches itself."""
        blob = self.planned.directory.blob(self.entry)
        sizes = [p.stat().st_size for p in blob.parent.glob(f"{blob.name}.*.incomplete")]
        self.on_disk = max([self.on_disk, *sizes])


class Fetcher:
    """Fetches and verifies tasks, each call one of them; for use by several threads."""

    def __init__(self, job: Job, stop: threading.Event) -> None:
        self._job = job
        self._limits: Limits = job.limits
        self._stop = stop
        self._ladder = Ladder(job.limits, stop)
        self._blobs: dict[str, threading.Lock] = {}
        self._blobs_lock = threading.Lock()
        self._explain = Explainer(job.endpoint, job.token)
        self._headers = {"accept-encoding": "identity", **authorization(job.token)}

    def run(self, task: Task) -> None:
        """Make sure of one file. Raises Failure, or OSError from the disk."""
        path = str(task.planned.directory.blob(task.entry))
        with self._blobs_lock:
            blob_lock = self._blobs.setdefault(path, threading.Lock())
        with blob_lock:  # two files of a repository may have the same contents
            task.active = True
            try:
                self._ensure(task)
            finally:
                task.active = False

    def _ensure(self, task: Task) -> None:
        directory, entry = task.planned.directory, task.entry
        place, blob = directory.file(task.planned.commit, entry), directory.blob(entry)
        if task.present or blob.exists():
            if self._intact(str(place if task.present else blob), task):
                task.on_disk = entry.size
                if not task.present:
                    directory.link(task.planned.commit, entry)
                return
            task.repaired, task.on_disk, task.verified = True, 0, 0
            for damaged in (place, blob, directory.partial(entry)):
                damaged.unlink(missing_ok=True)
        self._fetch(task)
        directory.link(task.planned.commit, entry)

    def _given_up(self, task: Task, why: GivenUp) -> Failure:
        if why.code == "hub_unreachable":
            return self._explain.unreachable(why.reason)
        entry = task.entry
        percent = 100 * task.on_disk / entry.size
        return Failure(
            "download_stalled",
            f"{entry.path} of {task.planned.want.repo} stopped at {percent:.1f} % of"
            f" {size_of(entry.size)}: {why.reason}. What has arrived is kept; download again to go"
            " on from there.",
        )

    # ---- verifying --------------------------------------------------------------------------

    def _intact(self, path: str, task: Task) -> bool:
        digest = self._hash(path, task, task.entry.size)
        return digest is None or digest.hexdigest() == task.entry.etag

    def _hash(self, path: str, task: Task, count: int) -> Any:
        """The hash of the first `count` bytes; counts them as verified. None when it has no hash.

        A file of another length fails here, whatever its hash.
        """
        digest = digest_of(task.entry)
        left, task.verified = count, 0
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            buffer = memoryview(bytearray(READ_BYTES))
            while left and (got := file.readinto(buffer[: min(left, READ_BYTES)])):
                if self._stop.is_set():
                    raise stopped()
                if digest is not None:
                    digest.update(buffer[:got])
                left -= got
                task.verified += got
            longer = os.fstat(file.fileno()).st_size > count
        if digest is not None and (left or longer):
            digest.update(b"not as long as it should be")
        return digest

    # ---- fetching ---------------------------------------------------------------------------

    def _fetch(self, task: Task) -> None:
        for _ in range(MISMATCHES):
            try:
                self._ladder.climb(
                    lambda: self._get(task),
                    attempts=self._limits.attempts,
                    arrived=lambda: task.on_disk,
                    tell=task.tell,
                )
                return
            except GivenUp as why:
                raise self._given_up(task, why) from None
            except Mismatch:
                task.on_disk = 0
                task.tell("its checksum was wrong; fetching it again")
        raise Failure(
            "checksum_mismatch",
            f"{task.name} of {task.planned.want.repo} arrived {MISMATCHES} times with a wrong"
            " checksum. A proxy on the way or the Hub itself alters it; nothing of it was kept.",
        )

    def _get(self, task: Task) -> None:
        """One attempt. Raises Retry, Mismatch, Failure."""
        if self._job.xet:
            self._by_hub(task)
        else:
            self._stream(task)
            self._place(task)

    def _stream(self, task: Task) -> None:
        """One connection: from where the partial ends to the end of the file."""
        entry, directory = task.entry, task.planned.directory
        partial = directory.partial(entry)
        partial.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            offset = os.fstat(descriptor).st_size
            if offset > entry.size:
                os.ftruncate(descriptor, 0)
                offset = 0
            task.on_disk = offset
            if offset < entry.size:
                self._receive(task, descriptor, offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _receive(self, task: Task, descriptor: int, offset: int) -> None:
        want, entry = task.planned.want, task.entry
        url = hf_hub_url(
            want.repo, entry.path, revision=task.planned.commit, endpoint=self._job.endpoint
        )
        headers = dict(self._headers)
        if offset:
            headers["range"] = f"bytes={offset}-"
        limits = self._limits
        timeout = (limits.connect_s, limits.stall_s, WRITE_S, None)
        try:
            with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
                self._check_status(response, url)
                if not self._goes_on(response, offset):
                    os.ftruncate(descriptor, 0)
                    task.on_disk = 0
                    if response.status_code != 200:
                        raise Retry("the Hub would not go on from where it was")
                os.lseek(descriptor, task.on_disk, os.SEEK_SET)
                for chunk in response.iter_raw():
                    self._write(task, descriptor, chunk)
        except (HfHubHTTPError, http.TransportError) as exc:
            raise self._explain(exc, want) from exc
        if task.on_disk < entry.size:
            raise Retry("the connection ended early", code="download_stalled")

    def _write(self, task: Task, descriptor: int, chunk: bytes) -> None:
        if self._stop.is_set():
            raise stopped()
        if task.on_disk + len(chunk) > task.entry.size:
            os.ftruncate(descriptor, 0)
            raise Mismatch
        view = memoryview(chunk)
        while view:
            written = os.write(descriptor, view)
            view = view[written:]
            task.on_disk += written
            task.fetched += written

    def _check_status(self, response: Any, url: str) -> None:
        """A CDN's refusal means that a signed address has expired; only the Hub's own is final."""
        status = response.status_code
        if status < 400 or status == 416:
            return
        if response.url.host != http.URL(url).host or response.url.port != http.URL(url).port:
            raise Retry(f"the Hub's storage answered {status}", retry_after(response))
        response.read()
        hf_raise_for_status(response)

    def _goes_on(self, response: Any, offset: int) -> bool:
        """The answer begins at `offset`. A server that knows no ranges begins at 0, with a 200."""
        if response.status_code == 200:
            return offset == 0
        begins = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
        return response.status_code == 206 and begins is not None and int(begins[1]) == offset

    def _place(self, task: Task) -> None:
        """Verify the partial and make it the blob. Raises Mismatch, with the partial gone."""
        directory, entry = task.planned.directory, task.entry
        partial = directory.partial(entry)
        if not self._intact(str(partial), task):
            partial.unlink()
            raise Mismatch
        directory.blobs.mkdir(parents=True, exist_ok=True)
        os.replace(partial, directory.blob(entry))

    def _by_hub(self, task: Task) -> None:
        """Through Xet, by huggingface_hub alone: it cannot be resumed within a file."""
        want, planned = task.planned.want, task.planned
        try:
            path = hf_hub_download(
                want.repo,
                task.name,
                revision=planned.commit,
                cache_dir=self._job.cache_dir,
                token=self._job.token or False,
                endpoint=self._job.endpoint,
            )
        except LocalEntryNotFoundError as exc:
            raise self._explain(exc.__cause__ or exc, want) from exc
        except (HfHubHTTPError, http.TransportError) as exc:
            raise self._explain(exc, want) from exc
        except RuntimeError as exc:  # what hf_xet raises
            raise Retry(f"Xet failed ({exc})", code="download_stalled") from exc
        task.on_disk = task.fetched = task.entry.size
        if not self._intact(path, task):
            planned.directory.blob(task.entry).unlink(missing_ok=True)
            raise Mismatch
