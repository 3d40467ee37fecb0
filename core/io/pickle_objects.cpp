// Names applied to arguments: tensors and their storages, sizes, Config objects.
#include "core/io/pickle_machine.h"
#include "core/io/pickle_names.h"
#include "core/io/tensor_info.h"

namespace plumb {
namespace {

constexpr size_t kMaxRank = 8;
constexpr size_t kMaxKeyDigits = 18;

bool is_decimal(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

Result<std::vector<int64_t>> PickleMachine::int_tuple(PickleId id, const char* what) {
  if (result_.kind(id) != PickleKind::kTuple)
    return refuse("the {} of a tensor is not a tuple", what);
  const auto items = result_.items(id);
  if (items.size() > kMaxRank)
    return refuse("the {} of a tensor has {} dimensions, expected at most {}", what, items.size(),
                  kMaxRank);
  std::vector<int64_t> numbers;
  for (const PickleId item : items) {
    if (result_.kind(item) != PickleKind::kInt || result_.integer(item) < 0)
      return refuse("the {} of a tensor holds something other than whole numbers from 0 up", what);
    numbers.push_back(result_.integer(item));
  }
  return numbers;
}

Status PickleMachine::check_view(const PickleTensor& tensor) const {
  const PickleStorage& storage = result_.storages[tensor.storage];
  if (tensor.size.size() != tensor.stride.size())
    return refuse("a tensor has {} sizes and {} strides", tensor.size.size(), tensor.stride.size());
  if (tensor.offset < 0)
    return refuse("a tensor has the negative storage offset {}", tensor.offset);
  const auto bytes = checked_byte_count(tensor.size, 1);
  if (!bytes.has_value() || *bytes > static_cast<size_t>(storage.count))
    return refuse("a tensor of shape {} has more elements than the {} of its storage {}",
                  shape_text(tensor.size), storage.count, storage.key);
  if (*bytes == 0) return ok_status();
  int64_t last = tensor.offset;
  bool overflow = false;
  for (size_t k = 0; k < tensor.size.size(); ++k) {
    int64_t reach = 0;
    overflow |= __builtin_mul_overflow(tensor.size[k] - 1, tensor.stride[k], &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  if (overflow || last >= storage.count)
    return refuse(
        "a tensor view (offset {}, shape {}, strides {}) reaches past the {} elements of its "
        "storage {}",
        tensor.offset, shape_text(tensor.size), shape_text(tensor.stride), storage.count,
        storage.key);
  return ok_status();
}

// (storage, offset, size, stride, requires_grad, hooks[, metadata])
Result<PickleId> PickleMachine::rebuild_tensor(const std::vector<PickleId>& args) {
  if (args.size() != 6 && args.size() != 7)
    return refuse("_rebuild_tensor_v2 has {} arguments, expected 6 or 7", args.size());
  if (result_.kind(args[0]) != PickleKind::kStorage) return refuse("a tensor has no storage");
  if (result_.kind(args[1]) != PickleKind::kInt)
    return refuse("the offset of a tensor is not a whole number");
  if (result_.kind(args[4]) != PickleKind::kBool)
    return refuse("requires_grad of a tensor is not a bool");
  for (size_t i = 5; i < args.size(); ++i) {
    const PickleKind kind = result_.kind(args[i]);
    if (kind != PickleKind::kMap && kind != PickleKind::kNone)
      return refuse("the hooks or metadata of a tensor are not a dict");
    if (kind == PickleKind::kMap) set_aside_.push_back(args[i]);
  }
  PickleTensor tensor;
  tensor.storage = result_.values_[args[0]].index;
  tensor.offset = result_.integer(args[1]);
  PLUMB_ASSIGN(tensor.size, int_tuple(args[2], "size"));
  PLUMB_ASSIGN(tensor.stride, int_tuple(args[3], "stride"));
  PLUMB_RETURN_IF_ERROR(check_view(tensor));
  PickleValue value;
  value.kind = PickleKind::kTensor;
  value.index = static_cast<uint32_t>(result_.tensors.size());
  result_.tensors.push_back(std::move(tensor));
  return add(value);
}

Result<PickleId> PickleMachine::make_size(const std::vector<PickleId>& args) {
  if (args.size() != 1) return refuse("torch.Size has {} arguments, expected 1", args.size());
  PLUMB_RETURN_IF_ERROR(int_tuple(args[0], "size"));
  return args[0];
}

Status PickleMachine::reduce() {
  PLUMB_ASSIGN(const PickleId tuple, pop_kind(PickleKind::kTuple, "a tuple of arguments"));
  PLUMB_ASSIGN(const PickleId callee, pop_kind(PickleKind::kGlobal, "an allowed name to apply"));
  const std::vector<PickleId>& args = result_.lists_[result_.values_[tuple].index];
  const PickleName& global = pickle_name(result_.values_[callee].index);
  if (global.role == PickleRole::kRebuildTensor) {
    PLUMB_ASSIGN(const PickleId tensor, rebuild_tensor(args));
    push(tensor);
  } else if (global.role == PickleRole::kRebuildParameter) {
    if (args.size() != 3 || result_.kind(args[0]) != PickleKind::kTensor)
      return refuse("_rebuild_parameter is not given a tensor, a bool and hooks");
    push(args[0]);
  } else if (global.role == PickleRole::kSize) {
    PLUMB_ASSIGN(const PickleId size, make_size(args));
    push(size);
  } else if (global.role == PickleRole::kOrderedDict) {
    if (!args.empty()) return refuse("OrderedDict has {} arguments, expected none", args.size());
    const PickleId map = add_list(PickleKind::kMap, {});
    result_.values_[map].ordered = true;
    push(map);
  } else {
    return refuse("{}.{} cannot be applied to arguments", global.module, global.name);
  }
  return ok_status();
}

Status PickleMachine::new_object() {
  PLUMB_ASSIGN(const PickleId args, pop_kind(PickleKind::kTuple, "a tuple of arguments"));
  PLUMB_ASSIGN(const PickleId callee, pop_kind(PickleKind::kGlobal, "an allowed name to apply"));
  const PickleName& global = pickle_name(result_.values_[callee].index);
  if (global.role != PickleRole::kConfig || !result_.items(args).empty())
    return refuse("an object of {}.{} is asked for, expected Config()", global.module, global.name);
  push(add_list(PickleKind::kObject, {}));
  return ok_status();
}

// Attributes of an OrderedDict are metadata that nobody needs; those of a Config are its fields.
Status PickleMachine::build() {
  PLUMB_ASSIGN(const PickleId state, pop_kind(PickleKind::kMap, "a dict of attributes"));
  PLUMB_ASSIGN(const PickleId target, top());
  set_aside_.push_back(state);
  PickleValue& value = result_.values_[target];
  if (value.kind == PickleKind::kMap && value.ordered) return ok_status();
  if (value.kind != PickleKind::kObject || value.built)
    return refuse("attributes are set on something other than an OrderedDict or a new Config");
  value.index = result_.values_[state].index;
  value.built = true;
  return ok_status();
}

Result<PickleId> PickleMachine::storage(const std::string& key, DType dtype, int64_t count) {
  if (!is_decimal(key) || key.size() > kMaxKeyDigits)
    return refuse("the storage key {} is not a decimal number", quote_name(key));
  const auto known = storage_of_key_.find(key);
  if (known != storage_of_key_.end()) {
    const PickleStorage& first = result_.storages[result_.values_[known->second].index];
    if (first.dtype != dtype || first.count != count)
      return refuse("storage {} is {} x {} here and {} x {} before", key, count, dtype_name(dtype),
                    first.count, dtype_name(first.dtype));
    return known->second;
  }
  const auto found = storage_bytes_(key);
  if (!found.has_value()) return refuse("storage {} has no record data/{} in the file", key, key);
  const int64_t shape[] = {count};
  const auto expected = checked_byte_count(shape, dtype_bytes(dtype));
  if (expected != found)
    return refuse("storage {} of {} {} elements does not match its record of {} bytes", key, count,
                  dtype_name(dtype), *found);
  PickleValue value;
  value.kind = PickleKind::kStorage;
  value.index = static_cast<uint32_t>(result_.storages.size());
  result_.storages.push_back({key, dtype, count});
  const PickleId id = add(value);
  storage_of_key_.emplace(key, id);
  return id;
}

// ('storage', storage class, key, location, element count)
Status PickleMachine::persistent_id() {
  PLUMB_ASSIGN(const PickleId tuple, pop_kind(PickleKind::kTuple, "a persistent id"));
  const auto items = result_.items(tuple);
  const auto is = [&](size_t i, PickleKind kind) { return result_.kind(items[i]) == kind; };
  if (items.size() != 5 || !is(0, PickleKind::kText) || result_.text(items[0]) != "storage" ||
      !is(1, PickleKind::kGlobal) || !is(2, PickleKind::kText) || !is(3, PickleKind::kText) ||
      !is(4, PickleKind::kInt))
    return refuse("a persistent id is not ('storage', class, key, location, count)");
  const PickleName& global = pickle_name(result_.values_[items[1]].index);
  if (global.role != PickleRole::kStorage)
    return refuse("{}.{} is not a storage class", global.module, global.name);
  const std::string key(result_.text(items[2]));
  PLUMB_ASSIGN(const PickleId id, storage(key, global.dtype, result_.integer(items[4])));
  push(id);
  return ok_status();
}

}  // namespace plumb
