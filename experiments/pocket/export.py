"""A training checkpoint in its family's published layout, weights rounded to bf16.

    python export.py RUN/checkpoint.pt --tokenizer tokenizer.json --out ../models/NAME [--converted DIR]

--converted: for april, the folder that `plumb convert` made; its config.json is kept but for the mean recurrence.
"""
import argparse
import collections
import importlib
import json
import os
import shutil

import torch
from safetensors.torch import save_file

from april import to_published
from common import init_std
from crow import layer_types

BEGIN, END, PAD = 4090, 4091, 4092  # <|begin_text|> <|end_text|> <|pad|> of the byte-level BPE


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, sort_keys=True, ensure_ascii=False)
        f.write("\n")


def write_weights(path, tensors):
    save_file({n: t.detach().bfloat16().contiguous() for n, t in tensors.items()}, path, metadata={"format": "pt"})


def write_bpe(tokenizer, folder):
    os.makedirs(folder, exist_ok=True)
    shutil.copyfile(tokenizer, f"{folder}/tokenizer.json")
    write_json(f"{folder}/tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_text|>", "eos_token": "<|end_text|>",
        "pad_token": "<|pad|>", "clean_up_tokenization_spaces": False, "model_max_length": 1024})


def generation_config(folder, begin=BEGIN, end=END, pad=PAD):
    write_json(f"{folder}/generation_config.json", {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad})


def raven(c, weights, out, args):
    """Huginn's layout. The head is tied; the second copy that Huginn publishes is left out."""
    std = init_std(c.dim)
    layers = c.prelude + c.core + c.coda
    write_json(f"{out}/config.json", {
        "model_type": "huginn_raven", "architectures": ["RavenForCausalLM"], "architecture_class_name": "RecurrentGPT",
        "block_class_name": "SandwichBlock", "norm_class_name": "RMSNorm_llama", "mlp_class_name": "GatedMLP",
        "nonlin_name": "SiLU", "n_embd": c.dim, "n_heads": c.heads, "num_key_value_heads": c.heads,
        "head_dim": c.dim // c.heads, "n_layers": layers, "n_layers_in_prelude": c.prelude,
        "n_layers_in_recurrent_block": c.core, "n_layers_in_coda": c.coda, "intermediate_size": c.ff,
        "vocab_size": c.vocab, "padded_vocab_size": c.vocab, "padding_multiple": 64, "block_size": c.block_size,
        "rope_base": c.rope_base, "norm_eps": 1e-6, "qk_bias": True, "bias": False, "tie_embeddings": True,
        "injection_type": "linear", "state_init": "like-init", "init_strategy": "takase",
        "sampling_scheme": "poisson-lognormal-filling", "mean_recurrence": c.mean_steps,
        "mean_backprop_depth": c.max_steps, "effective_expected_depth": c.effective_depth,
        "init_values": {"std": std, "embedding": std, "embed_scale": c.dim ** 0.5,
                        "out_proj": std / (2 * c.effective_depth) ** 0.5},
        "test_time_noise": 0, "test_time_noise_type": "fixed", "bos_token_id": BEGIN, "eos_token_id": END,
        "pad_token_id": PAD, "torch_dtype": "bfloat16"})
    write_weights(f"{out}/model.safetensors", weights)
    write_bpe(args.tokenizer, out)
    generation_config(out)


def llama(c, weights, out, args):
    write_json(f"{out}/config.json", {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": c.dim, "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads, "head_dim": c.dim // c.heads,
        "intermediate_size": c.ff, "vocab_size": c.vocab, "max_position_embeddings": c.positions, "hidden_act": "silu",
        "rms_norm_eps": c.norm_eps, "rope_theta": c.rope_theta, "rope_scaling": None, "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": BEGIN, "eos_token_id": END, "torch_dtype": "bfloat16"})
    write_weights(f"{out}/model.safetensors", weights)
    write_bpe(args.tokenizer, out)
    generation_config(out)


def april(c, weights, out, args):
    config = json.load(open(f"{args.converted}/config.json"))
    config["mean_recurrence"] = c.mean_steps
    write_json(f"{out}/config.json", config)
    write_weights(f"{out}/model.safetensors", to_published(weights))
    write_bpe(args.tokenizer, out)
    generation_config(out)


def act(c, weights, out, args):
    """base.safetensors, tokenizer/, and a config.json, since no shape shows heads, steps or memory."""
    write_json(f"{out}/config.json", {
        "model_type": "act_recurrent", "vocab_size": c.vocab, "dim": c.dim, "n_heads": c.heads, "head_dim": c.dim // c.heads,
        "ffn_hidden": c.ff, "max_steps": c.max_steps, "position": "rope", "rope_theta": c.rope_theta, "rope_layout": "half",
        "max_positions": 0, "step_embedding": "none", "input_injection": "none", "norm_type": "rms", "norm_place": "pre",
        "norm_eps": c.norm_eps, "final_norm": True, "embed_scale": 1.0, "logit_softcap": 0.0, "halting": "act",
        "epsilon": c.epsilon, "threshold": 0.5, "halt_input": "after", "combine": "sum", "at_max": "remainder",
        "halted_state": "frozen", "memory": "per_step", "mem_len": c.mem_len, "same_length": False, "tie_embeddings": True,
        "segment_len": c.segment})
    weights.pop("price")
    write_weights(f"{out}/base.safetensors", weights)
    write_bpe(args.tokenizer, f"{out}/tokenizer")


def crow(c, weights, out, args):
    """A torch.save dictionary: step, cfg (flat), model with the head sharing the embedding's storage."""
    published = {n.replace("layers.", "blocks.").replace("norm_f.", "final_norm."): t.bfloat16().clone()
                 for n, t in weights.items()}
    published["lm_head.weight"] = published["tok_emb.weight"]
    state = collections.OrderedDict(published)
    state._metadata = {"": {"version": 1}}
    cfg = {"vocab_size": c.vocab, "dim": c.dim, "n_layers": c.layers, "n_heads": c.heads, "head_dim": c.dim // c.heads,
           "mlp_hidden": c.ff, "max_seq_len": c.positions, "sliding_window": c.window, "rms_eps": c.norm_eps,
           "rope_theta": c.rope_theta, "rope_layout": "interleaved", "window_convention": "keys",
           "logit_softcap": c.softcap, "tie_embeddings": True}
    torch.save({"step": args.step, "cfg": cfg, "model": state}, f"{out}/step_{args.step:06d}.pt")
    assert layer_types(c.layers)[-1] == "global"
    write_bpe(args.tokenizer, out)


def byrne(c, weights, out, args):
    """Rope buffers and the head's copy are left out: a loader builds the same tables and ties the head."""
    write_json(f"{out}/config.json", {
        "model_type": "spike_whale", "architectures": ["SpikeWhaleLM"], "vocab_size": c.vocab, "hidden_size": c.dim,
        "num_hidden_layers": c.layers, "max_position_embeddings": c.positions, "num_attention_heads": c.heads,
        "num_key_value_heads": 1, "head_dim": c.head_dim, "nope_head_dim": c.nope_dim, "qk_rope_head_dim": c.rope_dim,
        "q_lora_rank": c.q_rank, "o_lora_rank": c.o_rank, "rope_theta": c.rope_theta, "rms_norm_eps": c.norm_eps,
        "use_qk_norm": True, "use_xsa": True, "use_derf": False, "use_value_embed": False, "moe_intermediate_size": c.ff,
        "use_moe": False, "moe_layers": [], "n_routed_experts": 6, "n_shared_experts": 1, "num_experts_per_tok": 2,
        "norm_topk_prob": True, "routed_scaling_factor": 1.0, "scoring_func": "sqrtsoftplus", "moe_aux_loss_coef": 0.01,
        "num_hash_layers": 2, "use_engram": True, "engram_compress_dim": c.engram_dim, "engram_num_heads": c.engram_heads,
        "engram_table_size": c.engram_rows, "engram_max_ngram": c.engram_ngram, "engram_gate_init_bias": -1.0,
        "use_hyper_connections": True, "hc_mult": c.streams, "hc_sinkhorn_iters": c.sinkhorn, "hc_eps": c.hc_eps,
        "use_hrm_refine": True, "hrm_refine_dim": c.hrm_dim, "hrm_refine_steps": c.hrm_steps,
        "num_nextn_predict_layers": 0, "use_jepa": False, "jepa_horizon": 1, "jepa_pred_dim": 256,
        "jepa_loss_weight": 0.1, "mtp_loss_weight": 0.3, "zloss_coef": 1e-4, "tie_word_embeddings": True,
        "hidden_dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.02, "pad_token_id": 0, "bos_token_id": 2,
        "eos_token_id": 3, "dtype": "bfloat16", "use_cache": True})
    write_weights(f"{out}/model.safetensors", weights)
    shutil.copyfile(args.tokenizer, f"{out}/tokenizer.json")
    write_json(f"{out}/tokenizer_config.json", {
        "tokenizer_class": "SpikeTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
        "unk_token": "<unk>"})


WRITERS = {f.__name__: f for f in (raven, llama, april, act, crow, byrne)}


def load(path):
    """Module, config and float weights of a training checkpoint."""
    saved = torch.load(path)
    module = importlib.import_module(saved["architecture"])
    config = module.Config()
    vars(config).update(saved["config"])
    return module, config, saved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--converted")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    _, config, saved = load(args.checkpoint)
    args.step = saved["step"]
    WRITERS[saved["architecture"]](config, dict(saved["model"]), args.out, args)
