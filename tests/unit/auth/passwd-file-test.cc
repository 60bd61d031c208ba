#include "auth/passwd-file.h"

#include <fcntl.h>

#include "fixture.h"

namespace postern::auth {
namespace {

TEST(PasswdTable, ReadsDovecotsFormat) {
  std::vector<std::string> problems;
  const PasswdTable table = PasswdTable::parse(
      "# comment\n"
      "\n"
      ":skipped\n"
      "alice:{PLAIN}sec ret:1001:1002:gecos:/home/alice:/bin/sh:userdb_mail=maildir:~/m proxy=y "
      "host=2001:db8::1\r\n"
      "bare\n"
      "empty:\n"
      "old:{PLAIN}x::::::/bin/sh::maildir:/var/mail\n"
      "q:{PLAIN}x::::::reason=\"two words\" nologin\n"
      "last:{PLAIN}y",
      problems);
  EXPECT_TRUE(problems.empty());
  ASSERT_EQ(table.entries().size(), 6U);
  const PasswdEntry* alice = table.find("alice");
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->password.reveal(), "{PLAIN}sec ret");
  EXPECT_EQ(alice->uid, "1001");
  EXPECT_EQ(alice->gid, "1002");
  EXPECT_EQ(alice->home, "/home/alice");
  EXPECT_EQ(alice->extra,
            (std::vector<std::string>{"userdb_mail=maildir:~/m", "proxy=y", "host=2001:db8::1"}));
  EXPECT_FALSE(table.find("bare")->has_password);
  EXPECT_TRUE(table.find("empty")->has_password);
  EXPECT_EQ(table.find("q")->extra, (std::vector<std::string>{"reason=two words", "nologin"}));
  EXPECT_EQ(table.find("last")->password.reveal(), "{PLAIN}y");
  EXPECT_EQ(table.find("Alice"), nullptr);
}

// transcripts proxy-imap-quoting, proxy-imap-dovecot-forward
TEST(PasswdTable, AQuoteInsideAValueIsALetter) {
  std::vector<std::string> problems;
  const PasswdTable table = PasswdTable::parse(
      "q:{PLAIN}x::::::pass=a\"b\\c destuser=joe reason=\"a = b\" empty=\"\" 5\"=x\n", problems);
  EXPECT_EQ(table.find("q")->extra, (std::vector<std::string>{"pass=a\"b\\c", "destuser=joe",
                                                              "reason=a = b", "empty=", "5\"=x"}));
}

TEST(PasswdTable, TheEmptyEighthPartMeansAMailLocation) {
  std::vector<std::string> problems;
  const PasswdTable table =
      PasswdTable::parse("old:{PLAIN}x:1:2::/h:/bin/sh::maildir:/var/mail\n", problems);
  EXPECT_EQ(table.find("old")->extra, (std::vector<std::string>{"userdb_mail=maildir:/var/mail"}));
}

TEST(PasswdTable, KnowsLibpamPwdfilesForms) {
  std::vector<std::string> problems;
  const PasswdTable table = PasswdTable::parse(
      "des:abNANd1rDfiNc[13]\nmd5:5ebe2294ecd0e0f08eab7690d2a6ee69[34]\nplain:{PLAIN}x[13]\n"
      "other:x[56]\nodd:[13\n",
      problems);
  EXPECT_EQ(table.find("des")->password.reveal(), "{CRYPT}abNANd1rDfiNc");
  EXPECT_EQ(table.find("md5")->password.reveal(), "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69");
  EXPECT_EQ(table.find("plain")->password.reveal(), "{PLAIN}x[13]") << "a scheme says it all";
  EXPECT_EQ(table.find("other")->password.reveal(), "x[56]");
  EXPECT_EQ(table.find("odd")->password.reveal(), "[13");
}

TEST(PasswdTable, ReportsBadLinesAndKeepsTheRest) {
  std::vector<std::string> problems;
  const PasswdTable table = PasswdTable::parse(
      std::string("a:{PLAIN}1\na:{PLAIN}2\nb:{PLAIN}x\0y\nc:{PLAIN}3\n", 46), problems);
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0], "line 2: User a exists more than once");
  EXPECT_EQ(problems[1], "line 3: NUL byte");
  EXPECT_EQ(table.find("a")->password.reveal(), "{PLAIN}1");
  EXPECT_EQ(table.find("b"), nullptr);
  EXPECT_NE(table.find("c"), nullptr);
}

TEST(PasswdTable, FindsEscapedNames) {
  std::vector<std::string> problems;
  const PasswdTable table = PasswdTable::parse("a\\:b:{PLAIN}x\n", problems);
  EXPECT_NE(table.find(escape_passwd_name("a:b")), nullptr);
  EXPECT_EQ(table.find(escape_passwd_name("a")), nullptr);
}

TEST(PasswdFile, IsReadAgainWhenItWasReplacedAndKeptWhenItIsGone) {
  const ScratchDir dir;
  TimePoint now{std::chrono::hours(1)};
  PasswdFile file(dir.file("users"));
  EXPECT_EQ(file.table(now).error().code, ENOENT);
  dir.write("users", "a:{PLAIN}1\n");
  EXPECT_FALSE(file.table(now).ok()) << "looked at once a second";
  now += std::chrono::seconds(1);
  ASSERT_TRUE(file.table(now).ok());
  EXPECT_NE(file.table(now).value()->find("a"), nullptr);

  // The same size, and the modification time put back: only inode and change time tell.
  struct stat before {};
  ASSERT_EQ(::stat(file.path().c_str(), &before), 0);
  dir.write("new", "b:{PLAIN}1\n");
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, dir.file("new").c_str(), times, 0), 0);
  ASSERT_EQ(::rename(dir.file("new").c_str(), file.path().c_str()), 0);
  now += std::chrono::seconds(1);
  ASSERT_TRUE(file.table(now).ok());
  EXPECT_EQ(file.table(now).value()->find("a"), nullptr);
  EXPECT_NE(file.table(now).value()->find("b"), nullptr);

  ASSERT_EQ(::unlink(file.path().c_str()), 0);
  now += std::chrono::seconds(1);
  ASSERT_TRUE(file.table(now).ok());
  EXPECT_NE(file.table(now).value()->find("b"), nullptr);
}

}  // namespace
}  // namespace postern::auth
