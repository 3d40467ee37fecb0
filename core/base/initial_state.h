// Initial latent states s_0 that are a function of (seed, row, position) alone: the same for a
// prefill, a token at a time, any batch split and any number of threads.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace plumb {

// How one row s_0 [model_dim] is drawn. The first is what depth-recurrent Raven models do at
// inference, the others are the alternatives of their training code.
enum class InitialStateKind {
  kLikeInit,  // N(0, std^2) truncated to +-3 std, times emb_scale
  kZero,      // zeros
  kNormal,    // N(0, 1)
  kEmbed,     // N(0, 1) / sqrt(model_dim)
  kUnit,      // N(0, 1), then shifted and scaled to mean 0 and unbiased standard deviation 1
};

// The command-line spelling: "like-init", "zero", "normal", "embed", "unit".
std::string_view initial_state_name(InitialStateKind kind);
std::optional<InitialStateKind> parse_initial_state(std::string_view name);
// All spellings, for messages: "like-init, zero, ...".
std::string initial_state_names();

struct InitialStateScale {
  double std = 1.0;        // the config's init_values.std; read by kLikeInit only
  double emb_scale = 1.0;  // the config's init_values.embed_scale; read by kLikeInit only
  // Multiplies the standard deviation (and with it the truncation bounds) of every kind: row(c) is
  // c times row(1) up to one rounding, and 0 gives zeros. For kUnit it acts after standardising.
  double init_scale = 1.0;
};

// Fills one row. Kinds share the underlying draws: at one (seed, row, position) `embed` is `normal`
// over sqrt(model_dim).
// REQUIRES std, emb_scale, init_scale finite and >= 0; model_dim >= 2 for kUnit.
void fill_initial_row(InitialStateKind kind, uint64_t seed, uint32_t row, uint32_t position,
                      const InitialStateScale& scale, std::span<float> out);

}  // namespace plumb
