#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "imap-login/client-id.h"
#include "lib/secret.h"
#include "login-common/client-dialogue.h"
#include "wire/imap-arguments.h"

/// IMAP before login, towards the client. Grammar and replies are Dovecot 2.3's, byte for byte; the
/// places where they are not are listed in tests/transcripts/differences.txt.
/// Source: RFC 3501 section 6.1 and 6.2, RFC 2971 (ID), RFC 4959 (SASL-IR), RFC 7888 (literals).
namespace postern::imap_login {

/// A few bytes of a command, in the object and not on the heap: what a client types in the wrong
/// place may be a password. Wiped by clear() and at the end.
template <std::size_t N>
class ShortWord {
 public:
  ShortWord() = default;
  ShortWord(const ShortWord&) = delete;
  ShortWord& operator=(const ShortWord&) = delete;
  ~ShortWord() { clear(); }

  /// False if it does not fit; the word is then no word any more.
  bool append(char c) noexcept {
    if (size_ >= N) return false;
    bytes_[size_++] = c;
    return true;
  }
  std::string_view view() const noexcept { return {bytes_.data(), size_}; }
  bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept;

 private:
  std::array<char, N> bytes_{};
  std::size_t size_ = 0;
};

class ImapClientDialogue final : public login::ClientDialogue {
 public:
  static constexpr std::size_t kMaxLine = 1026;  // of a command, literals included
  static constexpr std::size_t kMaxTag = 126;
  static constexpr std::size_t kMaxName = 16;        // no command's name is longer
  static constexpr std::size_t kMaxResponse = 8192;  // of a SASL response with its CR
  static constexpr std::size_t kMaxSkipped = 65536;  // of a refused line that does not end
  static constexpr unsigned kMaxBadCommands = 3;     // in all

  explicit ImapClientDialogue(const login::ClientContext& context) : context_(context) {}

  void greet(WipingBuffer& out) override;
  login::Step consume(std::string_view input, WipingBuffer& out) override;
  login::AuthRequest take_request() override { return std::move(request_); }
  Secret take_response() override { return std::move(response_secret_); }
  login::Forwarded take_forwarded() override { return std::move(forwarded_); }
  std::string take_id_log() override { return std::move(id_log_); }
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
  std::size_t input_limit() const override { return kMaxLine; }
  void input_full(WipingBuffer& out) override;

 private:
  enum class State : std::uint8_t {
    tag,
    name,
    arguments,
    mechanism,  // AUTHENTICATE's first word
    initial,    // the rest of AUTHENTICATE's line
    skip,       // the rest of a refused line
    busy,       // a verdict is awaited from the driver
    response,   // a SASL response is awaited from the client
    closed,
  };
  /// What a state has to say: nothing means that the next state goes on.
  using Said = std::optional<login::Wish>;
  using Handler = Said (ImapClientDialogue::*)(WipingBuffer& out);
  struct Command {
    std::string_view name;
    Handler handler;
  };
  static const std::array<Command, 7> kCommands;

  // States (client-dialogue.cc).
  Said step(std::string_view& rest, WipingBuffer& out);
  Said on_tag(std::string_view& rest, WipingBuffer& out);
  Said on_name(std::string_view& rest, WipingBuffer& out);
  Said on_arguments(std::string_view& rest, WipingBuffer& out);
  Said on_mechanism(std::string_view& rest, WipingBuffer& out);
  Said on_initial(std::string_view& rest, WipingBuffer& out);
  Said on_skip(std::string_view& rest, WipingBuffer& out);
  Said on_response(std::string_view& rest, WipingBuffer& out);
  void take_argument(wire::ImapArgumentReader::Event event, WipingBuffer& out);
  Said run_command(WipingBuffer& out);
  /// Reads a SASL line into line_; true once it is complete, without its end.
  bool read_line(std::string_view& rest, bool& too_large);
  void start_command();
  void start_next_line();
  void start_arguments();
  Said skip_line(bool bad_command);
  Said line_too_long(WipingBuffer& out);
  Said response_too_large(WipingBuffer& out);
  Said close(std::string_view reason);
  Said bad_command(WipingBuffer& out);
  Said foreign_command(WipingBuffer& out);

  // Commands (client-commands.cc).
  Said capability(WipingBuffer& out);
  Said enable(WipingBuffer& out);
  Said id(WipingBuffer& out);
  Said login(WipingBuffer& out);
  Said logout(WipingBuffer& out);
  Said noop(WipingBuffer& out);
  Said starttls(WipingBuffer& out);
  Said authenticate();
  void tagged(std::string_view status, std::string_view text, WipingBuffer& out);
  void tagged_code(std::string_view code, std::string_view text, WipingBuffer& out);
  void say_failed(const login::AuthResult& result, WipingBuffer& out);

  const login::ClientContext& context_;
  State state_ = State::tag;
  ShortWord<kMaxTag> tag_;
  ShortWord<kMaxName> name_;
  bool tag_invalid_ = false;
  bool name_invalid_ = false;
  bool line_started_ = false;  // tag_ and name_ belong to the line being read
  std::size_t used_ = 0;       // bytes of the line so far
  std::size_t skipped_ = 0;
  bool bad_after_skip_ = false;
  unsigned bad_commands_ = 0;

  wire::ImapArgumentReader reader_;
  unsigned arguments_ = 0;
  bool odd_arguments_ = false;        // a list, or a literal with NUL
  std::array<WipingBuffer, 2> kept_;  // LOGIN's

  std::string mechanism_;
  bool has_initial_ = false;
  WipingBuffer line_;  // a SASL line that is not complete yet
  login::AuthRequest request_;
  Secret response_secret_;
  bool bad_response_ = false;

  std::optional<ClientId> id_;
  bool id_seen_ = false;
  login::Forwarded forwarded_;
  std::string id_log_;
  bool id_log_pending_ = false;
  wire::ImapIdFields retained_;
  bool used_capability_ = false;
  bool starttls_ = false;
  std::string close_reason_;
};

}  // namespace postern::imap_login
