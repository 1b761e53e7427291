"""The Hub: whether it answers, whether the token is good, which licences are missing."""

from __future__ import annotations

from backend.app import COMMAND
from backend.app.commands.configured import files_of
from backend.app.commands.doctor.patient import Patient
from backend.app.commands.doctor.report import Line, fail, ok, warn
from backend.app.hub.identity import Gate, HubIdentity, Identity
from backend.app.hub.snapshot import FilesState
from backend.app.hub.token_store import Token, TokenStore
from backend.app.words import Words, same

PROXY = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


async def hub(patient: Patient) -> list[Line]:
    if not patient.from_hub:
        said = Words("not needed: every model is a local path", "inutile : modèles tous locaux")
        return [ok("hub", said)]
    identity = HubIdentity(patient.env.get("HF_ENDPOINT") or None)
    missing = _missing(patient)
    if not await identity.answers():
        return [_unreachable(patient, identity, bool(missing))]
    lines = [ok("hub", Words(f"{identity.shown} answers", f"{identity.shown} répond"))]
    secret = patient.settings.huggingface_token
    environment = secret.get_secret_value() if secret else None
    token = TokenStore(patient.cache_dir, environment, read_only=True).get()
    who = await identity.whoami(token.value)
    repos = {repo for spec in patient.from_hub for repo in files_of(spec, patient.cache_dir).repos}
    gates = await identity.gates(sorted(repos), token.value if who.valid is not False else None)
    wanted = [gate for gate in gates if gate.repo in missing]
    lines.append(_token(token, who, bool(wanted)))
    lines += [_gate(gate, gate.repo in missing) for gate in gates]
    return lines


def _missing(patient: Patient) -> set[str]:
    """Repositories of which something is still to be downloaded."""
    found: set[str] = set()
    for spec in patient.from_hub:
        files = files_of(spec, patient.cache_dir)
        if files.status().state is not FilesState.COMPLETE:
            found |= set(files.repos)
    return found


def _unreachable(patient: Patient, identity: HubIdentity, needed: bool) -> Line:
    proxy = next((patient.env[name] for name in PROXY if patient.env.get(name)), None)
    via = " (proxy)" if proxy else ""
    said = Words(f"{identity.shown}{via} does not answer", f"{identity.shown}{via} ne répond pas")
    if needed:
        return fail(
            "hub",
            said,
            Words(
                "Check the network, HTTPS_PROXY and HF_ENDPOINT; or bring the models with"
                f" `{COMMAND} bundle`.",
                "Vérifiez le réseau, HTTPS_PROXY et HF_ENDPOINT ; ou apportez les modèles avec"
                f" `{COMMAND} bundle`.",
            ),
        )
    return warn(
        "hub",
        said,
        Words(
            "Every model is complete here, so it is not needed.",
            "Tous les modèles sont complets ici : il n'est pas nécessaire.",
        ),
    )


def _token(token: Token, who: Identity, needed: bool) -> Line:
    if token.value is None:
        said = Words("there is no Hugging Face token", "il n'y a pas de jeton Hugging Face")
        remedy = Words(
            "Set HUGGINGFACE_TOKEN, or enter one in the dashboard: gated models want it.",
            "Posez HUGGINGFACE_TOKEN, ou saisissez-le dans le tableau de bord : les modèles sous"
            " licence le demandent.",
        )
        return (fail if needed else warn)("token", said, remedy)
    source = f"({token.source})"
    renew = Words(
        "Make a token of type read on the Hub's page settings/tokens, and set HUGGINGFACE_TOKEN.",
        "Créez un jeton de type read sur la page settings/tokens du Hub, et posez"
        " HUGGINGFACE_TOKEN.",
    )
    if who.valid is False:
        said = Words(f"the Hub does not know this token {source}", f"jeton inconnu du Hub {source}")
        return fail("token", said, renew)
    if who.valid is None:
        said = Words(
            f"the Hub did not say whether the token is good {source}",
            f"le Hub n'a pas dit si le jeton est valable {source}",
        )
        return warn("token", said, Words("Try again later.", "Réessayez plus tard."))
    if who.missing_scopes:
        scopes = ", ".join(who.missing_scopes)
        said = Words(
            f"the token of {who.name} lacks: {scopes}",
            f"il manque au jeton de {who.name} : {scopes}",
        )
        return (fail if needed else warn)("token", said, renew)
    return ok("token", Words(f"of {who.name} {source}", f"de {who.name} {source}"))


def _gate(gate: Gate, needed: bool) -> Line:
    if gate.accessible:
        return ok("licence", same(gate.repo))
    said = Words(
        f"{gate.repo} is not open to this token", f"{gate.repo} n'est pas ouvert à ce jeton"
    )
    if gate.accessible is None:
        said = Words(f"{gate.repo}: the Hub did not say", f"{gate.repo} : le Hub n'a pas répondu")
    remedy = Words(
        f"Accept the licence with the token's account: {gate.url}",
        f"Acceptez la licence avec le compte du jeton : {gate.url}",
    )
    return (fail if needed and gate.accessible is False else warn)("licence", said, remedy)
