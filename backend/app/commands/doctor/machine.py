"""GPUs as this process sees them, the container around it, shared memory."""

from __future__ import annotations

import os
import shutil
from collections import Counter

from backend.app.commands.doctor.patient import Patient
from backend.app.commands.doctor.probe_words import all_in_both, in_both
from backend.app.commands.doctor.report import Level, Line, fail, ok, warn
from backend.app.words import Words, same

LEAST_SHM_BYTES = 1 << 30
"""Docker gives 64 MB; the processes of one model on several GPUs talk through it."""


def gpus(patient: Patient) -> list[Line]:
    reading = patient.reading
    if not reading.gpus:
        return [_none(patient)]
    names = Counter(gpu.name for gpu in reading.gpus)
    listed = ", ".join(f"{count} × {name}" for name, count in names.items())
    driver = Words(", driver ", ", pilote ") if reading.driver else same("")
    number = reading.driver or ""
    cuda = f" (CUDA {reading.cuda})" if reading.cuda else ""
    said = Words(*(f"{listed}{word}{number}{cuda}, {reading.probe}" for word in driver))
    lines = [ok("gpu", said)]
    lines += [_problem(problem) for problem in reading.problems]
    if not (patient.root / "dev/nvidia-uvm").exists():
        lines.append(_no_uvm())
    return lines


def _problem(problem: str) -> Line:
    """A lost device, or NVML where only `nvidia-smi` answers."""
    if ": GPU " in problem:
        remedy = Words(
            "`dmesg | grep -i xid` says why; reset the GPU (`nvidia-smi --gpu-reset`) or reboot.",
            "`dmesg | grep -i xid` dit pourquoi ; réinitialisez-le (`nvidia-smi --gpu-reset`) ou"
            " redémarrez.",
        )
        return fail("gpu", in_both(problem), remedy)
    remedy = Words(
        "Power, throttling and processes are not shown. Make libnvidia-ml.so.1 visible"
        " (NVIDIA_DRIVER_CAPABILITIES=compute,utility).",
        "Puissance, bridage et processus ne sont pas montrés. Rendez libnvidia-ml.so.1 visible"
        " (NVIDIA_DRIVER_CAPABILITIES=compute,utility).",
    )
    return warn("gpu", in_both(problem), remedy)


def _no_uvm() -> Line:
    return fail(
        "gpu",
        Words(
            "/dev/nvidia-uvm is missing: nvidia-smi works, CUDA does not",
            "/dev/nvidia-uvm manque : nvidia-smi fonctionne, CUDA non",
        ),
        Words(
            "Run `nvidia-modprobe -u -c 0` on the host, then start the container again.",
            "Lancez `nvidia-modprobe -u -c 0` sur l'hôte, puis relancez le conteneur.",
        ),
    )


def _none(patient: Patient) -> Line:
    why = all_in_both(patient.reading.problems)
    required = patient.settings.model_set == "real"
    level = Level.FAIL if required else Level.WARN
    served = Words(
        "CUDA requis (MODEL_SET=real)" if required else "Demo models run on the processor",
        "CUDA requis (MODEL_SET=real)"
        if required
        else "Les modèles de démonstration tournent sur le processeur",
    )
    said = Words(
        f"no GPU is visible: {why.en}. {served.en}", f"aucun GPU visible : {why.fr}. {served.fr}"
    )
    return Line(level, "gpu", said, _remedy(patient))


def _remedy(patient: Patient) -> Words:
    root = patient.root
    loaded = (root / "proc/driver/nvidia/version").exists()
    given = (root / "dev/nvidia0").exists()
    if any("CUDA_VISIBLE_DEVICES" in problem for problem in patient.reading.problems):
        return Words(
            "Unset CUDA_VISIBLE_DEVICES, or name GPUs that `nvidia-smi` lists.",
            "Retirez CUDA_VISIBLE_DEVICES, ou nommez des GPU que `nvidia-smi` liste.",
        )
    if not loaded:
        return Words(
            "No NVIDIA driver is loaded here. On a machine with GPUs: install it, then"
            " `nvidia-smi` must list them.",
            "Aucun pilote NVIDIA n'est chargé ici. Sur une machine à GPU : installez-le, puis"
            " `nvidia-smi` doit les lister.",
        )
    if patient.in_container and not given:
        return Words(
            "The host has a driver, this container was not given its GPUs: install"
            " nvidia-container-toolkit on the host and start it with `--gpus all`.",
            "L'hôte a un pilote, mais ce conteneur n'a pas reçu ses GPU : installez"
            " nvidia-container-toolkit sur l'hôte et démarrez avec `--gpus all`.",
        )
    if patient.in_container:
        return Words(
            "The GPUs are here, the driver's libraries are not: start the container with"
            " NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
            "Les GPU sont là, pas les bibliothèques du pilote : démarrez le conteneur avec"
            " NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
        )
    return Words(
        "The driver is loaded and does not answer: run `nvidia-smi`; after an update of the driver"
        " the machine wants a reboot.",
        "Le pilote est chargé et ne répond pas : lancez `nvidia-smi` ; après une mise à jour du"
        " pilote, il faut redémarrer la machine.",
    )


def container(patient: Patient) -> list[Line]:
    if patient.in_container:
        seen = bool(patient.reading.gpus)
        return [
            ok(
                "container",
                Words(
                    f"in a container, {'with' if seen else 'without'} GPUs",
                    f"dans un conteneur, {'avec' if seen else 'sans'} GPU",
                ),
            )
        ]
    path = patient.env.get("PATH")
    if not any(shutil.which(name, path=path) for name in ("docker", "podman")):
        return [ok("container", Words("not in a container", "pas dans un conteneur"))]
    tools = ("nvidia-ctk", "nvidia-container-cli")
    if not patient.reading.gpus or any(shutil.which(tool, path=path) for tool in tools):
        return [ok("container", Words("containers can be run here", "conteneurs possibles ici"))]
    return [
        warn(
            "container",
            Words(
                "docker is here, nvidia-container-toolkit is not: an image would see no GPU",
                "docker est là, pas nvidia-container-toolkit : une image ne verrait aucun GPU",
            ),
            Words(
                "Install nvidia-container-toolkit, then"
                " `nvidia-ctk runtime configure --runtime=docker` and restart docker.",
                "Installez nvidia-container-toolkit, puis"
                " `nvidia-ctk runtime configure --runtime=docker` et relancez docker.",
            ),
        )
    ]


def shared_memory(patient: Patient) -> list[Line]:
    path = patient.root / "dev/shm"
    try:
        found = os.statvfs(path)
    except OSError:
        return []
    size = found.f_blocks * found.f_frsize
    mib = size >> 20
    if size >= LEAST_SHM_BYTES:
        return [ok("shared-memory", same(f"/dev/shm: {mib} MiB"))]
    return [
        warn(
            "shared-memory",
            Words(
                f"/dev/shm holds {mib} MiB: a model on several GPUs may fail to start",
                f"/dev/shm fait {mib} Mio : un modèle réparti sur plusieurs GPU peut échouer",
            ),
            Words(
                "Start the container with `--shm-size 16g` or `--ipc=host`.",
                "Démarrez le conteneur avec `--shm-size 16g` ou `--ipc=host`.",
            ),
        )
    ]
