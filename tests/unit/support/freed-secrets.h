#pragma once
/// For tests that no memory which a dialogue gives back still holds a password: with the address
/// sanitizer (POSTERN_SEARCHES_FREED_BLOCKS), every block is searched when it is freed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
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
  void SetUp() override {
    mechanisms_.resize(1);
    mechanisms_[0].name = "PLAIN";
    context_.settings = &settings_;
    context_.mechanisms = &mechanisms_;
    context_.security.secured = true;
  }
  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
};

#endif

}  // namespace postern::freed
