"""The fake engine: a real process that speaks vLLM's HTTP on a Unix socket.

Answers are the words of the last user message, in reverse order, then `tok1 tok2 …` up to the
length asked for; an image counts as one word that names its type, size and checksum. So a test
can prove that what it sent is what the engine read. One-token requests are probes: they are
answered, but count in no statistic and trigger no misbehaviour.

Besides vLLM's routes there are `GET /fake/stats` and `GET /fake/last` (the last request as it
arrived); tests read them on the socket.
"""
