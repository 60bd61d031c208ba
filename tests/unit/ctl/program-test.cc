// The program from its command line to its output, with a master that says what the test wants.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ctl/command.h"
#include "fake-server.h"

namespace postern::ctl {
namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

Outcome posternctl(std::vector<std::string> words) {
  words.insert(words.begin(), "posternctl");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  Outcome outcome;
  outcome.code = run(static_cast<int>(argv.size()), argv.data(), outcome.out, outcome.err);
  return outcome;
}

FakeServer::Answer always(std::string answer) {
  return [answer = std::move(answer)](const std::string&) { return answer; };
}

wire::ControlFields session(const std::string& user, const std::string& state,
                            const std::string& pid, const std::string& rip) {
  return {{"user", user},           {"service", "imap"},  {"rip", rip},     {"lip", "192.0.2.9"},
          {"session", "s" + pid},   {"secured", "TLS"},   {"state", state}, {"dest-user", "d"},
          {"dest-ip", "192.0.2.7"}, {"dest-port", "143"}, {"pid", pid}};
}

std::string sessions() {
  return wire::control_row_line(session("u2", "proxied", "12", "192.0.2.1")) +
         wire::control_row_line(session("u1", "proxied", "11", "192.0.2.1")) +
         wire::control_row_line(session("", "login", "11", "192.0.2.2")) +
         wire::control_row_line(session("u1", "local", "12", "2001:db8::1")) +
         wire::control_end_line(0, "");
}

TEST(Program, KnowsItsCommandsAndTellsWhatIsWrongWithOthers) {
  EXPECT_EQ(posternctl({"--help"}).code, 0);
  EXPECT_NE(posternctl({"--help"}).out.find("service"), std::string::npos);
  EXPECT_EQ(posternctl({}).code, 2);
  const Outcome unknown = posternctl({"fly"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("no such command: fly"), std::string::npos);
  EXPECT_EQ(posternctl({"proxy"}).code, 2);
  EXPECT_EQ(posternctl({"-f", "xml", "who"}).code, 2);
  EXPECT_EQ(posternctl({"kick"}).code, 2);
  EXPECT_EQ(posternctl({"-S", "/x/c", "config"}).code, 2);
}

TEST(Program, EveryCommandHasHelp) {
  for (const Command& command : commands()) {
    SCOPED_TRACE(command.words);
    std::vector<std::string> words;
    std::string_view rest = command.words;
    if (const std::size_t blank = rest.find(' '); blank != std::string_view::npos) {
      words.emplace_back(rest.substr(0, blank));
      rest.remove_prefix(blank + 1);
    }
    words.emplace_back(rest);
    words.emplace_back("--help");
    const Outcome outcome = posternctl(words);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_NE(outcome.out.find(command.help), std::string::npos);
  }
}

TEST(Program, EndsWith75IfNothingRuns) {
  for (const char* command : {"who", "reload", "stop"}) {
    const Outcome outcome = posternctl({"-S", "/nonexistent/control", command});
    EXPECT_EQ(outcome.code, EX_TEMPFAIL);
    EXPECT_EQ(outcome.err,
              "posternctl: Postern is not running (/nonexistent/control: No such file or "
              "directory)\n");
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Program, FindsTheSocketOfAConfigurationThatDoesNotLoad) {
  const FakeServer server("control", always(wire::control_end_line(0, "")));
  const std::string file = server.directory() + "/postern.conf";
  std::ofstream(file) << "base_dir = " << server.directory() << "\nno_such_setting = 1\n"
                      << "[service x]\nbase_dir = /elsewhere\n";
  EXPECT_EQ(posternctl({"-c", file, "reload"}).code, 0);
  EXPECT_EQ(posternctl({"-c", file, "config"}).code, EX_CONFIG);
  EXPECT_EQ(posternctl({"-c", server.directory() + "/missing.conf", "reload"}).code, EX_CONFIG);
}

TEST(Who, GroupsByUserAsDovecotDoes) {
  const FakeServer server("control", always(sessions()));
  EXPECT_EQ(posternctl({"-S", server.path(), "who"}).out,
            "username # proto (pids)  (ips)\n"
            "u1       2 imap  (11 12) (192.0.2.1 2001:db8::1)\n"
            "u2       1 imap  (12)    (192.0.2.1)\n");
  const auto json =
      nlohmann::json::parse(posternctl({"-S", server.path(), "-f", "json", "who"}).out);
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0]["username"], "u1");
  EXPECT_EQ(json[0]["connections"], "2");
}

TEST(Who, TakesMasksNetworksAndKinds) {
  const FakeServer server("control", always(sessions()));
  const auto who = [&server](std::vector<std::string> words) {
    std::vector<std::string> all{"-S", server.path(), "-f", "json", "who", "-1"};
    all.insert(all.end(), words.begin(), words.end());
    return nlohmann::json::parse(posternctl(all).out).size();
  };
  EXPECT_EQ(who({}), 3U);
  EXPECT_EQ(who({"u*"}), 3U);
  EXPECT_EQ(who({"u1"}), 2U);
  EXPECT_EQ(who({"*2"}), 1U);
  EXPECT_EQ(who({"u?", "192.0.2.0/24"}), 2U);
  EXPECT_EQ(who({"2001:db8::/32"}), 1U);
  EXPECT_EQ(who({"nobody"}), 0U);
  EXPECT_EQ(who({"--local"}), 1U);
  EXPECT_EQ(who({"--pre-login"}), 1U);
  EXPECT_EQ(who({"--proxied", "--local"}), 3U);
}

TEST(ProxyList, ShowsOnlyWhatIsProxied) {
  const FakeServer server("control", always(sessions()));
  EXPECT_EQ(posternctl({"-S", server.path(), "-f", "tab", "proxy", "list"}).out,
            "username\tproto\tsrc ip\tdest ip\tport\tdest user\tsession\n"
            "u1\timap\t192.0.2.1\t192.0.2.7\t143\td\ts11\n"
            "u2\timap\t192.0.2.1\t192.0.2.7\t143\td\ts12\n");
}

TEST(Kick, AsksOnceAUserAndAddsUp) {
  const FakeServer server("control", always(wire::control_end_line(0, "2")));
  const Outcome outcome = posternctl({"-S", server.path(), "kick", "u1", "u2", "10.0.0.0/8"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "4 connections kicked\n");
  ASSERT_EQ(server.lines().size(), 2U);
  EXPECT_EQ(server.lines()[1], R"({"command":"kick","args":{"user":"u2","ip":"10.0.0.0/8"}})");
}

TEST(Kick, EndsWith68IfNobodyFits) {
  const FakeServer server("control", always(wire::control_end_line(0, "0")));
  const Outcome outcome = posternctl({"-S", server.path(), "kick", "nobody"});
  EXPECT_EQ(outcome.code, EX_NOHOST);
  EXPECT_EQ(outcome.err, "no users kicked\n");
  const Outcome proxy = posternctl({"-S", server.path(), "proxy", "kick", "nobody"});
  EXPECT_EQ(proxy.code, EX_NOHOST);
  EXPECT_EQ(proxy.err, "no users kicked\n");
  EXPECT_EQ(server.lines().back(),
            R"({"command":"kick","args":{"user":"nobody","proxied":"yes"}})");
  const Outcome json = posternctl({"-S", server.path(), "-f", "json", "kick", "nobody"});
  EXPECT_EQ(json.code, EX_NOHOST);
  EXPECT_EQ(json.out, "[{\"kicked\":\"0\"}]\n");
}

TEST(Kick, TellsOfThoseThatWereKickedBeforeItFailed) {
  const FakeServer server("control", [](const std::string& line) {
    return line.find("u1") != std::string::npos ? wire::control_end_line(0, "3")
                                                : wire::control_end_line(75, "busy");
  });
  const Outcome outcome = posternctl({"-S", server.path(), "kick", "u1", "u2"});
  EXPECT_EQ(outcome.code, EX_TEMPFAIL);
  EXPECT_EQ(outcome.out, "3 connections kicked\n");
  EXPECT_EQ(outcome.err, "posternctl: busy\n");
}

TEST(Program, EndsWithACodeOfTheContractWhateverTheMasterSays) {
  const std::vector<std::pair<int, int>> codes{{0, 0},   {2, 2},   {64, 2},  {67, 67},
                                               {68, 68}, {77, 77}, {78, 78}, {75, 75},
                                               {70, 75}, {73, 75}, {1, 75},  {255, 75}};
  for (const auto& [from, to] : codes) {
    SCOPED_TRACE(from);
    const FakeServer server("control", always(wire::control_end_line(from, "so")));
    EXPECT_EQ(posternctl({"-S", server.path(), "log", "reopen"}).code, to);
  }
}

TEST(Program, SaysInOneLineThatASocketIsNotForThisUser) {
  const FakeServer server("control", always(wire::control_end_line(0, "")));
  // Root may connect to every socket: only somebody else sees the mode.
  const pid_t pid = fork();
  if (pid == 0) {
    if (chmod(server.path().c_str(), 0) != 0 || chmod(server.directory().c_str(), 0755) != 0 ||
        (geteuid() == 0 && setuid(65534) != 0)) {
      _exit(99);
    }
    const Outcome outcome = posternctl({"-S", server.path(), "who"});
    _exit(outcome.err ==
                  "posternctl: cannot reach the master (" + server.path() + ": Permission denied)\n"
              ? outcome.code
              : 98);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), EX_NOPERM);
}

TEST(Who, ShowsTheSessionsOfThoseWhoAnsweredAndSaysThatOthersDidNot) {
  const FakeServer server(
      "control", always(wire::control_row_line(session("u2", "proxied", "12", "192.0.2.1")) +
                        wire::control_end_line(EX_TEMPFAIL, "1 processes did not answer")));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"who"}, std::vector<std::string>{"proxy", "list"}}) {
    std::vector<std::string> all{"-S", server.path(), "-f", "json"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = posternctl(all);
    EXPECT_EQ(outcome.code, EX_TEMPFAIL);
    EXPECT_EQ(outcome.err, "posternctl: 1 processes did not answer\n");
    const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
    ASSERT_TRUE(json.is_array()) << outcome.out;
    EXPECT_EQ(json.size(), 1U);
  }
}

TEST(Kick, AnEmptyMaskIsAnErrorWhateverElseIsGiven_T_CTL_02) {
  const FakeServer server("control", always(wire::control_end_line(0, "9")));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{""}, std::vector<std::string>{"", "10.0.0.0/8"},
        std::vector<std::string>{"u1", ""},
        std::vector<std::string>{"--user", "", "--ip", "10.0.0.1"},
        std::vector<std::string>{"--user=", "--ip", "10.0.0.1"},
        std::vector<std::string>{"-H", "", "u1"}}) {
    std::vector<std::string> all{"-S", server.path(), "kick"};
    all.insert(all.end(), words.begin(), words.end());
    EXPECT_EQ(posternctl(all).code, 2) << words.front();
  }
  EXPECT_TRUE(server.lines().empty()) << "something was asked for";
}

TEST(Reload, PrintsEveryErrorAndEndsWith78) {
  const FakeServer server("control", always(wire::control_row_line({{"error", "a:1: x"}}) +
                                            wire::control_row_line({{"error", "a:2: y"}}) +
                                            wire::control_end_line(78, "the old one stays")));
  const Outcome outcome = posternctl({"-S", server.path(), "reload"});
  EXPECT_EQ(outcome.code, EX_CONFIG);
  EXPECT_EQ(outcome.err, "a:1: x\na:2: y\nposternctl: the old one stays\n");
}

TEST(Program, PrintsJsonAlsoWhereThereIsNothingToSay) {
  const FakeServer server("control", always(wire::control_end_line(0, "")));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"reload"}, std::vector<std::string>{"log", "reopen"},
        std::vector<std::string>{"stop", "--no-wait"}, std::vector<std::string>{"log", "errors"},
        std::vector<std::string>{"service", "status"}}) {
    std::vector<std::string> all{"-S", server.path(), "-f", "json"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = posternctl(all);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(outcome.out, "[]\n") << words.front();
  }
}

TEST(Stop, WaitsUntilTheMasterIsGone) {
  const pid_t pid = fork();
  if (pid == 0) {
    usleep(300'000);
    _exit(0);
  }
  const FakeServer server("control", always(wire::control_end_line(0, std::to_string(pid))));
  const Outcome outcome = posternctl({"-S", server.path(), "stop"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, WNOHANG), pid);
}

TEST(Stop, SaysWhatGoesOn) {
  const pid_t master = fork();
  if (master == 0) _exit(0);
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const FakeServer server("control", [master, child](const std::string& line) {
    if (line.find("process-status") == std::string::npos) {
      return wire::control_end_line(0, std::to_string(master));
    }
    return wire::control_row_line({{"name", "auth"}, {"pid", std::to_string(master)}}) +
           wire::control_row_line(
               {{"name", "imap-login"}, {"pid", std::to_string(child)}, {"relaying", "7"}}) +
           wire::control_end_line(0, "");
  });
  const Outcome outcome = posternctl({"-S", server.path(), "-f", "tab", "stop"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "name\tpid\trelaying\nimap-login\t" + std::to_string(child) + "\t7\n");
  EXPECT_NE(outcome.err.find("until their last session ends"), std::string::npos);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(waitpid(master, nullptr, 0), master);
}

TEST(Stop, DoesNotWaitIfItIsNotTo) {
  const FakeServer server("control", always(wire::control_end_line(0, std::to_string(getpid()))));
  EXPECT_EQ(posternctl({"-S", server.path(), "stop", "--no-wait"}).code, 0);
  EXPECT_EQ(server.lines().size(), 1U);
}

TEST(Status, ShowsWhatTheMasterSends) {
  const FakeServer server(
      "control",
      always(wire::control_row_line({{"name", "auth"}, {"pid", "7"}, {"state", "ready"}}) +
             wire::control_end_line(0, "")));
  EXPECT_EQ(posternctl({"-S", server.path(), "process", "status", "auth"}).out,
            "name pid state\nauth 7   ready\n");
  EXPECT_EQ(server.lines()[0], R"({"command":"process-status","args":{"name":"auth"}})");
}

TEST(LogErrors, PrintsLinesAsTheLogHasThem) {
  const FakeServer server(
      "control",
      always(wire::control_row_line(
                 {{"time", "0"}, {"level", "error"}, {"prefix", "auth: "}, {"text", "bad\x1b[m"}}) +
             wire::control_end_line(0, "")));
  const Outcome outcome = posternctl({"-S", server.path(), "log", "errors"});
  EXPECT_TRUE(outcome.out.ends_with(" Error: auth: bad?[m\n")) << outcome.out;
  EXPECT_EQ(posternctl({"-S", server.path(), "log", "errors", "-s", "yesterday"}).code, 2);
}

// The auth-client protocol's server: greets, reads the client's two lines and the request.
const char kGreeting[] =
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\n"
    "COOKIE\t00112233445566778899aabbccddeeff\nDONE\n";

FakeServer::Answer auth_says(std::string reply) {
  return [reply = std::move(reply)](const std::string& line) {
    return line.starts_with("AUTH\t") ? reply : std::string();
  };
}

TEST(AuthTest, PrintsTheFieldsOfASuccess) {
  const FakeServer server("auth-client",
                          auth_says("OK\t1\tuser=px\tproxy\thost=127.0.0.1\tpass=p1\n"), kGreeting);
  const Outcome outcome = posternctl({"-S", server.directory() + "/control", "auth", "test", "-x",
                                      "service=imap", "-x", "rip=192.0.2.1", "px", "p3"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "passdb: px auth succeeded\nextra fields:\n  user=px\n  proxy\n  host=127.0.0.1\n"
            "  pass=<hidden>\n");
  // \0px\0p3
  const std::string request = server.lines().back();
  EXPECT_NE(request.find("\tservice=imap\t"), std::string::npos);
  EXPECT_NE(request.find("\trip=192.0.2.1\t"), std::string::npos);
  EXPECT_TRUE(request.ends_with("\tresp=AHB4AHAz")) << request;
}

TEST(AuthTest, EndsWith77ForAWrongPasswordAnd75ForATemporaryFailure) {
  const FakeServer wrong("auth-client", auth_says("FAIL\t1\tuser=u1\n"), kGreeting);
  const Outcome outcome = posternctl({"-a", wrong.path(), "auth", "test"});
  EXPECT_EQ(outcome.code, 2);  // no user
  const Outcome failed = posternctl({"auth", "test", "-a", wrong.path(), "u1", "x"});
  EXPECT_EQ(failed.code, EX_NOPERM);
  EXPECT_EQ(failed.out, "passdb: u1 auth failed\nextra fields:\n  user=u1\n");
  const FakeServer down("auth-client", auth_says("FAIL\t1\tuser=u1\tcode=temp_fail\n"), kGreeting);
  EXPECT_EQ(posternctl({"auth", "test", "-a", down.path(), "u1", "x"}).code, EX_TEMPFAIL);
}

TEST(AuthTest, PrintsOneJsonDocument) {
  const FakeServer server("auth-client", auth_says("OK\t1\tuser=u1\tnologin\n"), kGreeting, 1);
  const Outcome outcome =
      posternctl({"-f", "json", "auth", "test", "-a", server.path(), "u1", "p"});
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(json.is_array());
  EXPECT_EQ(json[0]["result"], "succeeded");
  EXPECT_EQ(json[0]["user"], "u1");
  EXPECT_TRUE(json[0].contains("nologin"));
}

TEST(AuthTest, EndsWith75IfAuthClosesOrTalksNonsense) {
  for (const char* reply : {"CLOSE", "OK\n", "OK\tx\n", "CONT\t1\tQUJD\n"}) {
    SCOPED_TRACE(reply);
    const FakeServer server("auth-client", auth_says(reply), kGreeting);
    const Outcome outcome = posternctl({"auth", "test", "-a", server.path(), "u1", "geheim"});
    EXPECT_EQ(outcome.code, EX_TEMPFAIL);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err.find("geheim"), std::string::npos);
  }
  const FakeServer early("auth-client", always("CLOSE"), "VERSION\t1\t2\nMECH\tPLAIN\n");
  EXPECT_EQ(posternctl({"auth", "test", "-a", early.path(), "u1", "p"}).code, EX_TEMPFAIL);
  const FakeServer other("auth-client", always(""), "VERSION\t2\t0\n");
  EXPECT_EQ(posternctl({"auth", "test", "-a", other.path(), "u1", "p"}).code, EX_TEMPFAIL);
}

TEST(AuthTest, EndsWith75InOneLineIfNothingRuns) {
  const Outcome outcome = posternctl({"-S", "/nonexistent/control", "auth", "test", "u", "p"});
  EXPECT_EQ(outcome.code, EX_TEMPFAIL);
  EXPECT_EQ(outcome.err,
            "posternctl: Postern is not running (/nonexistent/auth-client: No such file or "
            "directory)\n");
}

// The auth-master protocol's server.
FakeServer::Answer master_says(std::string reply) {
  return [reply = std::move(reply)](const std::string& line) {
    return line.starts_with("PASS\t") ? reply : std::string();
  };
}
const char kMasterGreeting[] = "VERSION\t1\t1\nSPID\t77\n";

TEST(AuthLookup, PrintsTheFieldsOfEachUserAndNoPassword) {
  const FakeServer server(
      "auth-master",
      [](const std::string& line) -> std::string {
        if (line.starts_with("PASS\t1\tu1\t")) return "PASS\t9\tuser=x\nPASS\t1\tuser=u1\n";
        if (line.starts_with("PASS\t2\tpx\t")) {
          return "PASS\t2\tuser=px\t\tproxy=y\thost=a\001tb\tpass=p1\tnologin\n";
        }
        return {};
      },
      kMasterGreeting);
  const Outcome outcome = posternctl({"-S", server.directory() + "/control", "auth", "lookup", "-x",
                                      "service=imap", "-x", "rip=192.0.2.1", "u1", "px"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "passdb: u1\n  user      : u1\n\npassdb: px\n  user      : px\n  proxy     : y\n"
            "  host      : a?b\n  pass      : <hidden>\n  nologin   : \n");
  ASSERT_EQ(server.lines().size(), 3U);
  EXPECT_EQ(server.lines()[0], "VERSION\t1\t1");
  EXPECT_EQ(server.lines()[1], "PASS\t1\tu1\tservice=imap\trip=192.0.2.1");
}

TEST(AuthLookup, PrintsOneJsonDocument) {
  const FakeServer server("auth-master", master_says("PASS\t1\tuser=u1\tpass=p1\n"),
                          kMasterGreeting, 1);
  const Outcome outcome = posternctl({"-f", "json", "auth", "lookup", "-a", server.path(), "u1"});
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(json.is_array());
  EXPECT_EQ(json[0]["user"], "u1");
  EXPECT_EQ(json[0]["pass"], "<hidden>");
}

TEST(AuthLookup, ShowsOneFieldOnly) {
  const FakeServer server("auth-master", master_says("PASS\t1\tuser=u1\tproxy=y\n"),
                          kMasterGreeting);
  EXPECT_EQ(posternctl({"auth", "lookup", "-a", server.path(), "--field", "proxy", "u1"}).out,
            "y\n");
}

TEST(AuthLookup, EndsWith67ForAnUnknownUserAnd75IfItCannotBeKnown) {
  const FakeServer unknown("auth-master", master_says("NOTFOUND\t1\n"), kMasterGreeting);
  const Outcome outcome = posternctl({"auth", "lookup", "-a", unknown.path(), "nosuch"});
  EXPECT_EQ(outcome.code, EX_NOUSER);
  EXPECT_EQ(outcome.err, "passdb lookup: user nosuch doesn't exist\n");
  const FakeServer down("auth-master", master_says("FAIL\t1\treason=away\n"), kMasterGreeting);
  const Outcome failed = posternctl({"auth", "lookup", "-a", down.path(), "u1"});
  EXPECT_EQ(failed.code, EX_TEMPFAIL);
  EXPECT_NE(failed.err.find("away"), std::string::npos);
  const FakeServer closes("auth-master", master_says("CLOSE"), kMasterGreeting);
  EXPECT_EQ(posternctl({"auth", "lookup", "-a", closes.path(), "u1"}).code, EX_TEMPFAIL);
  const FakeServer wrong("auth-master", always(""), "hello\n");
  EXPECT_EQ(posternctl({"auth", "lookup", "-a", wrong.path(), "u1"}).code, EX_TEMPFAIL);
}

TEST(AuthTest, RefusesUnknownAndBadProperties) {
  for (const char* pair : {"foo=bar", "rip=1.2.3", "rport=0", "rport=70000", "service", "=x"}) {
    SCOPED_TRACE(pair);
    EXPECT_EQ(posternctl({"auth", "test", "-a", "/x", "-x", pair, "u", "p"}).code, 2);
  }
}

}  // namespace
}  // namespace postern::ctl
