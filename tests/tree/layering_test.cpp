// Which folder may include which, read off the source tree itself. The table below is the one
// statement of the layering; CMakeLists.txt links by it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace plumb {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

const Names kAllOfCore = {"core/base",  "core/io",    "core/kernels",   "core/taps",
                          "core/store", "core/cache", "core/tokenizer", "core/exit",
                          "core/chat",  "core/model", "core/parallel",  "core/decode",
                          "core/record"};

Names operator+(Names left, const Names& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// Folder -> the folders it may include besides itself. A subfolder without a row of its own belongs
// to the row above it.
const std::map<std::string, Names>& layering() {
  static const std::map<std::string, Names> table = {
      {"core/base", {}},
      {"core/parallel", {"core/base"}},
      {"core/io", {"core/base"}},
      {"core/kernels", {"core/base", "core/parallel"}},
      {"core/taps", {"core/base"}},
      {"core/store", {"core/base"}},
      {"core/tokenizer", {"core/base", "core/io"}},
      {"core/cache", {"core/base", "core/kernels"}},
      {"core/exit", {"core/base", "core/kernels"}},
      {"core/chat", {"core/base", "core/tokenizer"}},
      {"core/model", {"core/parallel", "core/base", "core/io", "core/kernels", "core/taps", "core/cache"}},
      {"core/decode",
       {"core/parallel", "core/base", "core/io", "core/kernels", "core/tokenizer", "core/taps", "core/cache", "core/exit",
        "core/model"}},
      {"core/record", {"core/base", "core/taps", "core/store"}},
      {"experiments", kAllOfCore},
      {"analysis", {"core/base", "core/store", "core/exit"}},
      {"analysis/figures", {"analysis", "core/base", "core/store", "core/exit"}},
      {"experiments/bench", kAllOfCore + Names{"experiments"}},
      {"experiments/cli", kAllOfCore + Names{"experiments", "experiments/bench", "analysis", "analysis/figures"}},
  };
  return table;
}

using Tree = std::map<std::string, std::string>;  // path from the root -> text

// The longest folder of the table that holds `path`, or "".
std::string folder_of(const std::string& path) {
  std::string best;
  for (const auto& [folder, allowed] : layering())
    if (path.starts_with(folder + "/") && folder.size() > best.size()) best = folder;
  return best;
}

struct Include {
  std::string target;
  bool quoted;
  int line;
};

std::vector<Include> includes_of(const std::string& text) {
  std::vector<Include> found;
  std::istringstream in(text);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos || line[at] != '#') continue;
    at = line.find_first_not_of(" \t", at + 1);
    if (at == std::string::npos || line.compare(at, 7, "include") != 0) continue;
    const size_t open = line.find_first_of("\"<", at);
    if (open == std::string::npos) continue;
    const bool quoted = line[open] == '"';
    const size_t close = line.find(quoted ? '"' : '>', open + 1);
    if (close == std::string::npos) continue;
    found.push_back({line.substr(open + 1, close - open - 1), quoted, number});
  }
  return found;
}

bool may_include(const std::string& from, const std::string& to) {
  if (from == to) return true;
  const Names& allowed = layering().at(from);
  return std::find(allowed.begin(), allowed.end(), to) != allowed.end();
}

std::string fault_of(const Tree& tree, const std::string& folder, const Include& include) {
  const std::string target = folder_of(include.target);
  if (!include.quoted)
    return target.empty() ? "" : fmt::format("{} is ours: quote it", include.target);
  if (target.empty())
    return fmt::format("{} is in no folder of the table (a library goes in <>)", include.target);
  if (!tree.contains(include.target)) return fmt::format("{} does not exist", include.target);
  if (!may_include(folder, target)) return fmt::format("{} may not include {}", folder, target);
  return "";
}

// x.cpp beside x.h includes x.h before anything else, so that no header leans on what came before.
std::string own_header_fault(const Tree& tree, const std::string& path,
                             const std::vector<Include>& includes) {
  if (!path.ends_with(".cpp")) return "";
  const std::string header = path.substr(0, path.size() - 4) + ".h";
  if (!tree.contains(header)) return "";
  if (!includes.empty() && includes.front().target == header) return "";
  return fmt::format("{}:{}: the first include is not its own header {}", path,
                     includes.empty() ? 1 : includes.front().line, header);
}

Names layering_faults(const Tree& tree) {
  Names faults;
  for (const auto& [path, text] : tree) {
    const std::string folder = folder_of(path);
    if (folder.empty()) {
      faults.push_back(path + ":1: its folder is not in the table");
      continue;
    }
    const std::vector<Include> includes = includes_of(text);
    for (const Include& include : includes) {
      const std::string fault = fault_of(tree, folder, include);
      if (!fault.empty()) faults.push_back(fmt::format("{}:{}: {}", path, include.line, fault));
    }
    const std::string fault = own_header_fault(tree, path, includes);
    if (!fault.empty()) faults.push_back(fault);
  }
  return faults;
}

using Graph = std::map<std::string, Names>;

// One cycle as "a -> b -> a", or "".
std::string cycle_of(const Graph& graph) {
  std::set<std::string> done;
  Names trail;
  std::function<std::string(const std::string&)> visit = [&](const std::string& node) {
    const auto at = std::find(trail.begin(), trail.end(), node);
    if (at != trail.end()) {
      std::string cycle;
      for (auto it = at; it != trail.end(); ++it) cycle += *it + " -> ";
      return cycle + node;
    }
    if (done.contains(node) || !graph.contains(node)) return std::string();
    trail.push_back(node);
    for (const std::string& next : graph.at(node))
      if (std::string cycle = visit(next); !cycle.empty()) return cycle;
    trail.pop_back();
    done.insert(node);
    return std::string();
  };
  for (const auto& [node, next] : graph)
    if (std::string cycle = visit(node); !cycle.empty()) return cycle;
  return "";
}

Graph include_graph(const Tree& tree) {
  Graph graph;
  for (const auto& [path, text] : tree)
    for (const Include& include : includes_of(text))
      // Highway has a source include itself, once per instruction set.
      if (include.quoted && include.target != path) graph[path].push_back(include.target);
  return graph;
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Tree source_tree() {
  Tree tree;
  const fs::path root = PLUMB_SOURCE_DIR;
  for (const char* top : {"core", "experiments", "analysis"}) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension().string();
      if (extension == ".h" || extension == ".cpp")
        tree[fs::relative(entry.path(), root).generic_string()] = read(entry.path());
    }
  }
  return tree;
}

std::string lines(const Names& faults) {
  std::string text;
  for (const std::string& fault : faults) text += fault + "\n";
  return text;
}

TEST(Layering, EveryIncludeFollowsTheTable) {
  const Tree tree = source_tree();
  ASSERT_TRUE(tree.contains("core/base/result.h")) << "found no sources in " << PLUMB_SOURCE_DIR;
  EXPECT_EQ(lines(layering_faults(tree)), "");
}

TEST(Layering, NoFileIncludesItselfInACircle) {
  EXPECT_EQ(cycle_of(include_graph(source_tree())), "");
}

TEST(Layering, TheTableHasNoCircleAndNoUnknownFolder) {
  EXPECT_EQ(cycle_of(layering()), "");
  for (const auto& [folder, allowed] : layering())
    for (const std::string& target : allowed) EXPECT_TRUE(layering().contains(target)) << target;
}

// plumb_library(name folder dependency ...): no library of ours is linked past the table.
TEST(Layering, TheBuildLinksByTheTable) {
  std::istringstream in(read(fs::path(PLUMB_SOURCE_DIR) / "CMakeLists.txt"));
  std::map<std::string, std::string> folders;  // library name -> folder
  const std::string call = "plumb_library(";
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(call)) continue;
    std::istringstream words(line.substr(call.size(), line.find(')') - call.size()));
    std::string name, folder, dependency;
    words >> name >> folder;
    ASSERT_TRUE(layering().contains(folder)) << folder;
    folders[name] = folder;
    while (words >> dependency) {
      if (!folders.contains(dependency)) continue;  // not ours
      EXPECT_TRUE(may_include(folder, folders[dependency])) << folder << " links " << dependency;
    }
  }
  EXPECT_GE(folders.size(), 10u);
}

// The checks themselves, on small trees that break one rule each.
const Tree kGood = {
    {"core/base/a.h", "#include <string>\n"},
    {"core/base/a.cpp", "#include \"core/base/a.h\"\n"},
    {"core/io/b.h", "// text\n#include \"core/base/a.h\"\n"},
    {"experiments/tasks/c.cpp", "#include <hwy/highway.h>\n#include \"core/io/b.h\"\n"}};

std::string faults_with(const std::string& path, const std::string& text) {
  Tree tree = kGood;
  tree[path] = text;
  return lines(layering_faults(tree));
}

TEST(LayeringChecks, AcceptAGoodTree) { EXPECT_EQ(lines(layering_faults(kGood)), ""); }

TEST(LayeringChecks, NameFileAndLineOfABackwardInclude) {
  EXPECT_EQ(faults_with("core/base/d.h", "\n\n# include \"core/io/b.h\"\n"),
            "core/base/d.h:3: core/base may not include core/io\n");
  EXPECT_EQ(faults_with("analysis/d.h", "#include \"core/io/b.h\"\n"),
            "analysis/d.h:1: analysis may not include core/io\n");
}

TEST(LayeringChecks, RefuseUnknownPlaces) {
  EXPECT_NE(faults_with("core/misc/d.h", ""), "");
  EXPECT_NE(faults_with("core/d.h", ""), "");
  EXPECT_NE(faults_with("core/base/d.h", "#include \"a.h\"\n"), "");
  EXPECT_NE(faults_with("core/base/d.h", "#include \"tests/support/close.h\"\n"), "");
  EXPECT_NE(faults_with("core/base/d.h", "#include \"core/base/../io/b.h\"\n"), "");
  EXPECT_NE(faults_with("core/io/d.h", "#include <core/base/a.h>\n"), "");
}

TEST(LayeringChecks, WantTheOwnHeaderFirst) {
  EXPECT_EQ(faults_with("core/io/b.cpp", "#include <string>\n#include \"core/io/b.h\"\n"),
            "core/io/b.cpp:1: the first include is not its own header core/io/b.h\n");
  EXPECT_NE(faults_with("core/io/b.cpp", ""), "");
}

TEST(LayeringChecks, FindCircles) {
  EXPECT_EQ(cycle_of({{"a", {"b"}}, {"b", {"c"}}, {"c", {"b"}}}), "b -> c -> b");
  EXPECT_EQ(cycle_of({{"a", {"b", "c"}}, {"b", {"c"}}}), "");
  Tree tree = kGood;
  tree["core/base/a.h"] = "#include \"core/io/b.h\"\n";
  EXPECT_NE(cycle_of(include_graph(tree)), "");
}

}  // namespace
}  // namespace plumb
