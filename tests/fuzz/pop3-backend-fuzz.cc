// What a backend can say before it has accepted the login. The first two bytes choose the target;
// the rest are the backend's lines.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lib/check.h"
#include "pop3-login/backend-dialogue.h"
#include "pop3-login/pop3-dialogues.h"

namespace {

using postern::WipingBuffer;
using postern::login::BackendTls;
using postern::login::FailureType;
using postern::login::Then;
using postern::pop3_login::Pop3BackendDialogue;

constexpr std::string_view kPassword = "s3cr3t-passw0rd";
constexpr std::string_view kHard = "s3cr3t\r\nX LOGOUT \xc3\xa4";

postern::login::BackendTarget make_target(std::uint8_t first, std::uint8_t second) {
  constexpr std::array<std::string_view, 8> kMechanisms{
      "", "PLAIN", "LOGIN", "EXTERNAL", "XOAUTH2", "OAUTHBEARER", "NOSUCH", ""};
  postern::login::BackendTarget out;
  out.user = (second & 16U) != 0 ? "jo e" : "joe";
  out.password = postern::Secret((second & 8U) != 0 ? kHard : kPassword);
  out.mech = kMechanisms[first & 7U];
  out.tls = static_cast<BackendTls>((first >> 3U) % 3U);
  out.nopipelining = (first & 32U) != 0;
  out.not_trusted = (first & 64U) != 0;
  out.hide_auth_errors = (first & 128U) == 0;
  out.master = (second & 1U) != 0 ? "admin" : "";
  out.forward_2_3_only = (second & 2U) != 0;
  if ((second & 4U) != 0) out.forward.emplace_back("color", "b\r\nlu\"e");
  out.session = "session";
  out.client = {*postern::IpAddress::parse("192.0.2.1"), 4096};
  out.local_name = (second & 32U) != 0 ? "mail.example" : "a b\r\n";
  return out;
}

/// Whole printable lines.
void check_lines(std::string_view all, bool printable) {
  POSTERN_CHECK(all.empty() || all.ends_with("\r\n"));
  if (!printable) return;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto c = static_cast<unsigned char>(all[i]);
    const bool line_end = c == '\r' && i + 1 < all.size() && all[i + 1] == '\n';
    POSTERN_CHECK(c >= ' ' || line_end || (c == '\n' && i > 0 && all[i - 1] == '\r'));
  }
}

class Driver {
 public:
  explicit Driver(postern::login::BackendTarget target)
      : target_(std::move(target)),
        dialogue_(postern::pop3_login::make_pop3_backend_dialogue(target_)) {}

  void run(std::string_view input) {
    while (!input.empty() && !ended_) {
      const std::size_t end = std::min(input.size(), input.find('\n'));
      line(input.substr(0, end));
      input.remove_prefix(std::min(input.size(), end + 1));
    }
  }

 private:
  void line(std::string_view text) {
    ++lines_;
    act(dialogue_->on_line(text, to_backend_, to_client_));
    POSTERN_CHECK(dialogue_->take_remark().size() <= 4096);
    check_state();
    const std::string_view sent = to_backend_.view();
    // A password never goes out in clear where TLS was asked for and is not up.
    if (target_.tls == BackendTls::starttls && !tls_up_) {
      POSTERN_CHECK(sent.find("s3cr3t") == std::string_view::npos);
      POSTERN_CHECK(sent.empty() || sent == "STLS\r\n");
    }
    check_lines(sent, false);
    // A password with a line end in it is never sent as it is.
    POSTERN_CHECK(sent.find("X LOGOUT") == std::string_view::npos);
    count_logins();
    total_ += sent.size();
    POSTERN_CHECK(total_ <= 65536);
    to_backend_.clear();
  }

  void count_logins() {
    const std::string_view sent = to_backend_.view();
    logins_ +=
        sent.find("AUTH ") != std::string_view::npos || sent.find("USER ") != std::string_view::npos
            ? 1
            : 0;
    POSTERN_CHECK(logins_ <= 1);
  }

  void act(Then then) {
    switch (then) {
      case Then::read_line:
        POSTERN_CHECK(lines_ <= Pop3BackendDialogue::kMaxLines);
        return;
      case Then::start_tls:
        POSTERN_CHECK(target_.tls == BackendTls::starttls && !tls_up_);
        check_lines(to_backend_.view(), false);
        tls_up_ = true;
        return act(dialogue_->on_tls_started(to_backend_));
      case Then::logged_in:
        // Only after a login that was sent before this line.
        POSTERN_CHECK(logins_ == 1);
        check_lines(to_client_.view(), true);
        POSTERN_CHECK(to_client_.view().starts_with("+OK"));
        ended_ = true;
        return;
      case Then::failed: {
        const auto& failure = dialogue_->failure();
        POSTERN_CHECK(!failure.reason.empty() || failure.type == FailureType::auth_replied);
        const bool replies =
            failure.type == FailureType::auth_replied || failure.type == FailureType::auth_tempfail;
        POSTERN_CHECK(failure.reply.empty() != replies);
        check_lines(failure.reply, true);
        check_lines(to_client_.view(), true);
        POSTERN_CHECK(failure.reply.size() <= 600);
        ended_ = true;
        return;
      }
    }
  }

  void check_state() const {
    constexpr std::array<std::string_view, 5> kStates{"banner", "starttls", "xclient", "login1",
                                                      "login2"};
    const std::string state = dialogue_->state();
    POSTERN_CHECK(std::find(kStates.begin(), kStates.end(), state) != kStates.end());
  }

  postern::login::BackendTarget target_;
  std::unique_ptr<postern::login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
  std::size_t lines_ = 0;
  std::size_t total_ = 0;
  unsigned logins_ = 0;
  bool tls_up_ = false;
  bool ended_ = false;
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHeader = 2;
  if (size < kHeader) return 0;
  const void* bytes = data + kHeader;
  Driver driver(make_target(data[0], data[1]));
  driver.run({static_cast<const char*>(bytes), size - kHeader});
  return 0;
}
