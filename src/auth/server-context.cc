#include "auth/server-context.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>

#include "lib/check.h"
#include "lib/text.h"

namespace postern::auth {
namespace {

constexpr std::size_t kTokenSecret = 32;  // bytes

}  // namespace

ServerContext::ServerContext(Environment& environment, config::Snapshot snapshot,
                             DatabaseSet databases, std::uint32_t pid)
    : environment_(environment),
      config_(std::move(snapshot)),
      databases_(std::move(databases)),
      pid_(pid),
      started_(environment.unix_time()),
      global_(config_.select("")),
      token_secret_(random_hex(kTokenSecret / 2)) {}

Result<std::unique_ptr<ServerContext>> ServerContext::make(Environment& environment,
                                                           config::Snapshot snapshot,
                                                           std::uint32_t pid) {
  auto databases = DatabaseSet::make(snapshot.passdbs, snapshot.userdbs);
  if (!databases.ok()) return databases.error();
  if (!databases.value().has_passdbs()) {
    // Every login fails as temporary. Ending here would make the master start us again and again.
    environment.log(log::Level::error,
                    "No passdbs specified in configuration file: nobody can log in");
  }
  std::unique_ptr<ServerContext> out(
      new ServerContext(environment, std::move(snapshot), std::move(databases.value()), pid));
  for (const std::string& name : out->global_->auth_mechanisms) {
    const sasl::ServerMechRow* row = sasl::find_server_mech(name);
    if (row == nullptr)
      return Error{0, "Unknown authentication mechanism '" + log_safe(name) + "'"};
    out->mechs_.push_back(row);
  }
  // What does not compile is found now, not at the first login.
  auto global = RequestSettings::make(out->global_);
  if (!global.ok()) return global.error();
  out->compiled_[out->global_.get()] = std::make_unique<RequestSettings>(std::move(global.value()));
  return out;
}

RequestContext ServerContext::request_context(std::string_view service) {
  const std::shared_ptr<const config::AuthSettings> settings = config_.select(service);
  std::unique_ptr<RequestSettings>& compiled = compiled_[settings.get()];
  if (!compiled) {
    auto made = RequestSettings::make(settings);
    if (made.ok()) {
      compiled = std::make_unique<RequestSettings>(std::move(made.value()));
    } else {
      // The master checked every value; only a filter's could still differ. The global one holds.
      environment_.log(log::Level::error,
                       "protocol " + log_safe(service) + ": " + made.error().text);
      compiled = std::make_unique<RequestSettings>(*compiled_[global_.get()]);
    }
  }
  return {environment_, *compiled, databases_.for_service(service)};
}

std::string ServerContext::random_hex(std::size_t bytes) {
  std::string raw(bytes, '\0');
  // OpenSSL writes unsigned bytes.
  std::array<unsigned char, 64> buffer{};
  POSTERN_CHECK(bytes <= buffer.size());
  POSTERN_CHECK(RAND_bytes(buffer.data(), static_cast<int>(bytes)) == 1);
  std::copy(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(bytes), raw.begin());
  return hex_encode(raw);
}

std::string ServerContext::auth_token(std::uint32_t session_pid, std::string_view session,
                                      std::string_view service, std::string_view user) const {
  WipingBuffer text(std::to_string(session_pid));
  text += session;
  text += service;
  text += token_secret_.reveal();
  const std::string message(text.view());
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  std::vector<unsigned char> bytes(message.begin(), message.end());
  if (HMAC(EVP_sha1(), user.data(), static_cast<int>(user.size()), bytes.data(), bytes.size(),
           out.data(), &size) == nullptr) {
    return {};
  }
  return hex_encode(std::string(out.begin(), out.begin() + size));
}

ClientSession* ServerContext::login_client(std::uint32_t pid) const noexcept {
  const auto it = login_clients_.find(pid);
  return it == login_clients_.end() ? nullptr : it->second;
}

bool ServerContext::add_login_client(std::uint32_t pid, ClientSession& session) {
  return login_clients_.emplace(pid, &session).second;
}

void ServerContext::remove_login_client(std::uint32_t pid, const ClientSession& session) noexcept {
  const auto it = login_clients_.find(pid);
  if (it != login_clients_.end() && it->second == &session) login_clients_.erase(it);
}

}  // namespace postern::auth
