"""Where the gateway listens: the port, the certificate, and the server in front of the application.

They are tried before anything else is built, so that what is wrong is said at once.
"""

from __future__ import annotations

import errno
import socket
import ssl

import uvicorn

from backend.app.commands.http1 import Http1Protocol
from backend.app.config import ConfigError, Settings

BACKLOG = 2048
HTTP_CLOSE_S = 5
"""After the drain, so long may connections take to notice that we are closing."""

_CURES = {
    errno.EADDRINUSE: "Stop what uses it, or set API_PORT to another port.",
    errno.EACCES: "Set API_PORT to a port above 1023; those below are for root.",
}
_WRONG_HOST = "Set API_HOST to an address of this machine: 0.0.0.0 for all, 127.0.0.1 for itself."


def bind(settings: Settings) -> socket.socket:
    """A listening socket. Raises ConfigError, also where the certificate cannot be used."""
    _check_certificate(settings)
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux. What is accepted inherits it.
        # uvicorn's close waits until a client has read what is for it, be it for ever
        patience_ms = int(settings.client_write_s * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
    try:
        listener.bind((settings.api_host, settings.api_port))
        listener.listen(BACKLOG)  # only this makes the port ours
    except (OSError, TypeError) as exc:  # TypeError: no name server knows such a name
        listener.close()
        reason = (exc.strerror if isinstance(exc, OSError) else None) or "not a host name"
        cure = _CURES.get(getattr(exc, "errno", None) or 0, _WRONG_HOST)
        raise ConfigError(
            f"Cannot listen on API_HOST={settings.api_host} API_PORT={settings.api_port}:"
            f" {reason}. {cure}"
        ) from None
    listener.set_inheritable(False)
    return listener


def _check_certificate(settings: Settings) -> None:
    certificate, key = settings.ssl_certfile, settings.ssl_keyfile
    if certificate is None:
        if key is not None:
            raise ConfigError("SSL_KEYFILE is of no use without SSL_CERTFILE: set both, or none.")
        return
    for name, path in (("SSL_CERTFILE", certificate), ("SSL_KEYFILE", key)):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as exc:
            raise ConfigError(f"{name}={path} cannot be read: {exc.strerror}.") from None
    try:
        # an empty pass phrase, or OpenSSL would ask the terminal for one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):  # ssl.SSLError is an OSError, and says nothing that helps
        pair = f"SSL_KEYFILE={key}" if key else "SSL_KEYFILE not set"
        raise ConfigError(
            f"HTTPS is not possible with SSL_CERTFILE={certificate} and {pair}: they must be PEM"
            " files that go together, the certificate with its chain and its private key without"
            " a pass phrase."
        ) from None


def uvicorn_config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=Http1Protocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than the 60 s of common proxies
        timeout_graceful_shutdown=HTTP_CLOSE_S,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )
