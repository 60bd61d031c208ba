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
#include "wire/sieve-arguments.h"

/// ManageSieve before login, towards the client. Grammar and replies are Dovecot 2.3's (Pigeonhole
/// 0.5.19), byte for byte; the places where they are not are listed in
/// tests/transcripts/differences.txt.
/// Source: RFC 5804.
namespace postern::managesieve_login {

class SieveClientDialogue final : public login::ClientDialogue {
 public:
  static constexpr std::size_t kMaxLine = 1026;      // of a command with its literals
  static constexpr std::size_t kMaxResponse = 8192;  // of a SASL response
  static constexpr unsigned kMaxBadCommands = 3;     // in all

  explicit SieveClientDialogue(const login::ClientContext& context) : context_(context) {}

  void greet(WipingBuffer& out) override;
  login::Step consume(std::string_view input, WipingBuffer& out) override;
  login::AuthRequest take_request() override { return std::move(request_); }
  Secret take_response() override { return std::move(response_); }
  login::Forwarded take_forwarded() override { return std::move(forwarded_); }
  std::string take_id_log() override { return {}; }
  std::string close_reason() const override { return close_reason_; }
  login::Outcome cancel_outcome() const override {
    return bad_response_ ? login::Outcome::invalid_base64 : login::Outcome::aborted;
  }
  std::string_view cancel_text() const override { return cancel_text_; }
  login::LoginFacts facts() const override;
  void challenge(std::string_view base64, WipingBuffer& out) override;
  void failed(const login::AuthResult& result, WipingBuffer& out) override;
  void tls_started(WipingBuffer& out) override;
  void bye(Bye kind, std::string_view text, WipingBuffer& out) override;
  void waiting_for_auth(WipingBuffer& out) override;
  std::size_t input_limit() const override { return kMaxLine + kMaxResponse; }
  void input_full(WipingBuffer& out) override;

 private:
  /// Bytes that may stand around a response: blanks, quotes, the size of a literal.
  static constexpr std::size_t kAround = 32;
  using Event = wire::SieveArgumentReader::Event;
  enum class State : std::uint8_t {
    name,       // of a command
    arguments,  // of a command that is known
    response,   // a SASL response is awaited from the client
    skipping,   // the rest of a line that is refused already
    busy,       // a verdict is awaited from the driver
    closed,
  };
  /// What follows at the end of the line.
  enum class Ending : std::uint8_t {
    command,
    bad_command,
    refusal,   // NO with a text; does not count
    response,  // goes to auth
    cancel,    // the exchange ends, with a text
  };
  struct Command {
    std::string_view name;
    /// Takes one argument; false: the command is bad.
    bool (SieveClientDialogue::*argument)(Event kind);
    login::Wish (SieveClientDialogue::*run)(WipingBuffer& out);
  };
  static const std::array<Command, 6> kCommands;

  // Lines (client-dialogue.cc).
  void start_line();
  void start_response();
  void take_name(std::string_view& input);
  std::optional<login::Wish> take_word(Event event, WipingBuffer& out);
  std::optional<login::Wish> take_response_word(Event kind, WipingBuffer& out);
  void refuse(Ending ending, std::string_view text = {});
  login::Wish end_line(WipingBuffer& out);
  login::Wish respond();
  login::Wish too_large(Event event, WipingBuffer& out);
  login::Wish bad_command(WipingBuffer& out);
  login::Wish close(std::string_view reason);
  void say(std::string_view status, std::string_view code, std::string_view text,
           WipingBuffer& out) const;

  // Commands (client-commands.cc).
  bool no_argument(Event kind);
  bool noop_argument(Event kind);
  bool authenticate_argument(Event kind);
  bool xclient_argument(Event kind);
  login::Wish authenticate(WipingBuffer& out);
  login::Wish capability(WipingBuffer& out);
  login::Wish logout(WipingBuffer& out);
  login::Wish noop(WipingBuffer& out);
  login::Wish starttls(WipingBuffer& out);
  login::Wish xclient(WipingBuffer& out);
  void say_failed(const login::AuthResult& result, WipingBuffer& out);

  const login::ClientContext& context_;
  State state_ = State::name;
  WipingBuffer name_;
  const Command* command_ = nullptr;
  wire::SieveArgumentReader reader_;
  unsigned arguments_ = 0;  // taken
  Ending ending_ = Ending::command;
  std::string_view ending_text_;
  unsigned bad_commands_ = 0;

  WipingBuffer tag_;       // of NOOP
  std::string mechanism_;  // of AUTHENTICATE, upper case
  login::AuthRequest request_;
  Secret response_;
  bool bad_response_ = false;  // it is not base64
  std::string_view cancel_text_;
  login::Forwarded said_;  // by an XCLIENT whose end has not come yet
  login::Forwarded forwarded_;
  std::string close_reason_;
};

}  // namespace postern::managesieve_login
