// A decoded step allocates nothing: not in the model, its cache or the checks.
#include <atomic>
#include <cstddef>

#include "core/decode/generate.h"
#include "tests/core/decode/decode_fixture.h"

namespace {
std::atomic<int> allocations{0};
}

// The linker sends calls of operator new(size_t) and aligned_alloc here first.
extern "C" {
void* __real__Znwm(size_t bytes);
void* __real_aligned_alloc(size_t alignment, size_t bytes);
void* __wrap__Znwm(size_t bytes) {
  ++allocations;
  return __real__Znwm(bytes);
}
void* __wrap_aligned_alloc(size_t alignment, size_t bytes) {
  ++allocations;
  return __real_aligned_alloc(alignment, bytes);
}
}

namespace plumb {
namespace {

struct Case {
  const char* model;
  const char* rule;  // fires never
  int shallow, deep;
};

// What a token allocates at depth `num_steps`, the median of many: vectors that grow double now and
// then.
int allocations_a_token(const Case& which, int num_steps) {
  const auto opened = test::open_golden_model(which.model);
  GenerateRequest request;
  request.prompts = {{5, 9, 7}};
  request.max_new_tokens = 41;
  request.num_steps = num_steps;
  if (*which.rule != '\0') request.rule = test::must_parse(which.rule);
  std::vector<int> counts;
  counts.reserve(64);
  request.after_token = [&](size_t, std::span<const int32_t>) {
    counts.push_back(allocations);
    return false;
  };
  const auto done = generate(*opened, *opened.team, request);
  EXPECT_TRUE(done.ok()) << done.error().message;
  if (counts.size() != 41) return -1;
  std::vector<int> a_token;
  for (size_t i = counts.size() / 2; i < counts.size(); ++i)
    a_token.push_back(counts[i] - counts[i - 1]);
  std::ranges::nth_element(a_token, a_token.begin() + 10);
  return a_token[10];
}

class Allocation : public testing::TestWithParam<Case> {};

TEST_P(Allocation, DoesNotGrowWithDepth) {
  const Case& which = GetParam();
  const int shallow = allocations_a_token(which, which.shallow),
            deep = allocations_a_token(which, which.deep);
  EXPECT_GT(shallow, 0) << "nothing was counted";
  EXPECT_EQ(deep, shallow);
  EXPECT_LE(deep, 8);  // the call's own ids, and what the answer keeps
}

INSTANTIATE_TEST_SUITE_P(Models, Allocation,
                         testing::Values(Case{"raven/huginn_b", "", 4, 12},
                                         Case{"raven/huginn_b", "latent-diff<1e-30", 4, 12},
                                         Case{"raven/huginn_b", "kl<1e-30", 4, 12},
                                         Case{"llama/retrofit_a_converted", "kl<1e-30", 4, 12},
                                         Case{"llama/retrofit_a_base", "", 2, 6},
                                         Case{"llama/retrofit_a_base", "entropy<0", 2, 6}));

}  // namespace
}  // namespace plumb
