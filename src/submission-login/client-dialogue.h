#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "lib/secret.h"
#include "login-common/client-dialogue.h"

/// SMTP submission before login, towards the client. Grammar and replies are Dovecot 2.3's, byte
/// for byte; the places where they are not are listed in tests/transcripts/differences.txt.
/// Source: RFC 6409 and RFC 5321, RFC 4954 (AUTH), RFC 3207 (STARTTLS), RFC 3030 (BDAT), RFC 2034
/// (enhanced codes), Postfix XCLIENT_README.
namespace postern::submission_login {

class SubmissionClientDialogue final : public login::ClientDialogue {
 public:
  static constexpr std::size_t kMaxResponse = 8192;  // bytes of a SASL response
  static constexpr std::size_t kMaxSkipped = 65536;  // bytes of a line that is refused, of its BDAT
  static constexpr unsigned kMaxBadCommands = 10;    // in a row

  explicit SubmissionClientDialogue(const login::ClientContext& context) : context_(context) {}

  void greet(WipingBuffer& out) override;
  login::Step consume(std::string_view input, WipingBuffer& out) override;
  login::AuthRequest take_request() override { return std::move(request_); }
  Secret take_response() override { return std::move(response_); }
  login::Forwarded take_forwarded() override { return std::move(forwarded_); }
  std::string take_id_log() override { return {}; }
  std::string close_reason() const override { return close_reason_; }
  login::Outcome cancel_outcome() const override;
  login::LoginFacts facts() const override;
  std::string_view unfinished_command() const override;
  void challenge(std::string_view base64, WipingBuffer& out) override;
  void failed(const login::AuthResult& result, WipingBuffer& out) override;
  void tls_started(WipingBuffer& out) override;
  void bye(Bye kind, std::string_view text, WipingBuffer& out) override;
  void waiting_for_auth(WipingBuffer& out) override;
  std::size_t input_limit() const override { return kMaxSkipped; }
  void input_full(WipingBuffer& out) override;

 private:
  enum class State : std::uint8_t {
    command,
    busy,      // a verdict is awaited from the driver
    response,  // a SASL response is awaited from the client
    data,      // what a refused BDAT announced is skipped
    closed,
  };
  /// Why an exchange is given up without the client's `*`.
  enum class GivenUp : std::uint8_t { no, bad_base64, too_long, unasked };
  using Handler = login::Wish (SubmissionClientDialogue::*)(std::string_view parameters,
                                                            WipingBuffer& out);
  struct Command {
    std::string_view name;
    Handler handler;
    bool before_tls = false;  // also where ssl = required and there is none yet
  };
  static const std::array<Command, 13> kCommands;

  // Lines (client-dialogue.cc).
  login::Step skip_data(std::size_t available);
  login::Wish on_command(std::string_view line, bool cut, WipingBuffer& out);
  login::Wish foreign_command(std::string_view word, WipingBuffer& out);
  login::Wish on_response(std::string_view line, bool cut);
  login::Wish close(std::string_view reason);
  bool tls_required() const noexcept;

  // Replies (client-replies.cc).
  login::Wish reply(unsigned code, std::string_view enhanced, std::string_view text,
                    WipingBuffer& out);
  void say_failed(const login::AuthResult& result, WipingBuffer& out);

  // Commands (client-commands.cc).
  login::Wish auth(std::string_view parameters, WipingBuffer& out);
  login::Wish bdat(std::string_view parameters, WipingBuffer& out);
  login::Wish ehlo(std::string_view parameters, WipingBuffer& out);
  login::Wish helo(std::string_view parameters, WipingBuffer& out);
  login::Wish mail(std::string_view parameters, WipingBuffer& out);
  login::Wish noop(std::string_view parameters, WipingBuffer& out);
  login::Wish quit(std::string_view parameters, WipingBuffer& out);
  login::Wish refuse(std::string_view parameters, WipingBuffer& out);
  login::Wish rset(std::string_view parameters, WipingBuffer& out);
  login::Wish starttls(std::string_view parameters, WipingBuffer& out);
  login::Wish xclient(std::string_view parameters, WipingBuffer& out);
  login::Wish authenticate(std::string mech);
  bool implicit_external() const;

  const login::ClientContext& context_;
  State state_ = State::command;
  WipingBuffer line_;        // of which the end has not come yet, its beginning
  std::size_t length_ = 0;   // bytes of that line so far
  std::size_t to_skip_ = 0;  // State::data
  unsigned bad_commands_ = 0;
  std::string helo_;           // of EHLO or HELO, if it is a name
  std::string_view protocol_;  // SMTP or ESMTP; empty before either
  std::string xclient_helo_;   // what a trusted hop said of its own client
  std::string xclient_protocol_;
  login::AuthRequest request_;
  Secret response_;
  GivenUp given_up_ = GivenUp::no;
  std::string mail_;  // the MAIL that stands for a login with EXTERNAL, whole
  login::Forwarded forwarded_;
  std::string close_reason_;
};

}  // namespace postern::submission_login
