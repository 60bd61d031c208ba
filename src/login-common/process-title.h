#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// What the process list shows of this process.
namespace postern::login {

class ProcessTitle {
 public:
  /// Takes over the memory of the arguments; call it after their last use. A title is never longer
  /// than they were.
  ProcessTitle(int argc, char** argv);
  /// Shows `title`, cut to the room there is.
  void set(std::string_view title);
  const std::string& shown() const noexcept { return shown_; }

 private:
  char* begin_ = nullptr;
  std::size_t room_ = 0;
  std::string shown_;
};

/// "postern/imap-login [192.0.2.1 TLS pre-login]", "… [3 pre-login + 2 proxies]".
struct TitleFacts {
  std::string_view instance, program;
  std::size_t pre_login = 0;
  std::size_t proxies = 0;
  std::string only_ip;  // of the one client or session, if there is only one
  bool only_tls = false;
};
std::string title_text(const TitleFacts& facts);

}  // namespace postern::login
