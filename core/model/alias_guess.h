// Foreign tensor names, guessed: a table of the spellings that other code uses, and the shapes that
// decide between two readings of one name. A guess is made only when exactly one reading of all
// names together fits.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/io/name_map.h"

namespace plumb {

struct CanonicalTensor {
  std::string_view name;    // "layers.{i}.attn.wq.weight"
  std::string_view shape;   // a letter an axis; one letter is one extent throughout, "1" is 1; "*": any
  bool required = true;
};

struct AliasRow {
  enum Kind { kPlain, kTied };
  // Alternatives in parentheses: "(blocks|layers).{i}.(attn|self_attn).wq.weight".
  std::string_view from;
  // One canonical name; or several with commas: cut along axis 0 into equal parts, in order.
  std::string_view to;
  Kind kind = kPlain;  // kTied: a second copy of `to`, bit for bit
};

struct AliasFamily {
  const char* name;
  std::span<const CanonicalTensor> tensors;
  std::span<const AliasRow> rows;
  // Buffers that keep their names: the family's loader reads or ignores them. Null: none.
  bool (*is_buffer)(std::string_view name) = nullptr;
};

// Whether most names have a known spelling: worth a guess, and the sentence about why it fails.
bool resembles(const AliasFamily& family, const Checkpoint& checkpoint);

struct CanonicalNames {
  std::optional<Checkpoint> renamed;  // absent: the names already are canonical
  std::vector<std::string> notes;     // what was guessed
};

// Gives the tensors their canonical names. An error says which name has no known spelling, which
// tensor nothing provides, or between which readings nothing decides.
Result<CanonicalNames> guess_names(const AliasFamily& family, const Checkpoint& checkpoint);

}  // namespace plumb
