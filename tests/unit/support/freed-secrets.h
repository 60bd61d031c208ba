#pragma once
/// For tests that no memory which a dialogue gives back still holds a password: with the address
/// sanitizer (POSTERN_SEARCHES_FREED_BLOCKS), every block is searched when it is freed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
#include "login-common/backend-dialogue.h"
#include "login-common/client-dialogue.h"

#if defined(__SANITIZE_ADDRESS__)
#define POSTERN_SEARCHES_FREED_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POSTERN_SEARCHES_FREED_BLOCKS 1
#endif
#endif

#ifdef POSTERN_SEARCHES_FREED_BLOCKS
// The sanitizer's own, from sanitizer/allocator_interface.h, which g++ does not ship.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*,
                                                                           std::size_t),
                                                         void (*on_free)(const volatile void*));
extern "C" std::size_t __sanitizer_get_allocated_size(const volatile void* block);
// NOLINTEND(bugprone-reserved-identifier)
#endif

namespace postern::freed {

// In no heap block of the test's own: static bytes, and views of them.
inline constexpr std::string_view kPassword = "correct-horse-battery";
inline constexpr std::string_view kPasswordBase64 = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";
inline constexpr std::string_view kPlainBase64 =
    "AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=";  // NUL joe NUL password

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

inline std::atomic<bool> armed{false};
inline std::atomic<int> found{0};

inline void on_malloc(const volatile void* /*block*/, std::size_t /*size*/) {}

inline void on_free(const volatile void* block) {
  if (!armed || block == nullptr) return;
  const void* const bytes = const_cast<const void*>(block);
  const std::string_view content(static_cast<const char*>(bytes),
                                 __sanitizer_get_allocated_size(bytes));
  for (const std::string_view secret : {kPassword, kPasswordBase64, kPlainBase64.substr(8, 24)}) {
    if (content.find(secret) != std::string_view::npos) ++found;
  }
}

/// While it lives, freed blocks are searched.
class Search {
 public:
  Search() {
    static const int kInstalled = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    EXPECT_GT(kInstalled, 0);
    found = 0;
    armed = true;
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;
  ~Search() { armed = false; }
};

/// Offers `bytes` in pieces of one byte, so that every buffer has to grow.
inline login::Wish feed(login::ClientDialogue& dialogue, std::string_view bytes,
                        WipingBuffer& out) {
  login::Wish wish = login::Wish::need_more;
  while (!bytes.empty()) {
    const login::Step step = dialogue.consume(bytes.substr(0, 1), out);
    bytes.remove_prefix(step.consumed);
    wish = step.wish;
  }
  return wish;
}

/// A client without TLS problems, and PLAIN to log in with.
class Secrets : public testing::Test {
 protected:
  using MakeClient = std::unique_ptr<login::ClientDialogue> (*)(const login::ClientContext&);
  using MakeBackend = std::unique_ptr<login::BackendDialogue> (*)(const login::BackendTarget&);

  void SetUp() override {
    mechanisms_.resize(1);
    mechanisms_[0].name = "PLAIN";
    context_.settings = &settings_;
    context_.mechanisms = &mechanisms_;
    context_.security.secured = true;
  }

  /// Each of `lines` is all that a client says, login or not; a login is refused.
  void expect_none_left_by(MakeClient make, std::span<const std::string_view> lines) {
    const Search search;
    int number = 0;
    for (const std::string_view line : lines) {
      ++number;  // in place of the line, which a trace would copy
      WipingBuffer out;
      auto dialogue = make(context_);
      if (feed(*dialogue, line, out) == login::Wish::authenticate) {
        const login::AuthRequest request = dialogue->take_request();
        dialogue->failed({}, out);
      }
      dialogue.reset();
      EXPECT_EQ(found, 0) << "line " << number;
      found = 0;
    }
  }

  /// @param command    begins an exchange
  /// @param response   a good answer to a challenge
  /// @param malformed  answers that end one
  void expect_none_left_by_responses(MakeClient make, std::string_view command,
                                     std::string_view response,
                                     std::initializer_list<std::string_view> malformed) {
    const Search search;
    WipingBuffer out;
    auto dialogue = make(context_);
    ASSERT_EQ(feed(*dialogue, command, out), login::Wish::authenticate);
    dialogue->take_request();
    dialogue->challenge("", out);
    ASSERT_EQ(feed(*dialogue, response, out), login::Wish::respond);
    { const Secret taken = dialogue->take_response(); }
    for (const std::string_view line : malformed) {
      dialogue->challenge("", out);
      ASSERT_EQ(feed(*dialogue, line, out), login::Wish::cancel);
    }
    dialogue.reset();
    EXPECT_EQ(found, 0);
  }

  /// @param said  what the backend says to a login by this mechanism; "" is the protocol's own
  void expect_none_left_by_backend_logins(
      MakeBackend make, std::vector<std::string_view> (*said)(std::string_view mech)) {
    const Search search;
    for (const char* mech : {"", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
      SCOPED_TRACE(mech);
      login::BackendTarget target;
      target.user = "joe";
      target.password = Secret(kPassword);
      target.mech = mech;
      target.client_tag = "a";
      WipingBuffer to_backend;
      WipingBuffer to_client;
      auto dialogue = make(target);
      for (const std::string_view line : said(mech)) {
        dialogue->on_line(line, to_backend, to_client);
      }
      EXPECT_GT(to_backend.size(), 0U);
      dialogue.reset();
    }
    EXPECT_EQ(found, 0);
  }

  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
};

#endif

}  // namespace postern::freed
