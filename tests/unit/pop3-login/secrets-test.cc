// No memory that the dialogues give back may still hold a password: with the address sanitizer,
// every block is searched when it is freed.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "config/settings.h"
#include "pop3-login/pop3-dialogues.h"

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

namespace postern::pop3_login {
namespace {

using login::Wish;

// In no heap block of the test's own: static bytes, and views of them.
constexpr std::string_view kPassword = "correct-horse-battery";
constexpr std::string_view kPasswordBase64 = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";
constexpr std::string_view kPlainBase64 =
    "AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=";  // NUL joe NUL password

#ifdef POSTERN_SEARCHES_FREED_BLOCKS

std::atomic<bool> armed{false};
std::atomic<int> found{0};

void on_malloc(const volatile void* /*block*/, std::size_t /*size*/) {}

void on_free(const volatile void* block) {
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
Wish feed(login::ClientDialogue& dialogue, std::string_view bytes, WipingBuffer& out) {
  Wish wish = Wish::need_more;
  while (!bytes.empty()) {
    const login::Step step = dialogue.consume(bytes.substr(0, 1), out);
    bytes.remove_prefix(step.consumed);
    wish = step.wish;
  }
  return wish;
}

class Pop3Secrets : public testing::Test {
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

TEST_F(Pop3Secrets, SearchFindsAPasswordThatIsLeft) {
  const Search search;
  std::string left(kPassword);
  left += left;
  left.clear();
  left.shrink_to_fit();
  EXPECT_GT(found, 0);
}

TEST_F(Pop3Secrets, AreNotLeftByALogin) {
  const Search search;
  int number = 0;
  for (const std::string_view line :
       {std::string_view("USER joe\r\nPASS correct-horse-battery\r\n"),
        std::string_view("PASS correct-horse-battery\r\n"),
        std::string_view("USER joe\r\nPASS correct-horse-battery"),
        std::string_view("USER joe\r\nPASS correct-horse-battery\0\r\n", 39),
        std::string_view("correct-horse-battery a\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk=x\r\n"),
        std::string_view("AUTH PLAIN AGpvZQBjb3JyZWN0LWhvcnNlLWJhdHRlcnk")}) {
    ++number;  // in place of the line, which a trace would copy
    WipingBuffer out;
    auto dialogue = make_pop3_client_dialogue(context_);
    if (feed(*dialogue, line, out) == Wish::authenticate) {
      const login::AuthRequest request = dialogue->take_request();
      dialogue->failed({}, out);
    }
    dialogue.reset();
    EXPECT_EQ(found, 0) << "line " << number;
    found = 0;
  }
}

TEST_F(Pop3Secrets, AreNotLeftByAResponse) {
  const Search search;
  WipingBuffer out;
  auto dialogue = make_pop3_client_dialogue(context_);
  ASSERT_EQ(feed(*dialogue, "AUTH LOGIN\r\n", out), Wish::authenticate);
  dialogue->take_request();
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5\r\n", out), Wish::respond);
  { const Secret response = dialogue->take_response(); }
  dialogue->challenge("", out);
  ASSERT_EQ(feed(*dialogue, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5%\r\n", out), Wish::cancel);
  dialogue.reset();
  EXPECT_EQ(found, 0);
}

TEST_F(Pop3Secrets, AreNotLeftByALoginAtABackend) {
  const Search search;
  for (const char* mech : {"", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}) {
    SCOPED_TRACE(mech);
    login::BackendTarget target;
    target.user = "joe";
    target.password = Secret(kPassword);
    target.mech = mech;
    WipingBuffer to_backend;
    WipingBuffer to_client;
    auto dialogue = make_pop3_backend_dialogue(target);
    dialogue->on_line("+OK x", to_backend, to_client);
    dialogue->on_line(*mech == 0 ? "+OK" : "+ ", to_backend, to_client);
    dialogue->on_line("+ ", to_backend, to_client);
    dialogue->on_line("-ERR no", to_backend, to_client);
    EXPECT_GT(to_backend.size(), 0U);
    dialogue.reset();
  }
  EXPECT_EQ(found, 0);
}

#else

TEST(Pop3Secrets, NeedTheAddressSanitizer) {
  GTEST_SKIP() << "freed blocks cannot be searched";
}

#endif

}  // namespace
}  // namespace postern::pop3_login
