#include "ctl/auth-properties.h"

#include <array>
#include <cerrno>

#include "lib/ip.h"
#include "lib/text.h"

namespace postern::ctl {
namespace {

struct AddressKey {
  std::string_view name;
  Endpoint wire::AuthRequestInfo::*end;
};
constexpr std::array<AddressKey, 4> kAddresses{{{"lip", &wire::AuthRequestInfo::local},
                                                {"rip", &wire::AuthRequestInfo::remote},
                                                {"real_lip", &wire::AuthRequestInfo::real_local},
                                                {"real_rip", &wire::AuthRequestInfo::real_remote}}};
constexpr std::array<AddressKey, 4> kPorts{{{"lport", &wire::AuthRequestInfo::local},
                                            {"rport", &wire::AuthRequestInfo::remote},
                                            {"real_lport", &wire::AuthRequestInfo::real_local},
                                            {"real_rport", &wire::AuthRequestInfo::real_remote}}};

Error bad(std::string_view pair, std::string_view what) {
  return Error{EINVAL, "-x " + log_safe_line(pair) + ": " + std::string(what)};
}

}  // namespace

Status AuthProperties::set(std::string_view pair) {
  const std::size_t equals = pair.find('=');
  const std::string_view key = pair.substr(0, equals);
  const bool bare = equals == std::string_view::npos;
  const std::string_view value = bare ? std::string_view{} : pair.substr(equals + 1);
  if (key == "secured") {
    if (!value.empty() && value != "tls") return bad(pair, "secured, or secured=tls");
    rest_.secured = value.empty();
    rest_.secured_tls = !value.empty();
    return Done{};
  }
  if (key == "no-penalty") {
    rest_.no_penalty = true;
    return Done{};
  }
  if (bare || value.empty()) return bad(pair, "KEY=VALUE is needed");
  for (const AddressKey& address : kAddresses) {
    if (key != address.name) continue;
    const auto ip = IpAddress::parse(value);
    if (!ip) return bad(pair, "this is no IP address");
    (rest_.*address.end).ip = *ip;
    return Done{};
  }
  for (const AddressKey& port : kPorts) {
    if (key != port.name) continue;
    const auto number = decimal(value, 1, 65535);
    if (!number) return bad(pair, "a port is a number from 1 to 65535");
    (rest_.*port.end).port = static_cast<std::uint16_t>(*number);
    return Done{};
  }
  if (key == "service") {
    service_ = value;
  } else if (key == "session") {
    session_ = value;
  } else if (key == "local_name") {
    local_name_ = value;
  } else if (key == "client_id") {
    client_id_ = value;
  } else if (key.starts_with("forward_") && key.size() > 8) {
    rest_.forward.emplace_back(std::string(key.substr(8)), std::string(value));
  } else {
    return bad(pair,
               "unknown; known are service, session, lip, rip, lport, rport, real_lip, "
               "real_rip, real_lport, real_rport, local_name, client_id, secured, "
               "no-penalty and forward_NAME");
  }
  return Done{};
}

wire::AuthRequestInfo AuthProperties::info() const {
  wire::AuthRequestInfo out = rest_;
  out.service = service_;
  out.session = session_;
  out.local_name = local_name_;
  out.client_id = client_id_;
  return out;
}

}  // namespace postern::ctl
