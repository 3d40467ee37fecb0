#include "core/store/run_reader.h"

#include <cmath>
#include <cstring>

#include "tests/core/store/store_fixture.h"

namespace plumb {
namespace {

class Reader : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    out_.emplace(writer());
    RunRecord run;
    run.verb = "sweep", run.binary_version = "0.1.0", run.argv = {"plumb", "sweep", "a \"b\""};
    run.host_name = "host", run.cpu_model = "cpu", run.n_threads = 2, run.spec_json = "{\"x\":1}";
    run_ = must(out_->begin_run(run));
    trajectory_ = must(out_->upsert_trajectory(some_trajectory(run_, 4))).id;
  }
  int64_t add_point(int64_t num_steps, const std::string& rule = "") {
    PointRecord point = some_point(run_, num_steps, 2);
    point.setting.rule = rule;
    if (!rule.empty()) point.num_steps.reset();
    point.trajectory_id = trajectory_;
    return must(out_->upsert_point(point)).id;
  }
  void write(int64_t chunk_index, std::vector<PointChunk> points,
             std::vector<TrajectoryChunk> trajectories = {}, std::vector<TimingRow> timings = {}) {
    must(out_->write_chunk({run_, chunk_index, chunk_index * 4, std::move(points),
                            std::move(trajectories), std::move(timings)}));
  }

  std::optional<RunWriter> out_;
  int64_t run_ = 0, trajectory_ = 0;
};

TEST_F(Reader, DepthPerplexityIsComputedFromChunks) {
  const int64_t a = add_point(1), b = add_point(2);
  for (int c = 0; c < 2; ++c) write(c, {some_chunk(a, c, 1, 1.0), some_chunk(b, c, 2, 0.5)});
  PointSummary summary;
  summary.ci_low = 3.0, summary.ci_high = 4.0, summary.n_resamples = 1000;
  summary.ci_method = "bootstrap over windows";
  must(out_->finish_point(a, summary));
  EXPECT_EQ(must(reader().depth_perplexity()).size(), 1u);  // b is not finished
  must(out_->finish_point(b, {}));
  const auto rows = must(reader().depth_perplexity());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].run, run_);
  EXPECT_EQ(rows[0].model, "april");
  EXPECT_EQ(rows[0].text, "wiki");
  EXPECT_EQ(rows[0].num_steps, 1);
  EXPECT_EQ(rows[0].tokens, 8);
  EXPECT_DOUBLE_EQ(rows[0].nats_per_token, 1.25);  // (0.5 + 1 + 1.5 + 2) / 4
  EXPECT_DOUBLE_EQ(rows[0].perplexity, std::exp(1.25));
  EXPECT_DOUBLE_EQ(*rows[0].bits_per_byte, 10 / std::log(2.0) / 32);
  EXPECT_EQ(rows[0].ci_low, 3.0);
  EXPECT_EQ(rows[0].ci_high, 4.0);
  EXPECT_EQ(rows[0].mean_steps, 1.0);
  EXPECT_EQ(rows[0].point, a);
  EXPECT_DOUBLE_EQ(rows[1].nats_per_token, 0.625);
  EXPECT_FALSE(rows[1].ci_low);
  // The view says the same, and agrees with the tokens.
  SQLite::Database db(file().string());
  SQLite::Statement view(db, "SELECT * FROM depth_perplexity");
  for (const DepthPerplexityRow& row : rows) {
    ASSERT_TRUE(view.executeStep());
    ASSERT_EQ(view.getColumnCount(), 14);
    EXPECT_EQ(view.getColumn("model").getString(), row.model);
    EXPECT_EQ(view.getColumn("num_steps").getInt64(), row.num_steps);
    EXPECT_EQ(view.getColumn("perplexity").getDouble(), row.perplexity);
    EXPECT_EQ(view.getColumn("ci_low").isNull(), !row.ci_low.has_value());
    SQLite::Statement mean(db, "SELECT avg(nll_nats) FROM tokens WHERE point_id = ?");
    mean.bind(1, row.point);
    ASSERT_TRUE(mean.executeStep());
    EXPECT_DOUBLE_EQ(mean.getColumn(0).getDouble(), row.nats_per_token);
  }
}

TEST_F(Reader, BytesThatAreUnknownInOneChunkMakeNoBitsPerByte) {
  const int64_t a = add_point(1);
  PointChunk unknown = some_chunk(a, 1, 1);
  unknown.n_bytes = 0;
  write(0, {some_chunk(a, 0, 1)});
  write(1, {unknown});
  must(out_->finish_point(a, {}));
  EXPECT_FALSE(must(reader().depth_perplexity())[0].bits_per_byte);
}

TEST_F(Reader, ExitHistogramCountsTokens) {
  const int64_t a = add_point(9, "kl<0.0005");
  PointChunk first = some_chunk(a, 0, 3), second = some_chunk(a, 1, 5);
  second.tokens[0].exit_step = 3;
  second.tokens[1].exit_reason = "max-steps";
  write(0, {first});
  write(1, {second});
  must(out_->finish_point(a, {}));
  const auto rows = must(reader().exit_histogram(a));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].rule, "kl<0.0005");
  EXPECT_EQ(rows[0].step, 3);
  EXPECT_EQ(rows[0].tokens, 5);
  EXPECT_EQ(rows[1].step, 5);
  EXPECT_EQ(rows[1].tokens, 3);
  EXPECT_TRUE(must(reader().exit_histogram(a + 1)).empty());
  const auto perplexity = must(reader().depth_perplexity());
  EXPECT_FALSE(perplexity[0].num_steps);
  EXPECT_DOUBLE_EQ(*perplexity[0].mean_steps, (5 * 3 + 3 * 5) / 8.0);
}

TEST_F(Reader, StepsComeBackAsTheyWere) {
  TrajectoryChunk chunk = some_steps(trajectory_, 0, 100, 4);
  chunk.steps[2].nll = kNotMeasured;
  chunk.steps[2].target_rank = -1;
  chunk.steps[3].p1 = 1;  // stored as an integer, read as a float
  write(0, {}, {chunk});
  write(1, {}, {some_steps(trajectory_, 100, 1, 4)});
  StepQuery query;
  for (int i = 0; i < kStepColumns; ++i) query.columns.push_back(static_cast<StepColumn>(i));
  query.end_pos = 100;
  const StepTable table = must(reader().read_steps(trajectory_, query));
  ASSERT_EQ(table.n_rows(), 400u);
  for (size_t i = 0; i < 400; ++i) {
    const StepRecord& row = chunk.steps[i];
    ASSERT_EQ(table.pos[i], row.pos);
    ASSERT_EQ(table.step[i], row.step);
    const float expected[kStepColumns] = {
        row.nll,        row.entropy,    float(row.top1_id),
        row.p1,         row.p2,         i == 2 ? kNotMeasured : float(row.target_rank),
        row.state_norm, row.delta_norm, row.accel_norm,
        row.cos,        row.kl_prev,    row.minp_kl,
        row.kl_final,   row.gate,       float(row.stability)};
    for (int c = 0; c < kStepColumns; ++c) {
      const float found = table.column(static_cast<StepColumn>(c))[i];
      if (std::isnan(expected[c]))
        ASSERT_TRUE(std::isnan(found)) << c;
      else
        ASSERT_EQ(found, expected[c]) << step_column_name(static_cast<StepColumn>(c));
    }
  }
  const StepTable one_step =
      must(reader().read_steps(trajectory_, {.columns = {StepColumn::kKlPrev}, .step = 3}));
  EXPECT_EQ(one_step.n_rows(), 101u);
  EXPECT_EQ(one_step.column(StepColumn::kKlPrev)[5], chunk.steps[5 * 4 + 2].kl_prev);
}

TEST_F(Reader, StepColumnNamesParse) {
  for (int i = 0; i < kStepColumns; ++i) {
    const auto column = static_cast<StepColumn>(i);
    EXPECT_EQ(parse_step_column(step_column_name(column)), column);
  }
  EXPECT_FALSE(parse_step_column("klprev"));
}

TEST_F(Reader, LagsHaltingPonderAndLatentsComeBack) {
  TrajectoryChunk chunk;
  chunk.trajectory_id = trajectory_;
  chunk.step_lags = {{0, 3, 2, 0.1f, 0.9f, 0.01f, 0.02f, 0.3f}, {0, 4, 2, 0.2f}, {0, 4, 4, 0.5f}};
  chunk.halting = {{0, 1, 0.3f, 0.3f, 0.3f}, {0, 2, 0.8f, 1.1f, 0.7f}};
  chunk.ponder = {{0, 2, 0.7f, 2.7f}};
  const float state[6] = {1, 2, 3, 4, 5, 6};
  LatentRow latent;
  latent.step = 2, latent.shape = {2, 3}, latent.data.resize(sizeof state);
  std::memcpy(latent.data.data(), state, sizeof state);
  for (int pos = 0; pos < 70; ++pos) {  // more than one statement's worth
    latent.pos = pos;
    chunk.latents.push_back(latent);
  }
  write(0, {}, {chunk});
  RunReader in = reader();
  const LagTable lags = must(in.read_lags(trajectory_, 2));
  ASSERT_EQ(lags.n_rows(), 2u);
  EXPECT_EQ(lags.column(LagColumn::kEntropyDiff)[0], 0.3f);
  EXPECT_TRUE(std::isnan(lags.column(LagColumn::kKl)[1]));
  EXPECT_EQ(must(in.read_halting(trajectory_))[1].cum, 1.1f);
  EXPECT_EQ(must(in.read_ponder(trajectory_))[0].ponder, 2.7f);
  const auto latents = must(in.read_latents(trajectory_, {.first_pos = 65}));
  ASSERT_EQ(latents.size(), 5u);
  EXPECT_EQ(latents[0].pos, 65);
  EXPECT_EQ(latents[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(latents[0].data.data(), state, sizeof state), 0);
}

TEST_F(Reader, LatentWhoseBytesDisagreeWithItsShapeIsRefused) {
  TrajectoryChunk chunk;
  chunk.trajectory_id = trajectory_;
  LatentRow latent;
  latent.shape = {3}, latent.data.resize(12);
  chunk.latents.push_back(latent);
  write(0, {}, {chunk});
  SQLite::Database(file().string(), SQLite::OPEN_READWRITE)
      .exec("UPDATE latents SET shape = '[4611686018427387904, 4]'");
  const auto result = reader().read_latents(trajectory_, {});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("holds 12 bytes"), std::string::npos);
}

TEST_F(Reader, TokensComeBackInOrder) {
  const int64_t a = add_point(3);
  PointChunk last = some_chunk(a, 1, 3);
  last.tokens[3].target_id = -1;
  last.tokens[3].nll_nats = std::nan("");
  last.tokens[3].exit_reason = "halted";
  write(1, {last});
  write(0, {some_chunk(a, 0, 3)});
  const TokenTable table = must(reader().read_tokens(a));
  ASSERT_EQ(table.n_rows(), 8u);
  EXPECT_EQ(table.pos, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(table.chunk_index[4], 1);
  EXPECT_EQ(table.token_id[1], 101);
  EXPECT_EQ(table.nll_nats[2], 1.5);
  EXPECT_EQ(table.target_id[7], -1);
  EXPECT_TRUE(std::isnan(table.nll_nats[7]));
  EXPECT_EQ(table.reason_names[table.exit_reason[0]], "fixed");
  EXPECT_EQ(table.reason_names[table.exit_reason[7]], "halted");
}

TEST_F(Reader, RunsAndPointsComeBackWithProgress) {
  const int64_t a = add_point(1), b = add_point(2, "kl<0.0005");
  must(out_->claim_points({a}, {}));
  write(0, {some_chunk(a, 0, 1)}, {some_steps(trajectory_, 0, 4, 4)},
        {{std::nullopt, "core", 5.0, 4}, {a, "coda", 1.0, 1}});
  RunReader in = reader();
  const auto runs = must(in.runs());
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].record.argv, (std::vector<std::string>{"plumb", "sweep", "a \"b\""}));
  EXPECT_EQ(runs[0].record.spec_json, "{\"x\":1}");
  EXPECT_EQ(runs[0].uid.size(), 32u);
  EXPECT_EQ(runs[0].finished_utc, "");
  EXPECT_EQ(runs[0].points, 2);
  EXPECT_EQ(runs[0].points_running, 1);
  const auto points = must(in.points({.run_id = run_, .status = PointStatus::kRunning}));
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].chunks_done, 1);
  EXPECT_EQ(points[0].tokens_done, 4);
  EXPECT_EQ(points[0].record.planned_chunks, 2);
  EXPECT_EQ(points[0].record.trajectory_id, trajectory_);
  const PointInfo second = must(in.point(b));
  EXPECT_FALSE(second.record.num_steps);
  PointRecord expected = some_point(run_, 2, 2);
  expected.setting.rule = "kl<0.0005";
  expected.num_steps.reset();
  EXPECT_EQ(point_key_json(second.record), point_key_json(expected));
  EXPECT_EQ(second.record.setting.model_path, "/models/april");
  EXPECT_TRUE(must(in.points({.run_id = run_ + 1})).empty());
  const auto trajectories = must(in.trajectories());
  ASSERT_EQ(trajectories.size(), 1u);
  EXPECT_EQ(trajectories[0].step_rows, 16);
  EXPECT_FALSE(trajectories[0].complete());
  const auto timings = must(in.timings(run_));
  ASSERT_EQ(timings.size(), 2u);
  EXPECT_EQ(timings[0].stage, "core");
  EXPECT_EQ(timings[0].calls, 4);
  must(out_->set_run_status(run_, RunStatus::kDone));
  EXPECT_NE(must(in.runs())[0].finished_utc, "");
}

TEST_F(Reader, KeysDependOnNumbersAndNotOnNames) {
  PointRecord a = some_point(1, 4, 2), b = a;
  b.setting.model_path = "/elsewhere", b.setting.model_name = "b", b.setting.text_name = "c";
  b.run_id = 9, b.planned_chunks = 7;
  EXPECT_EQ(point_key_json(a), point_key_json(b));
  b.setting.seed = 1;
  EXPECT_NE(point_key_json(a), point_key_json(b));
  PointRecord x = a, y = a;
  x.setting.extra_json = R"({"a": 1, "b": 2})";
  y.setting.extra_json = R"({"b":2,"a":1})";
  EXPECT_EQ(point_key_json(x), point_key_json(y));
  EXPECT_NE(point_key_json(x), point_key_json(a));
}

}  // namespace
}  // namespace plumb
