"""Speech: what was said, what it means in English, and who spoke when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from backend.app.api.deps import Gate, Gateway, begin
from backend.app.api.openai import audio_openapi as openapi
from backend.app.api.openai.audio_answer import Answer, Rendered
from backend.app.api.openai.audio_form import FILE, Form, decode_voice, read_form
from backend.app.api.openai.audio_render import (
    delta_event,
    diarization_body,
    last_events,
    short_transcript_body,
    transcript_body,
)
from backend.app.api.openai.audio_schemas import (
    Fields,
    SpeakerHints,
    bad,
    parse_diarization,
    parse_transcription,
)
from backend.app.api.refusals import INFERENCE, refusals
from backend.app.audio.spool import SpoolFile
from backend.app.audio.transcript import Segment, Transcript
from backend.app.errors import SpoolFull, UnsupportedMedia
from backend.app.models.base import BaseModelWrapper
from backend.app.models.spec import Kind
from backend.app.services.transcription import TranscriptionService
from backend.app.services.transcription_ask import DIARIZER, Ask, KnownSpeaker, Speakers

router = APIRouter(tags=["audio"], responses=refusals(*INFERENCE, UnsupportedMedia, SpoolFull))

RECOGNISER = "canary"
"""What the short form means when it names no model."""


@router.post(
    "/v1/audio/transcriptions", operation_id="create_transcription", **openapi.TRANSCRIPTION
)
async def transcriptions(request: Request, gateway: Gate) -> Response:
    """What was said, as text, subtitles or JSON, with speakers if asked; streaming too."""
    return await _transcribe(request, gateway)


@router.post("/v1/audio/translations", operation_id="create_translation", **openapi.TRANSLATION)
async def translations(request: Request, gateway: Gate) -> Response:
    """What was said, in English."""
    return await _transcribe(request, gateway, translate=True)


@router.post("/v1/audio/diarizations", operation_id="create_diarization", **openapi.DIARIZATION)
async def diarizations(request: Request, gateway: Gate) -> Response:
    """Who spoke when."""
    return await _diarize(request, gateway)


@router.post("/api/audio/transcribe", operation_id="transcribe", **openapi.SHORT_TRANSCRIPTION)
async def transcribe(request: Request, gateway: Gate) -> Response:
    """The short form for curl: `file` in, text and segments out."""
    return await _transcribe(request, gateway, short=True)


@router.post(
    "/api/diarization/process", operation_id="process_diarization", **openapi.SHORT_DIARIZATION
)
async def process_diarization(request: Request, gateway: Gate) -> Response:
    """The short form for curl: `file` in, turns out."""
    return await _diarize(request, gateway, short=True)


async def _transcribe(
    request: Request, gateway: Gateway, *, translate: bool = False, short: bool = False
) -> Response:
    service = service_of(request)
    form = await read_form(request, service.spool)
    try:
        sent = form.fields
        if short:
            if Fields(sent).flag("stream"):
                bad("stream", "The short form is not streamed; /v1/audio/transcriptions is.")
            sent = {"model": [RECOGNISER], **sent, "response_format": ["verbose_json"]}
        params = parse_transcription(sent, voices=len(form.voices), translate=translate)
        model = _model(gateway, params.model, Kind.ASR)
        upload = _upload(form)
        ask = Ask(
            model=model.key,
            task="translate" if translate else "transcribe",
            language=params.language,
            candidates=params.candidates or model.spec.languages,
            target=params.target,
            pnc=params.pnc,
            timestamps=params.timestamps,
            logprobs=params.logprobs,
            diarize=params.diarize,
            speakers=await _speakers(params.speakers, form, service, wanted=params.diarize),
            peaks=params.peaks,
        )
        path = request.scope["path"]
        record = begin(gateway, request.scope, model.key, path, stream=params.stream)
    except BaseException:
        form.close()
        raise

    def finished(transcript: Transcript) -> Transcript:
        answer.audio_seconds = transcript.duration
        record.keep(transcript=transcript.text)
        return replace(transcript, warnings=(*transcript.warnings, *params.notices))

    async def whole() -> Rendered:
        transcript = finished(await service.transcribe(upload, ask))
        render = short_transcript_body if short else transcript_body
        return await asyncio.to_thread(render, transcript, params)

    async def frames() -> AsyncGenerator[bytes, None]:
        first = True
        async with aclosing(service.events(upload, ask)) as events:
            async for event in events:
                if isinstance(event, Segment):
                    yield delta_event(event, first, params.logprobs)
                    first = False
                else:
                    for frame in await asyncio.to_thread(last_events, finished(event), params):
                        yield frame

    answer = Answer(
        gateway.settings,
        record,
        form.close,
        whole=None if params.stream else whole,
        frames=frames if params.stream else None,
    )
    return answer


async def _diarize(request: Request, gateway: Gateway, *, short: bool = False) -> Response:
    service = service_of(request)
    form = await read_form(request, service.spool)
    try:
        params = parse_diarization(form.fields, voices=len(form.voices))
        key = _model(gateway, params.model or DIARIZER, Kind.DIARIZATION).key
        upload = _upload(form)
        speakers = await _speakers(params.speakers, form, service, wanted=True)
        speakers = replace(speakers, model=key)
        record = begin(gateway, request.scope, key, request.scope["path"], stream=False)
    except BaseException:
        form.close()
        raise

    async def whole() -> Rendered:
        diarization = await service.diarize(upload, speakers)
        answer.audio_seconds = diarization.duration
        return diarization_body(diarization, params, form.filename, short=short)

    answer = Answer(gateway.settings, record, form.close, whole=whole)
    return answer


def service_of(request: Request) -> TranscriptionService:
    service: TranscriptionService = request.app.state.transcription
    return service


def _model(gateway: Gateway, name: str, kind: Kind) -> BaseModelWrapper:
    """The model a form names. Raises ModelNotFound, or InvalidRequest for another kind."""
    model = gateway.registry.resolve(name)
    if model.spec.kind is not kind:
        bad(
            "model",
            f"The model '{name}' is for {model.spec.kind.value}; here {kind.value} is wanted.",
        )
    return model


def _upload(form: Form) -> SpoolFile:
    if form.file is None:
        bad(FILE, "You must send the recording as 'file'.")
    return form.file


async def _speakers(
    hints: SpeakerHints, form: Form, service: TranscriptionService, *, wanted: bool
) -> Speakers:
    known = []
    if wanted:
        for number, (name, text) in enumerate(zip(hints.names, form.voices, strict=True)):
            audio = await decode_voice(text, service.spool, form, number)
            known.append(KnownSpeaker(name, audio))
    return Speakers(hints.exactly, hints.at_least, hints.at_most, tuple(known))
