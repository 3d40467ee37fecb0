// Columnar reading: millions of rows into contiguous columns. Straight on the C interface, since a
// wrapped cell costs more than reading it.
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/base/dtype.h"
#include "core/store/run_reader_impl.h"

namespace plumb {
namespace {

constexpr std::array<std::string_view, kStepColumns> kStepColumnNames = {
    "nll",         "entropy",    "top1_id",    "p1",         "p2",
    "target_rank", "state_norm", "delta_norm", "accel_norm", "cos",
    "kl_prev",     "minp_kl",    "kl_final",   "gate",       "stability"};
constexpr std::array<std::string_view, kLagColumns> kLagColumnNames = {"latent_diff", "cos", "kl",
                                                                       "minp_kl", "entropy_diff"};

// A prepared statement of the C interface; failures are thrown as the library's exception.
class RawQuery {
 public:
  RawQuery(SQLite::Database& db, const std::string& sql, std::initializer_list<int64_t> parameters)
      : db_(db.getHandle()) {
    check(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement_, nullptr));
    int index = 1;
    for (const int64_t value : parameters) check(sqlite3_bind_int64(statement_, index++, value));
  }
  RawQuery(const RawQuery&) = delete;
  RawQuery& operator=(const RawQuery&) = delete;
  ~RawQuery() { sqlite3_finalize(statement_); }

  bool next() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) check(code);
    return false;
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  int32_t id(int column) const {
    return is_null(column) ? -1 : sqlite3_column_int(statement_, column);
  }
  double real(int column) const {
    return is_null(column) ? std::numeric_limits<double>::quiet_NaN()
                           : sqlite3_column_double(statement_, column);
  }
  float number(int column) const { return static_cast<float>(real(column)); }
  std::string_view text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return {bytes == nullptr ? "" : bytes,
            static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
  }
  std::vector<std::byte> blob(int column) const {
    const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
    return {bytes, bytes + sqlite3_column_bytes(statement_, column)};
  }

 private:
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  void check(int code) {
    if (code == SQLITE_OK) return;
    SQLite::Exception failure(db_, code);
    sqlite3_finalize(statement_);
    statement_ = nullptr;
    throw failure;
  }

  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
};

uint16_t index_of_reason(std::vector<std::string>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<uint16_t>(found - names.begin());
  if (names.size() >= 65535) throw std::runtime_error("found more than 65535 exit reasons");
  names.emplace_back(name);
  return static_cast<uint16_t>(names.size() - 1);
}

std::string step_filter(const StepQuery& query) {
  return query.step ? fmt::format(" AND step = {}", *query.step) : "";
}

// The shape must agree with the bytes: the row may have been edited.
Status check_latent(const LatentInfo& latent, const std::filesystem::path& path) {
  const auto dtype = parse_dtype(latent.dtype);
  size_t bytes = dtype ? dtype_bytes(*dtype) : 0;
  for (const int64_t extent : latent.shape) {
    if (extent <= 0 || bytes > latent.data.size() / static_cast<size_t>(extent))
      bytes = 0;
    else
      bytes *= static_cast<size_t>(extent);
  }
  if (bytes != 0 && bytes == latent.data.size()) return ok_status();
  return input_error(
      "{}: the latent at pos {}, step {} holds {} bytes, which is not its shape in {}",
      path.string(), latent.pos, latent.step, latent.data.size(), latent.dtype);
}

std::vector<int64_t> parse_shape(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<int64_t> shape;
  if (!json.is_array()) return {0};
  for (const auto& extent : json)
    shape.push_back(extent.is_number_integer() ? extent.get<int64_t>() : 0);
  return shape;
}

}  // namespace

std::string_view step_column_name(StepColumn column) {
  return kStepColumnNames[static_cast<size_t>(column)];
}
std::optional<StepColumn> parse_step_column(std::string_view name) {
  const auto* found = std::find(kStepColumnNames.begin(), kStepColumnNames.end(), name);
  if (found == kStepColumnNames.end()) return std::nullopt;
  return static_cast<StepColumn>(found - kStepColumnNames.begin());
}
std::string_view lag_column_name(LagColumn column) {
  return kLagColumnNames[static_cast<size_t>(column)];
}

std::span<const float> StepTable::column(StepColumn wanted) const {
  const auto found = std::find(columns.begin(), columns.end(), wanted);
  PLUMB_CHECK(found != columns.end());
  return values[static_cast<size_t>(found - columns.begin())];
}

Result<StepTable> RunReader::read_steps(int64_t trajectory_id, const StepQuery& query) {
  return guarded(impl_->path, "reading steps", [&]() -> Result<StepTable> {
    StepTable table;
    table.columns = query.columns;
    table.values.resize(query.columns.size());
    std::string sql = "SELECT pos, step";
    for (const StepColumn column : query.columns)
      sql += fmt::format(", {}", step_column_name(column));
    sql += " FROM steps WHERE trajectory_id = ? AND pos >= ? AND pos < ?" + step_filter(query) +
           " ORDER BY trajectory_id, pos, step";
    RawQuery rows(*impl_->db, sql, {trajectory_id, query.first_pos, query.end_pos});
    const int n_columns = static_cast<int>(query.columns.size());
    while (rows.next()) {
      table.pos.push_back(rows.integer(0));
      table.step.push_back(static_cast<int32_t>(rows.integer(1)));
      for (int i = 0; i < n_columns; ++i)
        table.values[static_cast<size_t>(i)].push_back(rows.number(2 + i));
    }
    return table;
  });
}

Result<LagTable> RunReader::read_lags(int64_t trajectory_id, int32_t lag) {
  return guarded(impl_->path, "reading step_lags", [&]() -> Result<LagTable> {
    LagTable table;
    RawQuery rows(*impl_->db,
                  fmt::format("SELECT pos, step, {} FROM step_lags WHERE trajectory_id = ? AND lag "
                              "= ? ORDER BY trajectory_id, pos, step",
                              fmt::join(kLagColumnNames, ", ")),
                  {trajectory_id, lag});
    while (rows.next()) {
      table.pos.push_back(rows.integer(0));
      table.step.push_back(static_cast<int32_t>(rows.integer(1)));
      for (int i = 0; i < kLagColumns; ++i) table.values[i].push_back(rows.number(2 + i));
    }
    return table;
  });
}

Result<TokenTable> RunReader::read_tokens(int64_t point_id) {
  return guarded(impl_->path, "reading tokens", [&]() -> Result<TokenTable> {
    TokenTable table;
    RawQuery rows(*impl_->db,
                  "SELECT pos, chunk_index, token_id, target_id, nll_nats, exit_step, exit_reason "
                  "FROM tokens WHERE point_id = ? ORDER BY pos",
                  {point_id});
    while (rows.next()) {
      table.pos.push_back(rows.integer(0));
      table.chunk_index.push_back(rows.integer(1));
      table.token_id.push_back(rows.id(2));
      table.target_id.push_back(rows.id(3));
      table.nll_nats.push_back(rows.real(4));
      table.exit_step.push_back(rows.id(5));
      table.exit_reason.push_back(index_of_reason(table.reason_names, rows.text(6)));
    }
    return table;
  });
}

Result<std::vector<HaltingRow>> RunReader::read_halting(int64_t trajectory_id) {
  return guarded(impl_->path, "reading halting", [&]() -> Result<std::vector<HaltingRow>> {
    std::vector<HaltingRow> table;
    RawQuery rows(*impl_->db,
                  "SELECT pos, step, p, cum, w FROM halting WHERE trajectory_id = ? ORDER BY "
                  "trajectory_id, pos, step",
                  {trajectory_id});
    while (rows.next())
      table.push_back(
          {rows.integer(0), rows.id(1), rows.number(2), rows.number(3), rows.number(4)});
    return table;
  });
}

Result<std::vector<PonderRow>> RunReader::read_ponder(int64_t trajectory_id) {
  return guarded(impl_->path, "reading ponder", [&]() -> Result<std::vector<PonderRow>> {
    std::vector<PonderRow> table;
    RawQuery rows(*impl_->db,
                  "SELECT pos, n_steps, remainder, ponder FROM ponder WHERE trajectory_id = ? "
                  "ORDER BY trajectory_id, pos",
                  {trajectory_id});
    while (rows.next())
      table.push_back({rows.integer(0), rows.id(1), rows.number(2), rows.number(3)});
    return table;
  });
}

Result<std::vector<LatentInfo>> RunReader::read_latents(int64_t trajectory_id,
                                                        const StepQuery& query) {
  using Rows = std::vector<LatentInfo>;
  return guarded(impl_->path, "reading latents", [&]() -> Result<Rows> {
    Rows table;
    RawQuery rows(*impl_->db,
                  "SELECT pos, step, kind, dtype, shape, data FROM latents WHERE trajectory_id = ? "
                  "AND pos >= ? AND pos < ?" +
                      step_filter(query) + " ORDER BY trajectory_id, pos, step, kind",
                  {trajectory_id, query.first_pos, query.end_pos});
    while (rows.next()) {
      table.push_back({rows.integer(0), rows.id(1), std::string(rows.text(2)),
                       std::string(rows.text(3)), parse_shape(rows.text(4)), rows.blob(5)});
      PLUMB_RETURN_IF_ERROR(check_latent(table.back(), impl_->path));
    }
    return table;
  });
}

}  // namespace plumb
