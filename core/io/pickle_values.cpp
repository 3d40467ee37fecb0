// The input, the stack, the memo; numbers, texts, names and containers.
#include <bit>

#include "core/io/pickle_machine.h"
#include "core/io/pickle_names.h"
#include "core/io/tensor_info.h"
#include "core/io/utf8.h"

namespace plumb {
namespace {

constexpr size_t kMaxGlobalLine = 128;

}  // namespace

Result<size_t> PickleMachine::take_length(size_t length) {
  if (length > bytes_.size() - at_)
    return refuse("the pickle ends before its STOP: {} bytes are announced and {} remain", length,
                  bytes_.size() - at_);
  const size_t begin = at_;
  at_ += length;
  return begin;
}

Result<std::string_view> PickleMachine::take_line() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_,
                              bytes_.size() - at_);
  const size_t length = rest.substr(0, kMaxGlobalLine).find('\n');
  if (length == std::string_view::npos)
    return refuse("a module or class name does not end within {} bytes", kMaxGlobalLine);
  at_ += length + 1;
  return rest.substr(0, length);
}

PickleId PickleMachine::add(PickleValue value) {
  result_.values_.push_back(value);
  return static_cast<PickleId>(result_.values_.size() - 1);
}

PickleId PickleMachine::add_list(PickleKind kind, std::vector<PickleId> items) {
  PickleValue value;
  value.kind = kind;
  value.index = static_cast<uint32_t>(result_.lists_.size());
  result_.lists_.push_back(std::move(items));
  return add(value);
}

Result<PickleId> PickleMachine::top() const {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) return refuse("an opcode needs a value that is not on the stack");
  return stack_.back();
}

Result<PickleId> PickleMachine::pop() {
  PLUMB_ASSIGN(const PickleId id, top());
  stack_.pop_back();
  return id;
}

Result<PickleId> PickleMachine::pop_kind(PickleKind kind, const char* what) {
  PLUMB_ASSIGN(const PickleId id, pop());
  if (result_.kind(id) != kind) return refuse("expected {} on the stack", what);
  return id;
}

Result<std::vector<PickleId>> PickleMachine::pop_to_mark() {
  if (marks_.empty()) return refuse("an opcode needs a mark that is not on the stack");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<PickleId> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

Status PickleMachine::push_int(int64_t number) {
  PickleValue value;
  value.kind = PickleKind::kInt;
  value.integer = number;
  push(add(value));
  return ok_status();
}

// Two's complement, little-endian, of the length given.
Status PickleMachine::push_long() {
  PLUMB_ASSIGN(const uint8_t length, take<uint8_t>());
  if (length > sizeof(int64_t))
    return refuse("a whole number of {} bytes, expected at most 8", length);
  PLUMB_ASSIGN(const size_t begin, take_length(length));
  uint64_t bits = 0;
  for (size_t i = 0; i < length; ++i) bits |= static_cast<uint64_t>(bytes_[begin + i]) << (8 * i);
  const unsigned unused = 64 - 8U * length;
  if (length == 0) return push_int(0);
  return push_int(static_cast<int64_t>(bits << unused) >> unused);
}

// The one big-endian field of the format.
Status PickleMachine::push_float() {
  PLUMB_ASSIGN(const size_t begin, take_length(sizeof(double)));
  uint64_t bits = 0;
  for (size_t i = 0; i < sizeof(double); ++i)
    bits = bits << 8 | static_cast<uint64_t>(bytes_[begin + i]);
  PickleValue value;
  value.kind = PickleKind::kFloat;
  value.number = std::bit_cast<double>(bits);
  push(add(value));
  return ok_status();
}

Status PickleMachine::push_text() {
  PLUMB_ASSIGN(const uint32_t length, take<uint32_t>());
  PLUMB_ASSIGN(const size_t begin, take_length(length));
  PickleValue value;
  value.kind = PickleKind::kText;
  value.text = {static_cast<uint32_t>(begin), length};
  const PickleId id = add(value);
  if (!is_utf8(result_.text(id))) return refuse("a text is not valid UTF-8");
  push(id);
  return ok_status();
}

Status PickleMachine::push_global() {
  PLUMB_ASSIGN(const std::string_view module, take_line());
  const size_t name_at = at_;
  PLUMB_ASSIGN(const std::string_view name, take_line());
  const auto row = find_pickle_name(module, name);
  if (!row.has_value()) {
    const std::string full = std::string(module) + " " + std::string(name);
    return refuse(
        "{} is not on the list of allowed names, so the file is refused; nothing was executed",
        quote_name(full));
  }
  PickleValue value;
  value.kind = PickleKind::kGlobal;
  value.index = *row;
  if (pickle_name(*row).role == PickleRole::kConstant) {
    value.kind = PickleKind::kText;
    value.text = {static_cast<uint32_t>(name_at), static_cast<uint32_t>(name.size())};
  }
  push(add(value));
  return ok_status();
}

Status PickleMachine::push_tuple(size_t length) {
  std::vector<PickleId> items(length);
  for (size_t i = length; i-- > 0;) {
    PLUMB_ASSIGN(items[i], pop());
  }
  push(add_list(PickleKind::kTuple, std::move(items)));
  return ok_status();
}

Status PickleMachine::extend_list(const std::vector<PickleId>& items) {
  PLUMB_ASSIGN(const PickleId list, top());
  if (result_.kind(list) != PickleKind::kList) return refuse("expected a list to append to");
  auto& target = result_.lists_[result_.values_[list].index];
  target.insert(target.end(), items.begin(), items.end());
  return ok_status();
}

Status PickleMachine::extend_map(const std::vector<PickleId>& items) {
  PLUMB_ASSIGN(const PickleId map, top());
  if (result_.kind(map) != PickleKind::kMap) return refuse("expected a dict to store into");
  if (items.size() % 2 != 0) return refuse("a dict is given a key without a value");
  for (size_t i = 0; i < items.size(); i += 2) {
    const PickleKind key = result_.kind(items[i]);
    if (key != PickleKind::kText && key != PickleKind::kInt)
      return refuse("a dict key is neither a text nor a whole number");
  }
  auto& target = result_.lists_[result_.values_[map].index];
  target.insert(target.end(), items.begin(), items.end());
  return ok_status();
}

Status PickleMachine::memo_put(size_t index) {
  PLUMB_ASSIGN(const PickleId id, top());
  if (index > memo_.size()) return refuse("memo entry {} follows entry {}", index, memo_.size());
  if (index == memo_.size())
    memo_.push_back(id);
  else
    memo_[index] = id;
  return ok_status();
}

Status PickleMachine::memo_get(size_t index) {
  if (index >= memo_.size()) return refuse("memo entry {} of {} is asked for", index, memo_.size());
  push(memo_[index]);
  return ok_status();
}

}  // namespace plumb
