#include "core/cache/kv_strategy.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace plumb {
namespace {

constexpr int kMaxCount = 65536;

// In the order of the enumerators of KvLookup, KvCompression and KvDecodeReuse, kNone left out.
constexpr KvNameHelp kHelp[] = {
    {KvNameKind::kLookup, "full",
     "a token is seen at the depths it reached; where it stopped earlier it is left out"},
    {KvNameKind::kLookup, "latest",
     "a missing entry is read from the deepest earlier recurrence of the same layer"},
    {KvNameKind::kLookup, "available",
     "the own recurrence's entry if there is one, else as latest"},
    {KvNameKind::kLookup, "always-last",
     "once an entry is missing, every token is read at its deepest recurrence, even a later one"},
    {KvNameKind::kLookup, "skip",
     "tokens without an entry at this depth are left out, as with full"},
    {KvNameKind::kLookup, "randomized",
     "once an entry is missing, every token is read at a random earlier recurrence (a control)"},
    {KvNameKind::kCompression, "compress-s{n}",
     "recurrences i, i+n, i+2n, ... share one entry: n entries a layer, the last n written"},
    {KvNameKind::kCompression, "compress-r{n}",
     "n recurrences in a row share one entry, the last written"},
    {KvNameKind::kCompression, "compress-anchor",
     "the first 8 recurrences keep their own entry, all later ones share one"},
    {KvNameKind::kCompression, "compress-first{n}",
     "the first n recurrences keep their own entry, all later ones share one"},
    {KvNameKind::kCompression, "compress-last{n}",
     "the last n recurrences before --num-steps keep their own entry, all earlier ones share one"},
    {KvNameKind::kCompression, "compress-stride{n}",
     "every n-th recurrence is kept, as with compress-r{n}"},
    {KvNameKind::kCompression, "compress-boundaries",
     "the first recurrence keeps its entry, all later ones share one"},
    {KvNameKind::kDecode, "decode-last",
     "a decoded token sees earlier tokens at their last recurrence, whatever its own; a prompt "
     "keeps all"},
    {KvNameKind::kDecode, "decode-averaged",
     "the same with the mean over an earlier token's recurrences"},
    {KvNameKind::kDecode, "decode-first", "the same with an earlier token's first recurrence"},
};
constexpr size_t kFirstCompression = 6, kFirstDecode = 13;
constexpr size_t kNameCount = sizeof(kHelp) / sizeof(kHelp[0]);
constexpr std::string_view kCompress = "compress-";

std::string known_names() {
  std::string text;
  for (size_t i = 0; i < kNameCount; ++i) {
    if (i > 0)
      text += i == kFirstCompression ? "; each alone or with -" : i == kFirstDecode ? "; " : ", ";
    text += kHelp[i].spelling;
  }
  return text;
}

Error unknown(std::string_view name) {
  return input_error("cache strategy \"{}\" is unknown; known: {}", name, known_names());
}

std::optional<int> count_of(std::string_view digits) {
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 1 ||
      value > kMaxCount)
    return std::nullopt;
  return value;
}

bool takes_layer_count(KvLookup lookup) {
  return lookup == KvLookup::kLatest || lookup == KvLookup::kAvailable ||
         lookup == KvLookup::kAlwaysLast;
}

// "latest", "latest-m4".
Result<KvLookup> parse_lookup(std::string_view text, std::string_view whole, CacheIndex index,
                              int n_core) {
  std::string_view stem = text;
  std::optional<int> layers;
  if (const size_t at = text.rfind("-m"); at != std::string_view::npos) {
    layers = count_of(text.substr(at + 2));
    if (layers) stem = text.substr(0, at);
  }
  for (size_t i = 0; i < kFirstCompression; ++i) {
    if (kHelp[i].spelling != stem) continue;
    const auto lookup = static_cast<KvLookup>(i + 1);
    if (layers && !takes_layer_count(lookup)) break;
    if (layers && *layers != 4 && (index == CacheIndex::kUpstream || *layers != n_core))
      return input_error(
          "cache strategy \"{}\": -m{} counts the layers of the core, which has {}; write {}{}",
          whole, *layers, n_core, stem, index == CacheIndex::kUpstream ? "-m4" : "");
    return lookup;
  }
  return unknown(whole);
}

struct CompressionSpec {
  KvCompression kind;
  int n;
};

// "compress-s16", "compress-anchor".
Result<CompressionSpec> parse_compression(std::string_view text, std::string_view whole) {
  const size_t digits_at = std::min(text.find_first_of("0123456789"), text.size());
  const std::string_view stem = text.substr(0, digits_at), digits = text.substr(digits_at);
  for (size_t i = kFirstCompression; i < kFirstDecode; ++i) {
    const std::string_view spelling = kHelp[i].spelling;
    const bool counted = spelling.ends_with("{n}");
    if (spelling.substr(0, spelling.size() - (counted ? 3 : 0)) != stem) continue;
    const auto kind = static_cast<KvCompression>(i - kFirstCompression + 1);
    if (!counted) {
      if (!digits.empty()) break;
      return CompressionSpec{kind, 0};
    }
    const std::optional<int> n = count_of(digits);
    if (!n)
      return input_error(
          "cache strategy \"{}\": {} needs a whole number from 1 to {} at its end, found \"{}\"",
          whole, stem, kMaxCount, digits);
    return CompressionSpec{kind, *n};
  }
  return unknown(whole);
}

bool is_public(const KvStrategy& strategy) {
  switch (strategy.compression) {
    case KvCompression::kNone:
    case KvCompression::kModulo:
    case KvCompression::kMerge:
    case KvCompression::kAnchor:
      return strategy.reuse == KvDecodeReuse::kNone;
    default:
      return false;
  }
}

std::string canonical(const KvStrategy& strategy, std::string_view compression, CacheIndex index) {
  if (strategy.lookup == KvLookup::kNone) return std::string(compression);
  std::string name(kHelp[static_cast<size_t>(strategy.lookup) - 1].spelling);
  if (index == CacheIndex::kUpstream && takes_layer_count(strategy.lookup)) name += "-m4";
  if (!compression.empty()) name.append("-").append(compression);
  return name;
}

Result<KvStrategy> parse_any(std::string_view name, CacheIndex index, int n_core) {
  KvStrategy strategy;
  for (size_t i = kFirstDecode; i < kNameCount; ++i)
    if (kHelp[i].spelling == name) {
      strategy.reuse = static_cast<KvDecodeReuse>(i - kFirstDecode + 1);
      strategy.name = name;
      return strategy;
    }
  std::string_view lookup = name, compression;
  if (const size_t at = name.find(kCompress); at != std::string_view::npos) {
    if (at > 0 && (at < 2 || name[at - 1] != '-')) return unknown(name);
    compression = name.substr(at);
    lookup = at > 0 ? name.substr(0, at - 1) : std::string_view();
  }
  strategy.lookup = KvLookup::kNone;
  if (compression.empty() || !lookup.empty()) {
    PLUMB_ASSIGN(strategy.lookup, parse_lookup(lookup, name, index, n_core));
  }
  if (!compression.empty()) {
    PLUMB_ASSIGN(const CompressionSpec spec, parse_compression(compression, name));
    strategy.compression = spec.kind;
    strategy.n = spec.n;
  }
  strategy.name = canonical(strategy, compression, index);
  return strategy;
}

}  // namespace

std::span<const KvNameHelp> kv_strategy_help() { return kHelp; }

Result<KvStrategy> parse_kv_strategy(std::string_view name, CacheIndex index, int n_core) {
  PLUMB_ASSIGN(const KvStrategy strategy, parse_any(name, index, n_core));
  if (index == CacheIndex::kUpstream && !is_public(strategy))
    return input_error(
        "cache strategy \"{}\" does not exist in the public arithmetic (--cache-index upstream); "
        "use --cache-index recurrence",
        name);
  return strategy;
}

}  // namespace plumb
