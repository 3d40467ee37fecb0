// The pickle inside a .pt file, as inert data: numbers, texts, lists, dicts and descriptions of
// tensors. A fixed set of opcodes and names is understood (protocol 2, what torch.save writes);
// anything else refuses the whole file. Nothing is imported, called or constructed.
//
// Values live in one table and refer to each other by number, so building and destroying them
// never recurses, however the file is nested.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/result.h"

namespace plumb {

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kList,
  kTuple,
  kMap,     // dict or OrderedDict
  kObject,  // a Config object: its fields, like a map
  kTensor,
  kStorage,
  kGlobal,  // never left in a finished pickle
};

using PickleId = uint32_t;  // row of the value table

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  bool ordered = false;  // kMap: an OrderedDict, which may carry attributes
  bool built = false;    // kObject: its fields have been set
  uint32_t index = 0;    // into lists, tensors, storages or the allowed globals
  union {
    int64_t integer = 0;  // kInt, kBool
    double number;        // kFloat
    struct {
      uint32_t begin, length;  // kText: a range of the pickle bytes
    } text;
  };
};

struct PickleStorage {
  std::string key;  // decimal digits: the record data/KEY
  DType dtype = DType::kF32;
  int64_t count = 0;  // elements; the record has exactly count * item size bytes
};

// Verified to stay inside its storage.
struct PickleTensor {
  uint32_t storage = 0;
  int64_t offset = 0;                 // elements
  std::vector<int64_t> size, stride;  // elements; same rank
};

class Pickle {
 public:
  PickleId root = 0;
  std::vector<PickleTensor> tensors;
  std::vector<PickleStorage> storages;

  PickleKind kind(PickleId id) const { return values_[id].kind; }
  int64_t integer(PickleId id) const { return values_[id].integer; }  // kInt, kBool
  double number(PickleId id) const { return values_[id].number; }     // kFloat
  std::string_view text(PickleId id) const;                           // kText
  // kList, kTuple: the elements. kMap, kObject: key, value, key, value, ...
  std::span<const PickleId> items(PickleId id) const { return lists_[values_[id].index]; }
  const PickleTensor& tensor(PickleId id) const { return tensors[values_[id].index]; }  // kTensor
  // The value of a text key of a kMap or kObject; nothing when absent.
  std::optional<PickleId> at(PickleId map, std::string_view key) const;
  bool is_container(PickleId id) const;
  size_t n_values() const { return values_.size(); }

 private:
  friend class PickleMachine;
  std::span<const std::byte> bytes_;
  std::vector<PickleValue> values_;
  std::vector<std::vector<PickleId>> lists_;
};

struct PickleLimits {
  size_t max_bytes = size_t{64} << 20;
  size_t max_opcodes = 10'000'000;
  int max_nesting = 64;
};

// What a finished pickle promises: from `roots` no value contains itself, none nests deeper than
// max_nesting, no key is repeated in a map, and no global stands where a value should.
Status check_pickle(const Pickle& pickle, std::span<const PickleId> roots, int max_nesting,
                    const std::string& where);

// Bytes of the record data/KEY; nothing when there is no such record.
using StorageBytes = std::function<std::optional<size_t>(const std::string& key)>;

// The result refers to `bytes`. It is acyclic, nests at most max_nesting deep, and has no repeated
// key. `where` names the source in messages.
Result<Pickle> parse_torch_pickle(std::span<const std::byte> bytes, const std::string& where,
                                  const StorageBytes& storage_bytes,
                                  const PickleLimits& limits = {});

}  // namespace plumb
