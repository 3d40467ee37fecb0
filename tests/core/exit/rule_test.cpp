#include "core/exit/rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

namespace plumb {
namespace {

using testing::HasSubstr;

Rule rule(std::string_view text) {
  auto parsed = Rule::parse(text);
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message);
  return parsed.ok() ? std::move(parsed).value() : Rule();
}

std::string refusal(std::string_view text) {
  auto parsed = Rule::parse(text);
  EXPECT_FALSE(parsed.ok()) << "accepted: " << text;
  return parsed.ok() ? "" : parsed.error().message;
}

StepRow row_with(double kl, double margin, int run, int step = 1) {
  StepRow row;
  row.step = step;
  row.prev.kl = kl;
  row.p1 = margin;
  row.p2 = 0;
  row.argmax_run = run;
  return row;
}

TEST(Rule, CanonicalTextHasEveryNumberResolved) {
  const std::pair<const char*, const char*> kCases[] = {
      {"kl<5e-4", "kl<0.0005 @min=0,patience=1,every=1,phase=both"},
      {"kl", "kl<0.001 @min=0,patience=1,every=1,phase=both"},
      {"argmax-stability", "argmax-stability>=5 @min=0,patience=1,every=1,phase=both"},
      {" margin >= 0.90\t& argmax-stability>=4 ",
       "margin>=0.9 & argmax-stability>=4 @min=0,patience=1,every=1,phase=both"},
      {"kl<1e-3 | fixed=16", "kl<0.001 | fixed=16 @min=0,patience=1,every=1,phase=both"},
      {"fixed>=16", "fixed=16 @min=0,patience=1,every=1,phase=both"},
      {"fixed = 3 / 1/4", "fixed=3/1/4 @min=0,patience=1,every=1,phase=both"},
      {"accel<1e-3@patience=2", "accel<0.001 @min=0,patience=2,every=1,phase=both"},
      {"kl<5e-4 @min=2,max=32,patience=2,every=1,phase=decode",
       "kl<0.0005 @min=2,max=32,patience=2,every=1,phase=decode"},
      {"none @ every = 3 , phase = prefill", "none @min=0,patience=1,every=3,phase=prefill"},
      {"((kl<1))", "kl<1 @min=0,patience=1,every=1,phase=both"},
      {"(kl<1 & top1>0.5) & (margin>0.1 & gate)",
       "kl<1 & top1>0.5 & margin>0.1 & gate>=0.99 @min=0,patience=1,every=1,phase=both"},
      {"(kl<1 | top1>0.5) & margin>0.1 | (gate>=1)",
       "(kl<1 | top1>0.5) & margin>0.1 | gate>=1 @min=0,patience=1,every=1,phase=both"},
      {"kl<1 | top1>0.5 & margin>0.1",
       "kl<1 | top1>0.5 & margin>0.1 @min=0,patience=1,every=1,phase=both"},
      {"rank<=1", "rank<=1 @min=0,patience=1,every=1,phase=both"},
      {"gate=1", "gate=1 @min=0,patience=1,every=1,phase=both"},
      {"entropy<-1e300", "entropy<-1e+300 @min=0,patience=1,every=1,phase=both"},
  };
  for (const auto& [text, canonical] : kCases) {
    EXPECT_EQ(rule(text).canonical(), canonical);
    EXPECT_EQ(rule(canonical).canonical(), canonical);
  }
}

TEST(Rule, EveryScalarParsesAloneOrSaysThatItNeedsANumber) {
  for (const Scalar& scalar : all_scalars()) {
    const std::string name(scalar.name);
    if (std::isnan(scalar.default_threshold)) {
      EXPECT_THAT(refusal(name), HasSubstr("needs a number after " + name));
      EXPECT_TRUE(Rule::parse(name + "<3").ok());
    } else {
      const auto only = rule(name).single_threshold();
      ASSERT_TRUE(only.has_value());
      EXPECT_EQ(only->scalar, &scalar);
      EXPECT_EQ(only->comparator, scalar.direction);
      EXPECT_EQ(only->threshold, scalar.default_threshold);
    }
    EXPECT_FALSE(scalar.meaning.empty());
  }
}

TEST(Rule, RefusesNonsenseInOneSentence) {
  const std::pair<std::string, const char*> kCases[] = {
      {"", "is empty"},
      {"   ", "is empty"},
      {"foo<3", "unknown scalar 'foo'; known scalars are entropy-diff, latent-diff, kl"},
      {"KL<3", "unknown scalar 'KL'"},
      {"kl<nan", "'nan' where kl expects a finite number"},
      {"kl<inf", "'inf' where kl expects a finite number"},
      {"kl<-inf", "finite number"},
      {"kl<1e999", "finite number"},
      {"kl<0x10", "finite number"},
      {"kl<1e-3x", "'1e-3x'"},
      {"kl<+1", "'+1'"},
      {"kl<", "the end at column 4, expected a number for kl"},
      {"kl<<1", "expected a number for kl"},
      {"kl==1", "expected a number for kl"},
      {"kl 5", "expected '&', '|', '@' or the end"},
      {"kl<1 &", "expected a scalar"},
      {"& kl<1", "expected a scalar"},
      {"kl<1 && kl<2", "expected a scalar"},
      {"(kl<1", "expected ')'"},
      {"kl<1)", "expected '&', '|', '@' or the end"},
      {"()", "expected a scalar"},
      {"5<kl", "unknown scalar '5'"},
      {"fixed", "needs a number after fixed"},
      {"fixed=0", "'0' for fixed, expected a whole number from 1"},
      {"fixed=-3", "'-3' for fixed"},
      {"fixed=2.5", "'2.5' for fixed"},
      {"fixed=3/", "'' for fixed"},
      {"fixed=3//4", "'' for fixed"},
      {"fixed>=3/4", "expected '&', '|', '@' or the end"},
      {"fixed=99999999999999999999", "whole number from 1 to 1000000"},
      {"kl<1/2", "expected '&', '|', '@' or the end"},
      {"none<1", "expected '&', '|', '@' or the end"},
      {"kl<1 @", "the modifier ''"},
      {"kl<1 @minimum=3", "the modifier 'minimum'; known are min, max, patience, every, phase"},
      {"kl<1 @min", "expected '=' after the modifier min"},
      {"kl<1 @min=", "'' for min"},
      {"kl<1 @min=-1", "'-1' for min, expected a whole number from 0"},
      {"kl<1 @max=0", "'0' for max, expected a whole number from 1"},
      {"kl<1 @patience=0", "'0' for patience"},
      {"kl<1 @every=0", "'0' for every"},
      {"kl<1 @min=1,min=2", "the modifier 'min' twice"},
      {"kl<1 @min=1,", "the modifier ''"},
      {"kl<1 @min=1 max=2", "expected '&', '|', '@' or the end"},
      {"kl<1 @min=1 & kl<2", "expected '&', '|', '@' or the end"},
      {"kl<1 @phase=never", "phase='never', expected decode, prefill or both"},
      {std::string("kl<1\0", 5), "rule 'kl<1?'"},
      {"kl<1 \n\x01", "rule 'kl<1 ?\?'"},
      {std::string(33, '(') + "kl" + std::string(33, ')'), "nests parentheses deeper than 32"},
      {std::string(4000, '('), "nests parentheses deeper than 32"},
      {std::string(4097, ' '), "has 4097 characters, at most 4096"},
  };
  for (const auto& [text, sentence] : kCases) {
    const std::string message = refusal(text);
    EXPECT_THAT(message, HasSubstr(sentence)) << text;
    EXPECT_EQ(message.find('\n'), std::string::npos) << text;
    EXPECT_LT(message.size(), 600U) << text;
  }
  EXPECT_TRUE(Rule::parse(std::string(32, '(') + "kl" + std::string(32, ')')).ok());
}

TEST(Rule, AnyBytesAreParsedOrRefusedAndWhatParsesRoundTrips) {
  constexpr std::string_view kPieces[] = {
      "kl",   "margin", "fixed", "none",     "<",    ">=",         "=",     "&",    "|",
      "(",    ")",      "@",     ",",        "/",    "min",        "phase", "both", "3",
      "1e-3", "-0.5",   " ",     "gate<0.3", "\xff", "patience=2", "max=9", "every"};
  std::mt19937 generator(9);
  int accepted = 0;
  for (int i = 0; i < 30000; ++i) {
    std::string text;
    for (size_t n = generator() % 9; n > 0; --n) text += kPieces[generator() % std::size(kPieces)];
    const auto parsed = Rule::parse(text);
    if (!parsed.ok()) continue;
    ++accepted;
    const std::string canonical = parsed.value().canonical();
    const auto again = Rule::parse(canonical);
    ASSERT_TRUE(again.ok()) << text << " gave " << canonical;
    ASSERT_EQ(again.value().canonical(), canonical) << text;
  }
  EXPECT_GT(accepted, 300);
}

// Random expressions; the parsed one and the reparsed canonical one agree with a naive evaluation
// made beside the text.
TEST(Rule, EvaluatesAsWritten) {
  std::mt19937 generator(4);
  StepRow row;
  struct Expression {
    std::string text;
    bool value;
  };
  const auto make = [&](auto&& self, int depth) -> Expression {
    const uint32_t kind = depth == 0 ? 0 : generator() % 3;
    if (kind == 0) {
      const double threshold = static_cast<int>(generator() % 5) / 4.0;
      switch (generator() % 4) {
        case 0:
          return {fmt::format("kl<{}", threshold), row.prev.kl < threshold};
        case 1:
          return {fmt::format("top1>={}", threshold), row.p1 >= threshold};
        case 2:
          return {fmt::format("argmax-stability<={}", 2), row.argmax_run <= 2};
        default:
          return {"fixed=3", row.step >= 3};
      }
    }
    const Expression a = self(self, depth - 1), b = self(self, depth - 1);
    return {fmt::format("({} {} {})", a.text, kind == 1 ? "&" : "|", b.text),
            kind == 1 ? a.value && b.value : a.value || b.value};
  };
  int fired = 0;
  for (int i = 0; i < 3000; ++i) {
    row = row_with(static_cast<int>(generator() % 9) / 8.0, static_cast<int>(generator() % 9) / 8.0,
                   static_cast<int>(generator() % 5), 1 + static_cast<int>(generator() % 5));
    const Expression expression = make(make, 4);
    const Rule parsed = rule(expression.text);
    ASSERT_EQ(parsed.fires(row, 0), expression.value) << expression.text;
    ASSERT_EQ(rule(parsed.canonical()).fires(row, 0), expression.value) << parsed.canonical();
    fired += expression.value;
  }
  EXPECT_GT(fired, 500);
  EXPECT_LT(fired, 2500);
}

TEST(Rule, UnmeasuredScalarsNeverFire) {
  const StepRow empty{.step = 3};
  for (const char* text : {"kl<1e300", "kl>-1", "kl=0", "argmax-stability>=0", "gate<=1",
                           "oracle-safe<2", "rank<5", "accel<1"}) {
    EXPECT_FALSE(rule(text).fires(empty, 0)) << text;
  }
}

TEST(Rule, SaysWhatItNeeds) {
  EXPECT_EQ(rule("latent-diff | accel<1 & cosine").required(), Inputs::kState);
  EXPECT_EQ(rule("kl").required(), Inputs::kLogits);
  EXPECT_EQ(rule("fixed=3 | none").required(), Inputs::kNone);
  EXPECT_EQ(rule("gate & saturation").required(), Inputs::kGate | Inputs::kState);
  EXPECT_FALSE(needs(rule("step-norm<1 & contraction").required(), Inputs::kLogits));
  EXPECT_TRUE(rule("kl | entropy<1").compares_rows());
  EXPECT_FALSE(rule("entropy-diff | argmax-stability").compares_rows());
}

TEST(Rule, LiveUseRefusesOraclesAndMissingInputsByName) {
  const Inputs all = Inputs::kState | Inputs::kLogits | Inputs::kGate;
  EXPECT_TRUE(rule("kl & gate & accel").usable_live(all).ok());
  EXPECT_THAT(rule("kl | oracle-ce").usable_live(all).error().message,
              HasSubstr("oracle-ce looks at what a live run cannot know"));
  EXPECT_THAT(rule("kl & gate").usable_live(Inputs::kState | Inputs::kLogits).error().message,
              HasSubstr("gate needs the model's own halting gate"));
}

TEST(Rule, UnusualDirectionsAreNoted) {
  EXPECT_TRUE(rule("kl<1e-3 & margin>=0.5").notes().empty());
  EXPECT_THAT(rule("kl>=1e-3").notes().at(0), HasSubstr("usually compared with <, here with >="));
  EXPECT_THAT(rule("kl=0").notes().at(0), HasSubstr("exact equality"));
  EXPECT_THAT(rule("kl<1 @min=5,max=5").notes().at(0), HasSubstr("leave no step to check"));
}

TEST(Rule, MinIsTheNumberOfUncheckedSteps) {
  const Rule two = rule("kl<1 @min=2,every=3");
  std::vector<int> checked;
  for (int step = 1; step <= 12; ++step) {
    if (two.is_check_step(step, false)) checked.push_back(step);
  }
  EXPECT_EQ(checked, (std::vector<int>{3, 6, 9, 12}));
}

TEST(Rule, PhaseDecidesWhichForwardsAreChecked) {
  EXPECT_TRUE(rule("kl").is_check_step(1, true) && rule("kl").is_check_step(1, false));
  const Rule decode = rule("kl @phase=decode"), prefill = rule("kl @phase=prefill");
  EXPECT_TRUE(!decode.is_check_step(1, true) && decode.is_check_step(1, false));
  EXPECT_TRUE(prefill.is_check_step(1, true) && !prefill.is_check_step(1, false));
}

TEST(Rule, MaxBoundsTheDepthAndIsResolvedFromTheCaller) {
  Rule free = rule("kl"), bounded = rule("kl @max=8");
  EXPECT_EQ(free.depth_limit(32), 32);
  EXPECT_EQ(bounded.depth_limit(32), 8);
  EXPECT_EQ(bounded.depth_limit(4), 4);
  EXPECT_FALSE(free.at_limit(1000));
  EXPECT_TRUE(bounded.at_limit(8) && !bounded.at_limit(7));
  free.resolve_max(32);
  EXPECT_EQ(free.canonical(), "kl<0.001 @min=0,max=32,patience=1,every=1,phase=both");
  EXPECT_EQ(rule(free.canonical()).max_steps(), 32);
}

TEST(Rule, DepthPatternCyclesOverForwards) {
  const Rule pattern = std::move(rule_from_depth_pattern({3, 1, 4})).value();
  EXPECT_EQ(pattern.expression(), "fixed=3/1/4");
  const int depths[] = {3, 1, 4, 3, 1, 4, 3};
  for (int forward = 0; forward < 7; ++forward) {
    for (int step = 1; step <= 6; ++step) {
      EXPECT_EQ(pattern.fires(row_with(0, 0, 0, step), forward), step >= depths[forward]);
    }
  }
  EXPECT_FALSE(rule_from_depth_pattern({}).ok());
  EXPECT_FALSE(rule_from_depth_pattern({3, 0}).ok());
}

TEST(Rule, ValueIsThatOfTheFirstScalar) {
  const StepRow row = row_with(0.25, 0.75, 4, 9);
  EXPECT_EQ(rule("kl<1 & margin").value(row), 0.25);
  EXPECT_EQ(rule("(margin | kl) & fixed=3").value(row), 0.75);
  EXPECT_EQ(rule("fixed=3/4").value(row), 9);
  EXPECT_EQ(rule("none").value(row), 0);
}

TEST(Rule, FlagsMeanTheSameAsTheExpression) {
  CriterionFlags flags{.criterion = "kl",
                       .threshold = 0.02,
                       .min_steps = 5,
                       .max_steps = 20,
                       .patience = 2,
                       .check_every = 3,
                       .no_exit_in_prefill = true};
  EXPECT_EQ(rule_from_criterion(flags).value().canonical(),
            "kl<0.02 @min=5,max=20,patience=2,every=3,phase=decode");
  EXPECT_EQ(rule_from_criterion({.criterion = "argmax-stability"}).value().expression(),
            "argmax-stability>=5");
  EXPECT_EQ(rule_from_criterion({.criterion = "none", .threshold = 0.0}).value().expression(),
            "none");
  EXPECT_EQ(rule_from_criterion({.criterion = "fixed", .threshold = 16}).value().expression(),
            "fixed=16");
  EXPECT_THAT(rule_from_criterion({.criterion = "kl<1"}).error().message,
              HasSubstr("criterion 'kl<1' is unknown; known are entropy-diff"));
  EXPECT_FALSE(rule_from_criterion({.criterion = "kl", .threshold = std::nan("")}).ok());
  EXPECT_FALSE(rule_from_criterion({.criterion = "kl", .min_steps = -1}).ok());
  EXPECT_FALSE(rule_from_criterion({.criterion = "kl", .max_steps = -1}).ok());
}

// Against a direct simulation of what the modifiers say.
TEST(Rule, ModifiersFollowANaiveSimulation) {
  std::mt19937 generator(8);
  for (int i = 0; i < 2000; ++i) {
    const int min = static_cast<int>(generator() % 4),
              every = 1 + static_cast<int>(generator() % 3);
    const int patience = 1 + static_cast<int>(generator() % 3);
    const Rule tested =
        rule(fmt::format("kl<0.5 @min={},every={},patience={}", min, every, patience));
    std::vector<bool> fires(20);
    for (size_t k = 0; k < fires.size(); ++k) fires[k] = generator() % 2 == 0;
    // The obvious version: all check steps, then the first run of `patience` ones that fire.
    std::vector<int> checks;
    for (int step = min + 1; step <= 20; step += every) checks.push_back(step);
    int expected = 0;
    for (size_t c = static_cast<size_t>(patience) - 1; c < checks.size() && expected == 0; ++c) {
      bool all = true;
      for (size_t j = 0; j < static_cast<size_t>(patience); ++j) {
        all = all && fires[static_cast<size_t>(checks[c - j] - 1)];
      }
      if (all) expected = checks[c];
    }
    RuleState state;
    int found = 0;
    for (int step = 1; step <= 20 && found == 0; ++step) {
      if (!tested.is_check_step(step, false)) continue;
      const double kl = fires[static_cast<size_t>(step - 1)] ? 0.1 : 0.9;
      if (tested.check(row_with(kl, 0, 0, step), state)) found = step;
    }
    ASSERT_EQ(found, expected) << tested.canonical();
  }
}

StepRow row_of(std::string_view criterion, double value) {
  StepRow row;
  if (criterion == "kl") row.prev.kl = value;
  if (criterion == "minp-kl") row.prev.minp_kl = value;
  if (criterion == "latent-diff") row.prev.latent_diff = value;
  if (criterion == "cosine") row.prev.cos = 1 - value;
  if (criterion == "entropy-diff") row.prev.entropy_diff = value;
  if (criterion == "argmax-stability") row.argmax_run = static_cast<int>(value);
  return row;
}

// Adaptive generations of the public reference: its values in, its exit steps out.
TEST(Rule, ExitsWhereThePublicReferenceDid) {
  std::ifstream file(PLUMB_SOURCE_DIR "/tests/goldens/exit/reference_runs.txt");
  ASSERT_TRUE(file.good());
  std::string line, word;
  CriterionFlags flags;
  int num_steps = 0, forward = 0, runs = 0;
  std::optional<Rule> tested;
  while (std::getline(file, line)) {
    std::istringstream in(line);
    if (line.starts_with("run ")) {
      double threshold = 0;
      in >> word >> flags.criterion >> threshold >> flags.min_steps >> flags.check_every >>
          flags.no_exit_in_prefill >> num_steps;
      flags.threshold = threshold;
      tested = std::move(rule_from_criterion(flags)).value();
      forward = 0;
      ++runs;
      continue;
    }
    int steps = 0, checks = 0, exit = num_steps;
    in >> steps;
    RuleState state{.forward = forward};
    for (int step = 1; step <= num_steps; ++step) {
      if (!tested->is_check_step(step, forward == 0)) continue;
      double value = 0;
      ASSERT_TRUE(in >> value) << line;
      ++checks;
      StepRow row = row_of(flags.criterion, value);
      row.step = step;
      if (!tested->check(row, state)) continue;
      exit = step;
      break;
    }
    EXPECT_EQ(exit, steps) << tested->canonical() << " forward " << forward;
    EXPECT_FALSE(in >> word) << "the reference checked more often than " << checks;
    ++forward;
  }
  EXPECT_EQ(runs, 14);
}

}  // namespace
}  // namespace plumb
