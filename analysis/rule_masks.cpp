#include "analysis/rule_masks.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/base/check.h"

namespace plumb {

RuleMasks::RuleMasks(std::span<const Rule* const> rules, size_t n_checks)
    : rules_(rules), n_checks_(n_checks), n_words_((n_checks + 63) / 64) {
  std::map<std::tuple<const Scalar*, Comparator, double>, size_t> seen;
  size_t most_nodes = 0;
  for (const Rule* rule : rules) {
    std::vector<size_t>& leaf_of = leaf_of_.emplace_back();
    for (const Rule::Node& node : rule->nodes()) {
      leaf_of.push_back(0);
      if (node.kind != Rule::Kind::kCompare) continue;
      const auto [found, is_new] =
          seen.try_emplace({node.scalar, node.comparator, node.threshold}, leaves_.size());
      if (is_new) leaves_.push_back({node.scalar, node.comparator, node.threshold});
      leaf_of.back() = found->second;
    }
    most_nodes = std::max(most_nodes, rule->nodes().size());
  }
  by_scalar_.resize(leaves_.size());
  std::iota(by_scalar_.begin(), by_scalar_.end(), size_t{0});
  std::sort(by_scalar_.begin(), by_scalar_.end(), [&](size_t a, size_t b) {
    return std::less<>()(leaves_[a].scalar, leaves_[b].scalar);
  });
  values_.resize(n_checks);
  steps_.resize(n_checks);
  masks_.resize(leaves_.size() * n_words_);
  nodes_.resize(most_nodes * n_words_);
}

void RuleMasks::load(std::span<const StepRow> rows) {
  PLUMB_CHECK(rows.size() == n_checks_);
  for (size_t check = 0; check < n_checks_; ++check) steps_[check] = rows[check].step;
  const Scalar* loaded = nullptr;
  std::fill(masks_.begin(), masks_.end(), 0);
  for (const size_t leaf : by_scalar_) {
    const Leaf& comparison = leaves_[leaf];
    if (comparison.scalar != loaded) {
      loaded = comparison.scalar;
      for (size_t check = 0; check < n_checks_; ++check) values_[check] = loaded->value(rows[check]);
    }
    uint64_t* mask = &masks_[leaf * n_words_];
    for (size_t check = 0; check < n_checks_; ++check)
      mask[check / 64] |=
          static_cast<uint64_t>(
              compare(values_[check], comparison.comparator, comparison.threshold))
          << (check % 64);
  }
}

void RuleMasks::evaluate(const Rule::Node& node, size_t leaf, int64_t forward, uint64_t* out) {
  switch (node.kind) {
    case Rule::Kind::kNone:
      std::fill_n(out, n_words_, 0);
      return;
    case Rule::Kind::kCompare:
      std::copy_n(&masks_[leaf * n_words_], n_words_, out);
      return;
    case Rule::Kind::kPattern: {
      const int depth = node.pattern[static_cast<size_t>(forward) % node.pattern.size()];
      std::fill_n(out, n_words_, 0);
      for (size_t check = 0; check < n_checks_; ++check)
        if (steps_[check] >= depth) out[check / 64] |= uint64_t{1} << (check % 64);
      return;
    }
    case Rule::Kind::kAnd:
    case Rule::Kind::kOr:
      for (size_t word = 0; word < n_words_; ++word) {
        uint64_t all = ~uint64_t{0}, any = 0;
        for (const int child : node.children) {
          const uint64_t mask = nodes_[static_cast<size_t>(child) * n_words_ + word];
          all &= mask, any |= mask;
        }
        out[word] = node.kind == Rule::Kind::kAnd ? all : any;
      }
  }
}

size_t RuleMasks::first_hit(size_t i, int64_t forward) {
  const Rule& rule = *rules_[i];
  const auto& nodes = rule.nodes();
  for (size_t node = 0; node < nodes.size(); ++node)
    evaluate(nodes[node], leaf_of_[i][node], forward, &nodes_[node * n_words_]);
  const uint64_t* root = &nodes_[(nodes.size() - 1) * n_words_];
  if (rule.patience() == 1) {
    for (size_t word = 0; word < n_words_; ++word)
      if (root[word] != 0)
        return word * 64 + static_cast<size_t>(std::countr_zero(root[word]));
    return n_checks_;
  }
  int hits = 0;
  for (size_t check = 0; check < n_checks_; ++check) {
    hits = (root[check / 64] >> (check % 64) & 1) != 0 ? hits + 1 : 0;
    if (hits >= rule.patience()) return check;
  }
  return n_checks_;
}

}  // namespace plumb
