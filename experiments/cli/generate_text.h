// Tokens as text, for results and while they come.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb::cli {

// Ids the tokenizer does not know (a padded vocabulary has some) are shown as U+FFFD.
class TextOutput {
 public:
  // Null: everything that needs text is null, and ids stand for it.
  explicit TextOutput(const Tokenizer* tokenizer, std::string why_none = "")
      : tokenizer_(tokenizer), why_none_(std::move(why_none)) {}

  bool has_text() const { return tokenizer_ != nullptr; }
  const std::string& why_none() const { return why_none_; }
  std::string decode(std::span<const int32_t> ids) const;
  // What the tokens after the prompt add to it: decoding depends on what stands before.
  std::string added(std::span<const int32_t> tokens, size_t n_prompt) const;

  Json whole(std::span<const int32_t> tokens) const;
  Json continuation(std::span<const int32_t> tokens, size_t n_prompt) const;
  std::string continuation_or_ids(std::span<const int32_t> tokens, size_t n_prompt) const;

 private:
  const Tokenizer* tokenizer_;
  std::string why_none_;
};

// Prints new text as soon as its characters are complete, and finds stop texts in it.
class TextStream {
 public:
  TextStream(const TextOutput& text, const std::vector<std::vector<int32_t>>& prompts,
             std::vector<std::string> stops, bool print);

  bool prints() const { return print_; }
  // True when the new text contains a stop text.
  bool after_token(size_t prompt, std::span<const int32_t> new_tokens);
  void finish();

 private:
  const TextOutput* text_;
  std::vector<std::vector<int32_t>> contexts_;  // the last tokens of each prompt
  std::vector<std::string> stops_;
  bool print_;
  std::string shown_, pending_;
};

}  // namespace plumb::cli
