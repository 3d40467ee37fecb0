// A conversation goes on from the cache of its last turn, and gets the numbers of computing it
// anew.
#include <algorithm>
#include <cstring>

#include "core/decode/generate.h"
#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::must_generate;
using test::open_golden_model;

class KeptSequenceOf : public testing::TestWithParam<const char*> {
 protected:
  // One turn over `kept`, which must equal the turn computed anew.
  Generated turn(const std::vector<int32_t>& prompt) {
    GenerateRequest request;
    request.prompts = {prompt};
    request.max_new_tokens = 7;
    request.keep_logits = true;
    if (opened_.model->info().random_state) request.num_steps = 5;
    const Generated anew = must_generate(opened_, request)[0];
    request.kept = &kept_;
    Generated reused = must_generate(opened_, request)[0];
    EXPECT_EQ(reused.tokens, anew.tokens);
    EXPECT_EQ(reused.nll, anew.nll);
    EXPECT_EQ(reused.logits.size(), anew.logits.size());
    for (size_t i = 0; i < anew.logits.size(); ++i)
      EXPECT_EQ(std::memcmp(reused.logits[i].data(), anew.logits[i].data(),
                            anew.logits[i].size() * sizeof(float)),
                0)
          << "token " << i;
    return reused;
  }

  test::GoldenModel opened_ = open_golden_model(GetParam());
  KeptSequence kept_;
};

TEST_P(KeptSequenceOf, GoesOnWithoutComputingThePastAgain) {
  std::vector<int32_t> words = turn({5, 9, 77, 3}).tokens;
  EXPECT_EQ(kept_.n_reused, 0U);
  const size_t held = words.size() - 1;  // the last new token was not fed
  words.insert(words.end(), {12, 40, 7});
  const Generated second = turn(words);
  EXPECT_EQ(kept_.n_reused, held);
  // The same prompt again: all of it but the token whose logits are read.
  const size_t again = words.size();
  turn(words);
  EXPECT_EQ(kept_.n_reused, again - 1);
}

TEST_P(KeptSequenceOf, ForgetsWhatThePromptNoLongerSays) {
  std::vector<int32_t> words = turn({5, 9, 77, 3, 8, 8, 2}).tokens;
  words.resize(9);
  words.back() = (words.back() + 1) % 90;
  words.push_back(4);
  turn(words);
  // A segment that has ended is memory, which nothing can take words out of: all is computed anew.
  EXPECT_EQ(kept_.n_reused, opened_.model->info().segments ? 0U : 8U);
  turn({1, 2});
  EXPECT_EQ(kept_.n_reused, 0U);
}

INSTANTIATE_TEST_SUITE_P(Every, KeptSequenceOf,
                         testing::Values("raven/huginn_b", "llama/retrofit_a_converted",
                                         "llama/retrofit_a_base", "act/rope", "spikewhale/full",
                                         "crowfeather"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace
}  // namespace plumb
