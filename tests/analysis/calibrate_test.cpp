// Calibration: the p-values bound what they promise to bound, and the promise is kept in
// simulation.
#include "analysis/calibrate.h"

#include <random>

#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

// P(mean of n Bernoulli(delta) draws leads to p <= epsilon) must be <= epsilon: exactly, by
// summing the binomial distribution.
double rejection_rate(double (*p)(double, double, double), int n, double delta, double epsilon) {
  double rate = 0;
  for (int k = 0; k <= n; ++k) {
    if (p(static_cast<double>(k) / n, delta, n) > epsilon) continue;
    rate += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                     k * std::log(delta) + (n - k) * std::log1p(-delta));
  }
  return rate;
}

TEST(Calibrate, PValuesHoldExactlyOnCoinFlips) {
  for (const int n : {1, 10, 60, 400})
    for (const double delta : {0.01, 0.1, 0.5})
      for (const double epsilon : {0.01, 0.05, 0.2}) {
        EXPECT_LE(rejection_rate(hoeffding_p, n, delta, epsilon), epsilon);
        EXPECT_LE(rejection_rate(hoeffding_bentkus_p, n, delta, epsilon), epsilon);
      }
  EXPECT_EQ(hoeffding_bentkus_p(0.2, 0.1, 50), 1);
  EXPECT_NEAR(hoeffding_p(0.05, 0.1, 100), std::exp(-0.5), 1e-12);
  EXPECT_NEAR(hoeffding_bentkus_p(0, 0.01, 299), std::pow(0.99, 299), 1e-12);
}

// Threshold t of 20 has a true risk of t / 100; losses are dependent across thresholds.
std::vector<std::vector<UnitLoss>> simulated(std::mt19937& generator, size_t n) {
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<std::vector<UnitLoss>> units(n, std::vector<UnitLoss>(20));
  for (auto& unit : units) {
    const double u = uniform(generator);
    for (size_t t = 0; t < unit.size(); ++t) {
      unit[t].loss = u < static_cast<double>(t) / 100;
      unit[t].tokens = 1;
      unit[t].steps = static_cast<int64_t>(30 - t);
    }
  }
  return units;
}

TEST(Calibrate, KeepsItsPromiseInSimulation) {
  std::mt19937 generator(11);
  constexpr int kRepetitions = 400;
  const CalibrationOptions options{.delta = 0.1, .epsilon = 0.1, .risk = RiskKind::kFalseExit};
  int broken = 0, found = 0;
  double chosen = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    CalibrationOptions seeded = options;
    seeded.seed = static_cast<uint64_t>(i);
    const Calibration result = calibrate_units(simulated(generator, 600), 1, seeded);
    EXPECT_EQ(result.calibration_units, 300);
    if (result.chosen < 0) continue;
    ++found;
    chosen += result.chosen;
    broken += result.chosen > 10;  // true risk above delta
  }
  // Four standard errors above epsilon would be 64 of 400.
  EXPECT_LE(broken, 0.1 * kRepetitions);
  EXPECT_EQ(found, kRepetitions);      // and it is no empty promise:
  EXPECT_GT(chosen / found, 5);        // more than half of the allowed risk is used
}

TEST(Calibrate, StopsAtTheFirstThresholdItCannotCertify) {
  // Safe, bad, safe: what lies beyond the bad one is not reached.
  std::vector<std::vector<UnitLoss>> units(2000, std::vector<UnitLoss>(3));
  for (auto& unit : units)
    for (size_t t = 0; t < 3; ++t) unit[t].tokens = 1, unit[t].loss = t == 1 ? 0.5 : 0;
  const Calibration result = calibrate_units(units, 1, {.delta = 0.01, .epsilon = 0.05});
  EXPECT_EQ(result.chosen, 0);
  EXPECT_FALSE(result.tests[2].accepted);
  EXPECT_LE(result.tests[2].p_value, 0.05);
}

TEST(Calibrate, SaysHowManyUnitsItTakes) {
  std::vector<std::vector<UnitLoss>> units(100, std::vector<UnitLoss>(1));
  for (auto& unit : units) unit[0].tokens = 1;
  Calibration result = calibrate_units(units, 1, {.delta = 0.01, .epsilon = 0.05});
  EXPECT_EQ(result.chosen, -1);
  EXPECT_EQ(result.least_units, 299);
  // A bound of a tenth makes the same delta ten times as large a share of it.
  result = calibrate_units(units, 0.1, {.delta = 0.01, .epsilon = 0.05});
  EXPECT_EQ(result.chosen, 0);
  EXPECT_EQ(result.least_units, 29);
}

TEST(Calibrate, WindowsAreTheUnits) {
  Recording recording;
  recording.n_steps = 2;
  recording.info.record.setting = made_up_setting();
  recording.info.record.setting.window = recording.info.record.setting.stride = 10;
  for (auto& column : recording.columns) column.assign(2000, 0.5F);
  for (int64_t i = 0; i < 1000; ++i) recording.pos.push_back(i);
  auto& nll = recording.columns[static_cast<size_t>(StepColumn::kNll)];
  auto& kl = recording.columns[static_cast<size_t>(StepColumn::kKlPrev)];
  for (size_t i = 0; i < 1000; ++i) {
    nll[2 * i] = i % 10 == 0 ? 3.0F : 0.4F;  // step 1: one token of ten loses 2.5 nats, others gain
    kl[2 * i] = 0.1F;
  }
  CalibrationOptions options{.delta = 0.3, .epsilon = 0.05};
  const Rule rule = must(Rule::parse("kl<1"));
  const std::vector<double> thresholds = {0.01, 0.3};
  const Calibration windows = must(calibrate(std::span(&recording, 1), rule, thresholds, options));
  EXPECT_EQ(windows.units, 100);
  ASSERT_EQ(windows.tests.size(), 2u);
  EXPECT_EQ(windows.tests[0].rule.expression(), "kl<0.01");
  EXPECT_EQ(windows.tests[0].calibration.risk, 0);
  // Clipped at one nat, gains left out: 0.1 a token, in every window alike.
  EXPECT_NEAR(windows.tests[1].calibration.risk, 0.1, 1e-9);
  EXPECT_NEAR(windows.tests[1].held_out.clipped, 0.1, 1e-9);
  EXPECT_EQ(windows.tests[1].held_out.mean_steps, 1);
  EXPECT_EQ(windows.chosen, 1);
  options.unit = RiskUnit::kToken;
  EXPECT_EQ(must(calibrate(std::span(&recording, 1), rule, thresholds, options)).units, 1000);
  const auto error = [&](const char* text) {
    return error_of(calibrate(std::span(&recording, 1), must(Rule::parse(text)), thresholds, {}));
  };
  EXPECT_NE(error("kl<1 & top1>=0.5").find("no single threshold"), std::string::npos);
  EXPECT_NE(error("oracle-ce").find("cannot know"), std::string::npos);
}

}  // namespace
}  // namespace plumb
