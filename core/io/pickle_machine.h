// The stack machine behind parse_torch_pickle: one method an opcode, or a group of them.
// torch_pickle.cpp has the opcodes that make plain values, pickle_objects.cpp those that apply
// names.
#pragma once

#include <cstring>
#include <string>
#include <unordered_map>

#include "core/io/torch_pickle.h"

namespace plumb {

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, const std::string& where,
                const StorageBytes& storage_bytes, const PickleLimits& limits)
      : bytes_(bytes), where_(where), storage_bytes_(storage_bytes), limits_(limits) {
    result_.bytes_ = bytes;
  }

  Result<Pickle> run();

 private:
  template <class... Args>
  Error refuse(fmt::format_string<Args...> format, Args&&... args) const {
    return input_error("{}, byte {}: {}", where_, opcode_at_,
                       fmt::format(format, std::forward<Args>(args)...));
  }

  // The input.
  template <class T>
  Result<T> take();
  Result<size_t> take_length(size_t length);  // the position of `length` bytes, now consumed
  Result<std::string_view> take_line();

  // The stack.
  void push(PickleId id) { stack_.push_back(id); }
  PickleId add(PickleValue value);
  PickleId add_list(PickleKind kind, std::vector<PickleId> items);
  Result<PickleId> top() const;
  Result<PickleId> pop();
  Result<PickleId> pop_kind(PickleKind kind, const char* what);
  Result<std::vector<PickleId>> pop_to_mark();

  // The opcodes.
  Status begin();
  Result<bool> step();  // false after STOP
  Status step_constant(uint8_t opcode);
  Status step_number(uint8_t opcode);
  Status step_container(uint8_t opcode);
  Status step_memo(uint8_t opcode);
  Status step_object(uint8_t opcode);
  Status finish();

  Status push_int(int64_t value);
  Status push_long();
  Status push_float();
  Status push_text();
  Status push_global();
  Status push_tuple(size_t length);
  Status extend_list(const std::vector<PickleId>& items);
  Status extend_map(const std::vector<PickleId>& items);
  Status memo_put(size_t index);
  Status memo_get(size_t index);
  Status reduce();
  Status new_object();
  Status build();
  Status persistent_id();

  Result<PickleId> rebuild_tensor(const std::vector<PickleId>& args);
  Result<PickleId> make_size(const std::vector<PickleId>& args);
  Result<std::vector<int64_t>> int_tuple(PickleId id, const char* what);
  Status check_view(const PickleTensor& tensor) const;
  Result<PickleId> storage(const std::string& key, DType dtype, int64_t count);

  std::span<const std::byte> bytes_;
  const std::string& where_;
  const StorageBytes& storage_bytes_;
  const PickleLimits limits_;
  size_t at_ = 0, opcode_at_ = 0;

  Pickle result_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  // stack heights
  std::vector<PickleId> memo_;
  std::vector<PickleId> set_aside_;  // attribute dicts: checked like the rest, then unused
  std::unordered_map<std::string, PickleId> storage_of_key_;
};

template <class T>
Result<T> PickleMachine::take() {
  PLUMB_ASSIGN(const size_t begin, take_length(sizeof(T)));
  T value;
  std::memcpy(&value, bytes_.data() + begin, sizeof(T));
  return value;
}

}  // namespace plumb
