#include "core/model/layered_cache.h"

#include <algorithm>

namespace plumb {
namespace {

constexpr int kPanel = static_cast<int>(kKeyPanel);

int panel_floor(int pos) { return pos / kPanel * kPanel; }

}  // namespace

int WindowedKv::first_visible(int pos) const {
  return window_ == 0 ? 0 : std::max(0, pos - static_cast<int>(window_) + 1);
}

bool WindowedKv::has(int pos) const {
  const int row = pos - base_;
  return row >= 0 && row < static_cast<int>(present_.size()) && present_[static_cast<size_t>(row)] != 0;
}

// Room for n rows from pos0 on. Forgetting moves what is kept to the front; it waits until at
// least a quarter of the memory is gained, so that a token costs O(1) moves on average.
void WindowedKv::make_room(int pos0, int n) {
  const auto capacity = static_cast<int>(values_.rows());
  if (pos0 + n - base_ <= capacity) return;
  const int new_base = std::max(base_, panel_floor(std::max(0, first_visible(pos0) - kRewind)));
  const int forgotten = new_base - base_, wanted = pos0 + n - new_base;
  const auto kept = static_cast<size_t>(std::max(0, capacity - forgotten));
  const auto skipped = std::min(static_cast<size_t>(forgotten), static_cast<size_t>(capacity));
  const auto copy_kept = [&](const Mat<float>& from, float* to) {
    std::copy(from.data() + skipped * kv_dim_, from.data() + (skipped + kept) * kv_dim_, to);
  };
  if (wanted <= capacity && forgotten >= capacity / 4) {
    copy_kept(keys_, keys_.data());
    copy_kept(values_, values_.data());
  } else {
    int grown = std::max(kPanel, capacity);
    while (grown < wanted) grown *= 2;
    const auto rows = static_cast<size_t>(grown);
    Mat<float> keys(rows / kKeyPanel, kv_dim_ * kKeyPanel), values(rows, kv_dim_);
    copy_kept(keys_, keys.data());
    copy_kept(values_, values.data());
    keys_ = std::move(keys);
    values_ = std::move(values);
  }
  present_.erase(present_.begin(), present_.begin() + std::min<std::ptrdiff_t>(forgotten, std::ssize(present_)));
  base_ = new_base;
}

void WindowedKv::append(int pos0, MatView<const float> keys, MatView<const float> values,
                        MatView<const float> queries, MatView<float> out,
                        std::vector<AttentionJob>& jobs) {
  const auto n = static_cast<int>(keys.rows());
  PLUMB_CHECK(pos0 >= base_ && can_truncate(pos0));
  make_room(pos0, n);
  const auto first_row = static_cast<size_t>(pos0 - base_);
  if (present_.size() < first_row + keys.rows()) present_.resize(first_row + keys.rows(), 0);
  put_keys(keys, first_row, keys_.data());
  for (size_t i = 0; i < keys.rows(); ++i) {
    std::copy(values.row(i), values.row(i) + kv_dim_, values_.row(first_row + i));
    present_[first_row + i] = 1;
  }
  for (int pos = std::max(base_, first_visible(pos0)); pos < pos0; ++pos)
    if (!has(pos)) return append_with_holes(pos0, queries, out, jobs);
  jobs.push_back({queries, out, {keys_.data(), values_.data(), kv_dim_, kv_dim_}, first_row, window_});
}

void WindowedKv::append_with_holes(int pos0, MatView<const float> queries, MatView<float> out,
                                   std::vector<AttentionJob>& jobs) {
  const int n = static_cast<int>(queries.rows());
  std::vector<int> positions;
  for (int pos = std::max(base_, first_visible(pos0)); pos < pos0 + n; ++pos)
    if (has(pos)) positions.push_back(pos);
  const size_t count = positions.size();
  gathered_keys_.resize((count + kKeyPanel - 1) / kKeyPanel, kv_dim_ * kKeyPanel);
  gathered_keys_.fill(0);
  gathered_values_.resize(count, kv_dim_);
  std::vector<float> key(kv_dim_);
  for (size_t i = 0; i < count; ++i) {
    const auto row = static_cast<size_t>(positions[i] - base_);
    const float* source = keys_.row(row / kKeyPanel) + row % kKeyPanel;
    for (size_t c = 0; c < kv_dim_; ++c) key[c] = source[c * kKeyPanel];
    put_key(gathered_keys_.data(), kv_dim_, i, key);
    std::copy(values_.row(row), values_.row(row) + kv_dim_, gathered_values_.row(i));
  }
  const KvView view{gathered_keys_.data(), gathered_values_.data(), kv_dim_, kv_dim_};
  for (int t = 0; t < n; ++t) {
    const auto rank = [&](int pos) {
      return static_cast<size_t>(std::lower_bound(positions.begin(), positions.end(), pos) - positions.begin());
    };
    const size_t before = rank(pos0 + t), row = static_cast<size_t>(t);
    jobs.push_back({queries.rows_from(row, 1), out.rows_from(row, 1), view, before,
                    window_ == 0 ? 0 : before + 1 - rank(first_visible(pos0 + t))});
  }
}

void WindowedKv::truncate(int length) {
  present_.resize(static_cast<size_t>(std::clamp(length - base_, 0, static_cast<int>(present_.size()))));
}

size_t WindowedKv::n_visible(int length) const {
  size_t count = 0;
  // The next query sees its own key besides these.
  for (int pos = std::max(base_, window_ == 0 ? 0 : first_visible(length - 1)); pos < length; ++pos)
    count += has(pos) ? 1 : 0;
  return count;
}

LayeredCache::LayeredCache(size_t kv_dim, const std::vector<int>& windows) : kv_dim_(kv_dim) {
  for (const int window : windows) blocks_.emplace_back(kv_dim, static_cast<size_t>(window));
}

Status LayeredCache::truncate(int length) {
  PLUMB_CHECK(length >= 0 && length <= this->length());
  for (const WindowedKv& block : blocks_)
    if (!block.can_truncate(length))
      return input_error("the cache cannot go back from {} to {} tokens: a block with a sliding window keeps "
                         "its window and {} tokens before it",
                         this->length(), length, WindowedKv::kRewind);
  for (WindowedKv& block : blocks_) block.truncate(length);
  ids_.resize(static_cast<size_t>(length));
  return ok_status();
}

size_t LayeredCache::bytes() const {
  size_t rows = 0;
  for (const WindowedKv& block : blocks_) rows += block.n_visible(length());
  return rows * 2 * kv_dim_ * sizeof(float);
}

}  // namespace plumb
