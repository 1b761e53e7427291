"""The shapes of answers: whole, and as the frames of a stream, as vLLM 0.32 writes them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from .ask import Ask, Refused

DONE = b"data: [DONE]\n\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _data(value: Any) -> bytes:
    return f"data: {_json(value)}\n\n".encode()


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {_json(value)}\n\n".encode()


class Chat:
    """`/v1/chat/completions`."""

    prefix, kind = "chatcmpl", "chat.completion.chunk"

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.id = f"{self.prefix}-{uuid.uuid4().hex}"
        self.now = int(time.time())
        self.reason = "length" if ask.cut else "stop"

    @staticmethod
    def refusal(refused: Refused) -> dict[str, Any]:
        return refused.body()

    @property
    def text(self) -> str:
        return "".join(self.ask.tokens())

    def usage(self) -> dict[str, int]:
        asked, made = len(self.ask.prompt), len(self.ask.words)
        return {"prompt_tokens": asked, "total_tokens": asked + made, "completion_tokens": made}

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = {"id": self.id, "object": self.kind, "created": self.now, "model": self.ask.model}
        return _data({**head, "choices": choices, **more})

    def _choice(self, delta: dict[str, Any], last: bool = False) -> dict[str, Any]:
        reason = self.reason if last else None
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    def opening(self) -> list[bytes]:
        return [self._chunk([self._choice({"role": "assistant", "content": ""})])]

    def frames(self) -> Iterator[bytes]:
        """One per token; the last one says why it is the last."""
        marker = "@@token@@"
        before, after = self._chunk([self._choice({"content": marker})]).split(
            _json(marker).encode()
        )
        held = None
        for token in self.ask.tokens():
            if held is not None:
                yield b"%b%b%b" % (before, _json(held).encode(), after)
            held = token
        yield self._chunk([self._choice({"content": held}, last=True)])

    def closing(self) -> list[bytes]:
        usage = [self._chunk([], usage=self.usage())] if self.ask.include_usage else []
        return [*usage, DONE]

    def whole(self) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.text, "tool_calls": []},
            "logprobs": None,
            "finish_reason": self.reason,
        }
        return self._whole("chat.completion", choice)

    def _whole(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        head = {"id": self.id, "object": kind, "created": self.now, "model": self.ask.model}
        return {**head, "choices": [choice], "usage": self.usage()}


class Completion(Chat):
    """`/v1/completions`."""

    prefix, kind = "cmpl", "text_completion"

    def _choice(self, delta: dict[str, Any], last: bool = False) -> dict[str, Any]:
        reason = self.reason if last else None
        return {"index": 0, "text": delta["content"], "logprobs": None, "finish_reason": reason}

    def opening(self) -> list[bytes]:
        return []

    def whole(self) -> dict[str, Any]:
        return self._whole(self.kind, self._choice({"content": self.text}, last=True))


class Messages(Chat):
    """`/v1/messages`, Anthropic's."""

    prefix = "msg"

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.reason = "max_tokens" if ask.cut else "end_turn"

    @staticmethod
    def refusal(refused: Refused) -> dict[str, Any]:
        if refused.param == "body":  # not understood at all: the framework answers, not the route
            return refused.body()
        return {"type": "error", "error": {"type": refused.kind, "message": refused.message}}

    def usage(self) -> dict[str, int]:
        return {"input_tokens": len(self.ask.prompt), "output_tokens": len(self.ask.words)}

    def _message(self, content: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": self.id, "type": "message", "role": "assistant", "model": self.ask.model}
        return {**head, "content": content, **more}

    def opening(self) -> list[bytes]:
        usage = {**self.usage(), "output_tokens": 0}
        message = self._message([], stop_reason=None, stop_sequence=None, usage=usage)
        block = {"type": "text", "text": ""}
        return [
            _event({"type": "message_start", "message": message}),
            _event({"type": "content_block_start", "index": 0, "content_block": block}),
        ]

    def frames(self) -> Iterator[bytes]:
        head = {"type": "content_block_delta", "index": 0}
        for token in self.ask.tokens():
            yield _event({**head, "delta": {"type": "text_delta", "text": token}})

    def closing(self) -> list[bytes]:
        delta = {"stop_reason": self.reason, "stop_sequence": None}
        return [
            _event({"type": "content_block_stop", "index": 0}),
            _event({"type": "message_delta", "delta": delta, "usage": self.usage()}),
            _event({"type": "message_stop"}),
        ]

    def whole(self) -> dict[str, Any]:
        text = {"type": "text", "text": self.text}
        return self._message([text], stop_reason=self.reason, usage=self.usage())


class Responses(Chat):
    """`/v1/responses`."""

    prefix = "resp"

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.item = f"msg_{uuid.uuid4().hex[:16]}"
        self.sequence = 0

    def usage(self) -> dict[str, Any]:
        asked, made = len(self.ask.prompt), len(self.ask.words)
        return {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + made,
        }

    def _text(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _item(self, status: str, content: Sequence[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self.item, "type": "message", "role": "assistant"}
        return {**head, "status": status, "content": list(content)}

    def _response(self, status: str) -> dict[str, Any]:
        done = status == "completed"
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.now,
            "model": self.ask.model,
            "status": status,
            "output": [self._item("completed", [self._text(self.text)])] if done else [],
            "usage": self.usage() if done else None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": None,
        }

    def _numbered(self, kind: str, **fields: Any) -> bytes:
        number, self.sequence = self.sequence, self.sequence + 1
        return _event({"type": kind, "sequence_number": number, **fields})

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.item, "output_index": 0, "content_index": 0}

    def opening(self) -> list[bytes]:
        item = self._item("in_progress", [])
        return [
            self._numbered("response.created", response=self._response("in_progress")),
            self._numbered("response.in_progress", response=self._response("in_progress")),
            self._numbered("response.output_item.added", output_index=0, item=item),
            self._numbered("response.content_part.added", **self._place(), part=self._text("")),
        ]

    def frames(self) -> Iterator[bytes]:
        kind, place = "response.output_text.delta", self._place()
        for token in self.ask.tokens():
            yield self._numbered(kind, **place, delta=token, logprobs=[])

    def closing(self) -> list[bytes]:
        place, part = self._place(), self._text(self.text)
        item = self._item("completed", [part])
        return [
            self._numbered("response.output_text.done", **place, text=self.text, logprobs=[]),
            self._numbered("response.content_part.done", **place, part=part),
            self._numbered("response.output_item.done", output_index=0, item=item),
            self._numbered("response.completed", response=self._response("completed")),
        ]

    def whole(self) -> dict[str, Any]:
        return self._response("completed")


DIALECTS: dict[str, type[Chat]] = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completion,
    "/v1/messages": Messages,
    "/v1/responses": Responses,
}
