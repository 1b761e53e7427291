"""A Hub for tests: a real process that speaks enough of the Hub's HTTP for huggingface_hub.

Repositories are directories `<root>/<owner>/<name>`; `process.FakeHub` starts it and steers it.
"""
