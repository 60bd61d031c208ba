#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lib/check.h"
#include "lib/handle.h"

namespace postern::ctl {

/// Listens on a socket in a directory of the test's own and serves one connection after the other
/// until it is destroyed.
class FakeServer {
 public:
  /// What is answered to one line; nothing (an empty text) says nothing.
  using Answer = std::function<std::string(const std::string& line)>;

  FakeServer(const std::string& socket_name, Answer answer, std::string greeting = {},
             std::size_t piece = 0)
      : answer_(std::move(answer)), greeting_(std::move(greeting)), piece_(piece) {
    std::string name = (std::filesystem::temp_directory_path() / "postern-ctl-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    path_ = directory_ + '/' + socket_name;
    listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    POSTERN_CHECK(path_.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path_.data(), path_.size());
    const void* generic = &address;
    POSTERN_CHECK(bind(listener_.get(), static_cast<const sockaddr*>(generic), sizeof address) ==
                  0);
    POSTERN_CHECK(listen(listener_.get(), 16) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  const std::string& path() const noexcept { return path_; }
  const std::string& directory() const noexcept { return directory_; }
  /// The lines that came; read it after the client has its answer.
  const std::vector<std::string>& lines() const noexcept { return lines_; }

 private:
  void say(int fd, std::string_view text) const {
    while (!text.empty()) {
      const std::size_t size = piece_ == 0 ? text.size() : std::min(piece_, text.size());
      const ssize_t n = send(fd, text.data(), size, MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  void serve() {
    for (;;) {
      const UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      say(client.get(), greeting_);
      std::string line;
      char c = 0;
      while (read(client.get(), &c, 1) == 1) {
        if (c != '\n') {
          line += c;
          continue;
        }
        lines_.push_back(line);
        const std::string answer = answer_(line);
        line.clear();
        if (answer == "CLOSE") break;
        say(client.get(), answer);
      }
    }
  }

  Answer answer_;
  std::string greeting_;
  std::size_t piece_;  // bytes a write; 0: all at once
  std::string directory_, path_;
  UniqueFd listener_;
  std::vector<std::string> lines_;
  std::thread thread_;
};

}  // namespace postern::ctl
