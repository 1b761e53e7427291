"""A stand-in for vLLM that answers at once and misbehaves on demand (see `vllm.fake`)."""

__version__ = "0.0.0+fake"
