#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.h"
#include "lib/secret.h"
#include "login-common/auth-result.h"
#include "login-common/client-dialogue.h"
#include "transcript.h"

/// Plays the login process around a client dialogue, with verdicts taken from the recording. All
/// protocols share it; what their recordings look like they say as a RecordedProtocol.
namespace postern::test {

inline constexpr std::size_t kUncut = std::string::npos;

class ClientReplay;

/// What the replay has to know of a protocol. The tables are `<name>-not-replayed.tsv` and
/// `<name>-outcomes.tsv` beside the recordings.
struct RecordedProtocol {
  std::string_view name;          // "imap": recordings are `imap-*.txt` and `proxy-imap-*.txt`
  std::string_view tls_listener;  // "imaps": its connections begin with TLS
  std::unique_ptr<login::ClientDialogue> (*make)(const login::ClientContext&) = nullptr;
  std::vector<const char*> settings;  // that recordings may set and the dialogue reads
  std::string_view greeting_starts;   // the first words of a greeting
  std::string_view challenge_starts;  // "+ "
  std::string_view not_a_challenge;   // a whole line that begins like one; empty: none
  bool refuse_anonymous = false;      // as login::Protocol has it
  std::size_t least = 1;              // recordings there must be
  /// Takes what the dialogue is to say from the lines said: ClientContext::greeting, challenge.
  void (*read_greeting)(const std::vector<std::string>& said, login::ClientContext& context,
                        config::LoginSettings& settings) = nullptr;
  /// The base64 of a challenge, without what the protocol wraps around it.
  std::string_view (*challenge)(std::string_view line) = nullptr;
  /// True for the line with which the mail service or a backend reports the login's success.
  bool (*succeeds)(std::string_view line, const login::LoginFacts& facts) = nullptr;
  /// The text in a line said on the way out, without what the protocol wraps around it.
  std::string_view (*parting_text)(std::string_view line) = nullptr;
  /// Further comparisons of a whole replay with its recording; may be null.
  void (*check)(const Transcript& recorded, const ClientReplay& replay) = nullptr;
};

class ClientReplay {
 public:
  /// All three must outlive it.
  ClientReplay(const RecordedProtocol& protocol, const Transcript& recorded,
               Differences& differences);

  /// @param piece  bytes offered at a time
  /// @param cut    client bytes after which the client is gone; kUncut: it stays
  void run(std::size_t piece, std::size_t cut);

  /// The lines the dialogue said.
  std::vector<std::string> output() const;
  /// What must have been said: all, or all up to where the mail service speaks.
  std::vector<std::string> expected() const;
  const std::vector<std::string>& all_expected() const { return expected_; }
  /// "MECH user initial" and "response base64", in order.
  const std::vector<std::string>& requests() const { return requests_; }
  const std::vector<std::string>& remarks() const { return remarks_; }
  const std::optional<std::string>& close_reason() const { return close_reason_; }
  const std::vector<login::Forwarded>& forwarded() const { return forwarded_; }
  /// The line of the success, and what the dialogue said of the login.
  const std::optional<std::string>& success() const { return success_; }
  const login::LoginFacts& facts() const { return facts_; }
  std::size_t client_bytes() const;

 private:
  bool is_proxied() const;
  void configure();
  void follow_name();
  void offer_mechanisms();
  void say(const std::string& line);
  void start_tls();
  void feed(std::string_view bytes, std::size_t piece);
  void consume();
  void act(login::Wish wish);
  void authenticate();
  std::optional<login::AuthResult> check(const login::AuthRequest& request);
  void check_initial(const login::AuthRequest& request);
  std::optional<std::string> auth_line(const std::vector<std::string>& lines,
                                       std::string_view verb) const;
  void verdict();
  login::AuthResult from_auth(const std::string& next) const;

  const RecordedProtocol& protocol_;
  const Transcript& recorded_;
  std::string file_;
  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
  std::vector<std::string> expected_;
  std::size_t said_until_ = kUncut;
  std::map<std::uint64_t, Row> outcomes_;  // by number of the attempt that reached auth
  std::unique_ptr<login::ClientDialogue> dialogue_;
  WipingBuffer input_;
  WipingBuffer output_;
  std::size_t attempts_ = 0;
  std::size_t attempt_ = 0;
  bool ended_ = false;
  bool awaits_tls_ = false;
  std::vector<std::string> requests_;
  std::vector<std::string> remarks_;
  std::vector<login::Forwarded> forwarded_;
  std::optional<std::string> close_reason_;
  std::optional<std::string> success_;
  login::LoginFacts facts_;
};

/// Every recording of the protocol that is not left out: whole, byte by byte, in sevens, and cut
/// off at every byte. Rows of differences.txt that nothing used fail, too.
void replay_clients(const RecordedProtocol& protocol);

/// Each row of `<name>-not-replayed.tsv` names a recording that is there, and a reason.
void check_left_out(std::string_view name);

}  // namespace postern::test
