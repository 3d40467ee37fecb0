// Taps: the fixed vocabulary of places inside a model that can be looked at.
//
// A tap is a name with a shape and a meaning; where it fires is a Place (stage, block, step). A
// model declares the taps it can fire (ModelInfo::taps); asking for another one is an error.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace plumb {

enum class Tap : uint8_t {
  kEmbedding,
  kInjected,
  kAdapterOut,
  kBlockOut,
  kAttentionOut,
  kQuery,
  kKey,
  kFeedForwardOut,
  kState,
  kLatent,
  kHeadInput,
  kLogits,
  kEntropy,
  kGate,
};

struct TapRow {
  Tap tap;
  std::string_view name;
  std::string_view shape;    // rows are tokens of the call
  std::string_view meaning;
};

inline constexpr std::array<TapRow, 14> kTaps = {{
    {Tap::kEmbedding, "embedding", "[n_tokens, model_dim]", "scaled token embeddings, before the prelude"},
    {Tap::kInjected, "injected", "[n_tokens, model_dim]", "prelude output e, added to every step"},
    {Tap::kAdapterOut, "adapter", "[n_tokens, model_dim]", "core input of a step, from state and e"},
    {Tap::kBlockOut, "block", "[n_tokens, model_dim]", "residual stream after a block"},
    {Tap::kAttentionOut, "attention", "[n_tokens, model_dim]", "attention branch after its output projection"},
    {Tap::kQuery, "query", "[n_tokens, n_heads * head_dim]", "queries after bias and rope"},
    {Tap::kKey, "key", "[n_tokens, n_kv_heads * head_dim]", "keys after bias and rope"},
    {Tap::kFeedForwardOut, "feed-forward", "[n_tokens, model_dim]", "feed-forward branch"},
    {Tap::kState, "state", "[n_tokens, model_dim]", "raw latent state s_k after step k"},
    {Tap::kLatent, "latent", "[n_tokens, model_dim]", "what the public forward returns as latent_states"},
    {Tap::kHeadInput, "head-input", "[n_tokens, model_dim]", "normalised input of the output head"},
    {Tap::kLogits, "logits", "[n_tokens, vocab_size]", "output logits"},
    {Tap::kEntropy, "entropy", "[n_tokens, 1]", "softmax entropy of the logits, nats"},
    {Tap::kGate, "gate", "[n_tokens, 1]", "the model's own cumulative halting probability"},
}};

constexpr const TapRow& tap_row(Tap tap) { return kTaps[static_cast<size_t>(tap)]; }

constexpr std::optional<Tap> parse_tap(std::string_view name) {
  for (const TapRow& row : kTaps)
    if (row.name == name) return row.tap;
  return std::nullopt;
}

}  // namespace plumb
