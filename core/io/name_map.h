// namemap-1: a small JSON file that gives foreign tensors their canonical names.
//
//   {"format": "namemap-1", "rules": [RULE, ...]}
//   RULE: "from", where {i} stands for one run of decimal digits, and exactly one of
//     "to": NAME            rename; {i} is substituted; "transpose": true turns a matrix
//     "split0": [NAME, ...] cut axis 0 into equal parts, in order
//     "tied_to": NAME       must equal that canonical tensor bit for bit, and is dropped
//     "drop": true          a buffer that nobody needs
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/io/byte_arena.h"
#include "core/io/tensor_info.h"

namespace plumb {

// Stands for one run of decimal digits.
inline constexpr std::string_view kNumberMark = "{i}";

struct NameRule {
  enum class Action { kTo, kSplit0, kTiedTo, kDrop };
  std::string from;
  Action action = Action::kTo;
  std::vector<std::string> targets;  // one name for kTo and kTiedTo, none for kDrop
  bool transpose = false;
};

struct NameMap {
  std::string where;  // for messages
  std::vector<NameRule> rules;
};

Result<NameMap> read_name_map(const std::filesystem::path& path);

// "_orig_mod." (torch.compile) and "module." (data parallel) are taken off, repeatedly, when every
// name begins with the prefix. Returns how many characters were removed from each name.
size_t strip_common_prefixes(std::vector<TensorInfo>& tensors);

struct MappedNames {
  std::vector<TensorInfo> tensors;  // sorted by name; they share the sources' bytes, or `arena`'s
  std::vector<std::string> notes;
};

// Every source must match exactly one rule and every canonical name be produced exactly once.
// Transposed copies are made in `arena`.
Result<MappedNames> apply_name_map(const NameMap& map, std::vector<TensorInfo> sources,
                                   ByteArena& arena);

}  // namespace plumb
