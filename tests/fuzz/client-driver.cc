#include "client-driver.h"

#include <algorithm>
#include <vector>

#include "lib/check.h"
#include "lib/secret.h"
#include "lib/text.h"
#include "login-common/xclient.h"

namespace postern::fuzz {
namespace {

using login::AuthResult;
using login::Outcome;
using login::Step;
using login::Wish;

/// Deterministic choices from one byte.
class Choices {
 public:
  explicit Choices(std::uint8_t seed) : state_(seed + 1U) {}
  unsigned below(unsigned n) {
    state_ = state_ * 1103515245U + 12345U;
    return (state_ >> 16U) % n;
  }

 private:
  std::uint32_t state_;
};

class Driver {
 public:
  Driver(const FuzzedClient& protocol, std::uint8_t flags, std::uint8_t cut, std::uint8_t verdicts)
      : protocol_(protocol), piece_(cut % 64 + 1), verdicts_(verdicts) {
    mechanisms_.resize(2);
    mechanisms_[0].name = "PLAIN";
    mechanisms_[0].plaintext = true;
    mechanisms_[1].name = "CRAM-MD5";
    settings_.disable_plaintext_auth = (flags & 1U) != 0;
    settings_.auth_verbose = (flags & 2U) != 0;
    settings_.ssl = (flags & 8U) != 0 ? config::Ssl::required : config::Ssl::yes;
    context_.security.trusted = context_.security.secured = (flags & 16U) != 0;
    context_.settings = &settings_;
    context_.mechanisms = &mechanisms_;
    protocol.configure(flags, settings_, context_);
    dialogue_ = protocol.make(context_);
    dialogue_->greet(out_);
  }

  void run(std::string_view bytes) {
    while (!bytes.empty() && !closed_) {
      const std::size_t n = std::min(piece_, bytes.size());
      input_.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
      sent_ += n;
      consume();
    }
    check_output();
  }

 private:
  void consume() {
    // Every step either takes something or says something, so this ends.
    std::size_t idle = 0;
    while (!closed_) {
      const Step step = dialogue_->consume(input_.view(), out_);
      POSTERN_CHECK(step.consumed <= input_.size());
      input_.consume(step.consumed);
      if (step.wish == Wish::need_more) {
        POSTERN_CHECK(input_.empty());
        return;
      }
      idle = step.consumed == 0 ? idle + 1 : 0;
      POSTERN_CHECK(idle < 4);
      act(step.wish);
      check_output();
    }
  }

  void act(Wish wish) {
    switch (wish) {
      case Wish::need_more:
      case Wish::next:
        return;
      case Wish::start_tls:
        POSTERN_CHECK(!context_.security.tls);
        input_.clear();
        context_.security.tls = context_.security.ssl_secured = context_.security.secured = true;
        dialogue_->tls_started(out_);
        return;
      case Wish::authenticate:
        check_request(dialogue_->take_request());
        return verdict();
      case Wish::respond: {
        const Secret response = dialogue_->take_response();
        POSTERN_CHECK(exchange_);
        POSTERN_CHECK(is_base64(response.reveal()));
        POSTERN_CHECK(response.size() <= protocol_.max_response);
        return verdict();
      }
      case Wish::cancel: {
        POSTERN_CHECK(exchange_);
        AuthResult result;
        result.outcome = dialogue_->cancel_outcome();
        exchange_ = false;
        return dialogue_->failed(result, out_);
      }
      case Wish::forwarded:
        return check_forwarded(dialogue_->take_forwarded());
      case Wish::log_id:
        POSTERN_CHECK(dialogue_->take_id_log().size() <= protocol_.max_remark);
        return;
      case Wish::close:
        POSTERN_CHECK(!dialogue_->close_reason().empty());
        closed_ = true;
        return;
    }
  }

  void check_forwarded(const login::Forwarded& forwarded) {
    POSTERN_CHECK(context_.security.trusted);
    POSTERN_CHECK(++forwards_ <= protocol_.max_forwards);
    POSTERN_CHECK(forwarded.fields.size() <= protocol_.max_forward_fields);
    POSTERN_CHECK(!forwarded.session || forwarded.session->size() <= login::kMaxSessionId);
  }

  void check_request(const login::AuthRequest& request) const {
    POSTERN_CHECK(!request.mech.empty());
    POSTERN_CHECK(request.mech.find('\0') == std::string::npos);
    POSTERN_CHECK(!request.uses_challenge || !context_.challenge.empty());
    POSTERN_CHECK(!(request.initial && request.invalid_initial));
    POSTERN_CHECK(!request.plaintext_command || request.mech == "PLAIN");
    if (request.initial) {
      POSTERN_CHECK(is_base64(request.initial->reveal()));
      POSTERN_CHECK(request.initial->size() <= protocol_.max_response);
    }
    const bool permitted = context_.security.secured || (!settings_.disable_plaintext_auth &&
                                                         settings_.ssl != config::Ssl::required);
    if (protocol_.check != nullptr) protocol_.check(request, *dialogue_, context_, permitted);
  }

  void verdict() {
    constexpr unsigned kOutcomes = static_cast<unsigned>(Outcome::handoff_failed) + 1;
    const unsigned choice = verdicts_.below(kOutcomes + 12);
    if (choice >= kOutcomes) {
      exchange_ = true;
      return dialogue_->challenge("PDFAYj4=", out_);
    }
    AuthResult result;
    result.outcome = static_cast<Outcome>(choice);
    result.has_reason = verdicts_.below(2) == 1;
    if (result.has_reason) result.text = verdicts_.below(2) == 1 ? "[LIMIT] x" : "a\r\nb";
    exchange_ = false;
    dialogue_->failed(result, out_);
  }

  /// Whole lines, and not many more of them than the client has sent.
  void check_output() {
    const std::string_view all = out_.view();
    POSTERN_CHECK(all.empty() || all.ends_with("\r\n"));
    for (std::size_t i = 0; i < all.size() && !protocol_.echoes; ++i) {
      const auto c = static_cast<unsigned char>(all[i]);
      const bool line_end = c == '\r' && i + 1 < all.size() && all[i + 1] == '\n';
      POSTERN_CHECK(c >= ' ' || line_end || (c == '\n' && all[i - 1] == '\r'));
    }
    said_ += all.size();
    out_.clear();
    POSTERN_CHECK(said_ <= 512 + 512 * sent_);
  }

  const FuzzedClient& protocol_;
  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
  std::unique_ptr<login::ClientDialogue> dialogue_;
  std::size_t piece_;
  Choices verdicts_;
  WipingBuffer input_;
  WipingBuffer out_;
  std::size_t sent_ = 0;
  std::size_t said_ = 0;
  std::size_t forwards_ = 0;
  bool exchange_ = false;
  bool closed_ = false;
};

}  // namespace

void drive_client(const FuzzedClient& protocol, const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHeader = 3;
  if (size < kHeader) return;
  const void* bytes = data + kHeader;
  Driver driver(protocol, data[0], data[1], data[2]);
  driver.run({static_cast<const char*>(bytes), size - kHeader});
}

}  // namespace postern::fuzz
