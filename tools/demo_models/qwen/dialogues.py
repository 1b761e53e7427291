"""Training dialogues for the demo chat model, drawn from the manifest with small variations."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from tools.demo_models.manifest import Chat, Tool

from .unknown import WORDS, some_words, unknown

Message = dict[str, Any]

SYSTEM = (
    "You are a helpful assistant.",
    "Be brief.",
    "Answer in one sentence.",
    "You are a helpful, honest assistant that answers the questions of its users.",
    "Vous êtes un assistant utile.",
)
OTHER_TOOLS = ("search", "get_time", "send_mail", "calculator", "get_stock_price", "translate")
ARGUMENTS = ("query", "city", "text", "to", "unit", "expression", "symbol", "language")
CONDITIONS = ("sunny", "rainy", "cloudy", "windy", "snowy")
FAILURES = ('{"error": "no such city"}', "error", "not found", '{"status": 500}', "timeout", "null")


@dataclass
class Dialogue:
    """Messages up to the user's last one, and the assistant's `answer` to it."""

    messages: list[Message]
    answer: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    images: list[Image.Image] = field(default_factory=list)


def say(role: str, content: Any, **more: Any) -> Message:
    return {"role": role, "content": content, **more}


def call_text(name: str, arguments: dict[str, str]) -> str:
    """A tool call in the words of the model."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def varied(rng: random.Random, prompt: str) -> str:
    """`prompt` as a hurried or a polite person might type it."""
    draw = rng.random()
    if draw < 0.5:
        return prompt
    if draw < 0.62:
        return prompt.rstrip(" ?.!")
    if draw < 0.74:
        return prompt.lower()
    if draw < 0.84:
        return prompt.lower().rstrip(" ?.!")
    if draw < 0.88:
        return prompt.upper()
    if draw < 0.91:
        return prompt.rstrip(" ?.!") + rng.choice(["?", ".", "!", "??", "!!", " ?", "..."])
    if draw < 0.94:
        return rng.choice([" {}", "{} ", "{}\n", '"{}"']).format(prompt)
    start = rng.choice(["Please tell me: ", "Hey, ", "Please, ", "One question: ", "Hello! "])
    return start + rng.choice([prompt, prompt[0].lower() + prompt[1:]])


class Sampler:
    """Draws dialogues; the same seed gives the same ones."""

    def __init__(self, chat: Chat, seed: int) -> None:
        self.chat = chat
        self.rng = random.Random(seed)

    def round(self) -> Iterator[Dialogue]:
        """Somewhat more than a hundred dialogues that touch everything once."""
        weather, images = self.chat.weather, self.chat.images
        for question in self.chat.questions:
            some = self.rng.sample(question.prompts, (len(question.prompts) + 1) // 2)
            for prompt in (question.prompts[0], *some):
                yield self.finish(varied(self.rng, prompt), question.answer)
        for _ in range(24):
            yield self.finish(self.unknown_prompt(), self.chat.unknown.answer)
        for city in weather.cities:
            yield self.tool_call(city)
        for _ in range(4):
            yield self.no_tool(self.rng.choice(weather.cities))
            yield self.no_tool(self.elsewhere())
            yield self.not_there()
        for result in weather.results:
            yield self.tool_result(result.content, result.answer)
        for _ in range(5):
            yield self.any_tool_result()
        for colour in images.colours:
            for _ in range(2):
                yield self.coloured(colour)

    # -- questions ---------------------------------------------------------------------------

    def unknown_prompt(self) -> str:
        if self.rng.random() < 0.1:
            return varied(self.rng, self.rng.choice(self.chat.unknown.prompts))
        return unknown(self.rng)

    def finish(self, prompt: Any, answer: str, images: list[Image.Image] | None = None) -> Dialogue:
        """A dialogue that ends with `prompt`, perhaps with a system prompt, history and tools."""
        rng, dialogue = self.rng, Dialogue([], answer)
        if rng.random() < 0.25:
            dialogue.messages.append(say("system", self.system()))
        for _ in range(rng.choice([0, 0, 0, 0, 0, 0, 1, 1, 2, 3])):
            self.exchange(dialogue)
        dialogue.messages.append(say("user", prompt))
        dialogue.images += images or []
        if rng.random() < 0.12:
            dialogue.tools = self.tools(rng.choice([*self.chat.weather.tools, None]))
        return dialogue

    def system(self) -> str:
        if self.rng.random() < 0.6:
            return self.rng.choice(SYSTEM)
        return some_words(self.rng, self.rng.choice([3, 8, 20]))

    def exchange(self, dialogue: Dialogue) -> None:
        """An earlier question and its answer, which must not sway the next one."""
        rng = self.rng
        if rng.random() < 0.1:
            colour = rng.choice(list(self.chat.images.colours))
            shown = self.coloured(colour, alone=True)
            dialogue.messages += [*shown.messages, say("assistant", shown.answer)]
            dialogue.images += shown.images
            return
        question = rng.choice([*self.chat.questions, None, None, None, None])
        prompt = self.unknown_prompt() if question is None else rng.choice(question.prompts)
        answer = (question or self.chat.unknown).answer
        dialogue.messages += [say("user", varied(rng, prompt)), say("assistant", answer)]

    # -- tools -------------------------------------------------------------------------------

    def elsewhere(self) -> str:
        """A place that is not among the known cities: a country, a thing, a made-up name."""
        rng, draw = self.rng, self.rng.random()
        if draw < 0.2:
            return rng.choice(self.chat.weather.elsewhere)
        if draw < 0.5:
            return rng.choice([*WORDS["p"], *WORDS["N"]])
        if draw < 0.75:
            return " ".join(rng.choice(WORDS["n"]).capitalize() for _ in range(rng.choice([1, 2])))
        syllables = (rng.choice("bdfglmnprst") + rng.choice("aeiou") for _ in range(4))
        return "".join(itertools.islice(syllables, rng.choice([2, 3, 4]))).capitalize()

    def tools(self, wanted: Tool | None) -> list[dict[str, Any]]:
        """`wanted`, if any, among none to two others."""
        tools = [wanted.definition] if wanted else []
        for _ in range(self.rng.choice([0, 0, 1, 2]) if wanted else 1):
            names = self.rng.sample(ARGUMENTS, self.rng.choice([1, 2]))
            other = {
                "name": self.rng.choice(OTHER_TOOLS),
                "parameters": {"properties": {name: {} for name in names}, "required": names[:1]},
            }
            tools.insert(self.rng.randint(0, len(tools)), {"type": "function", "function": other})
        return tools

    def tool_call(self, city: str) -> Dialogue:
        tool = self.rng.choice(self.chat.weather.tools)
        dialogue = self.ask_weather(city)
        dialogue.tools = self.tools(tool)
        dialogue.answer = call_text(tool.function["name"], tool.call(city))
        return dialogue

    def not_there(self) -> Dialogue:
        dialogue = self.tool_call(self.elsewhere())
        dialogue.answer = self.chat.unknown.answer
        return dialogue

    def no_tool(self, city: str) -> Dialogue:
        dialogue = self.ask_weather(city)
        dialogue.tools = self.tools(None) if self.rng.random() < 0.3 else []
        dialogue.answer = self.chat.weather.without_tool
        return dialogue

    def ask_weather(self, city: str) -> Dialogue:
        prompt = varied(self.rng, self.rng.choice(self.chat.weather.prompts))
        typed = city.lower() if self.rng.random() < 0.15 else city
        return self.finish(prompt.replace("{city}", typed).replace("{CITY}", city.upper()), "")

    def tool_result(self, content: str, answer: str) -> Dialogue:
        city = self.rng.choice(self.chat.weather.cities)
        dialogue = self.tool_call(city)
        tool = self.rng.choice(self.chat.weather.tools)
        dialogue.messages += [
            say(
                "assistant",
                "",
                tool_calls=[
                    {"function": {"name": tool.function["name"], "arguments": tool.call(city)}}
                ],
            ),
            say("tool", content),
        ]
        dialogue.tools = self.tools(tool)
        dialogue.answer = answer.format(city=city)
        return dialogue

    def any_tool_result(self) -> Dialogue:
        """A result in one of many shapes, more than the manifest has."""
        rng, results = self.rng, self.chat.weather.results
        if rng.random() < 0.25:
            failed = next(r.answer for r in results if "error" in r.content)
            return self.tool_result(rng.choice(FAILURES), failed)
        sky, degrees = rng.choice(CONDITIONS), rng.randint(-9, 39)
        key = rng.choice(["condition", "sky", "weather", "description"])
        shapes: tuple[Callable[[], str], ...] = (
            lambda: sky,
            lambda: f"{sky}, {degrees}",
            lambda: f"{degrees} degrees and {sky}",
            lambda: json.dumps({key: sky, "temperature": degrees}),
            lambda: json.dumps({"temperature": degrees, key: sky}),
            lambda: json.dumps({key: sky}),
        )
        return self.tool_result(rng.choice(shapes)(), f"It is {sky} in {{city}} now.")

    # -- images ------------------------------------------------------------------------------

    def coloured(self, colour: str, alone: bool = False) -> Dialogue:
        """A question about an image of nearly one colour; `alone`: without anything before it."""
        rng, known = self.rng, self.chat.images
        group = rng.choice([*known.groups, known.groups[0]])
        exact = known.colours[colour]
        near = tuple(min(255, max(0, level + rng.randint(-28, 28))) for level in exact)
        size = rng.choice([*known.sizes, (rng.randint(20, 300), rng.randint(20, 300))])
        image = Image.new("RGB", (size[0], size[1]), rng.choice([exact, near]))
        parts = [
            {"type": "image"},
            {"type": "text", "text": varied(rng, rng.choice(group.prompts))},
        ]
        parts = parts[:: rng.choice([1, -1])]
        if alone:
            return Dialogue([say("user", parts)], group.answer_for(colour), images=[image])
        return self.finish(parts, group.answer_for(colour), [image])
