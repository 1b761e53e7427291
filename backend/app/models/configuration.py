"""A model's configuration: the one in force, and the one that waits until no engine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.app.models.change import needs_engine, shown, without_engine
from backend.app.models.contracts import Artifacts, Goal
from backend.app.models.on_disk import OnDisk
from backend.app.models.spec import ModelSpec

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper


class Configuration:
    """Belongs to one wrapper, whose `spec` is what is in force."""

    def __init__(self, model: BaseModelWrapper) -> None:
        self._model = model
        self._waiting: tuple[ModelSpec, Artifacts] | None = None

    @property
    def wanted(self) -> ModelSpec:
        """What is in force, or will be from the engine's next start."""
        return self._waiting[0] if self._waiting else self._model.spec

    @property
    def waiting(self) -> frozenset[str]:
        """The settings that wait for the engine's next start."""
        return needs_engine(self._model.spec, self.wanted)

    def take_on(self, spec: ModelSpec, files: Artifacts) -> None:
        """A new configuration and its files: now as far as a running engine can, the rest when
        none runs.
        """
        model = self._model
        if spec.gpu_ids != self.wanted.gpu_ids:
            model.preferred_device_ids = spec.gpu_ids
        self._drop_waiting()
        if needs_engine(model.spec, spec):
            self._waiting = spec, files
        else:
            files.release()
        self._put_in_force(without_engine(model.spec, spec))
        if not model.replicas and model.supervisor.settled:
            if self._waiting and model.supervisor.failure:
                model.supervisor.want(up=False)  # what failed was the old one: it may be tried
            self.adopt()
        model.update_runtime("configured", self._remark())
        model.supervisor.wake()  # for the idle timer, and where the files are others now

    def adopt(self) -> None:
        """Put in force what waits. Only while no engine runs."""
        if self._waiting is not None:
            self._model.artifacts.release()
            (spec, self._model.artifacts), self._waiting = self._waiting, None
            self._model.files = OnDisk(self._model)  # what is known is of the files before
            self._put_in_force(spec)

    def release(self) -> None:
        """The model is gone: it needs no files, today's or tomorrow's."""
        self._model.artifacts.release()
        self._drop_waiting()

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting[1].release()
            self._waiting = None

    def restart(self) -> Goal:
        """Drain and load again, with what waits."""
        supervisor = self._model.supervisor
        supervisor.outdate()
        return supervisor.want(
            up=True, gpu_ids=self._model.preferred_device_ids, replicas=self.wanted.replicas
        )

    def _put_in_force(self, spec: ModelSpec) -> None:
        model = self._model
        model.spec = spec
        model.runtime.details["source"] = spec.source
        model.admission.max_queue = spec.max_queue
        model.admission.resize(spec.max_in_flight * max(1, len(model.replicas)))
        model.on_renamed()

    def _remark(self) -> str:
        names = ", ".join(shown(self.waiting))
        return f"at the engine's next start: {names}" if names else "in force"
