#include "core/io/weight_files.h"

#include <algorithm>
#include <cctype>

#include "core/io/tensor_info.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool file_exists(const fs::path& path) {
  std::error_code code;
  return fs::exists(path, code);
}

bool is_weights_name(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".safetensors" || extension == ".pt" || extension == ".pth";
}

std::vector<std::string> weights_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code))
    if (is_weights_name(it->path()) && !it->is_directory(code))
      names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> subdirectories_with_weights(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code))
    if (it->is_directory(code) && !weights_in(it->path()).empty())
      names.push_back(it->path().filename().string() + "/");
  std::sort(names.begin(), names.end());
  return names;
}

// "model-00002-of-00005.safetensors"
bool is_shard_name(std::string_view stem) {
  const size_t of = stem.rfind("-of-");
  if (of == std::string_view::npos) return false;
  const auto is_number = [](std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  const size_t dash = stem.substr(0, of).rfind('-');
  if (dash == std::string_view::npos) return false;
  const std::string_view count = stem.substr(of + 4);
  const bool only_one = count.find_first_not_of('0') == count.size() - 1 && count.back() == '1';
  return is_number(stem.substr(dash + 1, of - dash - 1)) && is_number(count) && !only_one;
}

Result<WeightFiles> classify_file(const fs::path& file, const fs::path& directory) {
  WeightFiles found{WeightFormat::kSafetensors, file, directory, {}};
  const std::string name = file.filename().string();
  const std::string extension = file.extension().string();
  if (name.ends_with(".safetensors.index.json")) {
    found.format = WeightFormat::kIndex;
  } else if (extension == ".pt" || extension == ".pth" || extension == ".bin") {
    found.format = WeightFormat::kTorch;
  } else if (extension != ".safetensors") {
    return input_error("{}: expected a directory, a .safetensors file or a .pt file",
                       file.string());
  }
  return found;
}

Result<WeightFiles> in_directory(const fs::path& directory) {
  const bool single = file_exists(directory / kSingle), index = file_exists(directory / kIndex);
  if (single && index)
    return input_error("{}: holds both {} and {}; name the one that is meant", directory.string(),
                       kSingle, kIndex);
  if (single) return classify_file(directory / kSingle, directory);
  if (index) return classify_file(directory / kIndex, directory);

  const std::vector<std::string> names = weights_in(directory);
  if (names.size() > 1)
    return input_error("{}: holds {} weights files and no {}; name the one that is meant: {}",
                       directory.string(), names.size(), kSingle, listed_names(names));
  if (names.empty()) {
    const std::vector<std::string> below = subdirectories_with_weights(directory);
    return input_error("{}: no weights here, expected {}, {} or one .safetensors or .pt file{}{}",
                       directory.string(), kSingle, kIndex,
                       below.empty() ? "" : "; there are some in ", listed_names(below));
  }
  if (is_shard_name(fs::path(names[0]).stem().string()))
    return input_error("{}: {} is one shard of several and there is no {} beside it",
                       directory.string(), names[0], kIndex);
  PLUMB_ASSIGN(WeightFiles found, classify_file(directory / names[0], directory));
  found.notes.push_back(
      fmt::format("there is no {}; the weights are those of {}", kSingle, found.file.string()));
  return found;
}

}  // namespace

Result<WeightFiles> find_weight_files(const fs::path& model) {
  std::error_code code;
  const fs::file_status status = fs::status(model, code);
  if (status.type() == fs::file_type::not_found)
    return input_error("{}: no such file or directory", model.string());
  if (code) return input_error("{}: cannot be examined: {}", model.string(), code.message());
  if (fs::is_directory(status)) return in_directory(model);
  if (model.extension() == ".safetensors" && is_shard_name(model.stem().string()))
    return input_error("{}: is one shard of several; name its directory or its index instead",
                       model.string());
  return classify_file(model, model.has_parent_path() ? model.parent_path() : fs::path("."));
}

}  // namespace plumb
