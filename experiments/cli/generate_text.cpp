#include "experiments/cli/generate_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace plumb::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
// Tokens of a prompt that new text is decoded behind: enough for any character to be complete.
constexpr size_t kContext = 8;

// Bytes at the end that a further token may still change.
size_t unsettled(std::string_view text) {
  size_t end = text.size();
  while (end >= kReplacement.size() &&
         text.substr(end - kReplacement.size(), kReplacement.size()) == kReplacement)
    end -= kReplacement.size();
  size_t begin = end;
  while (begin > 0 && end - begin < 4 &&
         (static_cast<unsigned char>(text[begin - 1]) & 0xC0) == 0x80)
    --begin;
  if (begin > 0 && static_cast<unsigned char>(text[begin - 1]) >= 0xC0) {
    const auto lead = static_cast<unsigned char>(text[begin - 1]);
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (end - (begin - 1) < length) end = begin - 1;
  }
  return text.size() - end;
}

}  // namespace

std::string TextOutput::decode(std::span<const int32_t> ids) const {
  if (auto text = tokenizer_->decode(ids); text.ok()) return std::move(text).value();
  std::string all;
  for (size_t begin = 0; begin < ids.size();) {
    size_t end = begin;
    while (end < ids.size() && static_cast<size_t>(ids[end]) < tokenizer_->vocab_size()) ++end;
    const auto text = tokenizer_->decode(ids.subspan(begin, end - begin));
    all += text.ok() ? text.value() : std::string(kReplacement);
    for (; end < ids.size() && static_cast<size_t>(ids[end]) >= tokenizer_->vocab_size(); ++end)
      all += kReplacement;
    begin = end;
  }
  return all;
}

std::string TextOutput::added(std::span<const int32_t> tokens, size_t n_prompt) const {
  const size_t from = n_prompt - std::min(n_prompt, kContext);
  const std::string before = decode(tokens.subspan(from, n_prompt - from)),
                    all = decode(tokens.subspan(from));
  if (all.starts_with(before)) return all.substr(before.size());
  return decode(tokens.subspan(n_prompt));
}

Json TextOutput::whole(std::span<const int32_t> tokens) const {
  return has_text() ? Json(decode(tokens)) : Json();
}

Json TextOutput::continuation(std::span<const int32_t> tokens, size_t n_prompt) const {
  return has_text() ? Json(added(tokens, n_prompt)) : Json();
}

std::string TextOutput::continuation_or_ids(std::span<const int32_t> tokens,
                                            size_t n_prompt) const {
  if (has_text()) return added(tokens, n_prompt);
  return fmt::format("{}", fmt::join(tokens.subspan(n_prompt), ","));
}

TextStream::TextStream(const TextOutput& text, const std::vector<std::vector<int32_t>>& prompts,
                       std::vector<std::string> stops, bool print)
    : text_(&text), stops_(std::move(stops)), print_(print) {
  for (const auto& prompt : prompts)
    contexts_.emplace_back(
        prompt.end() - static_cast<std::ptrdiff_t>(std::min(prompt.size(), kContext)),
        prompt.end());
}

bool TextStream::after_token(size_t prompt, std::span<const int32_t> new_tokens) {
  if (!text_->has_text()) {
    std::printf("%s%d", new_tokens.size() > 1 ? "," : "", new_tokens.back());
    std::fflush(stdout);
    return false;
  }
  const std::vector<int32_t>& context = contexts_[prompt];
  std::vector<int32_t> tokens = context;
  tokens.insert(tokens.end(), new_tokens.begin(), new_tokens.end());
  const std::string text = text_->added(tokens, context.size());
  if (print_) {
    pending_ = text;
    const size_t settled = text.size() - unsettled(text);
    if (settled > shown_.size()) {
      std::fwrite(text.data() + shown_.size(), 1, settled - shown_.size(), stdout);
      std::fflush(stdout);
      shown_ = text.substr(0, settled);
    }
  }
  return std::any_of(stops_.begin(), stops_.end(),
                     [&](const std::string& stop) { return text.find(stop) != std::string::npos; });
}

void TextStream::finish() {
  if (!print_) return;
  if (pending_.size() > shown_.size())
    std::fwrite(pending_.data() + shown_.size(), 1, pending_.size() - shown_.size(), stdout);
  std::printf("\n");
}

}  // namespace plumb::cli
