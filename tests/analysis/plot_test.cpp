#include "analysis/plot.h"

#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

class PlotFile : public AnalysisTest {};

Plot small_plot(const std::string& title = "one") {
  Table table({{.name = "x"}, {.name = "y"}});
  for (int i = 0; i < 4; ++i) table.add_row({double(i), double(i * i)});
  Plot plot;
  plot.width = 320, plot.height = 200;
  plot.data.push_back({"squares", table});
  plot.script = "plot data index 0 using 1:2 with lines title " + gnuplot_string(title) + "\n";
  return plot;
}

// Width and height in a PNG's header; zeros when it is none.
std::pair<int, int> png_size(const std::string& bytes) {
  if (bytes.size() < 24 || bytes.substr(0, 8) != "\x89PNG\r\n\x1a\n") return {0, 0};
  const auto number = [&](size_t at) {
    int value = 0;
    for (size_t i = 0; i < 4; ++i) value = value * 256 + static_cast<unsigned char>(bytes[at + i]);
    return value;
  };
  return {number(16), number(20)};
}

TEST_F(PlotFile, WritesDataScriptAndBothPictures) {
  const PlotFiles files = must(write_plot(small_plot(), {file("a.png"), file("a.svg")}));
  EXPECT_EQ(files.script, file("a.gp"));
  EXPECT_EQ(files.data, file("a.dat"));
  EXPECT_EQ(png_size(slurp(file("a.png"))), std::pair(640, 400));
  const std::string svg = slurp(file("a.svg"));
  EXPECT_NE(svg.find("<svg"), std::string::npos);
  EXPECT_NE(svg.find("width=\"320\" height=\"200\""), std::string::npos);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  EXPECT_EQ(parse_dat(slurp(file("a.dat"))), (Blocks{{{0, 0}, {1, 1}, {2, 4}, {3, 9}}}));
}

TEST_F(PlotFile, ScriptDrawsTheSamePictureFromItsFolder) {
  ASSERT_TRUE(write_plot(small_plot(), {file("a.png")}).ok());
  const std::string first = slurp(file("a.png"));
  std::filesystem::remove(file("a.png"));
  const std::string command =
      fmt::format("cd '{}' && gnuplot a.gp > log.txt 2>&1", directory_.string());
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(slurp(file("a.png")), first);
  EXPECT_EQ(slurp(file("log.txt")), "");
}

// Names come from outside: they must appear as they are, and run nothing.
TEST_F(PlotFile, NamesAreLiteralText) {
  const std::string names[] = {"under_score^2 @home {x}",
                               "it's \"quoted\"",
                               "`touch ran`",
                               "back\\slash \\n %d $1 #no comment",
                               "two\nlines; system('touch ran')",
                               "⟨ünï⟩"};
  for (const std::string& name : names) {
    const auto files = write_plot(small_plot(name), {file("n.svg")});
    ASSERT_TRUE(files.ok()) << name << ": " << files.error().message;
    EXPECT_FALSE(std::filesystem::exists(file("ran"))) << name;
  }
  must(write_plot(small_plot("a_b^c it's `x` \\n @d"), {file("n.svg")}));
  EXPECT_NE(slurp(file("n.svg")).find("a_b^c it's `x` \\n @d"), std::string::npos);
}

TEST_F(PlotFile, FileNamesAreLiteralText) {
  for (const char* name :
       {"it's.png", "<touch ran.png", "|touch ran.png", "-x y.png", "a`b`.png", "a.b_c.png"}) {
    const auto files = write_plot(small_plot(), {file(name)});
    ASSERT_TRUE(files.ok()) << name << ": " << files.error().message;
    EXPECT_GT(png_size(slurp(file(name))).first, 0) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
}

TEST_F(PlotFile, RefusesOtherEndingsAndOtherNames) {
  EXPECT_EQ(error_of(check_outputs({"x.pdf"})),
            "x.pdf: found the ending '.pdf', expected .png or .svg");
  EXPECT_EQ(error_of(check_outputs({"x"})), "x: found the ending '', expected .png or .svg");
  EXPECT_NE(error_of(check_outputs({})), "no error");
  EXPECT_NE(error_of(check_outputs({"x.png", "y.svg"})), "no error");
  EXPECT_NE(error_of(check_outputs({"/x.png", "x.svg"})), "no error");
  EXPECT_EQ(error_of(check_outputs({"/nonexistent/x.png"})), "/nonexistent/x.png: there is no folder /nonexistent");
  EXPECT_NE(error_of(check_outputs({"x.png", "x.png"})), "no error");
  EXPECT_TRUE(check_outputs({"/x.png", "/x.svg"}).ok());
}

TEST_F(PlotFile, NamesAFolderThatIsNotThere) {
  const auto files = write_plot(small_plot(), {file("missing") / "a.png"});
  EXPECT_EQ(error_of(files), fmt::format("{0}/a.png: there is no folder {0}", file("missing").string()));
  EXPECT_EQ(files.error().kind, ErrorKind::kInput);
}

TEST_F(PlotFile, GnuplotsOwnWordsAreInTheErrorAndNoPictureStays) {
  ASSERT_TRUE(write_plot(small_plot(), {file("a.png")}).ok());
  Plot broken = small_plot();
  broken.script = "plot data using nonsense_function($1)\n";
  const auto files = write_plot(broken, {file("a.png")});
  EXPECT_NE(error_of(files).find("a.gp: gnuplot failed: "), std::string::npos) << error_of(files);
  EXPECT_NE(error_of(files).find(" line "), std::string::npos) << error_of(files);
  EXPECT_EQ(error_of(files).find('\n'), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file("a.png")));
  EXPECT_TRUE(std::filesystem::exists(file("a.gp")));
}

TEST_F(PlotFile, MissingGnuplotNamesThePackage) {
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", directory_.c_str(), 1);
  const auto files = write_plot(small_plot(), {file("a.png")});
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_NE(error_of(files).find("install the package gnuplot-nox"), std::string::npos);
  EXPECT_EQ(error_of(files).find('\n'), std::string::npos);
  EXPECT_EQ(files.error().kind, ErrorKind::kWork);
  EXPECT_TRUE(std::filesystem::exists(file("a.gp")));
}

TEST(Wrapped, BreaksBetweenWords) {
  EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrapped("incomprehensible", 7), (std::vector<std::string>{"incomprehensible"}));
  EXPECT_TRUE(wrapped("", 7).empty());
}

TEST(LegendLabel, LosesItsMiddleBetweenWholeCharacters) {
  EXPECT_EQ(legend_label("kl<0.1"), "kl<0.1");
  std::string umlauts, head, tail;
  for (int i = 0; i < 100; ++i)
    umlauts += "ü", head += i < 42 ? "ü" : "", tail += i < 28 ? "ü" : "";
  EXPECT_EQ(legend_label(umlauts), head + "…" + tail);
  EXPECT_LT(legend_px("t", {umlauts}), 650);
}

TEST(CurveStyle, TellsAllCurvesApart) {
  std::vector<std::string> looks;
  for (size_t i = 0; i < kMostCurves; ++i) {
    const CurveStyle style = curve_style(i);
    looks.push_back(fmt::format("{} {}", style.color, style.dash));
  }
  std::sort(looks.begin(), looks.end());
  EXPECT_EQ(std::unique(looks.begin(), looks.end()), looks.end());
}

}  // namespace
}  // namespace plumb
