#include "core/io/torch_pickle.h"

#include "core/io/pickle_machine.h"

namespace plumb {
std::string_view Pickle::text(PickleId id) const {
  const auto [begin, length] = values_[id].text;
  return {reinterpret_cast<const char*>(bytes_.data()) + begin, length};
}

bool Pickle::is_container(PickleId id) const {
  switch (kind(id)) {
    case PickleKind::kList:
    case PickleKind::kTuple:
    case PickleKind::kMap:
    case PickleKind::kObject:
      return true;
    default:
      return false;
  }
}

std::optional<PickleId> Pickle::at(PickleId map, std::string_view key) const {
  const auto all = items(map);
  for (size_t i = 0; i + 1 < all.size(); i += 2)
    if (kind(all[i]) == PickleKind::kText && text(all[i]) == key) return all[i + 1];
  return std::nullopt;
}

Status PickleMachine::begin() {
  if (bytes_.size() > limits_.max_bytes)
    return refuse("the pickle has {} bytes, expected at most {}", bytes_.size(), limits_.max_bytes);
  if (bytes_.size() < 2 || bytes_[0] != std::byte{0x80} || bytes_[1] != std::byte{2})
    return refuse("the pickle does not begin with protocol 2");
  at_ = 2;
  return ok_status();
}

Status PickleMachine::step_constant(uint8_t opcode) {
  PickleValue value;
  if (opcode != 'N') {
    value.kind = PickleKind::kBool;
    value.integer = opcode == 0x88 ? 1 : 0;
  }
  push(add(value));
  return ok_status();
}

Status PickleMachine::step_number(uint8_t opcode) {
  if (opcode == 'K') {
    PLUMB_ASSIGN(const auto value, take<uint8_t>());
    return push_int(value);
  }
  if (opcode == 'M') {
    PLUMB_ASSIGN(const auto value, take<uint16_t>());
    return push_int(value);
  }
  PLUMB_ASSIGN(const auto value, take<int32_t>());
  return push_int(value);
}

Status PickleMachine::step_container(uint8_t opcode) {
  if (opcode == 'a' || opcode == 's') {
    std::vector<PickleId> items(opcode == 'a' ? 1 : 2);
    for (size_t i = items.size(); i-- > 0;) {
      PLUMB_ASSIGN(items[i], pop());
    }
    return opcode == 'a' ? extend_list(items) : extend_map(items);
  }
  PLUMB_ASSIGN(std::vector<PickleId> items, pop_to_mark());
  if (opcode == 'e') return extend_list(items);
  if (opcode == 'u') return extend_map(items);
  push(add_list(PickleKind::kTuple, std::move(items)));
  return ok_status();
}

Status PickleMachine::step_memo(uint8_t opcode) {
  size_t index = 0;
  if (opcode == 'q' || opcode == 'h') {
    PLUMB_ASSIGN(index, take<uint8_t>());
  } else {
    PLUMB_ASSIGN(index, take<uint32_t>());
  }
  return opcode == 'q' || opcode == 'r' ? memo_put(index) : memo_get(index);
}

Status PickleMachine::step_object(uint8_t opcode) {
  switch (opcode) {
    case 'c':
      return push_global();
    case 'R':
      return reduce();
    case 0x81:
      return new_object();
    case 'b':
      return build();
    case 'Q':
      return persistent_id();
    default:
      return refuse("opcode 0x{:02x} is not one that torch.save writes", opcode);
  }
}

Result<bool> PickleMachine::step() {
  opcode_at_ = at_;
  if (at_ == bytes_.size()) return refuse("the pickle ends before its STOP");
  PLUMB_ASSIGN(const uint8_t opcode, take<uint8_t>());
  const auto go_on = [](const Status& status) -> Result<bool> {
    if (!status.ok()) return status.error();
    return true;
  };
  switch (opcode) {
    case '.':
      return false;
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case '}':
      push(add_list(PickleKind::kMap, {}));
      return true;
    case ']':
      push(add_list(PickleKind::kList, {}));
      return true;
    case ')':
      return go_on(push_tuple(0));
    case 0x85:
      return go_on(push_tuple(1));
    case 0x86:
      return go_on(push_tuple(2));
    case 0x87:
      return go_on(push_tuple(3));
    case 't':
    case 'a':
    case 'e':
    case 's':
    case 'u':
      return go_on(step_container(opcode));
    case 'N':
    case 0x88:
    case 0x89:
      return go_on(step_constant(opcode));
    case 'K':
    case 'M':
    case 'J':
      return go_on(step_number(opcode));
    case 0x8A:
      return go_on(push_long());
    case 'G':
      return go_on(push_float());
    case 'X':
      return go_on(push_text());
    case 'q':
    case 'r':
    case 'h':
    case 'j':
      return go_on(step_memo(opcode));
    default:
      return go_on(step_object(opcode));
  }
}

Status PickleMachine::finish() {
  if (stack_.size() != 1 || !marks_.empty())
    return refuse("the pickle ends with {} values on its stack, expected 1", stack_.size());
  if (at_ != bytes_.size())
    return refuse("{} bytes follow the STOP of the pickle", bytes_.size() - at_);
  result_.root = stack_[0];
  std::vector<PickleId> roots = std::move(set_aside_);
  roots.push_back(result_.root);
  return check_pickle(result_, roots, limits_.max_nesting, where_);
}

Result<Pickle> PickleMachine::run() {
  PLUMB_RETURN_IF_ERROR(begin());
  for (size_t n_opcodes = 0;; ++n_opcodes) {
    if (n_opcodes == limits_.max_opcodes)
      return refuse("the pickle has more than {} opcodes", limits_.max_opcodes);
    PLUMB_ASSIGN(const bool more, step());
    if (!more) break;
  }
  PLUMB_RETURN_IF_ERROR(finish());
  return std::move(result_);
}

Result<Pickle> parse_torch_pickle(std::span<const std::byte> bytes, const std::string& where,
                                  const StorageBytes& storage_bytes, const PickleLimits& limits) {
  return PickleMachine(bytes, where, storage_bytes, limits).run();
}

}  // namespace plumb
