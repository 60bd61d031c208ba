#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

/// What the tests of the loader share.
namespace postern::config {

/// A directory of its own, gone with the test.
class TestDirectory {
 public:
  TestDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "config-test-XXXXXX").string();
    const char* const made = mkdtemp(name.data());
    EXPECT_NE(made, nullptr);
    path_ = name;
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string write(std::string_view name, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

 private:
  std::string path_;
};

/// The least that loads without an error.
inline constexpr std::string_view kLeast = "ssl = no\n[passdb p]\ndriver = static\n";

/// "LINE: what" of every error.
inline std::vector<std::string> errors_of(const Loaded& loaded) {
  std::vector<std::string> out;
  for (const Problem& p : loaded.problems) {
    if (!p.warning) out.push_back(std::to_string(p.line) + ": " + p.what);
  }
  EXPECT_EQ(out.empty(), loaded.configuration.has_value());
  return out;
}

inline std::vector<std::string> warnings_of(const Loaded& loaded) {
  std::vector<std::string> out;
  for (const Problem& p : loaded.problems) {
    if (p.warning) out.push_back(std::to_string(p.line) + ": " + p.what);
  }
  return out;
}

/// Errors of a text that names no files; "ssl = no" is put before it on its first line, a passdb
/// behind it.
inline std::vector<std::string> errors_in(const std::string& text) {
  return errors_of(
      load_text("ssl = no\n" + text + "[passdb behind]\ndriver = static\n", "test.conf", false));
}

/// The configuration of a text, which must have no errors.
inline Configuration good(const std::string& text) {
  Loaded loaded = load_text(text, "test.conf", false);
  for (const Problem& p : loaded.problems) EXPECT_TRUE(p.warning) << p.text();
  if (!loaded.configuration) std::abort();
  return std::move(*loaded.configuration);
}

}  // namespace postern::config
