"""What a download fails of, as an error of the gateway."""

from __future__ import annotations

from backend.app.errors import ModelFailed

TOKEN_CODES = frozenset({"gated", "invalid_token", "repository_not_found"})
"""Failures that another Hugging Face token may cure."""
LASTING_CODES = TOKEN_CODES | {
    "revision_not_found",
    "repository_disabled",
    "file_not_found",
    "bad_repository",
    "nothing_to_load",
}
"""Failures that trying again does not cure by itself."""


class DownloadFailed(ModelFailed):
    """`code` says of what:

    gated, invalid_token, repository_not_found, revision_not_found, repository_disabled,
    file_not_found, bad_repository, nothing_to_load; hub_unreachable, download_stalled,
    checksum_mismatch; disk_full, cache_unusable; download_failed (a crash of the child).
    """

    def __init__(self, code: str, message: str, url: str | None = None) -> None:
        super().__init__(message, code=code, permanent=code in LASTING_CODES)
        self.url = url
        """Where it can be put right: the licence page of a gated repository."""
