"""The port, who may use it, certificates, the dashboard."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import aiohttp

from backend.app.admin_key import base_url
from backend.app.api.dashboard import dist_path
from backend.app.auth import AdminRule, admin_rule
from backend.app.commands.doctor.patient import Patient
from backend.app.commands.doctor.report import Line, fail, ok, warn
from backend.app.words import Words, same

ANSWER_S = 5.0


async def port(patient: Patient) -> list[Line]:
    settings = patient.settings
    where = f"{settings.api_host}:{settings.api_port}"
    try:
        _try_port(settings.api_host, settings.api_port)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE and await _is_ours(patient):
            return [
                ok("port", Words(f"{where}: a gateway listens", f"{where} : une passerelle écoute"))
            ]
        return [
            fail(
                "port",
                same(f"{where}: {exc.strerror}"),
                Words(
                    "Stop what uses it (`ss -ltnp` names it), or set API_HOST and API_PORT.",
                    "Arrêtez ce qui l'occupe (`ss -ltnp`), ou réglez API_HOST et API_PORT.",
                ),
            )
        ]
    return [ok("port", Words(f"{where} is free", f"{where} est libre"))]


def _try_port(host: str, number: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, number))
        listener.listen(1)  # only this tells whether it would be ours


async def _is_ours(patient: Patient) -> bool:
    """Whether what listens there answers as a gateway does."""
    settings = patient.settings
    url = base_url(settings.api_host, settings.api_port, tls=bool(settings.ssl_certfile))
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/healthz", ssl=False, allow_redirects=False) as answer,
        ):
            return "x-request-id" in answer.headers and await answer.json() == {"status": "ok"}
    except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError):
        return False


OPENED_BY = {
    AdminRule.KEYS: Words(
        "admin routes: one of ADMIN_API_KEYS opens them",
        "administration : ouverte par une clé d'ADMIN_API_KEYS",
    ),
    AdminRule.GENERATED: Words(
        "admin routes: the generated key opens them (`admin-key` shows it)",
        "administration : ouverte par la clé générée (`admin-key` la montre)",
    ),
    AdminRule.LOCAL: Words(
        "admin routes: open to this machine only",
        "administration : ouverte à cette machine seulement",
    ),
}


def access(patient: Patient) -> list[Line]:
    settings = patient.settings
    rule = admin_rule(settings)
    lines = []
    if rule is AdminRule.OFF:
        lines.append(
            warn(
                "access",
                Words(
                    "ADMIN_AUTH=off: everyone who reaches the port steers the models",
                    "ADMIN_AUTH=off : quiconque atteint le port pilote les modèles",
                ),
                Words(
                    "Remove ADMIN_AUTH, or set ADMIN_API_KEYS.",
                    "Retirez ADMIN_AUTH, ou posez ADMIN_API_KEYS.",
                ),
            )
        )
    else:
        lines.append(ok("access", OPENED_BY[rule]))
    if not settings.openai_api_keys and not settings.loopback:
        lines.append(
            warn(
                "access",
                Words("/v1 is open to everyone on the network", "/v1 est ouvert à tout le réseau"),
                Words("Set OPENAI_API_KEYS to close it.", "Posez OPENAI_API_KEYS pour le fermer."),
            )
        )
    return lines


def certificate(patient: Patient) -> list[Line]:
    settings = patient.settings
    if settings.ssl_certfile is None:
        return []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.ssl_certfile, settings.ssl_keyfile
        )
    except (OSError, ssl.SSLError) as exc:
        return [
            fail(
                "certificate",
                same(f"{settings.ssl_certfile}: {exc.strerror or exc}"),
                Words(
                    "SSL_CERTFILE and SSL_KEYFILE must be PEM files that go together.",
                    "SSL_CERTFILE et SSL_KEYFILE doivent être des fichiers PEM assortis.",
                ),
            )
        ]
    return [ok("certificate", same(str(settings.ssl_certfile)))]


def dashboard(patient: Patient) -> list[Line]:
    path = dist_path(patient.settings)
    if (path / "index.html").is_file():
        return [ok("dashboard", same(str(path)))]
    return [
        warn(
            "dashboard",
            Words(
                f"{path} holds no index.html: the API works, its pages do not",
                f"{path} ne contient pas index.html : l'API fonctionne, pas ses pages",
            ),
            Words(
                "`npm ci && npm run build` in frontend/, or set FRONTEND_DIST to a build.",
                "`npm ci && npm run build` dans frontend/, ou réglez FRONTEND_DIST sur un build.",
            ),
        )
    ]
