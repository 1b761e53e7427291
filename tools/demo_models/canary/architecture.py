"""The shape of the demo Canary: encoder-decoder with the canary2 prompt, and its CTC aligner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTH = 128
LAYERS = 3
HEADS = 4
SUBSAMPLING = 8
RATE = 16000

LANGUAGES = (
    *("bg", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "de", "el", "hu", "it"),
    *("lv", "lt", "mt", "pl", "pt", "ro", "sk", "sl", "es", "sv", "ru", "uk"),
)
"""Canary's 25 languages: all have a token, so that none is an error, though few are learnt."""
CONTROL = (
    *("<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|startofcontext|>"),
    *("<|pnc|>", "<|nopnc|>", "<|itn|>", "<|noitn|>", "<|timestamp|>", "<|notimestamp|>"),
    *("<|diarize|>", "<|nodiarize|>"),
    *(f"<|emo:{mood}|>" for mood in ("undefined", "neutral", "angry", "happy", "sad")),
    *(f"<|{language}|>" for language in LANGUAGES),
)

ASR = "nemo.collections.asr"


def canary_config(tokenizer: Path) -> dict[str, Any]:
    """Configuration of the EncDecMultiTaskModel."""
    slots = {
        "decodercontext": "",
        "source_lang": "<|en|>",
        "target_lang": "<|en|>",
        "emotion": "<|emo:undefined|>",
        "pnc": "<|pnc|>",
        "itn": "<|noitn|>",
        "diarize": "<|nodiarize|>",
        "timestamp": "<|notimestamp|>",
    }
    custom = "nemo.collections.common.tokenizers.canary_tokenizer.CanaryBPETokenizer"
    return {
        "target": f"{ASR}.models.aed_multitask_models.EncDecMultiTaskModel",
        "sample_rate": RATE,
        "label_smoothing": 0.0,
        "context_len_for_AR_decoding": 5,
        "log_prediction": False,
        "prompt_format": "canary2",
        "prompt_defaults": [{"role": "user", "slots": slots}],
        "model_defaults": {
            "asr_enc_hidden": WIDTH,
            "lm_enc_hidden": WIDTH,
            "lm_dec_hidden": WIDTH,
        },
        "use_loss_mask_for_prompt": True,
        "tokenizer": {
            "dir": str(tokenizer),
            "type": "bpe",
            "custom_tokenizer": {"_target_": custom},
        },
        "preprocessor": _preprocessor(),
        "encoder": _encoder(),
        "spec_augment": None,
        "transf_encoder": {
            "_target_": f"{ASR}.modules.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 0,
            "hidden_size": WIDTH,
            "inner_size": 2 * WIDTH,
            "num_attention_heads": HEADS,
            "mask_future": False,
            "pre_ln": True,
            "pre_ln_final_layer_norm": True,
        },
        "transf_decoder": {
            "_target_": f"{ASR}.modules.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": 1024,
                "num_token_types": 0,
                "embedding_dropout": 0.0,
                "learn_positional_encodings": False,
                "hidden_size": WIDTH,
                "inner_size": 2 * WIDTH,
                "num_layers": 2,
                "num_attention_heads": HEADS,
                "ffn_dropout": 0.0,
                "attn_score_dropout": 0.0,
                "attn_layer_dropout": 0.0,
                "hidden_act": "relu",
                "pre_ln": True,
                "vocab_size": None,
            },
        },
        "head": {
            "_target_": f"{ASR}.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": True,
            "hidden_size": WIDTH,
            "num_classes": None,
            "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": {
            "strategy": "beam",
            "return_best_hypothesis": True,
            "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50},
        },
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy"
            ".SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
        "optim": {"name": "adamw", "lr": 1e-3},
    }


def aligner_config(tokenizer: Path) -> dict[str, Any]:
    """Configuration of the CTC model that gives timestamps; its encoder is the Canary's."""
    return {
        "target": f"{ASR}.models.ctc_bpe_models.EncDecCTCModelBPE",
        "sample_rate": RATE,
        "log_prediction": False,
        "ctc_reduction": "mean_batch",
        "skip_nan_grad": False,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": _preprocessor(),
        "encoder": _encoder(),
        "spec_augment": None,
        "decoder": {
            "_target_": f"{ASR}.modules.ConvASRDecoder",
            "feat_in": WIDTH,
            "num_classes": -1,
            "vocabulary": [],
        },
        "decoding": {"strategy": "greedy"},
        "optim": {"name": "adamw", "lr": 1e-3},
    }


def _preprocessor() -> dict[str, Any]:
    return {
        "_target_": f"{ASR}.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": RATE,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": 80,
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": 1e-5,
        "pad_to": 0,
        "pad_value": 0.0,
    }


def _encoder() -> dict[str, Any]:
    return {
        "_target_": f"{ASR}.modules.ConformerEncoder",
        "feat_in": 80,
        "feat_out": -1,
        "n_layers": LAYERS,
        "d_model": WIDTH,
        "use_bias": False,
        "subsampling": "dw_striding",
        "subsampling_factor": SUBSAMPLING,
        "subsampling_conv_channels": 32,
        "causal_downsampling": False,
        "ff_expansion_factor": 2,
        "self_attention_model": "rel_pos",
        "n_heads": HEADS,
        "att_context_size": [-1, -1],
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": 9,
        "conv_norm_type": "layer_norm",
        "dropout": 0.0,
        "dropout_pre_encoder": 0.0,
        "dropout_emb": 0.0,
        "dropout_att": 0.0,
    }
