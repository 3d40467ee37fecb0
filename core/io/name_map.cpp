#include "core/io/name_map.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

namespace plumb {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The digits that {i} stands for (empty when `from` has none); nothing when the name differs.
std::optional<std::string_view> match(std::string_view from, std::string_view name) {
  const size_t at = from.find(kNumberMark);
  if (at == std::string_view::npos)
    return from == name ? std::optional<std::string_view>("") : std::nullopt;
  if (!name.starts_with(from.substr(0, at))) return std::nullopt;
  size_t end = at;
  while (end < name.size() && is_digit(name[end])) ++end;
  if (end == at || name.substr(end) != from.substr(at + kNumberMark.size())) return std::nullopt;
  return name.substr(at, end - at);
}

std::string substitute(std::string target, std::string_view digits) {
  for (size_t at = target.find(kNumberMark); at != std::string::npos; at = target.find(kNumberMark, at))
    target.replace(at, kNumberMark.size(), digits);
  return target;
}

class Mapper {
 public:
  Mapper(const NameMap& map, ByteArena& arena) : map_(map), arena_(arena) {}

  Result<MappedNames> run(const std::vector<TensorInfo>& sources);

 private:
  struct Tie {
    TensorInfo source;
    std::string target;
  };

  Status map_one(const TensorInfo& source);
  Status apply(const NameRule& rule, const TensorInfo& source, std::string_view digits);
  Status split(const NameRule& rule, const TensorInfo& source, std::string_view digits);
  Result<TensorInfo> transposed(const TensorInfo& source);
  Status produce(TensorInfo tensor, const std::string& source);
  Status check_tie(const Tie& tie) const;

  const NameMap& map_;
  ByteArena& arena_;
  std::map<std::string, TensorInfo> produced_;
  std::map<std::string, std::string> produced_from_;
  std::vector<Tie> ties_;
  size_t n_dropped_ = 0;
};

Status Mapper::map_one(const TensorInfo& source) {
  const NameRule* rule = nullptr;
  std::string_view digits;
  for (const NameRule& candidate : map_.rules) {
    const auto found = match(candidate.from, source.name);
    if (!found) continue;
    if (rule != nullptr)
      return input_error("{}: tensor {} of {} matches two rules, {} and {}", map_.where,
                         quote_name(source.name), source.file, quote_name(rule->from),
                         quote_name(candidate.from));
    rule = &candidate;
    digits = *found;
  }
  if (rule == nullptr)
    return input_error("{}: no rule matches tensor {} {} of {}", map_.where,
                       quote_name(source.name), shape_text(source.shape), source.file);
  return apply(*rule, source, digits);
}

Status Mapper::apply(const NameRule& rule, const TensorInfo& source, std::string_view digits) {
  switch (rule.action) {
    case NameRule::Action::kDrop:
      ++n_dropped_;
      return ok_status();
    case NameRule::Action::kTiedTo:
      ties_.push_back({source, substitute(rule.targets[0], digits)});
      return ok_status();
    case NameRule::Action::kSplit0:
      return split(rule, source, digits);
    case NameRule::Action::kTo:
      break;
  }
  TensorInfo tensor = source;
  if (rule.transpose) {
    PLUMB_ASSIGN(tensor, transposed(source));
  }
  tensor.name = substitute(rule.targets[0], digits);
  return produce(std::move(tensor), source.name);
}

Status Mapper::split(const NameRule& rule, const TensorInfo& source, std::string_view digits) {
  const auto parts = static_cast<int64_t>(rule.targets.size());
  if (source.shape.empty() || source.shape[0] % parts != 0)
    return input_error("{}: tensor {} {} of {} cannot be cut into {} equal parts along axis 0",
                       map_.where, quote_name(source.name), shape_text(source.shape), source.file,
                       parts);
  TensorInfo part = source;
  part.shape[0] /= parts;
  part.bytes = source.bytes / rule.targets.size();
  for (const std::string& target : rule.targets) {
    part.name = substitute(target, digits);
    PLUMB_RETURN_IF_ERROR(produce(part, source.name));
    part.data += part.bytes;
  }
  return ok_status();
}

Result<TensorInfo> Mapper::transposed(const TensorInfo& source) {
  if (source.shape.size() != 2)
    return input_error("{}: tensor {} {} of {} is not a matrix, so it cannot be transposed",
                       map_.where, quote_name(source.name), shape_text(source.shape), source.file);
  std::byte* copy = arena_.take(source.bytes);
  if (copy == nullptr)
    return work_error("{}: no memory to transpose tensor {} of {} ({} bytes)", map_.where,
                      quote_name(source.name), source.file, source.bytes);
  const size_t item = dtype_bytes(source.dtype);
  const auto rows = static_cast<size_t>(source.shape[0]),
             cols = static_cast<size_t>(source.shape[1]);
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c)
      std::memcpy(copy + (c * rows + r) * item, source.data + (r * cols + c) * item, item);
  TensorInfo result = source;
  result.data = copy;
  std::swap(result.shape[0], result.shape[1]);
  return result;
}

Status Mapper::produce(TensorInfo tensor, const std::string& source) {
  const auto [at, fresh] = produced_from_.emplace(tensor.name, source);
  if (!fresh)
    return input_error("{}: tensor {} is produced twice, from {} and from {}", map_.where,
                       quote_name(tensor.name), quote_name(at->second), quote_name(source));
  std::string name = tensor.name;
  produced_.emplace(std::move(name), std::move(tensor));
  return ok_status();
}

Status Mapper::check_tie(const Tie& tie) const {
  const auto at = produced_.find(tie.target);
  if (at == produced_.end())
    return input_error("{}: tensor {} is tied to {}, which no rule produces", map_.where,
                       quote_name(tie.source.name), quote_name(tie.target));
  const TensorInfo& target = at->second;
  if (tie.source.shape != target.shape || tie.source.dtype != target.dtype)
    return input_error("{}: tensor {} is {} {}, but {}, to which it is tied, is {} {}", map_.where,
                       quote_name(tie.source.name), dtype_name(tie.source.dtype),
                       shape_text(tie.source.shape), quote_name(tie.target),
                       dtype_name(target.dtype), shape_text(target.shape));
  const bool same = tie.source.data == target.data || target.bytes == 0 ||
                    std::memcmp(tie.source.data, target.data, target.bytes) == 0;
  if (!same)
    return input_error("{}: tensor {} differs from {}, to which it is tied", map_.where,
                       quote_name(tie.source.name), quote_name(tie.target));
  return ok_status();
}

Result<MappedNames> Mapper::run(const std::vector<TensorInfo>& sources) {
  for (const TensorInfo& source : sources) PLUMB_RETURN_IF_ERROR(map_one(source));
  for (const Tie& tie : ties_) PLUMB_RETURN_IF_ERROR(check_tie(tie));
  MappedNames result;
  for (auto& [name, tensor] : produced_) result.tensors.push_back(std::move(tensor));
  result.notes.push_back(fmt::format("{} made {} tensors of {}; {} tied and {} dropped", map_.where,
                                     result.tensors.size(), sources.size(), ties_.size(),
                                     n_dropped_));
  return result;
}

}  // namespace

size_t strip_common_prefixes(std::vector<TensorInfo>& tensors) {
  size_t removed = 0;
  for (bool again = !tensors.empty(); again;) {
    again = false;
    for (const std::string_view prefix : {"_orig_mod.", "module."}) {
      const bool common = std::all_of(tensors.begin(), tensors.end(), [&](const TensorInfo& t) {
        return t.name.size() > prefix.size() && t.name.starts_with(prefix);
      });
      if (!common) continue;
      for (TensorInfo& tensor : tensors) tensor.name.erase(0, prefix.size());
      removed += prefix.size();
      again = true;
    }
  }
  return removed;
}

Result<MappedNames> apply_name_map(const NameMap& map, std::vector<TensorInfo> sources,
                                   ByteArena& arena) {
  const std::string first = sources.empty() ? "" : sources[0].name;
  const size_t removed = strip_common_prefixes(sources);
  PLUMB_ASSIGN(MappedNames result, Mapper(map, arena).run(sources));
  if (removed > 0)
    result.notes.push_back(fmt::format("the prefix {} was taken off every tensor name",
                                       quote_name(first.substr(0, removed))));
  return result;
}

}  // namespace plumb
