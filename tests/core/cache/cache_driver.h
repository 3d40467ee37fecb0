// Drives a KvCache the way a model does, with rows that name themselves: the key row of recurrence
// step s, layer b, position p says exactly that, so a read can be told apart entry by entry.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/cache/kv_policies.h"
#include "core/cache/kv_storage.h"

namespace plumb {

struct Entry {
  int index = 0;  // prelude j, P + step * K + l, -(j + 1): before any compression
  int pos = 0;
  auto operator<=>(const Entry&) const = default;
};

inline void PrintTo(const Entry& entry, std::ostream* out) {
  *out << "(" << entry.index << " @" << entry.pos << ")";
}

class CacheDriver {
 public:
  static constexpr size_t kDim = 3;

  CacheDriver(const LayerCounts& layers, std::shared_ptr<const KvPolicy> policy,
              GatherMode mode = GatherMode::kIncremental)
      : layers_(layers), cache_(layers, KvFormat{1, kDim}, std::move(policy), mode) {}

  int index_of(const Place& place) const {
    if (place.stage == Stage::kPrelude) return place.block;
    if (place.stage == Stage::kCoda) return -(place.block + 1);
    return layers_.n_prelude + place.step * layers_.n_core + place.block;
  }

  // The places of one call at a depth, in the order a forward pass visits them.
  std::vector<Place> places(int depth) const {
    std::vector<Place> all;
    for (int j = 0; j < layers_.n_prelude; ++j) all.push_back({Stage::kPrelude, j, 0});
    for (int i = 0; i < depth; ++i)
      for (int l = 0; l < layers_.n_core; ++l) all.push_back({Stage::kCore, l, i});
    for (int j = 0; j < layers_.n_coda; ++j) all.push_back({Stage::kCoda, j, 0});
    return all;
  }

  void extend(int n) {
    const std::vector<int32_t> ids(static_cast<size_t>(n), 0);
    cache_.extend(ids);
  }

  // One layer of the last `n` positions.
  Result<KvRead> append(const Place& place, int n) {
    Mat<float> keys(static_cast<size_t>(n), kDim), values(static_cast<size_t>(n), kDim);
    const int pos0 = cache_.length() - n;
    for (int i = 0; i < n; ++i) {
      const auto index = static_cast<float>(index_of(place)), pos = static_cast<float>(pos0 + i);
      const float key[] = {index, pos, 1}, value[] = {-index, 2, -pos};
      std::copy(key, key + kDim, keys.row(static_cast<size_t>(i)));
      std::copy(value, value + kDim, values.row(static_cast<size_t>(i)));
    }
    return cache_.append(place, pos0, keys, values);
  }

  // [n_before + n][key 0, 1, 2, value 0, 1, 2].
  static std::vector<std::vector<float>> rows(const KvRead& read, int n) {
    std::vector<std::vector<float>> all;
    for (size_t r = 0; r < read.n_before + static_cast<size_t>(n); ++r) {
      std::vector<float> row;
      for (size_t c = 0; c < kDim; ++c)
        row.push_back(
            read.view.keys[r / kKeyPanel * kDim * kKeyPanel + c * kKeyPanel + r % kKeyPanel]);
      for (size_t c = 0; c < kDim; ++c)
        row.push_back(read.view.values[r * read.view.value_stride + c]);
      all.push_back(row);
    }
    return all;
  }

  static std::vector<Entry> entries(const KvRead& read, int n) {
    std::vector<Entry> all;
    for (const auto& row : rows(read, n)) {
      EXPECT_TRUE(row[2] == 1 && row[4] == 2 && row[3] == -row[0] && row[5] == -row[1])
          << "key and value differ";
      all.push_back({static_cast<int>(row[0]), static_cast<int>(row[1])});
    }
    return all;
  }

  using Seen = std::function<void(const Place&, const std::vector<Entry>&)>;

  // A whole call of `n` tokens at `depth`. Stops at the first error.
  Status call(int n, int depth, const Seen& seen = {}) {
    extend(n);
    for (const Place& place : places(depth)) {
      PLUMB_ASSIGN(const KvRead read, append(place, n));
      if (seen) seen(place, entries(read, n));
    }
    return ok_status();
  }

  KvCache& cache() { return cache_; }

 private:
  LayerCounts layers_;
  KvCache cache_;
};

inline std::shared_ptr<const KvPolicy> policy(const std::string& name, const LayerCounts& layers,
                                              CacheIndex index = CacheIndex::kRecurrence,
                                              int num_steps = 0, uint64_t seed = 0) {
  auto made = make_kv_policy(name, index, layers, seed, num_steps);
  if (!made.ok()) {
    ADD_FAILURE() << made.error().message;
    return nullptr;
  }
  return made.value();
}

inline std::string error_of(const Status& status) {
  return status.ok() ? "" : status.error().message;
}

inline const std::vector<LayerCounts>& shapes() {
  static const std::vector<LayerCounts> all = {
      {2, 4, 2}, {4, 4, 4}, {4, 6, 4}, {4, 8, 4}, {1, 2, 1}};
  return all;
}

}  // namespace plumb
