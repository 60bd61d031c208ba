#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/secret.h"
#include "login-common/client-dialogue.h"

/// POP3 before login, towards the client. Grammar and replies are Dovecot 2.3's, byte for byte; the
/// places where they are not are listed in tests/transcripts/differences.txt.
/// Source: RFC 1939, RFC 2449 (CAPA), RFC 2595 (STLS), RFC 5034 (AUTH), RFC 3206 (response codes).
namespace postern::pop3_login {

class Pop3ClientDialogue final : public login::ClientDialogue {
 public:
  static constexpr std::size_t kMaxLine = 1026;      // of a command with its CR
  static constexpr std::size_t kMaxResponse = 8192;  // of a SASL response with its CR
  static constexpr unsigned kMaxBadCommands = 3;     // in a row

  explicit Pop3ClientDialogue(const login::ClientContext& context) : context_(context) {}

  void greet(WipingBuffer& out) override;
  login::Step consume(std::string_view input, WipingBuffer& out) override;
  login::AuthRequest take_request() override { return std::move(request_); }
  Secret take_response() override { return std::move(response_); }
  login::Forwarded take_forwarded() override { return std::move(forwarded_); }
  std::string take_id_log() override { return std::move(log_); }
  std::string close_reason() const override { return close_reason_; }
  login::Outcome cancel_outcome() const override {
    return bad_response_ ? login::Outcome::invalid_base64 : login::Outcome::aborted;
  }
  login::LoginFacts facts() const override;
  void challenge(std::string_view base64, WipingBuffer& out) override;
  void failed(const login::AuthResult& result, WipingBuffer& out) override;
  void tls_started(WipingBuffer& out) override;
  void bye(Bye kind, std::string_view text, WipingBuffer& out) override;
  void waiting_for_auth(WipingBuffer& out) override;
  std::size_t input_limit() const override { return kMaxLine + kMaxResponse; }
  void input_full(WipingBuffer& out) override;

 private:
  enum class State : std::uint8_t {
    command,
    busy,      // a verdict is awaited from the driver
    response,  // a SASL response is awaited from the client
    closed,
  };
  enum class Excess : std::uint8_t { none, line, response };
  /// @param arguments  what stands behind the first blank
  using Handler = login::Wish (Pop3ClientDialogue::*)(std::string_view arguments,
                                                      WipingBuffer& out);
  struct Command {
    std::string_view name;
    Handler handler;
  };
  static const std::array<Command, 9> kCommands;

  // Lines (client-dialogue.cc).
  Excess excess(std::string_view line) const noexcept;
  login::Wish too_long(Excess what, std::string_view line, WipingBuffer& out);
  login::Wish on_command(std::string_view line, WipingBuffer& out);
  login::Wish on_response(std::string_view line);
  login::Wish bad_command(WipingBuffer& out);
  login::Wish foreign_command(std::string_view word, WipingBuffer& out);
  login::Wish close(std::string_view reason);

  // Commands (client-commands.cc).
  login::Wish apop(std::string_view arguments, WipingBuffer& out);
  login::Wish auth(std::string_view arguments, WipingBuffer& out);
  login::Wish capa(std::string_view arguments, WipingBuffer& out);
  login::Wish pass(std::string_view arguments, WipingBuffer& out);
  login::Wish quit(std::string_view arguments, WipingBuffer& out);
  login::Wish stls(std::string_view arguments, WipingBuffer& out);
  login::Wish user(std::string_view arguments, WipingBuffer& out);
  login::Wish xclient(std::string_view arguments, WipingBuffer& out);
  login::Wish xoip(std::string_view arguments, WipingBuffer& out);
  login::Wish refuse_plaintext();
  login::Wish refuse_apop(std::string_view text, WipingBuffer& out);
  login::Wish apply(login::Forwarded forwarded, WipingBuffer& out);
  login::Wish authenticate(std::string mech);
  void say_failed(const login::AuthResult& result, WipingBuffer& out);

  const login::ClientContext& context_;
  State state_ = State::command;
  WipingBuffer line_;  // of which the end has not come yet
  unsigned bad_commands_ = 0;
  std::optional<std::string> user_;  // USER's, until PASS
  std::string named_;                // USER's last, for the log
  login::AuthRequest request_;
  Secret response_;
  bool bad_response_ = false;
  login::Forwarded forwarded_;
  std::string log_;
  std::string mechanism_;  // of a login that was too long
  std::string close_reason_;
};

}  // namespace postern::pop3_login
