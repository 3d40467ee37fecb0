// The grammar of cache strategy names:
//
//     <lookup>  |  <lookup>-<compression>  |  <compression>  |  decode-<which>
//
// One table holds every name with its meaning; parsing and the help text both read it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace plumb {

enum class CacheIndex : uint8_t {
  kRecurrence,  // counts recurrences; lookups stay in their own core layer, any shape
  kUpstream,    // the literal public arithmetic: counts layer slots, moduli 2 and 4
};

enum class KvLookup : uint8_t {
  kNone,
  kFull,
  kLatest,
  kAvailable,
  kAlwaysLast,
  kSkip,
  kRandomized
};

enum class KvCompression : uint8_t {
  kNone,
  kModulo,
  kMerge,
  kAnchor,
  kFirst,
  kLast,
  kStride,
  kBoundaries,
};

enum class KvDecodeReuse : uint8_t { kNone, kLast, kAveraged, kFirst };

struct KvStrategy {
  KvLookup lookup = KvLookup::kFull;
  KvCompression compression = KvCompression::kNone;
  int n = 0;                                   // of s{n}, r{n}, first{n}, last{n}, stride{n}
  KvDecodeReuse reuse = KvDecodeReuse::kNone;  // set: lookup and compression are not used
  std::string name;                            // canonical spelling
};

enum class KvNameKind : uint8_t { kLookup, kCompression, kDecode };

struct KvNameHelp {
  KvNameKind kind;
  std::string_view spelling;  // "latest", "compress-s{n}", "decode-last"
  std::string_view meaning;   // one line
};

// Every name, in the order to print: lookups, compressions, decode-*.
std::span<const KvNameHelp> kv_strategy_help();

// `n_core` is what "-m{n}" may count besides the public "-m4". Canonical names carry no "-m{n}"
// under kRecurrence and "-m4" under kUpstream. An unknown name is an error that lists the known.
Result<KvStrategy> parse_kv_strategy(std::string_view name, CacheIndex index, int n_core);

}  // namespace plumb
