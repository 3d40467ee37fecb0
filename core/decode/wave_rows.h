// Rows of a wave, and how the latent rules see that one no longer moves. Internal to the sampler.
#pragma once

#include <span>
#include <vector>

#include "core/base/mat.h"
#include "core/decode/wavefront.h"

namespace plumb {

// States or embeddings of consecutive positions, which may be appended to, cut and compared.
using Rows = std::vector<std::vector<float>>;

Rows rows_of(MatView<const float> mat);
// Mat rows from `rows`, each of `cols` values.
void fill_mat(const Rows& rows, size_t cols, Mat<float>& mat);
// Rows from `begin` on; nothing when there are none.
Rows tail(const Rows& rows, size_t begin);

// What the latent rules remember of the rounds before. Rows are lined up as the published code
// does it: the states kept from the round before begin where this round's wave begins, and are
// shifted by the wave's last move once more.
class FreezeJudge {
 public:
  FreezeJudge(FreezeRule rule, double threshold) : rule_(rule), threshold_(threshold) {}

  void start(const Rows& states);
  // The last index in the wave, which begins at position `c`, whose measure is below the threshold;
  // -1: none. For the other rules always -1.
  int last_still(const Rows& states, int c);
  // The round is over: its wave began at `c`, and these states go on.
  void remember(const Rows& states, int c);

  // Where the wave of the round before began.
  int last_begin() const { return last_begin_; }

 private:
  bool latent() const {
    return rule_ != FreezeRule::kTokenStability && rule_ != FreezeRule::kFixed;
  }
  int second_difference(const Rows& states, int c) const;

  FreezeRule rule_;
  double threshold_;
  Rows previous_, before_previous_, previous_delta_;
  int last_begin_ = 0, before_last_begin_ = 0;
};

}  // namespace plumb
