#include "auth/master-session.h"

#include <algorithm>
#include <array>

#include "auth/client-session.h"
#include "auth/reply.h"
#include "config/variable-functions.h"
#include "lib/secret.h"
#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::auth {

struct MasterSession::Command {
  std::string_view name;
  void (MasterSession::*handler)(std::string_view args);
  bool on_userdb_socket;
};

MasterSession::MasterSession(ServerContext& server, MasterPeer peer)
    : LineSession(wire::kMaxAuthMasterLine),
      server_(server),
      environment_(server.environment()),
      peer_(std::move(peer)),
      created_(environment_.now()),
      handshake_(created_) {
  wire::TabLine(output(), "VERSION").add(1).add(1).end();
  wire::TabLine(output(), "SPID").add(server.pid()).end();
}

MasterSession::~MasterSession() {
  for (auto& [key, lookup] : lookups_) {
    lookup.request->abandon();
    environment_.retire(std::move(lookup.request));
  }
}

void MasterSession::log_error(std::string_view text) {
  const auto ms = [this](TimePoint since) {
    return std::chrono::duration_cast<Milliseconds>(environment_.now() - since).count();
  };
  std::string line =
      fmt::format("auth-master client: {} (created {} msecs ago", text, ms(created_));
  if (greeted_) line += fmt::format(", handshake {} msecs ago", ms(handshake_));
  environment_.log(log::Level::error, line + ")");
}

void MasterSession::protocol_error(std::string_view text) {
  log_error(text);
  close();
}

void MasterSession::on_line_too_long() {
  log_error(fmt::format("BUG: Master sent us more than {} bytes", wire::kMaxAuthMasterLine));
}

void MasterSession::on_line(std::string_view line) {
  static constexpr std::array<Command, 5> kCommands{{
      {"USER", &MasterSession::on_user, true},
      {"PASS", &MasterSession::on_pass, true},
      {"LIST", &MasterSession::on_list, true},
      {"REQUEST", &MasterSession::on_request, false},
      {"CACHE-FLUSH", &MasterSession::on_cache_flush, false},
  }};
  const std::size_t tab = std::min(line.find('\t'), line.size());
  const std::string_view name = line.substr(0, tab);
  const std::string_view args = line.substr(std::min(line.size(), tab + 1));
  if (!greeted_) {
    const auto version = name == "VERSION" ? wire::parse_auth_version(args) : std::nullopt;
    if (!version || version->major != 1) {
      return protocol_error("Master not compatible with this server (mixed old and new binaries?)");
    }
    greeted_ = true;
    handshake_ = environment_.now();
    return;
  }
  if (name == "CPID")
    return protocol_error("Authentication client trying to connect to master socket");
  const auto row = std::ranges::find(kCommands, name, &Command::name);
  if (row == kCommands.end() || (peer_.userdb_socket && !row->on_userdb_socket)) {
    // Only the first word: what follows may be a password in any dress.
    return protocol_error(fmt::format("BUG: Unknown command in {} socket: {}",
                                      peer_.userdb_socket ? "userdb" : "master",
                                      log_safe(name.substr(0, name.find(' ')), 32)));
  }
  if (server_.settings().auth_debug)
    environment_.log(log::Level::debug, "master in: " + hide_passwords(line));
  (this->*row->handler)(args);
}

bool MasterSession::restricted() const noexcept {
  return peer_.userdb_socket && peer_.mode == 0666 && peer_.uid != peer_.socket_uid &&
         peer_.gid != peer_.socket_gid;
}

std::string MasterSession::no_permission(std::string_view what) const {
  return fmt::format(
      "Auth client doesn't have permissions to {}: {} mode=0{:o}, but not owned by UID {}", what,
      peer_.socket, peer_.mode, peer_.uid);
}

void MasterSession::reply(std::string_view word, std::uint32_t id, std::string_view reason) {
  wire::TabLine line(output(), word);
  line.add(id);
  if (!reason.empty()) line.key("reason", reason);
  line.end();
  wake();
}

/// Reads USER or PASS. Null: answered, or the connection closes.
MasterSession::Lookup* MasterSession::begin(Kind kind, std::string_view args,
                                            std::string_view name) {
  auto parsed = wire::parse_master_lookup(args, true);
  if (!parsed.ok()) {
    const bool no_service =
        parsed.error().code == static_cast<int>(wire::AuthLineError::no_service);
    protocol_error(no_service ? fmt::format("BUG: Master sent {} request without service", name)
                              : fmt::format("BUG: Master sent broken {} request", name));
    return nullptr;
  }
  wire::MasterLookup& command = parsed.value();
  if (lookups_.size() >= kMaxInFlight) {
    reply("FAIL", command.id);
    return nullptr;
  }
  const std::string service = command.properties.service;
  const std::uint64_t key = ++next_key_;
  Lookup& lookup = lookups_[key];
  lookup.id = command.id;
  lookup.kind = kind;
  Request::Owner& owner = *this;
  lookup.request = std::make_unique<Request>(server_.request_context(service),
                                             std::move(command.properties), "", 0U, owner);
  lookup.request->tag = key;
  const std::string problem = lookup.request->set_username(command.user, kind == Kind::pass);
  if (problem.empty()) return &lookup;
  lookup.request->log_info("auth", problem);
  reply("NOTFOUND", command.id);
  forget(key);
  return nullptr;
}

void MasterSession::on_user(std::string_view args) {
  Lookup* lookup = begin(Kind::user, args, "USER");
  if (lookup != nullptr) lookup->request->look_up_user();
}

void MasterSession::on_pass(std::string_view args) {
  if (restricted()) {
    environment_.log(log::Level::error, no_permission("do a PASS lookup"));
    const auto id = wire::parse_auth_id(args.substr(0, args.find('\t')));
    return id ? reply("FAIL", *id) : protocol_error("BUG: Master sent broken PASS request");
  }
  Lookup* lookup = begin(Kind::pass, args, "PASS");
  if (lookup != nullptr) lookup->request->look_up();
}

void MasterSession::on_list(std::string_view args) {
  const auto parsed = wire::parse_master_lookup(args, false);
  if (!parsed.ok()) return protocol_error("BUG: Master sent broken LIST request");
  const std::uint32_t id = parsed.value().id;
  const auto end = [&](bool failed) {
    wire::TabLine line(output(), "DONE");
    line.add(id).add(failed ? "fail" : "").end();
    wake();
  };
  if (restricted()) {
    log_error(no_permission("list users"));
    return end(true);
  }
  const RequestContext context = server_.request_context(parsed.value().properties.service);
  bool any = false;
  for (const Userdb* db : context.databases.userdbs) {
    if (!db->database) continue;
    const Result<std::vector<std::string>> users = db->database->list();
    if (!users.ok()) {
      log_error(db->name + ": " + users.error().text);
      return end(true);
    }
    any = true;
    for (const std::string& user : users.value()) {
      if (!parsed.value().user.empty() && !config::wildcard_match(user, parsed.value().user))
        continue;
      wire::TabLine(output(), "LIST").add(id).add(user).end();
    }
  }
  end(!any);
}

void MasterSession::on_cache_flush(std::string_view args) {
  const auto id = wire::parse_auth_id(args.substr(0, args.find('\t')));
  if (!id) return protocol_error("BUG: Master sent broken CACHE-FLUSH request");
  // Nothing is cached, so nothing can be stale.
  wire::TabLine(output(), "OK").add(*id).add(0).end();
  wake();
}

void MasterSession::on_request(std::string_view args) {
  const auto command = wire::parse_master_request(args);
  if (!command) return protocol_error("BUG: Master sent broken REQUEST");
  const auto refuse = [&](std::string_view text) {
    log_error(text);
    reply("FAIL", command->id);
  };
  ClientSession* client = server_.login_client(command->client_pid);
  if (client == nullptr) {
    return refuse(
        fmt::format("Master requested auth for nonexistent client {}", command->client_pid));
  }
  if (!equal_in_constant_time(client->cookie(), command->cookie)) {
    return refuse(fmt::format("Master requested auth for client {} with invalid cookie",
                              command->client_pid));
  }
  if (command->session_pid && peer_.pid != 0 &&
      *command->session_pid != static_cast<std::uint32_t>(peer_.pid)) {
    return refuse(fmt::format(
        "Session pid {} provided by master for request {}.{} did not match peer credentials "
        "(pid={}, uid={})",
        *command->session_pid, command->client_pid, command->client_id, peer_.pid, peer_.uid));
  }
  bool unfinished = false;
  std::unique_ptr<Request> request = client->take_finished(command->client_id, unfinished);
  if (unfinished) {
    return refuse(fmt::format("Master requested unfinished authentication request {}.{}",
                              command->client_pid, command->client_id));
  }
  if (!request) {
    return refuse(
        fmt::format("Master request {}.{} not found", command->client_pid, command->client_id));
  }
  request->tag = ++next_key_;
  Lookup& lookup = lookups_[next_key_];
  lookup.id = command->id;
  lookup.kind = Kind::request;
  lookup.session_pid = command->session_pid.value_or(0);
  lookup.auth_token = command->request_auth_token;
  request->set_owner(*this);
  lookup.request = std::move(request);
  lookup.request->look_up_user();
}

void MasterSession::forget(std::uint64_t key) {
  const auto it = lookups_.find(key);
  it->second.request->abandon();
  environment_.retire(std::move(it->second.request));
  lookups_.erase(it);
}

void MasterSession::on_passdb_done(Request& request, PassdbResult result) {
  const std::uint64_t key = request.tag;
  if (!lookups_.contains(key)) return;
  const std::uint32_t id = lookups_.at(key).id;
  switch (result) {
    case PassdbResult::ok:
      write_pass(output(), id, request);
      break;
    case PassdbResult::next:
    case PassdbResult::mismatch:
    case PassdbResult::unknown:
    case PassdbResult::disabled:
    case PassdbResult::expired:
      reply("NOTFOUND", id);
      break;
    case PassdbResult::internal:
      reply("FAIL", id);
      break;
    case PassdbResult::no_credentials:
      reply("FAIL", id, "Configured passdbs don't support credentials lookups");
      break;
  }
  forget(key);
  wake();
}

void MasterSession::on_userdb_done(Request& request, UserdbResult result) {
  const std::uint64_t key = request.tag;
  if (!lookups_.contains(key)) return;
  const Lookup& lookup = lookups_.at(key);
  const std::string_view uid = request.userdb_fields().value("uid");
  if (result == UserdbResult::ok && restricted() && uid != std::to_string(peer_.uid)) {
    environment_.log(
        log::Level::error,
        fmt::format(
            "client doesn't have lookup permissions for this user: userdb uid ({}) doesn't match "
            "peer uid ({}) "
            "(to bypass this check, set: service auth {{ unix_listener {} {{ mode=0777 }} }})",
            log_safe(uid), peer_.uid, peer_.socket));
    result = UserdbResult::internal;
  }
  switch (result) {
    case UserdbResult::ok:
      write_request_reply(lookup);
      break;
    case UserdbResult::unknown:
      if (lookup.kind == Kind::request)
        request.log_error(request.mech_prefix(), "user not found from any userdbs");
      reply("NOTFOUND", lookup.id);
      break;
    case UserdbResult::internal:
      reply("FAIL", lookup.id, request.userdb_reason());
      break;
  }
  forget(key);
  wake();
}

void MasterSession::write_request_reply(const Lookup& lookup) {
  const Request& request = *lookup.request;
  write_user(output(), lookup.id, request);
  if (lookup.kind == Kind::request) {
    // TabLine continues a line only by its verb; an empty one adds the fields behind what stands
    // there.
    wire::TabLine line(output(), "");
    if (request.master_verified()) line.key("master_user", request.master_user());
    line.key("auth_mech", request.mech());
    if (lookup.auth_token && lookup.session_pid != 0) {
      const wire::AuthProperties& p = request.properties();
      line.key("auth_token",
               server_.auth_token(lookup.session_pid, p.session, p.service, request.user()));
    }
    if (request.master_verified())
      line.key("auth_user", request.master_user());
    else if (request.original_user() != request.user())
      line.key("auth_user", request.original_user());
  }
  output() += '\n';
}

}  // namespace postern::auth
