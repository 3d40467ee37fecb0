// The ACT goldens, and loading and cutting what the tests of the family need.
#pragma once

#include "core/decode/forward.h"
#include "core/model/act_transformer.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb::testing {

inline const std::filesystem::path kActDir = golden_file("act");
using Ids = std::vector<int32_t>;

inline const Json& index() {
  static const Json json = read_json(kActDir / "index.json");
  return json;
}
inline const Goldens& expected() {
  static const Goldens goldens(kActDir / "expected.safetensors");
  return goldens;
}

inline Ids joined(const Json& segments) {
  Ids all;
  for (const Json& segment : segments)
    for (const int32_t id : segment) all.push_back(id);
  return all;
}

// A variant with some of its fields replaced again.
inline std::unique_ptr<RecurrentModel> load_variant(const std::string& name, const Json& fields = Json::object()) {
  const TempDir dir;
  for (const Json& variant : index()["variants"]) {
    if (variant["name"] != name) continue;
    Json config = index()["default_config"];
    config.update(variant["override"]);
    config.update(fields);
    return load(kActDir / "variants" / (name + ".safetensors"), {.config = dir.write("config.json", config.dump())});
  }
  ADD_FAILURE() << "no variant " << name;
  return nullptr;
}

inline std::unique_ptr<RecurrentModel> load_rope(const Json& fields = Json::object()) {
  const TempDir dir;
  return load(kActDir / "rope", with_config(dir, kActDir / "rope/config.json", fields));
}

inline ForwardResult forward(const RecurrentModel& model, const ForwardRequest& request, Team& threads = team()) {
  auto result = run_forward(model, threads, request);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? std::move(result).value() : ForwardResult{};
}

// Rows [block * T + first, ... + n) of a tensor, T tokens a block.
inline MatView<const float> cut(const ForwardResult& result, const std::string& name, size_t first, size_t n, size_t block = 0, size_t n_tokens = 0) {
  const auto at = result.find(name);
  if (at == result.end()) {
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }
  return at->second.values.view().rows_from(block * n_tokens + first, n);
}

// `steps` rows of `n` tokens of [steps, T].
inline Mat<float> by_step(const ForwardResult& result, const std::string& name, size_t steps, size_t first, size_t n, size_t n_tokens) {
  Mat<float> rows(steps, n);
  for (size_t k = 0; k < steps; ++k) {
    const auto view = cut(result, name, first, n, k, n_tokens);
    std::copy(view.data(), view.data() + n, rows.row(k));
  }
  return rows;
}

}  // namespace plumb::testing
