#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "auth/client-session.h"
#include "auth/master-session.h"
#include "auth/server-context.h"
#include "config/snapshot.h"
#include "fake-environment.h"

namespace postern::auth {

/// A directory of a test's own, gone afterwards.
class ScratchDir {
 public:
  ScratchDir() {
    std::string pattern = ::testing::TempDir() + "postern-auth-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }

 private:
  std::string path_;
};

using Keys = std::vector<std::pair<std::string, std::string>>;

/// What an operator would have written.
struct TestConfig {
  Keys settings;
  std::map<std::string, Keys> protocols;  // what [protocol NAME] says
  std::vector<Keys> passdbs;
  std::vector<Keys> userdbs;

  config::Snapshot snapshot() const {
    config::Snapshot out;
    out.blocks.emplace_back();
    for (const auto& [key, value] : settings)
      out.blocks[0].settings.push_back({key, config::Value(value)});
    for (const auto& [name, keys] : protocols) {
      config::SettingsBlock& block = out.blocks.emplace_back();
      block.filter.protocol = name;
      for (const auto& [key, value] : keys) block.settings.push_back({key, config::Value(value)});
    }
    for (const Keys& keys : passdbs) out.passdbs.push_back(block<config::PassdbSettings>(keys));
    for (const Keys& keys : userdbs) out.userdbs.push_back(block<config::UserdbSettings>(keys));
    return out;
  }

 private:
  template <class Settings>
  static Settings block(const Keys& keys) {
    Settings out;
    for (const auto& [key, value] : keys) {
      if (key == "driver" && out.name.empty()) out.name = value;
      if (key == "name") {
        out.name = value;
        continue;
      }
      if (key == "protocol") {
        out.protocol = value;
        continue;
      }
      const auto known = config::assign(out, key, config::Value(value));
      EXPECT_TRUE(known.ok() && known.value())
          << key << "=" << value << " " << (known.ok() ? "unknown key" : known.error().text);
    }
    return out;
  }
};

/// A server with sessions, driven by hand.
class Server {
 public:
  explicit Server(const TestConfig& config, std::uint32_t pid = 4711) {
    auto made = ServerContext::make(env, config.snapshot(), pid);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text);
    if (made.ok()) context = std::move(made.value());
  }
  std::unique_ptr<ClientSession> client(bool login) {
    return std::make_unique<ClientSession>(*context, login);
  }

  FakeEnvironment env;
  std::unique_ptr<ServerContext> context;
};

/// The whole lines a session has to say.
inline std::vector<std::string> take_lines(LineSession& session) {
  std::vector<std::string> out;
  while (true) {
    const std::string_view text = session.output().view();
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    out.emplace_back(text.substr(0, end));
    session.output().consume(end + 1);
  }
  session.on_written();
  return out;
}

}  // namespace postern::auth
