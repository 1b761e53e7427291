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
DOWNLOAD_CODES = LASTING_CODES | {
    "hub_unreachable",
    "download_stalled",
    "checksum_mismatch",
    "disk_full",
    "cache_unusable",
    "download_failed",
}
"""All that a download fails of."""


class DownloadFailed(ModelFailed):
    """`code`, one of DOWNLOAD_CODES, says of what; download_failed is a crash of the child."""

    def __init__(
        self,
        code: str,
        message: str,
        url: str | None = None,
        last_words: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, code=code, permanent=code in LASTING_CODES)
        self.url = url
        """Where it can be put right: the licence page of a gated repository."""
        self.last_words = last_words
        """What a child printed that crashed."""
