#include <algorithm>

#include "core/io/tensor_info.h"
#include "core/io/torch_pickle.h"

namespace plumb {
namespace {

// A depth-first walk with its own stack: the file decides how deep values nest.
class Walk {
 public:
  Walk(const Pickle& pickle, int max_nesting, const std::string& where)
      : pickle_(pickle), max_nesting_(max_nesting), where_(where), heights_(pickle.n_values(), 0) {}

  Status from(PickleId root);

 private:
  // Levels below and including a finished container; 0: not seen yet.
  static constexpr uint8_t kOpen = 255;

  struct Frame {
    PickleId id;
    size_t next = 0;
    int below = 0;
  };

  Status open(PickleId id);
  Status check_keys(PickleId map) const;
  Status step_into(PickleId child);

  const Pickle& pickle_;
  const int max_nesting_;
  const std::string& where_;
  std::vector<uint8_t> heights_;
  std::vector<Frame> frames_;
};

Status Walk::check_keys(PickleId map) const {
  const auto items = pickle_.items(map);
  std::vector<std::string_view> texts;
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < items.size(); i += 2) {
    if (pickle_.kind(items[i]) == PickleKind::kText)
      texts.push_back(pickle_.text(items[i]));
    else
      numbers.push_back(pickle_.integer(items[i]));
  }
  std::sort(texts.begin(), texts.end());
  std::sort(numbers.begin(), numbers.end());
  const auto text = std::adjacent_find(texts.begin(), texts.end());
  if (text != texts.end())
    return input_error("{}: a dict holds the key {} twice", where_, quote_name(*text));
  const auto number = std::adjacent_find(numbers.begin(), numbers.end());
  if (number != numbers.end())
    return input_error("{}: a dict holds the key {} twice", where_, *number);
  return ok_status();
}

Status Walk::open(PickleId id) {
  if (frames_.size() >= static_cast<size_t>(max_nesting_))
    return input_error("{}: values nest deeper than {} levels", where_, max_nesting_);
  const PickleKind kind = pickle_.kind(id);
  if (kind == PickleKind::kMap || kind == PickleKind::kObject)
    PLUMB_RETURN_IF_ERROR(check_keys(id));
  heights_[id] = kOpen;
  frames_.push_back({id});
  return ok_status();
}

Status Walk::step_into(PickleId child) {
  if (pickle_.kind(child) == PickleKind::kGlobal)
    return input_error("{}: the name of a class stands where a value should", where_);
  if (!pickle_.is_container(child)) return ok_status();
  if (heights_[child] == 0) return open(child);
  if (heights_[child] == kOpen) return input_error("{}: a value contains itself", where_);
  if (frames_.size() + heights_[child] > static_cast<size_t>(max_nesting_))
    return input_error("{}: values nest deeper than {} levels", where_, max_nesting_);
  frames_.back().below = std::max<int>(frames_.back().below, heights_[child]);
  return ok_status();
}

Status Walk::from(PickleId root) {
  PLUMB_CHECK(max_nesting_ < kOpen);
  if (pickle_.kind(root) == PickleKind::kGlobal)
    return input_error("{}: the name of a class stands where a value should", where_);
  if (!pickle_.is_container(root) || heights_[root] != 0) return ok_status();
  PLUMB_RETURN_IF_ERROR(open(root));
  while (!frames_.empty()) {
    Frame& frame = frames_.back();
    const auto items = pickle_.items(frame.id);
    if (frame.next < items.size()) {
      PLUMB_RETURN_IF_ERROR(step_into(items[frame.next++]));
      continue;
    }
    const int height = frame.below + 1;
    heights_[frame.id] = static_cast<uint8_t>(height);
    frames_.pop_back();
    if (!frames_.empty()) frames_.back().below = std::max(frames_.back().below, height);
  }
  return ok_status();
}

}  // namespace

Status check_pickle(const Pickle& pickle, std::span<const PickleId> roots, int max_nesting,
                    const std::string& where) {
  Walk walk(pickle, max_nesting, where);
  for (const PickleId root : roots) PLUMB_RETURN_IF_ERROR(walk.from(root));
  return ok_status();
}

}  // namespace plumb
