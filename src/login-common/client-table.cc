#include "login-common/client-table.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "config/variable-functions.h"

namespace postern::login {

using Bye = ClientDialogue::Bye;

namespace {

bool address_matches(const std::string& address, const std::string& mask) {
  if (const auto network = Network::parse(mask)) {
    const auto ip = IpAddress::parse(address);
    return ip && network->contains(*ip);
  }
  return config::wildcard_match(address, mask);
}

}  // namespace

Result<SessionMask> SessionMask::parse(const std::vector<std::string>& terms) {
  SessionMask out;
  for (const std::string& term : terms) {
    const std::size_t equals = term.find('=');
    std::string name = term.substr(0, equals);
    std::string value = equals == std::string::npos ? std::string() : term.substr(equals + 1);
    if (name == "proxied") {
      out.proxied_ = value != "no";
    } else if (equals != std::string::npos &&
               (name == "user" || name == "session" || name == "ip" || name == "dest-ip")) {
      out.terms_.emplace_back(std::move(name), std::move(value));
    } else {
      return Error{1, "a session is picked by user=, ip=, session=, dest-ip= or proxied"};
    }
  }
  return out;
}

bool SessionMask::matches(const SessionRow& row) const {
  // Whoever is on the way to a backend is about to be.
  if (proxied_ && row.state != "proxied" && row.dest_ip.empty()) return false;
  for (const auto& [name, mask] : terms_) {
    const bool fits = name == "user"      ? config::wildcard_match(row.user, mask)
                      : name == "session" ? config::wildcard_match(row.session, mask)
                      : name == "ip"      ? address_matches(row.rip, mask)
                                          : address_matches(row.dest_ip, mask);
    if (!fits) return false;
  }
  return true;
}

ClientTable::~ClientTable() = default;

void ClientTable::add(const config::SocketInfo& listener, io::Accepted connection) {
  // A listener of one address tells where the client came to without a system call.
  const Endpoint local = listener.kind == config::ListenerSettings::Kind::inet &&
                                 !listener.any_address && listener.endpoint.port != 0
                             ? listener.endpoint
                             : io::local_endpoint(connection.fd.get());
  clients_.push_back(std::make_unique<Client>(shared_, *this, listener, std::move(connection.fd),
                                              connection.remote, local));
  Client& client = *clients_.back();
  client.position = std::prev(clients_.end());
  if (changed_) changed_();
  client.start();
}

void ClientTable::on_client_end(Client& client) noexcept {
  std::unique_ptr<Client> ended = std::move(*client.position);
  clients_.erase(client.position);
  shared_.loop.retire(std::move(ended));
  if (changed_) changed_();
}

std::vector<Client*> ClientTable::snapshot() const {
  std::vector<Client*> out;
  out.reserve(clients_.size());
  for (const auto& client : clients_) out.push_back(client.get());
  return out;
}

// What ends meanwhile is retired, so the pointers hold until the end of the turn.

void ClientTable::auth_ready() {
  for (Client* client : snapshot()) client->on_auth_ready();
}

void ClientTable::auth_broken() {
  for (Client* client : snapshot()) {
    if (!client->waits_for_greeting()) continue;
    client->disconnect(Bye::shutdown, "Auth process broken", "Auth process broken");
  }
}

void ClientTable::on_client_known() noexcept {
  if (known_) known_();
}

service::Evictable ClientTable::evictable() const {
  struct Held {
    unsigned all = 0;
    unsigned idle = 0;
  };
  std::map<IpAddress, Held> held;
  service::Evictable out;
  unsigned owing = 0;
  for (const auto& client : clients_) {
    if (client->ended()) continue;
    Held& of = held[holder_of(client->address())];
    ++of.all;
    if (client->owes_response()) ++owing;
    if (!client->idle()) continue;
    ++of.idle;
    ++out.clients;
  }
  if (out.clients == 0) {
    out.clients = owing;  // without a holder they go after everybody else's
    return out;
  }
  unsigned most = 0;
  for (const auto& [address, of] : held) {
    if (of.idle == 0 || of.all <= most) continue;
    most = of.all;
    out.holder = address.text();
    out.held = of.idle;
  }
  return out;
}

void ClientTable::evict(unsigned count) {
  std::map<IpAddress, unsigned> held;
  for (const auto& client : clients_) {
    if (!client->ended()) ++held[holder_of(client->address())];
  }
  for (const bool idle : {true, false}) {
    while (count > 0) {
      Client* victim = nullptr;
      unsigned most = 0;
      for (const auto& client : clients_) {
        if (client->ended() || !(idle ? client->idle() : client->owes_response())) continue;
        const unsigned holds = held[holder_of(client->address())];
        if (holds <= most) continue;
        most = holds;
        victim = client.get();
      }
      if (victim == nullptr) break;
      --held[holder_of(victim->address())];
      --count;
      victim->disconnect(Bye::resource, "Connection queue full", "Connection queue full");
    }
  }
}

void ClientTable::shut_down() {
  for (Client* client : snapshot()) {
    client->disconnect(Bye::shutdown, "Shutting down", "Shutting down");
  }
}

void ClientTable::for_each(const std::function<void(const SessionRow&)>& visit) {
  for (const auto& client : clients_) {
    if (!client->ended()) visit(client->row());
  }
}

unsigned ClientTable::kick(const SessionMask& mask) {
  unsigned kicked = 0;
  for (Client* client : snapshot()) {
    if (client->ended() || !mask.matches(client->row())) continue;
    client->kick("Kicked by admin");
    ++kicked;
  }
  return kicked;
}

}  // namespace postern::login
