"""Each row, numbered step and bullet of the operators' guide, and the test that holds us to it.

A place is `file::name`: a function of pytest, or a part of the title of a test in the browser. What
no test here can hold has its reason instead.
"""

from __future__ import annotations

import re

import pytest

from tests.support.gateway import ROOT

GUIDE = "e2e/test_operations_guide.py"
REASON = "no test: "

PROMISES: dict[str, tuple[str, ...]] = {
    # ---- Pré-requis matériels et logiciels
    "GPU NVIDIA compatible CUDA 12.4+ (DGX 8×H200)": (
        "gpu/test_real_gpu.py::test_chat_on_the_chosen_gpu_and_its_memory_comes_back",
        "unit/test_dependency_rules.py::test_the_cuda12_stack_runs_with_every_driver",
        "component/test_memory.py::test_on_eight_gpus_each_finds_an_empty_one",
    ),
    "Pilotes NVIDIA et nvidia-container-toolkit à jour": (
        "component/test_doctor.py::test_a_host_whose_containers_would_see_no_gpu",
        "component/test_doctor.py::test_why_no_gpu_is_visible",
    ),
    "Accès réseau à Hugging Face": (
        "component/test_doctor.py::test_a_hub_that_does_not_answer",
        "component/test_doctor.py::test_a_licence_that_is_not_accepted",
    ),
    "Espace disque conséquent pour le cache": (
        "component/test_doctor.py::test_a_full_disk",
        "component/test_hub_faults.py::test_a_disk_without_room_is_refused_with_numbers",
    ),
    "Python 3.10+ hors conteneur": ("component/test_python_versions.py::test_it_serves_a_chat",),
    # ---- Variables d'environnement clés
    "API_HOST / API_PORT": (
        f"{GUIDE}::test_the_defaults_are_those_of_the_guide",
        "component/test_listening.py::test_a_wrong_host_is_not_blamed_on_the_port",
    ),
    "HUGGINGFACE_TOKEN": (
        f"{GUIDE}::test_the_defaults_are_those_of_the_guide",
        f"{GUIDE}::test_the_token_of_the_environment",
    ),
    "MODEL_CACHE_DIR": (
        f"{GUIDE}::test_the_defaults_are_those_of_the_guide",
        f"{GUIDE}::test_downloads_lie_in_the_cache_by_the_hubs_convention",
    ),
    "OPENAI_API_KEYS": (
        f"{GUIDE}::test_the_defaults_are_those_of_the_guide",
        f"{GUIDE}::test_keys_for_v1",
    ),
    "LAZY_LOAD_MODELS": (f"{GUIDE}::test_lazy_loading_is_the_default_and_can_be_turned_off",),
    "FRONTEND_DIST": (
        f"{GUIDE}::test_the_defaults_are_those_of_the_guide",
        f"{GUIDE}::test_the_dashboard_is_served_from_frontend_dist",
    ),
    "LOG_LEVEL": (f"{GUIDE}::test_log_level",),
    "HOST_PORT, HOST_BIND_ADDRESS": (
        "shipping/test_run_docker.py::test_host_port_and_bind_address",
    ),
    "MODEL_CACHE_DIR (bind mount hôte → conteneur)": (
        "shipping/test_run_docker.py::test_the_defaults",
    ),
    "ADVERTISED_HOSTS": ("shipping/test_run_docker.py::test_advertised_hosts",),
    # ---- Construction & déploiement Docker
    "1. Construction: Node 20, build Vite; nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04": (
        "shipping/test_image.py::test_the_stages_and_their_bases",
        "shipping/test_build_docker.py::test_cuda_12_unless_asked",
    ),
    "2. Exécution: /models monté, jeton et variables passés, --gpus all": (
        "shipping/test_run_docker.py::test_the_defaults",
        "shipping/test_run_docker_settings.py::test_every_setting_is_passed_by_name",
    ),
    "Le build installe apt-utils": ("shipping/test_image.py::test_apt_utils_come_first",),
    "MODEL_CACHE_DIR doit être persistant": (
        "shipping/test_run_docker.py::test_the_defaults",
        f"{GUIDE}::test_a_cache_that_was_prepared_needs_no_hub",
    ),
    "Le conteneur publie par défaut 8000/tcp": ("shipping/test_run_docker.py::test_the_defaults",),
    # ---- Gestion du cache Hugging Face
    "models--<org>--<repo>": (f"{GUIDE}::test_downloads_lie_in_the_cache_by_the_hubs_convention",),
    "cache_has_artifacts valide la présence d'au moins un fichier": (
        f"{GUIDE}::test_one_file_is_a_partial_model",
        "component/test_model_life.py::test_one_file_is_an_artifact",
    ),
    "Préparer le cache hors ligne: POST /api/admin/models/<clé>/download": (
        f"{GUIDE}::test_a_cache_that_was_prepared_needs_no_hub",
    ),
    "Préparer le cache hors ligne: le bouton Télécharger": (
        "e2e/dashboard/download.test.mjs::download",
    ),
    "Les jetons sont persistés dans MODEL_CACHE_DIR/.hf_token": (
        f"{GUIDE}::test_the_token_is_kept_beside_the_models",
    ),
    # ---- Gestion GPU
    "preferred_device_ids au chargement": (f"{GUIDE}::test_gpus_are_chosen_at_loading",),
    "Qwen ajuste CUDA_VISIBLE_DEVICES et le restaure": (
        f"{GUIDE}::test_gpus_are_chosen_at_loading",
    ),
    "Canary set_device, Pyannote pipeline.to": (
        "gpu/test_real_gpu.py::test_audio_on_the_chosen_gpu",
    ),
    "GPUMonitor expose mémoire, charge et température": (
        f"{GUIDE}::test_gpus_are_chosen_at_loading",
    ),
    "Le front calcule les pourcentages": ("e2e/dashboard/machine.test.mjs::GPU cards",),
    # ---- Journalisation & supervision
    "stdout et fichier rotatif LOG_DIR/LOG_FILE_NAME": (
        f"{GUIDE}::test_what_is_done_is_written_to_stdout_and_to_the_file",
        "unit/test_logs.py::test_the_file_rotates_within_its_bounds",
    ),
    "ModelRegistry trace instanciation, préférences GPU, téléchargements forcés, arrêt": (
        f"{GUIDE}::test_what_is_done_is_written_to_stdout_and_to_the_file",
        f"{GUIDE}::test_gpus_are_chosen_at_loading",
    ),
    "GPUMonitor journalise les indisponibilités CUDA/GPUtil": (
        f"{GUIDE}::test_what_is_done_is_written_to_stdout_and_to_the_file",
        "unit/test_gpu_monitor.py::test_a_driver_that_hangs_from_the_start",
    ),
    "update_runtime() enregistre les actions importantes": (
        f"{GUIDE}::test_what_is_done_is_written_to_stdout_and_to_the_file",
    ),
    "dependency_inspector informe des incompatibilités (torchaudio CPU-only)": (
        "unit/test_dependency_rules.py::test_a_cpu_only_library_on_a_gpu_machine",
        "component/test_dependencies.py::test_the_status_lists_them_without_importing_any",
    ),
    # ---- Sécurité
    "/v1/* restreinte via OPENAI_API_KEYS": (f"{GUIDE}::test_keys_for_v1",),
    "Le tableau de bord ne persiste pas la clé sans localStorage": (
        "e2e/dashboard/access.test.mjs::a browser that keeps nothing still works",
    ),
    "Audio: uniquement multipart/form-data": (f"{GUIDE}::test_audio_is_multipart_only",),
    "Prévoyez un proxy HTTPS en production": (
        "shipping/test_proxies.py::test_tokens_come_one_at_a_time",
        "shipping/test_run_docker_settings.py::test_https",
    ),
    # ---- Dépannage rapide
    "Téléchargement bloqué à 0 %": (f"{GUIDE}::test_the_token_is_kept_beside_the_models",),
    "Chargement modèle échoue avec « CUDA requis »": (f"{GUIDE}::test_cuda_requis",),
    "Pyannote ne trouve pas ses checkpoints": (
        f"{GUIDE}::test_pyannote_checkpoints_are_fetched_and_its_references_resolved",
    ),
    "API /v1 renvoie 401/403": (
        f"{GUIDE}::test_keys_for_v1",
        f"{GUIDE}::test_a_key_without_the_right",
        "e2e/dashboard/access.test.mjs::the page says which key is missing",
    ),
    "Tableau de bord vide": (f"{GUIDE}::test_the_dashboard_is_served_from_frontend_dist",),
    # ---- Stratégie de mise à jour
    "1. Nouvelle image versionnée": (
        "shipping/test_build_docker.py::test_the_version_comes_from_git",
    ),
    "2. python -m compileall backend/app": (
        f"{GUIDE}::test_the_modules_compile_on_a_machine_without_gpu",
    ),
    "3. Pré-production avec un cache dédié": (
        "shipping/test_run_docker.py::test_a_second_one_beside_it",
    ),
    "4. Purger les anciens artefacts": (
        f"{GUIDE}::test_downloads_lie_in_the_cache_by_the_hubs_convention",
    ),
    "5. Surveiller les métriques GPU lors du premier chargement": (
        "component/test_memory.py::test_a_load_above_its_grant_is_said",
    ),
}


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_has_a_test(promise: str) -> None:
    assert PROMISES[promise]
    for place in PROMISES[promise]:
        if place.startswith(REASON):
            assert len(place) > len(REASON) + 20, "a reason is a sentence"
            continue
        file, _, name = place.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        pattern = rf"^(async )?def {name}\(" if file.endswith(".py") else rf'test\([`"].*{name}'
        assert re.search(pattern, text, re.MULTILINE), f"there is no {place}"


def test_every_test_of_the_guide_is_somebodys() -> None:
    text = (ROOT / "tests" / GUIDE).read_text(encoding="utf-8")
    there = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
    named = {place.partition("::")[2] for places in PROMISES.values() for place in places}
    assert there <= named
