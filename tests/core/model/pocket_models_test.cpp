// The bundled models against the PyTorch modules that trained them (experiments/pocket/parity.py --golden): float64 losses of the
// first tokens of three texts, one file a model in tests/goldens/pocket/.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/decode/forward.h"
#include "core/model/families.h"
#include "tests/support/golden.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;
using test::expect_close;
using test::golden_path;

const std::string kModels = PLUMB_SOURCE_DIR "/experiments/models/";

// The weights file where the folder's layout is not model.safetensors.
std::string checkpoint_path(const std::string& name) {
  for (const auto& entry : fs::directory_iterator(kModels + name)) {
    const std::string file = entry.path().filename();
    if (file == "base.safetensors" || entry.path().extension() == ".pt") return entry.path();
  }
  return kModels + name;
}

std::vector<std::string> models_with_goldens() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_path("pocket")))
    if (fs::is_directory(kModels + entry.path().stem().string())) names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> losses(const Mat<float>& logits, std::span<const int32_t> targets) {
  std::vector<float> nll;
  for (size_t t = 0; t < logits.rows(); ++t) {
    double sum = 0;
    for (size_t c = 0; c < logits.cols(); ++c) sum += std::exp(static_cast<double>(logits(t, c)));
    nll.push_back(static_cast<float>(std::log(sum) - logits(t, static_cast<size_t>(targets[t]))));
  }
  return nll;
}

class PocketModel : public ::testing::TestWithParam<std::string> {};

TEST_P(PocketModel, LossesEqualPyTorchPerToken) {
  Team team(2);
  auto checkpoint = Checkpoint::open(checkpoint_path(GetParam()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  auto model = load_model(checkpoint.value(), Precision::kF32, team);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const std::string file = "pocket/" + GetParam() + ".safetensors";
  auto goldens = Checkpoint::open(golden_path(file));
  ASSERT_TRUE(goldens.ok()) << goldens.error().message;
  size_t compared = 0;
  for (const auto& tensor : goldens.value().tensors()) {
    const size_t dot = tensor.name.find(".nll.");
    if (dot == std::string::npos) continue;
    const TensorInfo* info = goldens.value().find(tensor.name.substr(0, dot) + ".ids");
    ASSERT_NE(info, nullptr);
    std::vector<int32_t> ids(info->element_count());
    std::memcpy(ids.data(), info->data, info->bytes);
    const int depth = std::stoi(tensor.name.substr(dot + 5));
    ForwardRequest request;
    request.rows = {{ids.begin(), ids.end() - 1}};
    const bool own_halting = depth == 0 && model.value()->info().halts_itself;
    if (!own_halting) request.depths = {depth};
    request.emit = {"logits"};
    if (model.value()->info().random_state) request.state.kind = "zero";
    const auto result = run_forward(*model.value(), team, request);
    ASSERT_TRUE(result.ok()) << result.error().message;
    const std::string name = own_halting ? "logits" : fmt::format("logits.r{}", depth);
    SCOPED_TRACE(tensor.name);
    const std::vector<float> got = losses(result.value().at(name).values, std::span(ids).subspan(1));
    expect_close(got, test::golden(file, tensor.name).data, 1e-4, 0);
    ++compared;
  }
  EXPECT_GE(compared, 3U);
}

INSTANTIATE_TEST_SUITE_P(All, PocketModel, ::testing::ValuesIn(models_with_goldens()), [](const auto& model) {
  std::string name = model.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace plumb
