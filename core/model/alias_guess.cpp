#include "core/model/alias_guess.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>

namespace plumb {
namespace {

constexpr std::string_view kNumber = "{i}";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

// All spellings of "a(b|c)d".
void expand(std::string_view pattern, const std::string& prefix, const std::function<void(const std::string&)>& take) {
  const size_t open = pattern.find('(');
  if (open == std::string_view::npos) return take(prefix + std::string(pattern));
  const size_t close = pattern.find(')', open);
  PLUMB_CHECK(close != std::string_view::npos);
  for (const std::string_view alternative : split(pattern.substr(open + 1, close - open - 1), '|'))
    expand(pattern.substr(close + 1), prefix + std::string(pattern.substr(0, open)) + std::string(alternative), take);
}

// "blocks.3.attn.wq.weight" -> "blocks.{i}.attn.wq.weight": the first part that is a number.
std::string with_number_left_open(const std::string& name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = std::string_view(name).substr(begin, end - begin);
    if (!part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return name.substr(0, begin) + std::string(kNumber) + name.substr(end);
    begin = end + 1;
  }
  return name;
}

using Spellings = std::map<std::string, std::vector<const AliasRow*>>;

Spellings spellings_of(const AliasFamily& family) {
  Spellings all;
  for (const AliasRow& row : family.rows)
    expand(row.from, "", [&](const std::string& name) { all[name].push_back(&row); });
  return all;
}

// Tensors whose names differ in the layer number only.
struct NameClass {
  std::string from;  // as a namemap rule spells it
  std::vector<int64_t> shape;
  std::vector<const AliasRow*> readings;
  const AliasRow* chosen = nullptr;
};

class Guess {
 public:
  Guess(const AliasFamily& family, const Checkpoint& checkpoint) : family_(family), checkpoint_(checkpoint) {}

  Status classify();
  double known_share() const;
  Status solve();
  NameMap map() const;
  std::string summary() const;
  bool is_identity() const;

 private:
  using Extents = std::array<int64_t, 128>;  // by letter; 0: open

  const CanonicalTensor& canonical(std::string_view name) const;
  bool fits(const NameClass& c, const AliasRow& row, Extents& extents) const;
  void search(size_t index, const Extents& extents, std::set<std::string_view>& produced);
  Status explain() const;

  const AliasFamily& family_;
  const Checkpoint& checkpoint_;
  std::vector<NameClass> classes_;
  std::vector<NameClass> buffers_;
  bool stripped_ = false;
  std::vector<std::vector<const AliasRow*>> solutions_;  // at most two
};

Status Guess::classify() {
  std::vector<TensorInfo> tensors(checkpoint_.tensors().begin(), checkpoint_.tensors().end());
  stripped_ = strip_common_prefixes(tensors) > 0;
  const Spellings spellings = spellings_of(family_);
  std::map<std::string, size_t> seen;
  for (const TensorInfo& tensor : tensors) {
    // A spelling with the number written out ("layers.0" for the only block) comes first.
    const auto exact = spellings.find(tensor.name);
    const std::string from = exact != spellings.end() ? tensor.name : with_number_left_open(tensor.name);
    const auto [at, fresh] = seen.emplace(from, classes_.size());
    if (!fresh) {
      if (at->second != SIZE_MAX && classes_[at->second].shape != tensor.shape)
        return input_error("{}: tensor {} has shape {}, but its likes in other layers have {}", tensor.file,
                           quote_name(tensor.name), shape_text(tensor.shape), shape_text(classes_[at->second].shape));
      continue;
    }
    const auto known = spellings.find(from);
    if (known == spellings.end() && family_.is_buffer != nullptr && family_.is_buffer(tensor.name)) {
      buffers_.push_back({from, tensor.shape, {}, nullptr});
      at->second = SIZE_MAX;
      continue;
    }
    classes_.push_back({from, tensor.shape, known == spellings.end() ? std::vector<const AliasRow*>{} : known->second, nullptr});
  }
  return ok_status();
}

double Guess::known_share() const {
  const auto known = std::count_if(classes_.begin(), classes_.end(), [](const NameClass& c) { return !c.readings.empty(); });
  return classes_.empty() ? 0 : static_cast<double>(known) / static_cast<double>(classes_.size());
}

const CanonicalTensor& Guess::canonical(std::string_view name) const {
  const auto at = std::find_if(family_.tensors.begin(), family_.tensors.end(),
                               [&](const CanonicalTensor& t) { return t.name == name; });
  PLUMB_CHECK(at != family_.tensors.end());
  return *at;
}

// Whether the shape can be this row's, given the extents that are settled; settles more.
bool Guess::fits(const NameClass& c, const AliasRow& row, Extents& extents) const {
  const std::vector<std::string_view> targets = split(row.to, ',');
  for (const std::string_view target : targets) {
    const std::string_view letters = canonical(target).shape;
    if (letters == "*") continue;
    if (letters.size() != c.shape.size()) return false;
    for (size_t axis = 0; axis < letters.size(); ++axis) {
      int64_t extent = c.shape[axis];
      if (axis == 0) {
        if (extent % std::ssize(targets) != 0) return false;
        extent /= std::ssize(targets);
      }
      int64_t& settled = extents[static_cast<size_t>(letters[axis]) % extents.size()];
      if (letters[axis] == '1' ? extent != 1 : settled != 0 && settled != extent) return false;
      settled = extent;
    }
  }
  return true;
}

void Guess::search(size_t index, const Extents& extents, std::set<std::string_view>& produced) {
  if (solutions_.size() > 1) return;
  if (index == classes_.size()) {
    for (const CanonicalTensor& tensor : family_.tensors)
      if (tensor.required && !produced.contains(tensor.name)) return;
    solutions_.emplace_back();
    for (const NameClass& c : classes_) solutions_.back().push_back(c.chosen);
    return;
  }
  NameClass& c = classes_[index];
  for (const AliasRow* row : c.readings) {
    Extents settled = extents;
    if (!fits(c, *row, settled)) continue;
    std::vector<std::string_view> added;
    bool free = true;
    if (row->kind == AliasRow::kPlain)
      for (const std::string_view target : split(row->to, ',')) {
        if (produced.insert(target).second) added.push_back(target);
        else free = false;
      }
    c.chosen = row;
    if (free) search(index + 1, settled, produced);
    for (const std::string_view target : added) produced.erase(target);
  }
}

Status Guess::explain() const {
  const std::string where = fmt::format("{}: names of family {} cannot be guessed", checkpoint_.display_name(), family_.name);
  for (const NameClass& c : classes_)
    if (c.readings.empty())
      return input_error("{}: tensor {} {} has no known spelling; give --namemap FILE", where, quote_name(c.from), shape_text(c.shape));
  std::set<std::string_view> provided;
  for (const NameClass& c : classes_)
    for (const AliasRow* row : c.readings)
      for (const std::string_view target : split(row->to, ',')) provided.insert(target);
  for (const CanonicalTensor& tensor : family_.tensors)
    if (tensor.required && !provided.contains(tensor.name))
      return input_error("{}: no tensor can be {}; give --namemap FILE", where, quote_name(tensor.name));
  return input_error("{}: the shapes fit no reading of the names; give --namemap FILE", where);
}

Status Guess::solve() {
  for (const NameClass& c : classes_)
    if (c.readings.empty()) return explain();
  std::set<std::string_view> produced;
  search(0, Extents{}, produced);
  if (solutions_.empty()) return explain();
  if (solutions_.size() > 1)
    for (size_t i = 0; i < classes_.size(); ++i)
      if (solutions_[0][i] != solutions_[1][i])
        return input_error("{}: tensor {} {} may be {} or {} and no shape decides; give --namemap FILE",
                           checkpoint_.display_name(), quote_name(classes_[i].from), shape_text(classes_[i].shape),
                           quote_name(solutions_[0][i]->to), quote_name(solutions_[1][i]->to));
  for (size_t i = 0; i < classes_.size(); ++i) classes_[i].chosen = solutions_[0][i];
  return ok_status();
}

NameMap Guess::map() const {
  NameMap map{fmt::format("names guessed for {}", family_.name), {}};
  for (const NameClass& c : classes_) {
    NameRule rule;
    rule.from = c.from;
    for (const std::string_view target : split(c.chosen->to, ',')) rule.targets.emplace_back(target);
    rule.action = c.chosen->kind == AliasRow::kTied ? NameRule::Action::kTiedTo
                  : rule.targets.size() > 1         ? NameRule::Action::kSplit0
                                                    : NameRule::Action::kTo;
    map.rules.push_back(std::move(rule));
  }
  for (const NameClass& c : buffers_) map.rules.push_back({c.from, NameRule::Action::kTo, {c.from}, false});
  return map;
}

bool Guess::is_identity() const {
  return !stripped_ && std::all_of(classes_.begin(), classes_.end(), [](const NameClass& c) {
    return c.chosen->kind == AliasRow::kPlain && c.chosen->to == c.from;
  });
}

std::string Guess::summary() const {
  std::string text;
  for (const NameClass& c : classes_) {
    if (c.chosen->kind == AliasRow::kPlain && c.chosen->to == c.from) continue;
    std::string target(c.chosen->to);
    for (size_t at = target.find(','); at != std::string::npos; at = target.find(',', at + 3)) target.replace(at, 1, " + ");
    text += fmt::format("{}{} {} {}", text.empty() ? "" : "; ", c.from, c.chosen->kind == AliasRow::kTied ? "= a copy of" : "->", target);
  }
  return text;
}

}  // namespace

bool resembles(const AliasFamily& family, const Checkpoint& checkpoint) {
  Guess guess(family, checkpoint);
  return guess.classify().ok() && guess.known_share() >= 0.6;
}

Result<CanonicalNames> guess_names(const AliasFamily& family, const Checkpoint& checkpoint) {
  Guess guess(family, checkpoint);
  PLUMB_RETURN_IF_ERROR(guess.classify());
  PLUMB_RETURN_IF_ERROR(guess.solve());
  CanonicalNames result;
  if (guess.is_identity()) return result;
  result.notes.push_back(fmt::format("tensor names were guessed: {}", guess.summary()));
  PLUMB_ASSIGN(Checkpoint renamed, checkpoint.renamed(guess.map()));
  result.notes.insert(result.notes.end(), renamed.notes().begin(), renamed.notes().end());
  result.renamed = std::move(renamed);
  return result;
}

}  // namespace plumb
