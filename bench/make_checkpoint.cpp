// Writes a checkpoint of a published model's exact shapes with random weights, in its published
// layout, for loading and memory checks where the real weights cannot be had.
//
//   make_checkpoint NAME OUT_DIR [f32|bf16]       NAME as of plumb bench --synthetic
//
// huginn-0125: F32 in four shards with an index and both copies of the embedding, 15.6 GB.
#include <cstdio>

#include "experiments/bench/synthetic.h"

namespace plumb {
namespace {

Status run(const std::string& name, const std::string& directory, DType dtype) {
  PLUMB_ASSIGN(const SyntheticModel model, synthetic_model(name));
  PLUMB_RETURN_IF_ERROR(write_synthetic(model, dtype, directory));
  std::printf("%zu bytes of tensors in %s\n", model.count() * dtype_bytes(dtype),
              directory.c_str());
  return ok_status();
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  const std::string dtype = argc > 3 ? argv[3] : "f32";
  if (argc < 3 || (dtype != "f32" && dtype != "bf16")) {
    std::fprintf(stderr, "usage: make_checkpoint NAME OUT_DIR [f32|bf16]\nnames: %s\n",
                 plumb::synthetic_names().c_str());
    return 2;
  }
  const plumb::Status status =
      plumb::run(argv[1], argv[2], dtype == "bf16" ? plumb::DType::kBF16 : plumb::DType::kF32);
  if (status.ok()) return 0;
  std::fprintf(stderr, "make_checkpoint: %s\n", status.error().message.c_str());
  return status.error().kind == plumb::ErrorKind::kInput ? 2 : 1;
}
