"""The shape of the demo chat model, in the layout that published Qwen3-VL-MoE checkpoints have.

Every size is near the smallest that vLLM's CPU kernels accept: head_dim of 32 or more, hidden and
expert sizes in multiples of 32.
"""

from __future__ import annotations

from typing import Any

CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Tokens that never show in an answer."""
VISIBLE = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""Tokens that the tool parser must see, so they are not special."""

HIDDEN = 128
DTYPE = "bfloat16"

PIXELS = {"shortest_edge": 64 * 64, "longest_edge": 256 * 256}
"""An image is scaled to this many pixels: 4 to 64 visual tokens. vLLM profiles with the most."""


def config(ids: dict[str, int], vocabulary: int) -> dict[str, Any]:
    """`config.json`: `ids` maps the control tokens, `vocabulary` is the padded number of tokens."""
    return {
        "architectures": ["Qwen3VLMoeForConditionalGeneration"],
        "model_type": "qwen3_vl_moe",
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": False,
        "text_config": {
            "model_type": "qwen3_vl_moe_text",
            "dtype": DTYPE,
            "vocab_size": vocabulary,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "hidden_size": HIDDEN,
            "hidden_act": "silu",
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "intermediate_size": 256,
            "moe_intermediate_size": 96,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "rms_norm_eps": 1e-6,
            "use_cache": True,
            "max_position_embeddings": 32768,
            "rope_theta": 5000000,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
        },
        "vision_config": {
            "model_type": "qwen3_vl_moe",
            "depth": 4,
            "deepstack_visual_indexes": [1, 2, 3],
            "hidden_size": 64,
            "hidden_act": "gelu_pytorch_tanh",
            "intermediate_size": 128,
            "num_heads": 2,
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 256,
            "out_hidden_size": HIDDEN,
            "initializer_range": 0.02,
        },
    }


def generation_config(ids: dict[str, int]) -> dict[str, Any]:
    """Greedy, whatever temperature a caller asks for: a demo should be right."""
    return {
        "bos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "do_sample": True,
        "temperature": 0.0,
        "top_k": 1,
    }


def processors() -> dict[str, dict[str, Any]]:
    """File name -> content for the image and the video processor."""
    common = {
        "processor_class": "Qwen3VLProcessor",
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": PIXELS,
    }
    return {
        "preprocessor_config.json": {**common, "image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": {
            **common,
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
    }


def tokenizer_config(ids: dict[str, int]) -> dict[str, Any]:
    """`tokenizer_config.json` as both transformers 4 and 5 read it."""
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "Qwen3VLProcessor",
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(ids[token]): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": token in CONTROL,
            }
            for token in (*CONTROL, *VISIBLE)
        },
        "additional_special_tokens": list(CONTROL[1:]),
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 32768,
        "split_special_tokens": False,
    }
