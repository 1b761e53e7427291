"""Waiting with a deadline, without losing a cancellation; work that nobody waits for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def within(seconds: float | None, work: Awaitable[T]) -> T:
    """What `work` gives. Raises asyncio.TimeoutError after `seconds`; then `work` is cancelled.

    Instead of `asyncio.wait_for`, which before Python 3.12 ignores a cancellation that comes in
    the moment in which the work ends: a loop around it then goes on for ever, and whoever
    cancelled it waits for ever. Here the cancellation wins and the result is lost.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_seen)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them and wait until they have ended, also when the caller is cancelled meanwhile.

    So whatever they hold has been given back, or is where the caller can give it back, before
    anything else happens. Their results and errors are lost; the caller's cancellation is not.
    """
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as exc:
            cancelled = exc
    for task in tasks:
        _seen(task)
    if cancelled is not None:
        raise cancelled


def _seen(task: asyncio.Future[T]) -> None:
    """Whoever was cancelled meanwhile does not look at an error; asyncio would complain."""
    if not task.cancelled():
        task.exception()


def background(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """A task that outlives who began it, and so does not log under the id of that request."""
    loop = asyncio.get_running_loop()
    return contextvars.Context().run(loop.create_task, work, name=name)


async def aside(seconds: float | None, call: Callable[[], T]) -> T:
    """What a blocking call gives that may hang for ever, like all that touches a disk.

    Raises asyncio.TimeoutError after `seconds`; the call goes on, and what it gives is lost.
    Instead of `asyncio.to_thread`, whose few threads are everybody's and are waited for at the end.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def hand_over(future: concurrent.futures.Future[T]) -> None:
        if result.done():
            return
        if (error := future.exception()) is not None:
            result.set_exception(error)
        else:
            result.set_result(future.result())

    def done(future: concurrent.futures.Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(hand_over, future)

    context = contextvars.copy_context()
    _thread(lambda: context.run(call)).add_done_callback(done)
    return await within(seconds, result)


def _thread(call: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Run it in a thread that holds up no exit, however long it hangs."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # nobody can take it back

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as exc:
            future.set_exception(exc)

    threading.Thread(target=run, daemon=True).start()
    return future


class Bounded(Generic[T]):
    """A blocking call that cannot be interrupted (a driver, a disk), waited for a bounded time.

    It runs in a daemon thread, so one that hangs for ever does not hold up the exit; while it
    hangs no second one is started.
    """

    def __init__(self, call: Callable[[], T], seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._hanging: concurrent.futures.Future[T] | None = None

    def __call__(self) -> T:
        """A fresh result. Blocking; raises asyncio.TimeoutError after `seconds`, or the call's."""
        if self._hanging is not None:
            concurrent.futures.wait([self._hanging], self._seconds)
            if not self._hanging.done():
                raise asyncio.TimeoutError
        future = _thread(self._call)
        concurrent.futures.wait([future], self._seconds)
        if not future.done():
            self._hanging = future
            raise asyncio.TimeoutError
        self._hanging = None
        return future.result()
