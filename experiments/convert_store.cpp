#include "experiments/convert_store.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/io/atomic_file.h"

namespace plumb {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 10> kTokenizerFiles = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "vocab.json",     "merges.txt",            "chat_template.jinja",     "chat_template.json", "generation_config.json"};

Result<std::vector<std::byte>> encode(const std::string& name, std::span<const float> values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * dtype_bytes(dtype));
  const auto put = [&](size_t i, const auto& bits) { std::memcpy(bytes.data() + i * sizeof(bits), &bits, sizeof(bits)); };
  for (size_t i = 0; i < values.size(); ++i) {
    switch (dtype) {
      case DType::kF32: put(i, values[i]); break;
      case DType::kBF16: put(i, bf16_from_f32(values[i]).bits); break;
      case DType::kF16: {
        const uint16_t half = f16_from_f32(values[i]);
        if (std::isfinite(values[i]) && !std::isfinite(f32_from_f16(half)))
          return input_error("tensor \"{}\" holds {}, which F16 cannot; store it as BF16 or F32", name, values[i]);
        put(i, half);
        break;
      }
      default: PLUMB_CHECK(false && "weights are stored as F32, F16 or BF16");
    }
  }
  return bytes;
}

}  // namespace

std::span<const std::byte> TensorStore::keep(std::vector<std::byte> bytes) {
  owned_.push_back(std::move(bytes));
  return owned_.back();
}

Status TensorStore::add(const std::string& name, const TensorInfo& tensor) {
  if (!dtype_ || *dtype_ == tensor.dtype || !is_floating(tensor.dtype)) {
    tensors_.push_back({name, tensor.dtype, tensor.shape, {tensor.data, tensor.bytes}});
    return ok_status();
  }
  PLUMB_ASSIGN(const std::vector<float> values, read_f32(tensor));
  return add_values(name, tensor.shape, values, *dtype_);
}

Status TensorStore::add_stacked(const std::string& name, const std::vector<const TensorInfo*>& parts) {
  std::vector<int64_t> shape = parts[0]->shape;
  shape[0] = 0;
  bool one_type = true;
  for (const TensorInfo* part : parts) {
    shape[0] += part->shape[0];
    one_type = one_type && part->dtype == parts[0]->dtype;
  }
  if (one_type && (!dtype_ || *dtype_ == parts[0]->dtype)) {
    std::vector<std::byte> bytes;
    for (const TensorInfo* part : parts) bytes.insert(bytes.end(), part->data, part->data + part->bytes);
    tensors_.push_back({name, parts[0]->dtype, std::move(shape), keep(std::move(bytes))});
    return ok_status();
  }
  std::vector<float> values;
  for (const TensorInfo* part : parts) {
    PLUMB_ASSIGN(const std::vector<float> more, read_f32(*part));
    values.insert(values.end(), more.begin(), more.end());
  }
  return add_values(name, std::move(shape), values, DType::kF32);
}

Status TensorStore::add_values(const std::string& name, std::vector<int64_t> shape, std::span<const float> values, DType dtype) {
  const DType stored = dtype_.value_or(dtype);
  PLUMB_ASSIGN(std::vector<std::byte> bytes, encode(name, values, stored));
  tensors_.push_back({name, stored, std::move(shape), keep(std::move(bytes))});
  return ok_status();
}

int64_t TensorStore::parameters() const {
  int64_t total = 0;
  for (const NamedTensor& tensor : tensors_)
    if (is_floating(tensor.dtype)) total += static_cast<int64_t>(tensor.bytes.size() / dtype_bytes(tensor.dtype));
  return total;
}

Status prepare_folder(const fs::path& out, const fs::path& source, bool overwrite) {
  std::error_code code;
  if (fs::exists(out, code) && !fs::is_directory(out, code))
    return input_error("{}: is not a directory, expected a folder for the new model", out.string());
  fs::create_directories(out, code);
  if (code) return work_error("{}: cannot be made: {}", out.string(), code.message());
  if (fs::equivalent(out, source, code))
    return input_error("{}: is the folder of the source itself, expected another one", out.string());
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "config.json"})
    if (!overwrite && fs::exists(out / name, code))
      return input_error("{}: exists already; --force replaces it", (out / name).string());
  if (fs::exists(out / "model.safetensors.index.json", code))
    return input_error("{}: an index of shards stands in the folder, beside which model.safetensors cannot", out.string());
  return ok_status();
}

Result<std::vector<std::string>> copy_tokenizer(const fs::path& source, const fs::path& out) {
  std::vector<std::string> copied;
  for (const char* folder : {"", "tokenizer"})
    for (const char* name : kTokenizerFiles) {
      const fs::path relative = fs::path(folder) / name;
      std::error_code code;
      if (!fs::is_regular_file(source / relative, code)) continue;
      fs::create_directories((out / relative).parent_path(), code);
      fs::copy_file(source / relative, out / relative, fs::copy_options::overwrite_existing, code);
      if (code) return work_error("{}: cannot be copied to {}: {}", (source / relative).string(), out.string(), code.message());
      copied.push_back(relative.string());
    }
  return copied;
}

Result<ConvertReport> write_model(const TensorStore& store, const Json& config, const std::map<std::string, std::string>& metadata,
                                  const fs::path& source, const fs::path& out) {
  ConvertReport report;
  PLUMB_ASSIGN(report.copied, copy_tokenizer(source, out));
  if (!config.is_null()) {
    PLUMB_ASSIGN(AtomicFile file, AtomicFile::create(out / "config.json"));
    PLUMB_RETURN_IF_ERROR(file.write(std::string_view(config.dump(2) + "\n")));
    PLUMB_RETURN_IF_ERROR(file.commit());
  }
  report.weights = out / "model.safetensors";
  PLUMB_RETURN_IF_ERROR(write_safetensors(report.weights, store.tensors(), metadata));
  std::error_code code;
  report.bytes = fs::file_size(report.weights, code);
  report.n_tensors = store.size();
  report.parameters = store.parameters();
  return report;
}

}  // namespace plumb
