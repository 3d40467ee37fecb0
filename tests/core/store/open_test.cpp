// What a file that cannot be used says.
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>

#include "core/store/schema.h"
#include "tests/core/store/store_fixture.h"

namespace plumb {
namespace {

using ::testing::Test;

class Open : public StoreTest {
 protected:
  void expect_error(const Error& error, std::initializer_list<std::string> words) {
    EXPECT_EQ(error.kind, ErrorKind::kInput);
    for (const std::string& word : words)
      EXPECT_NE(error.message.find(word), std::string::npos) << error.message << "\nlacks " << word;
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
  }
};

TEST_F(Open, MissingDirectoryIsNamed) {
  const auto path = directory_ / "nowhere" / "out.db";
  const auto result = RunWriter::open(path, {});
  ASSERT_FALSE(result.ok());
  expect_error(result.error(), {path.string(), "nowhere of", "does not exist"});
}

TEST_F(Open, ReaderNeedsAFile) {
  const auto result = RunReader::open(file());
  ASSERT_FALSE(result.ok());
  expect_error(result.error(), {file().string(), "no such file"});
  EXPECT_FALSE(std::filesystem::exists(file()));
}

TEST_F(Open, WriterWithoutCreateNeedsAFile) {
  const auto result = RunWriter::open(file(), {.create = false});
  ASSERT_FALSE(result.ok());
  expect_error(result.error(), {file().string(), "no such file"});
}

TEST_F(Open, DirectoryIsNoFile) {
  const auto result = RunWriter::open(directory_, {});
  ASSERT_FALSE(result.ok());
  expect_error(result.error(), {directory_.string(), "regular file"});
}

TEST_F(Open, OtherBytesAreNoDatabase) {
  std::ofstream(file()) << "these are somebody's notes, not a database at all";
  for (const auto& error : {RunWriter::open(file(), {}).error(), RunReader::open(file()).error()})
    expect_error(error, {file().string(), "not a database", "expected an SQLite"});
}

TEST_F(Open, DamagedHeaderIsASentence) {
  { must(writer().begin_run({})); }
  {
    std::fstream bytes(file(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(16);
    for (int i = 0; i < 200; ++i) bytes.put('\x5a');
  }
  const auto result = RunReader::open(file());
  ASSERT_FALSE(result.ok());
  expect_error(result.error(), {file().string()});
}

// A reader in the writer's own process once dropped the writer's locks, so that the next process to
// look at the file deleted the log that the writer went on writing to.
TEST_F(Open, ReadersInAnyProcessLeaveTheWritersLogAlone) {
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t other = ::fork();  // before anything is open: locks and their records are not shared
  if (other == 0) {
    char byte = 0;
    const bool told = ::read(go[0], &byte, 1) == 1;
    ::_exit(told && RunReader::open(file()).value().runs().value().size() == 1 ? 0 : 1);
  }
  RunWriter writing = writer();
  must(writing.begin_run({}));
  must(reader().runs());
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::filesystem::exists(file().string() + "-wal"));
  must(writing.begin_run({}));
  EXPECT_EQ(must(reader().runs()).size(), 2u);
  ::close(go[0]), ::close(go[1]);
}

TEST_F(Open, OtherSchemaVersionIsRefusedByBoth) {
  { must(writer().begin_run({})); }
  { SQLite::Database(file().string(), SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 7"); }
  for (const auto& error : {RunWriter::open(file(), {}).error(), RunReader::open(file()).error()})
    expect_error(error, {file().string(), "schema version 7", fmt::format("expected {}", kSchemaVersion)});
}

TEST_F(Open, SomebodyElsesDatabaseIsRefusedAndUntouched) {
  SQLite::Database(file().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("CREATE TABLE cats (name TEXT)");
  const auto result = RunWriter::open(file(), {});
  ASSERT_FALSE(result.ok());
  expect_error(result.error(), {file().string(), "not a plumb results file"});
  EXPECT_EQ(ask("SELECT count(*) FROM sqlite_master"), 1);
}

TEST_F(Open, NamesThatMeanSomethingToSqliteAreFiles) {
  const auto path = directory_ / "file:odd?mode=memory.db";
  { must(must(RunWriter::open(path, {})).begin_run({})); }
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(must(must(RunReader::open(path)).runs()).size(), 1u);
}

// Runs `body` as a user without privileges (permissions do not bind root); its exit status.
template <class Body>
int as_nobody(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(99);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Open, UnwritableDirectoryIsASentence) {
  ::chmod(directory_.c_str(), 0555);
  EXPECT_EQ(as_nobody([&] {
              const auto result = RunWriter::open(file(), {});
              if (result.ok()) return 1;
              return result.error().message.find("is not writable") != std::string::npos ? 0 : 2;
            }),
            0);
  ::chmod(directory_.c_str(), 0755);
}

TEST_F(Open, UnwritableFileIsReadableButNotWritable) {
  { must(writer().begin_run({})); }
  ::chmod(file().c_str(), 0444);
  ::chmod(directory_.c_str(), 0555);
  EXPECT_EQ(as_nobody([&] {
              const auto result = RunWriter::open(file(), {});
              if (result.ok()) return 1;
              if (result.error().message.find("is not writable") == std::string::npos) return 2;
              auto reading = RunReader::open(file());
              if (!reading.ok()) return 3;
              auto runs = reading.value().runs();
              return runs.ok() && runs.value().size() == 1 ? 0 : 4;
            }),
            0);
  ::chmod(directory_.c_str(), 0755);
}

}  // namespace
}  // namespace plumb
