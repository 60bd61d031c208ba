// The sql driver with real SQLite files.
#include <sqlite3.h>

#include <algorithm>

#include "fixture.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

class SqlPassdb : public ::testing::Test {
 protected:
  static void execute(const std::string& path, const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(db);
  }

  void fill(const std::string& path) {
    execute(path,
            "CREATE TABLE users (userid TEXT, domain TEXT, password TEXT, host TEXT, proxy TEXT);"
            "INSERT INTO users VALUES ('joe','x.org','{PLAIN}secret',NULL,NULL),"
            "('px','x.org','{PLAIN}secret','192.0.2.10','Y'),('nul','x.org',NULL,NULL,NULL),"
            "('dup','x.org','{PLAIN}secret',NULL,NULL),('dup','x.org','{PLAIN}secret',NULL,NULL),"
            "('o''k','x.org','{PLAIN}secret',NULL,NULL);");
  }

  void start(const std::string& query =
                 "SELECT userid AS username, domain, password, host, proxy FROM users "
                 "WHERE userid='%n' AND domain='%d'") {
    TestConfig config;
    config.settings = {{"auth_verbose", "yes"},
                       {"auth_username_chars", ""},
                       {"auth_failure_delay", "0"},
                       {"auth_internal_failure_delay", "0"}};
    config.passdbs = {{{"driver", "sql"},
                       {"sql_driver", "sqlite"},
                       {"connect", path_},
                       {"password_query", query}}};
    session_.reset();  // before the server it belongs to
    server_ = std::make_unique<Server>(config);
    session_ = server_->client(true);
    session_->feed("VERSION\t1\t2\nCPID\t1\n");
    take_lines(*session_);
  }

  void send(const std::string& user, const std::string& password) {
    const std::string plain = std::string(1, '\0') + user + std::string(1, '\0') + password;
    session_->feed("AUTH\t" + std::to_string(++id_) +
                   "\tPLAIN\tservice=imap\tresp=" + base64_encode(plain) + "\n");
    server_->env.run();
  }
  std::string reply() {
    std::vector<std::string> lines = take_lines(*session_);
    if (lines.size() != 1) return std::to_string(lines.size()) + " replies";
    const std::string id = "\t" + std::to_string(id_);
    const std::size_t at = lines[0].find(id);
    return lines[0].substr(0, at) + lines[0].substr(at + id.size());
  }
  std::string login(const std::string& user, const std::string& password) {
    send(user, password);
    return reply();
  }
  bool logged(std::string_view text) const {
    return std::ranges::any_of(server_->env.lines, [&](const std::string& l) {
      return l.find(text) != std::string::npos;
    });
  }

  ScratchDir dir_;
  std::string path_ = dir_.file("db.sqlite");
  std::unique_ptr<Server> server_;
  std::unique_ptr<ClientSession> session_;
  unsigned id_ = 0;
};

TEST_F(SqlPassdb, AnswersAsDovecotDoes) {
  fill(path_);
  start();
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
  EXPECT_EQ(login("JOE@X.ORG", "secret"), "OK\tuser=joe@x.org\toriginal_user=JOE@X.ORG");
  EXPECT_EQ(login("px@x.org", "secret"), "OK\tuser=px@x.org\thost=192.0.2.10\tproxy\tpass=secret");
  EXPECT_EQ(login("joe@x.org", "wrong"), "FAIL\tuser=joe@x.org");
  EXPECT_EQ(login("nul@x.org", "secret"), "FAIL\tuser=nul@x.org");
  EXPECT_TRUE(logged("sql(nul@x.org): No password returned (and no nopassword)"));
  EXPECT_EQ(login("dup@x.org", "secret"), "FAIL\tuser=dup@x.org\tcode=temp_fail");
  EXPECT_TRUE(logged("Error: sql(dup@x.org): Password query returned multiple matches"));
  EXPECT_EQ(login("o'k@x.org", "secret"), "OK\tuser=o'k@x.org");
  EXPECT_EQ(login("no@x.org", "secret"), "FAIL\tuser=no@x.org");
  EXPECT_TRUE(logged("sql(no@x.org): unknown user"));
}

TEST_F(SqlPassdb, NoNameOrPasswordIsEverSql) {
  fill(path_);
  start();
  for (const char* name :
       {"' OR '1'='1", "x' UNION SELECT 'joe','x.org','{PLAIN}a',NULL,NULL --", "joe'--", "?1",
        "\xbf' OR 1=1 --", "joe\\' OR 1=1 --", "%u", "';DROP TABLE users;--"}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(login(name, "a").starts_with("FAIL\tuser="));
    EXPECT_FALSE(logged("Password query"));
  }
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
}

TEST_F(SqlPassdb, AMissingFileIsATemporaryFailureUntilItIsThere) {
  start();
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  EXPECT_TRUE(logged("sql(joe@x.org): Not connected to database"));
  fill(path_);
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
}

TEST_F(SqlPassdb, AReplacedFileIsOpenedAnew) {
  fill(path_);
  start();
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
  const std::string other = dir_.file("other.sqlite");
  fill(other);
  execute(other, "UPDATE users SET password='{PLAIN}changed'");
  ASSERT_EQ(::rename(other.c_str(), path_.c_str()), 0);
  server_->env.advance(std::chrono::seconds(2));
  EXPECT_EQ(login("joe@x.org", "changed"), "OK\tuser=joe@x.org");
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org");
}

TEST_F(SqlPassdb, ALockedFileIsWaitedForWithoutBlocking) {
  fill(path_);
  start();
  sqlite3* writer = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &writer), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(writer, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);
  send("joe@x.org", "secret");
  EXPECT_TRUE(take_lines(*session_).empty());
  server_->env.advance(std::chrono::seconds(1));
  EXPECT_TRUE(take_lines(*session_).empty());
  ASSERT_EQ(sqlite3_exec(writer, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
  server_->env.advance(std::chrono::seconds(1));
  EXPECT_EQ(reply(), "OK\tuser=joe@x.org");

  ASSERT_EQ(sqlite3_exec(writer, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);
  send("joe@x.org", "secret");
  server_->env.advance(std::chrono::seconds(7));
  EXPECT_EQ(reply(), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  EXPECT_TRUE(logged("Password query failed: database is locked"));
  sqlite3_close(writer);
}

TEST_F(SqlPassdb, ADroppedTableIsATemporaryFailure) {
  fill(path_);
  start();
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
  execute(path_, "DROP TABLE users");
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  EXPECT_TRUE(logged("sql(joe@x.org): Password query failed: SQL logic error"));
  fill(path_);
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
}

TEST_F(SqlPassdb, TheFileIsNeverWritten) {
  fill(path_);
  start(
      "SELECT password FROM users WHERE userid='%n' AND domain='%d' AND 1=(SELECT count(*) FROM "
      "sqlite_master)");
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
  start("DELETE FROM users WHERE userid='%n' RETURNING password");
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  start();
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
}

TEST_F(SqlPassdb, AQueryWithoutAPasswordColumnIsAMistakeNotAMismatch) {
  fill(path_);
  start("SELECT userid AS user FROM users WHERE userid='%n'");
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  EXPECT_TRUE(logged("Password query must return a field named 'password'"));
}

TEST_F(SqlPassdb, WhatIsTooLargeForAReplyFailsThatLoginOnly) {
  fill(path_);
  const auto is_temporary = [this](const std::string& columns, std::string_view why) {
    start("SELECT " + columns + " FROM users WHERE userid='%n'");
    EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
    EXPECT_TRUE(logged(why)) << columns;
  };
  is_temporary("password, hex(zeroblob(4097)) AS host", "field host is longer than 8192 bytes");
  is_temporary("password, hex(zeroblob(4097)) AS userdb_home",
               "field userdb_home is longer than 8192 bytes");
  is_temporary("hex(zeroblob(4097)) AS password", "field password is longer than 8192 bytes");
  is_temporary("password, hex(zeroblob(400)) AS user",
               "username attempted to be changed to one that is too long");
  is_temporary("password, hex(zeroblob(400)) AS domain",
               "username attempted to be changed to one that is too long");
  is_temporary("password, x'ff41' AS user",
               "username attempted to be changed to one that is no text");
  is_temporary("password, x'410042' AS user",
               "username attempted to be changed to one that is no text");
  start("SELECT password, '' AS user FROM users WHERE userid='%n'");
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org") << "as Dovecot answers";
  EXPECT_TRUE(logged("username attempted to be changed to empty"));
  is_temporary("zeroblob(20000000) AS password", "Password query failed: string or blob too big");
  is_temporary("password, replace(hex(zeroblob(500)),'00','passdb_import=') AS passdb_import",
               "passdb_import within passdb_import");
  is_temporary(
      "password, 'a=' || replace(hex(zeroblob(4000)),'00',char(9)||'b=') AS "
      "userdb_userdb_import",
      "field userdb_userdb_import is longer than 8192 bytes");
  is_temporary("password, 1 AS \"bad name\"", "'bad name' cannot be the name of a field");
}

TEST_F(SqlPassdb, ACorruptFileIsATemporaryFailureUntilItIsReplaced) {
  dir_.write("db.sqlite", std::string("SQLite format 3\0", 16) + std::string(5000, 'x'));
  start();
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  EXPECT_TRUE(logged("Password query failed: file is not a database"));
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  dir_.write("db.sqlite", "no database at all, but a text that is long enough to look at");
  server_->env.advance(std::chrono::seconds(2));
  EXPECT_EQ(login("joe@x.org", "secret"), "FAIL\tuser=joe@x.org\tcode=temp_fail");
  const std::string other = dir_.file("other.sqlite");
  fill(other);
  ASSERT_EQ(::rename(other.c_str(), path_.c_str()), 0);
  server_->env.advance(std::chrono::seconds(2));
  EXPECT_EQ(login("joe@x.org", "secret"), "OK\tuser=joe@x.org");
}

TEST_F(SqlPassdb, FieldsBecomeWhatTheirNamesSay) {
  fill(path_);
  start(
      "SELECT NULL AS password, 'Y' AS nopassword, 'Y' AS nologin, 'closed' AS reason, '/h' AS "
      "userdb_home, "
      "'real' AS user FROM users WHERE userid='%n'");
  EXPECT_EQ(login("joe@x.org", "anything"),
            "OK\tuser=real\tnologin\treason=closed\toriginal_user=joe@x.org");
}

}  // namespace
}  // namespace postern::auth
