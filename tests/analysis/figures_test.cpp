// Figures from a made-up results file: the numbers in the data file, and that pictures appear.
#include "analysis/figures/all_figures.h"
#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

class Figures : public AnalysisTest {
 protected:
  Result<PlotFiles> draw(const std::string& figure, const FigureOptions& options = {},
                         const std::string& name = "figure") {
    return draw_figure(file("out.db"), figure, options, {file(name + ".png"), file(name + ".svg")});
  }
  Blocks numbers(const std::string& name = "figure") {
    return parse_dat(slurp(file(name + ".dat")));
  }
  std::string script(const std::string& name = "figure") { return slurp(file(name + ".gp")); }
  bool has(const std::string& words, const std::string& name = "figure") {
    return script(name).find(words) != std::string::npos;
  }
};

double loss_at(double depth, double floor) { return floor + 4 * std::exp(-0.9 * depth); }

void sweep_depths(MadeUpSweep& sweep, const Setting& setting, double floor,
                  const std::vector<int64_t>& depths = {1, 2, 4, 8, 16, 32, 64}) {
  for (const int64_t depth : depths)
    sweep.finish(setting, depth, loss_at(static_cast<double>(depth), floor));
}

TEST_F(Figures, DepthPerplexityOfOneModel) {
  MadeUpSweep sweep(file("out.db"));
  sweep_depths(sweep, made_up_setting(), 3.0);
  must(draw("depth-perplexity"));
  const Blocks blocks = numbers();
  ASSERT_EQ(blocks.size(), 1u);
  ASSERT_EQ(blocks[0].size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    const double depth = std::exp2(i), nats = loss_at(depth, 3.0);
    EXPECT_EQ(blocks[0][i][0], depth);
    EXPECT_NEAR(blocks[0][i][1], std::exp(nats), 1e-9 * std::exp(nats));
    EXPECT_NEAR(blocks[0][i][2], std::exp(nats - 0.05), 1e-9 * std::exp(nats));
    EXPECT_NEAR(blocks[0][i][3], std::exp(nats + 0.05), 1e-9 * std::exp(nats));
    EXPECT_EQ(blocks[0][i][4], 1024);
  }
  EXPECT_TRUE(has("set xtics ('1' 0, '2' 1, '4' 2, '8' 3, '16' 4, '32' 5, '64' 6)"));
  EXPECT_TRUE(has("unset key"));
  EXPECT_TRUE(has("april-70m · wiki · f32"));
  EXPECT_TRUE(has("1\u202f024 tokens a point."));
  EXPECT_GT(slurp(file("figure.png")).size(), 10000u);
}

TEST_F(Figures, LegendStatesOnlyWhatVaries) {
  MadeUpSweep sweep(file("out.db"));
  for (const char* text : {"wiki", "code", "math"}) {
    Setting other = made_up_setting("huginn_0125", text);
    const double easier = text[0] == 'c' ? 0.8 : text[0] == 'm' ? 0.3 : 0;
    sweep_depths(sweep, made_up_setting("april-70m", text), 3.4 - easier);
    sweep_depths(sweep, other, 2.2 - easier, {0, 1, 2, 4, 8, 16, 32, 64});
  }
  must(draw("depth-perplexity"));
  ASSERT_EQ(numbers().size(), 6u);
  EXPECT_TRUE(has("title 'huginn_0125, math'"));
  EXPECT_FALSE(has("huginn_0125, math, "));
  EXPECT_TRUE(has("title 'model, text'"));
  EXPECT_EQ(numbers()[1][0][0], 0);  // huginn's depth 0 comes first

  must(draw("depth-perplexity", {.selection = {.model = "april", .text = "code"}}, "one"));
  ASSERT_EQ(numbers("one").size(), 1u);
  EXPECT_NEAR(numbers("one")[0][6][1], std::exp(2.6), 1e-6);
  EXPECT_TRUE(has("unset key", "one"));

  must(draw("depth-perplexity", {.selection = {.model = "april"}, .y = "bpb"}, "bpb"));
  // Four bytes a token.
  EXPECT_NEAR(numbers("bpb")[0][6][1], 3.4 / std::log(2.0) / 4, 1e-9);
  EXPECT_NEAR(numbers("bpb")[0][6][3], 3.45 / std::log(2.0) / 4, 1e-9);
  must(draw("depth-perplexity", {.selection = {.model = "april"}, .y = "nats"}, "nats"));
  EXPECT_NEAR(numbers("nats")[0][6][1], 3.4, 1e-9);
  EXPECT_NEAR(numbers("nats")[0][6][2], 3.35, 1e-9);
}

TEST_F(Figures, SeedsAndPrecisionsAreCurvesOfTheirOwn) {
  MadeUpSweep sweep(file("out.db"));
  for (const int64_t seed : {0, 1, 2})
    for (const char* dtype : {"f32", "bf16"}) {
      Setting setting = made_up_setting();
      setting.seed = seed, setting.dtype = dtype;
      sweep_depths(sweep, setting,
                   3.0 + 0.02 * static_cast<double>(seed) + (dtype[0] == 'b') * 0.1);
    }
  must(draw("depth-perplexity"));
  EXPECT_EQ(numbers().size(), 6u);
  EXPECT_TRUE(has("title 'bf16, seed 2'"));
}

TEST_F(Figures, WhatStopsByItselfStandsAtItsMeanDepth) {
  MadeUpSweep sweep(file("out.db"));
  sweep_depths(sweep, made_up_setting(), 3.0);
  for (const double threshold : {1e-2, 1e-3, 1e-4}) {
    Setting setting = made_up_setting();
    setting.rule = fmt::format("kl<{:g} @max=32", threshold);
    const double mean_steps = 3 - std::log10(threshold);
    sweep.finish(setting, std::nullopt, loss_at(mean_steps, 3.02), 0.05, mean_steps);
  }
  must(draw("depth-perplexity"));
  ASSERT_EQ(numbers().size(), 4u);
  EXPECT_NEAR(numbers()[1][0][0], 5, 1e-9);
  EXPECT_TRUE(has("title 'kl<0.0001 @max=32'"));
  EXPECT_TRUE(has("title 'fixed depth'"));
}

TEST_F(Figures, AModelsOwnHaltingIsNoPointOfItsDepthCurve) {
  MadeUpSweep sweep(file("out.db"));
  sweep_depths(sweep, made_up_setting(), 3.0, {1, 2, 4});
  sweep.finish(made_up_setting(), std::nullopt, 3.1, 0.05, 2.5);
  must(draw("depth-perplexity"));
  ASSERT_EQ(numbers().size(), 2u);
  EXPECT_EQ(numbers()[0].size(), 3u);
  ASSERT_EQ(numbers()[1].size(), 1u);
  EXPECT_EQ(numbers()[1][0][0], 2.5);
  EXPECT_TRUE(has("data index 1 using (place($1)):2 with points"));
  EXPECT_TRUE(has("What stops by"));
}

TEST_F(Figures, LongAndManyNamesFit) {
  MadeUpSweep sweep(file("out.db"));
  for (int64_t seed = 0; seed < 21; ++seed) {
    Setting setting = made_up_setting();
    setting.seed = seed, setting.cache = "latest-compress-boundaries";
    setting.rule =
        fmt::format("margin>=0.{:02} & argmax-stability>=4 | fixed=16 @min=2,patience=2", seed);
    sweep_depths(sweep, setting, 3.0 + 0.1 * static_cast<double>(seed), {0, 2, 8, 12});
  }
  must(draw("depth-perplexity"));
  EXPECT_EQ(numbers().size(), 21u);
}

TEST_F(Figures, DepthPerplexityOfASingleDepth) {
  MadeUpSweep sweep(file("out.db"));
  sweep.finish(made_up_setting(), 32, 3.0);
  must(draw("depth-perplexity"));
  EXPECT_EQ(numbers()[0].size(), 1u);
  EXPECT_TRUE(has("set xtics ('32' 5)"));
  EXPECT_TRUE(has("with vectors nohead"));
}

TEST_F(Figures, ARunIsWhatItAskedFor) {
  MadeUpSweep sweep(file("out.db"));
  sweep.finish(made_up_setting(), 4, 3.0);
  sweep.new_run();
  sweep.finish(made_up_setting(), 8, 2.5, 0);
  must(draw("depth-perplexity", {.selection = {.run = 2}}));
  ASSERT_EQ(numbers()[0].size(), 1u);
  EXPECT_EQ(numbers()[0][0][0], 8);
  EXPECT_TRUE(std::isnan(numbers()[0][0][2]));
  EXPECT_TRUE(has("No confidence intervals were recorded."));
  must(draw("depth-perplexity"));  // both runs: one of two points has an interval
  EXPECT_TRUE(has("95 % interval"));
  EXPECT_EQ(error_of(draw("depth-perplexity", {.selection = {.run = 7}})),
            fmt::format("{}: there is no run 7, expected one of 1, 2", file("out.db").string()));
}

TEST_F(Figures, SayWhatIsMissing) {
  MadeUpSweep sweep(file("out.db"));
  const std::string name = file("out.db").string();
  EXPECT_EQ(error_of(draw("depth-perplexity")),
            name + ": found no finished point (points: none at all), expected at least one");
  sweep.plan(made_up_setting(), 4);
  EXPECT_EQ(error_of(draw("depth-perplexity")),
            name + ": found no finished point (points: 1 pending), expected at least one");
  EXPECT_EQ(error_of(draw("steps")),
            name +
                ": found no recorded steps: this figure needs a sweep with --record steps (or "
                "latents)");
  sweep.finish(made_up_setting(), 8, 2.5, 0.05, 0, /*n_bytes=*/0);
  EXPECT_EQ(error_of(draw("depth-perplexity", {.selection = {.text = "prose"}})),
            name + ": --text prose names none of the rows for this figure, expected one of wiki");
  EXPECT_EQ(error_of(draw("depth-perplexity", {.y = "bpb"})),
            name + ": none of 1 finished points has a depth and a finite value of bpb");
  EXPECT_EQ(error_of(draw("depth-perplexity", {.y = "accuracy"})),
            "figure depth-perplexity: found --y accuracy, expected one of: perplexity nats bpb");
  EXPECT_NE(error_of(draw("steps", {.y = "nats"})).find("expected none"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file("figure.png")));
}

TEST_F(Figures, AnUnknownNameListsTheKnownOnes) {
  const std::string error = error_of(draw("loss"));
  EXPECT_NE(error.find("no figure 'loss'"), std::string::npos);
  for (const Figure& figure : all_figures()) {
    EXPECT_NE(error.find(figure.name), std::string::npos);
    EXPECT_NE(error.find(figure.meaning), std::string::npos);
    EXPECT_NE(figure_list().find(figure.needs), std::string::npos);
  }
}

TEST_F(Figures, TooManyCurvesAreRefused) {
  MadeUpSweep sweep(file("out.db"));
  for (int64_t seed = 0; seed < 22; ++seed) {
    Setting setting = made_up_setting();
    setting.seed = seed;
    sweep.finish(setting, 4, 3.0);
  }
  EXPECT_NE(error_of(draw("depth-perplexity")).find("found 22 curves that differ in seed"),
            std::string::npos);
}

TEST_F(Figures, StepsHaveTheQuantilesOfTheTokens) {
  MadeUpSweep sweep(file("out.db"));
  // Token i of 0..10 moves by i / 10 of its state, its KL is i times smaller each step.
  sweep.record(made_up_setting(), 3, 11, [](int64_t pos, int32_t step) {
    StepRecord row;
    row.state_norm = 10;
    row.delta_norm = static_cast<float>(pos);
    row.kl_prev = static_cast<float>(pos) / static_cast<float>(step);
    row.entropy = step == 2 ? kNotMeasured : 1;
    return row;
  });
  must(draw("steps"));
  const Blocks blocks = numbers();
  ASSERT_EQ(blocks.size(), 1u);
  ASSERT_EQ(blocks[0].size(), 3u);
  const std::vector<double>& second = blocks[0][1];
  EXPECT_EQ(second[0], 2);
  const double movement[] = {0.1, 0.25, 0.5, 0.75, 0.9};
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(second[1 + i], movement[i], 1e-6);
    EXPECT_NEAR(second[7 + i], 10 * movement[i] / 2, 1e-6);
  }
  EXPECT_EQ(second[6], 11);
  EXPECT_EQ(second[18], 0);  // no entropy at step 2
  EXPECT_TRUE(std::isnan(second[15]));
  EXPECT_TRUE(has("11 tokens."));
}

TEST_F(Figures, StepsOfSeveralTextsStandSideBySide) {
  MadeUpSweep sweep(file("out.db"));
  for (const char* text : {"wiki", "code", "math_qa"})
    sweep.record(made_up_setting("april-70m", text), 32, 400, [&](int64_t pos, int32_t step) {
      return converging(pos, step, text[0] == 'c' ? 0.8 : text[0] == 'm' ? 1.4 : 1);
    });
  must(draw("steps"));
  EXPECT_EQ(numbers().size(), 3u);
  EXPECT_EQ(numbers()[2].size(), 32u);
  EXPECT_TRUE(has("set label 80 'math_qa'"));
  must(draw("steps", {.selection = {.text = "wiki"}}, "one"));
  EXPECT_EQ(numbers("one").size(), 1u);
}

// Exactly converged: zeros have no logarithm.
TEST_F(Figures, StepsDrawZerosAtTheEdge) {
  MadeUpSweep sweep(file("out.db"));
  sweep.record(made_up_setting(), 16, 50, [](int64_t pos, int32_t step) {
    StepRecord row = converging(pos, step, 0.4);
    if (step > 10) row.kl_prev = 0, row.delta_norm = 0;
    row.entropy = kNotMeasured;
    return row;
  });
  must(draw("steps"));
  EXPECT_EQ(numbers()[0][12][9], 0);  // the data file has the truth
  EXPECT_TRUE(has("drawn at its edge"));
  EXPECT_FALSE(has("entropy H"));  // no such panel
}

// Positions far apart are read in stretches that grow over the gaps.
TEST_F(Figures, StepsAreFoundHoweverFarApart) {
  MadeUpSweep sweep(file("out.db"));
  sweep.record(
      made_up_setting(), 2, 5,
      [](int64_t pos, int32_t step) { return converging(pos % 1000, step); },
      int64_t{3'000'000'007});
  must(draw("steps"));
  EXPECT_EQ(numbers()[0][0][6], 5);
}

// A finished point that scored a token at a time.
void finish_over_cache(MadeUpSweep& sweep, const std::string& cache, double nats,
                       int64_t kv_bytes_per_token, double tokens_per_second) {
  Setting setting = made_up_setting();
  setting.scoring = "sequential", setting.cache = cache, setting.cache_index = "recurrence";
  const int64_t id = sweep.plan(setting, 8);
  must(sweep.writer().claim_points({id}, {}));
  for (int64_t chunk = 0; chunk < 2; ++chunk) {
    PointChunk part{.point_id = id, .n_tokens = 128, .n_bytes = 512};
    part.nll_sum_nats = 128 * nats;
    part.n_inputs = 256, part.kv_bytes = 256 * kv_bytes_per_token;
    part.elapsed_ms = 256 * 1000 / tokens_per_second;
    must(sweep.writer().write_chunk({.run_id = sweep.run_id(),
                                     .chunk_index = chunk,
                                     .first_token = chunk * 128,
                                     .points = {part}}));
  }
  must(sweep.writer().finish_point(id, {.mean_steps = 8.0}));
}

TEST_F(Figures, CacheStrategiesAreARowEach) {
  MadeUpSweep sweep(file("out.db"));
  sweep.finish(made_up_setting(), 8, 3.0);  // parallel: no cache, no row
  EXPECT_NE(error_of(draw("cache")).find("no finished point that scored over a cache"),
            std::string::npos);
  finish_over_cache(sweep, "compress-s2", 3.2, 3 * 1024, 120);
  finish_over_cache(sweep, "full", 3.0, 10 * 1024, 80);
  finish_over_cache(sweep, "latest-compress-s1", 3.9, 2 * 1024, 125);
  must(draw("cache"));
  const Blocks blocks = numbers();
  ASSERT_EQ(blocks[0].size(), 3u);
  // The largest first: KiB a token, tokens a second, perplexity, steps.
  EXPECT_EQ(blocks[0][0][1], 10);
  EXPECT_NEAR(blocks[0][0][2], 80, 1e-9);
  EXPECT_NEAR(blocks[0][0][3], std::exp(3.0), 1e-9);
  EXPECT_EQ(blocks[0][0][4], 8);
  EXPECT_EQ(blocks[0][2][1], 2);
  EXPECT_TRUE(has("set ytics ('full' 0, 'compress-s2' 1, 'latest-compress-s1' 2)"));
  EXPECT_TRUE(has("depth 8"));
  EXPECT_GT(slurp(file("figure.png")).size(), 10000u);
}

TEST_F(Figures, JitterCountsTheExitsThatMove) {
  MadeUpSweep sweep(file("out.db"));
  // Of 20 tokens, kl falls below 0.01 at step 3, but for the first 5 in bf16 at step 4.
  const auto record = [&](const Setting& setting, int64_t n_late) {
    sweep.record(setting, 8, 20, [&](int64_t pos, int32_t step) {
      StepRecord row = converging(pos, step);
      row.nll = 2, row.top1_id = 1, row.p1 = 0.5F, row.p2 = 0.1F, row.minp_kl = row.kl_prev;
      row.kl_prev = step < 3 + (pos < n_late ? 1 : 0) ? 1 : 0.001F;
      return row;
    });
  };
  Setting setting = made_up_setting();
  record(setting, 0);
  EXPECT_NE(error_of(draw("jitter")).find("no text that was recorded at two precisions"),
            std::string::npos);
  setting.extra_json = R"({"readout":"bf16"})";
  record(setting, 5);
  must(draw("jitter", {.rules = "kl<0.01"}));
  const Blocks blocks = numbers();
  ASSERT_EQ(blocks.size(), 2u);  // a curve of one point, and the moves
  EXPECT_EQ(blocks[0][0][0], 3);
  EXPECT_EQ(blocks[0][0][1], 25);
  EXPECT_EQ(blocks[0][0][2], 0.25);
  for (const auto& row : blocks[1]) {
    if (row[0] != 0) {
      EXPECT_EQ(row[1], row[0] == 1 ? 25 : 0) << row[0];
    }
  }
  EXPECT_TRUE(has("f32 → f32, logits bf16"));
  must(draw("jitter", {}, "usual"));
  EXPECT_EQ(numbers("usual").size(), 8u);
  setting.extra_json = "{}", setting.dtype = "bf16";
  record(setting, 2);
  must(draw("jitter", {}, "both"));
  EXPECT_TRUE(has("f32 → bf16", "both"));
}

TEST_F(Figures, TheDeepestRecordingOfASettingIsDrawn) {
  MadeUpSweep sweep(file("out.db"));
  for (const int32_t depth : {4, 8, 2})
    sweep.record(made_up_setting(), depth, 10,
                 [](int64_t pos, int32_t step) { return converging(pos, step); });
  must(draw("steps"));
  ASSERT_EQ(numbers().size(), 1u);
  EXPECT_EQ(numbers()[0].size(), 8u);
}

}  // namespace
}  // namespace plumb
