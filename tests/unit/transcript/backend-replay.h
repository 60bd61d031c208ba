#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/secret.h"
#include "login-common/backend-dialogue.h"
#include "transcript.h"

/// Plays the connector around a backend dialogue: the recorded backend speaks, and what the
/// dialogue says must be what Dovecot's proxy said. A protocol derives from BackendReplay.
namespace postern::test {

class BackendReplay {
 public:
  /// Both must outlive it.
  BackendReplay(const Transcript& recorded, Differences& differences);
  virtual ~BackendReplay() = default;

  /// @param cut  lines of backends after which everything stops; std::string::npos: never
  void run(std::size_t cut);

  /// Everything that was sent to backends, over all connections.
  std::vector<std::string> sent() const;
  std::size_t backend_lines() const;

 protected:
  /// A line of the client, with its end: takes the password, the tag …
  virtual void on_client(const std::string& line) = 0;
  virtual std::unique_ptr<login::BackendDialogue> make(const login::BackendTarget& target) = 0;
  /// What the recorded commands of this kind say of the client: ID, XCLIENT.
  virtual void learn(const std::string& command) = 0;
  /// True if nothing of the login follows the line said to the client.
  virtual bool ends_reply(std::string_view line) const = 0;
  /// Our own words where the backend's are not passed on.
  /// @param config  the failure is one of configuration, not to be tried again
  virtual std::string unavailable(bool config) const = 0;

  /// ` name=` of the passdb's reply, up to the next blank; "" if there is none.
  std::string passdb_field(std::string_view name) const;
  /// learn() of protocols whose XCLIENT has `KEY=VALUE` between blanks.
  void learn_xclient(const std::string& command);
  /// A new login on the same connection.
  void expect_reply() { replied_ = false; }

  login::BackendTarget target_;
  std::string password_;  // the client's own

 private:
  void begin_connection();
  void finish_connection();
  void on_backend(const std::string& line);
  void act(login::Then then);
  void check_reply() const;
  void check_log() const;

  const Transcript& recorded_;
  Differences& differences_;
  std::string config_;
  bool rejects_certificate_ = false;
  std::unique_ptr<login::BackendDialogue> dialogue_;
  WipingBuffer to_backend_;
  WipingBuffer to_client_;
  std::vector<std::string> recorded_commands_;
  std::vector<std::string> recorded_replies_;
  std::vector<std::string> sent_;
  bool ended_ = false;
  bool logged_in_ = false;
  bool awaits_tls_ = false;
  bool replied_ = false;
};

/// The value behind ` name=` in a line, up to the next blank; "" if there is none.
std::string field(std::string_view line, std::string_view name);

using MakeBackendReplay = std::unique_ptr<BackendReplay> (*)(const Transcript&, Differences&);

/// Every recording `proxy-*.txt` that `is_ours` and that `<name>-not-replayed.tsv` does not leave
/// out: whole, and cut off behind every line. Rows of differences.txt that nothing used fail, too.
/// @param least  recordings there must be
void replay_backends(std::string_view name, bool (*is_ours)(const std::string& file),
                     MakeBackendReplay make, std::size_t least);

}  // namespace postern::test
