"""The operator's API. Which key opens it is decided in `auth.py`, before a body is read."""

from fastapi import APIRouter

from backend.app.api.admin import cache, events, huggingface, logs, models, reload, requests, status
from backend.app.api.refusals import refusals
from backend.app.errors import Forbidden, Internal, InvalidRequest, Unauthorized

router = APIRouter(
    prefix="/api/admin",
    tags=["admin"],
    responses=refusals(InvalidRequest, Unauthorized, Forbidden, Internal),
)
for part in (status, reload, models, huggingface, cache, events, logs, requests):
    router.include_router(part.router)
