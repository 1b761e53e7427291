"""The demo chat model: a tiny Qwen3-VL-MoE that knows what the manifest's `chat` part says."""
