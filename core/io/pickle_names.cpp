#include "core/io/pickle_names.h"

#include <array>

namespace plumb {
namespace {

constexpr std::array<PickleName, 21> kPickleNames = {{
    {"collections", "OrderedDict", PickleRole::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", PickleRole::kRebuildTensor},
    {"torch._utils", "_rebuild_parameter", PickleRole::kRebuildParameter},
    {"torch", "Size", PickleRole::kSize},
    {"config", "Config", PickleRole::kConfig},
    {"__main__", "Config", PickleRole::kConfig},
    {"torch", "DoubleStorage", PickleRole::kStorage, DType::kF64},
    {"torch", "FloatStorage", PickleRole::kStorage, DType::kF32},
    {"torch", "HalfStorage", PickleRole::kStorage, DType::kF16},
    {"torch", "BFloat16Storage", PickleRole::kStorage, DType::kBF16},
    {"torch", "LongStorage", PickleRole::kStorage, DType::kI64},
    {"torch", "IntStorage", PickleRole::kStorage, DType::kI32},
    {"torch", "ShortStorage", PickleRole::kStorage, DType::kI16},
    {"torch", "CharStorage", PickleRole::kStorage, DType::kI8},
    {"torch", "ByteStorage", PickleRole::kStorage, DType::kU8},
    {"torch", "BoolStorage", PickleRole::kStorage, DType::kBool},
    {"torch.storage", "UntypedStorage", PickleRole::kStorage, DType::kU8},
    {"torch", "float32", PickleRole::kConstant},
    {"torch", "float16", PickleRole::kConstant},
    {"torch", "bfloat16", PickleRole::kConstant},
    {"torch", "float64", PickleRole::kConstant},
}};

}  // namespace

std::optional<uint32_t> find_pickle_name(std::string_view module, std::string_view name) {
  for (uint32_t row = 0; row < kPickleNames.size(); ++row)
    if (kPickleNames[row].module == module && kPickleNames[row].name == name) return row;
  return std::nullopt;
}

const PickleName& pickle_name(uint32_t row) { return kPickleNames.at(row); }

}  // namespace plumb
