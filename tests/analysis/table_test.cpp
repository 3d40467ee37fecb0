#include "analysis/table.h"

#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

Table some_table() {
  Table table({{.name = "model", .type = CellType::kText},
               {.name = "num_steps", .heading = "depth", .type = CellType::kInteger},
               {.name = "elapsed_ms", .heading = "time", .unit = "ms", .digits = 3}});
  table.add_row({"april", int64_t{4}, 12.3456789});
  table.add_row({"björk, \"b\"\n", int64_t{-64}, std::nan("")});
  table.add_row({std::monostate{}, std::monostate{}, 0.1});
  return table;
}

TEST(Table, AlignsByCharactersAndPutsUnitsInHeadings) {
  EXPECT_EQ(some_table().to_terminal(),
            "model        depth  time (ms)\n"
            "-----------  -----  ---------\n"
            "april            4       12.3\n"
            "björk, \"b\"?    -64          -\n"
            "-                -        0.1\n");
}

TEST(Table, CsvQuotesWhatWouldBreakARow) {
  EXPECT_EQ(some_table().to_csv(),
            "model,num_steps,elapsed_ms\napril,4,12.3456789\n\"björk, \"\"b\"\"\n\",-64,\n,,0.1\n");
}

TEST(Table, TsvEscapesWhatWouldBreakARow) {
  Table table({{.name = "a", .type = CellType::kText}, {.name = "b", .type = CellType::kText}});
  table.add_row({"x\ty\n", "\\t"});
  EXPECT_EQ(table.to_tsv(), "a\tb\nx\\ty\\n\t\\\\t\n");
}

TEST(Table, DatKeepsRowsWholeAndNumbersExact) {
  Table table({{.name = "t", .type = CellType::kText}, {.name = "x"}});
  table.add_row({"a \"b\"\n\nc", 0.1 + 0.2});
  table.add_row({"", std::nan("")});
  EXPECT_EQ(table.to_dat(), "# t x\n\"a 'b'  c\" 0.30000000000000004\n\"\" NaN\n");
}

TEST(TableDeathTest, RefusesACellOfAnotherType) {
  Table table({{.name = "n", .type = CellType::kInteger}});
  EXPECT_DEATH(table.add_row({1.5}), "CHECK");
  EXPECT_DEATH(table.add_row({int64_t{1}, int64_t{2}}), "CHECK");
}

TEST(WriteTextFile, NamesTheFileAndTheReason) {
  const Status status = write_text_file("/nonexistent/x.csv", "a");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kWork);
  EXPECT_EQ(status.error().message,
            "/nonexistent/x.csv: cannot be written: No such file or directory");
}

}  // namespace
}  // namespace plumb
