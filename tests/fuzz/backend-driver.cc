#include "backend-driver.h"

#include <algorithm>
#include <array>
#include <string>

#include "lib/check.h"

namespace postern::fuzz {
namespace {

using login::BackendTls;
using login::FailureType;
using login::Then;

constexpr std::string_view kPassword = "s3cr3t-passw0rd";
constexpr std::string_view kHard = "s3cr3t\r\nX LOGOUT \xc3\xa4";

login::BackendTarget make_target(const FuzzedBackend& protocol, std::uint8_t first,
                                 std::uint8_t second) {
  constexpr std::array<std::string_view, 8> kMechanisms{
      "", "PLAIN", "LOGIN", "EXTERNAL", "XOAUTH2", "OAUTHBEARER", "NOSUCH", ""};
  login::BackendTarget out;
  out.user = (second & 16U) != 0 ? "jo\"e \\" : "joe";
  out.password = Secret((second & 8U) != 0 ? kHard : kPassword);
  out.mech = kMechanisms[first & 7U];
  out.tls = static_cast<BackendTls>((first >> 3U) % 3U);
  out.nopipelining = (first & 32U) != 0;
  out.not_trusted = (first & 64U) != 0;
  out.hide_auth_errors = (first & 128U) == 0;
  out.master = (second & 1U) != 0 ? "admin" : "";
  out.forward_2_3_only = (second & 2U) != 0;
  if ((second & 4U) != 0) out.forward.emplace_back("color", "b\r\nlu\"e");
  out.session = "session";
  out.client = {*IpAddress::parse("192.0.2.1"), 4096};
  out.client_tag = "a1";
  out.local_name = (second & 32U) != 0 ? "mail.example" : "a b\r\n";
  if (protocol.configure != nullptr) protocol.configure(second, out);
  return out;
}

/// Whole lines, printable ones where that is asked for.
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
  Driver(const FuzzedBackend& protocol, login::BackendTarget target)
      : protocol_(protocol), target_(std::move(target)), dialogue_(protocol.make(target_)) {}

  void run(std::string_view input) {
    // As many lines, and as long ones, as the connector passes on.
    while (!input.empty() && !ended_ && lines_ < login::BackendDialogue::kMaxLines) {
      const std::size_t end = std::min(input.size(), input.find('\n'));
      line(input.substr(0, std::min(end, login::BackendDialogue::kMaxLine)));
      input.remove_prefix(std::min(input.size(), end + 1));
    }
  }

 private:
  void line(std::string_view text) {
    ++lines_;
    act(dialogue_->on_line(text, to_backend_, to_client_));
    POSTERN_CHECK(dialogue_->take_remark().size() <= 4096);
    POSTERN_CHECK(protocol_.is_state(dialogue_->state()));
    const std::string_view sent = to_backend_.view();
    // A password never goes out in clear where TLS was asked for and is not up.
    if (target_.tls == BackendTls::starttls && !tls_up_) {
      POSTERN_CHECK(sent.find("s3cr3t") == std::string_view::npos);
      POSTERN_CHECK(sent.empty() || protocol_.precedes_tls(sent));
    }
    check_lines(sent, false);
    if (protocol_.logs_in(sent)) ++logins_;
    POSTERN_CHECK(logins_ <= 1);
    total_ += sent.size();
    POSTERN_CHECK(total_ <= 65536);
    to_backend_.clear();
  }

  void act(Then then) {
    switch (then) {
      case Then::read_line:
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
        POSTERN_CHECK(protocol_.reports_success(to_client_.view()));
        ended_ = true;
        return;
      case Then::failed:
        check_failure(dialogue_->failure());
        ended_ = true;
        return;
    }
  }

  void check_failure(const login::Failure& failure) {
    POSTERN_CHECK(!failure.reason.empty() || failure.type == FailureType::auth_replied);
    const bool replies =
        failure.type == FailureType::auth_replied || failure.type == FailureType::auth_tempfail;
    POSTERN_CHECK(failure.reply.empty() != replies);
    check_lines(failure.reply, true);
    check_lines(to_client_.view(), true);
    POSTERN_CHECK(failure.reply.size() <= 600);
  }

  const FuzzedBackend& protocol_;
  login::BackendTarget target_;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
  std::size_t lines_ = 0;
  std::size_t total_ = 0;
  unsigned logins_ = 0;
  bool tls_up_ = false;
  bool ended_ = false;
};

}  // namespace

void drive_backend(const FuzzedBackend& protocol, const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHeader = 2;
  if (size < kHeader) return;
  const void* bytes = data + kHeader;
  Driver driver(protocol, make_target(protocol, data[0], data[1]));
  driver.run({static_cast<const char*>(bytes), size - kHeader});
}

}  // namespace postern::fuzz
