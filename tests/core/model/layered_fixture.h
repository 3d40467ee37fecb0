// For the tests of models without recurrence: goldens, and a pass from ids to logits.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/decode/think.h"
#include "core/io/checkpoint.h"
#include "core/io/safetensors.h"
#include "core/model/families.h"
#include "tests/core/io/files.h"

namespace plumb::testing {

inline std::filesystem::path golden_file(const std::string& name) {
  return std::filesystem::path(PLUMB_SOURCE_DIR) / "tests/goldens" / name;
}

inline Team& team() {
  static Team shared(2);
  return shared;
}

inline std::unique_ptr<RecurrentModel> load(const std::filesystem::path& path, const CheckpointOptions& options = {},
                                            Precision precision = Precision::kF32) {
  auto checkpoint = Checkpoint::open(path, options);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  if (!checkpoint.ok()) return nullptr;
  auto model = load_model(checkpoint.value(), precision, team());
  EXPECT_TRUE(model.ok()) << model.error().message;
  return model.ok() ? std::move(model).value() : nullptr;
}

// The sentence with which a checkpoint is refused; empty when it loads.
inline std::string refusal(const std::filesystem::path& path, const CheckpointOptions& options = {}) {
  auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint.ok()) return checkpoint.error().message;
  auto model = load_model(checkpoint.value(), Precision::kF32, team());
  return model.ok() ? "" : model.error().message;
}

inline StateSource no_states(const ModelInfo& info) {
  auto states = StateSource::make({}, info, StateSource::FileRows::kCall);
  EXPECT_TRUE(states.ok());
  return std::move(states).value();
}

// Rows of one sequence from first_pos on, at `depth` (-1: full), over `cache` or among themselves.
inline Mat<float> run(const RecurrentModel& model, const std::vector<int32_t>& ids, int depth = -1, int first_pos = 0,
                      SequenceCache* cache = nullptr) {
  if (cache != nullptr) cache->extend(ids);
  DepthPass pass(model, team());
  Batch batch{ids, {{.first_row = 0, .n_rows = ids.size(), .first_pos = first_pos, .cache = cache}}};
  const Status begun = pass.begin(std::move(batch), no_states(model.info()));
  EXPECT_TRUE(begun.ok()) << begun.error().message;
  for (int k = 0; k < (depth < 0 ? model.info().default_steps : depth); ++k) EXPECT_TRUE(pass.advance().ok());
  Mat<float> logits(ids.size(), static_cast<size_t>(model.info().vocab_size));
  EXPECT_TRUE(pass.read(Readout::kKeep, logits).ok());
  return logits;
}

inline void expect_close(MatView<const float> got, const std::vector<float>& want, double atol, double rtol, const std::string& what) {
  ASSERT_EQ(got.rows() * got.cols(), want.size()) << what;
  double worst = -1;
  for (size_t i = 0; i < want.size(); ++i) {
    const double excess = std::abs(static_cast<double>(got.data()[i]) - want[i]) - rtol * std::abs(want[i]);
    ASSERT_TRUE(std::isfinite(got.data()[i])) << what;
    worst = std::max(worst, excess);
  }
  EXPECT_LE(worst, atol) << what;
}

inline void expect_same_bits(MatView<const float> got, MatView<const float> want, const std::string& what) {
  ASSERT_EQ(got.rows(), want.rows()) << what;
  for (size_t r = 0; r < got.rows(); ++r)
    ASSERT_EQ(std::memcmp(got.row(r), want.row(r), got.cols() * sizeof(float)), 0) << what << " row " << r;
}

class Goldens {
 public:
  explicit Goldens(const std::filesystem::path& path) {
    auto file = open_safetensors(path);
    EXPECT_TRUE(file.ok()) << file.error().message;
    file_ = std::move(file).value();
  }
  std::vector<float> floats(const std::string& name) const {
    const TensorInfo* tensor = file_.find(name);
    EXPECT_NE(tensor, nullptr) << name;
    return tensor == nullptr ? std::vector<float>{} : read_f32(*tensor).value();
  }
  std::vector<int32_t> ids(const std::string& name) const {
    const TensorInfo* tensor = file_.find(name);
    std::vector<int32_t> result(tensor->element_count());
    for (size_t i = 0; i < result.size(); ++i) {
      int64_t id = 0;
      std::memcpy(&id, tensor->data + i * sizeof(id), sizeof(id));
      result[i] = static_cast<int32_t>(id);
    }
    return result;
  }

 private:
  SafetensorsFile file_;
};

inline Json read_json(const std::filesystem::path& path) {
  auto json = read_json_file(path);
  EXPECT_TRUE(json.ok()) << json.error().message;
  return json.value();
}

// A golden config with some fields replaced; a field set to null inside `without` disappears.
inline CheckpointOptions with_config(const TempDir& dir, const std::filesystem::path& config, const Json& overrides,
                                     const std::vector<std::string>& without = {}) {
  Json json = read_json(config);
  json.update(overrides);
  for (const std::string& field : without) json.erase(field);
  return {.config = dir.write("override.json", json.dump())};
}

}  // namespace plumb::testing
