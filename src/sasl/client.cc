#include "sasl/client.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "lib/check.h"
#include "lib/text.h"

namespace postern::sasl {
namespace {

using Kind = ClientReply::Kind;

ClientReply broken(std::string_view reason) {
  ClientReply out;
  out.kind = Kind::broken;
  out.reason = reason;
  return out;
}

bool has_byte(std::string_view text, char byte) {
  return text.find(byte) != std::string_view::npos;
}

/// Sends everything at once; a further challenge means that the server wants something else.
class Plain final : public ClientMechanism {
 public:
  explicit Plain(const ClientCredentials& who) : who_(who) {}
  std::string_view name() const noexcept override { return "PLAIN"; }
  std::optional<ClientReply> initial() override {
    const std::string_view password = who_.secret->reveal();
    if (has_byte(who_.authzid, '\0') || has_byte(who_.authid, '\0') || has_byte(password, '\0')) {
      return broken("NUL in user name or password");
    }
    ClientReply out;
    out.bytes.append(who_.authzid).append('\0').append(who_.authid).append('\0').append(password);
    return out;
  }
  ClientReply challenge(std::string_view /*bytes*/) override {
    return broken("Server didn't finish authentication");
  }

 private:
  const ClientCredentials& who_;
};

/// The server asks for the name, then for the password; what it asks with does not matter.
class Login final : public ClientMechanism {
 public:
  explicit Login(const ClientCredentials& who) : who_(who) {}
  std::string_view name() const noexcept override { return "LOGIN"; }
  std::optional<ClientReply> initial() override { return std::nullopt; }
  ClientReply challenge(std::string_view /*bytes*/) override {
    ClientReply out;
    switch (state_) {
      case State::name:
        out.bytes.append(who_.authid);
        state_ = State::password;
        return out;
      case State::password:
        out.bytes.append(who_.secret->reveal());
        state_ = State::done;
        return out;
      case State::done:
        break;
    }
    return broken("Server didn't finish authentication");
  }

 private:
  enum class State : std::uint8_t { name, password, done };
  const ClientCredentials& who_;
  State state_ = State::name;
};

/// The certificate says who we are; we say whose mailbox we want.
class External final : public ClientMechanism {
 public:
  explicit External(const ClientCredentials& who) : who_(who) {}
  std::string_view name() const noexcept override { return "EXTERNAL"; }
  std::optional<ClientReply> initial() override {
    if (has_byte(who_.authzid, '\0')) return broken("NUL in user name");
    ClientReply out;
    out.bytes.append(who_.authzid);
    return out;
  }
  ClientReply challenge(std::string_view /*bytes*/) override {
    return broken("Server didn't finish authentication");
  }

 private:
  const ClientCredentials& who_;
};

/// What an OAuth server says in its error challenge: "Failed to authenticate: 401".
std::string oauth_failure(std::string_view challenge) {
  std::string out = "Failed to authenticate";
  const auto parsed = nlohmann::json::parse(challenge, nullptr, false);
  if (!parsed.is_object()) return out;
  const auto status = parsed.find("status");
  if (status == parsed.end()) return out;
  if (status->is_string()) return out + ": " + log_safe_line(status->get_ref<const std::string&>());
  if (status->is_number_integer()) return out + ": " + status->dump();
  return out;
}

/// Both ways to send a bearer token. An error comes as one more challenge, which has to be answered
/// before the server may refuse.
class Bearer final : public ClientMechanism {
 public:
  enum class Form : std::uint8_t { xoauth2, oauthbearer };
  Bearer(const ClientCredentials& who, Form form) : who_(who), form_(form) {}
  std::string_view name() const noexcept override {
    return form_ == Form::xoauth2 ? "XOAUTH2" : "OAUTHBEARER";
  }
  std::optional<ClientReply> initial() override {
    const std::string_view token = who_.secret->reveal();
    const auto separates = [](char c) { return c == '\0' || c == '\x01'; };
    if (std::any_of(who_.authid.begin(), who_.authid.end(), separates) ||
        std::any_of(token.begin(), token.end(), separates)) {
      return broken("Control character in user name or token");
    }
    ClientReply out;
    if (form_ == Form::xoauth2) {
      out.bytes.append("user=").append(who_.authid);
    } else {
      out.bytes.append("n,a=");
      append_sasl_name(out.bytes);
      out.bytes.append(',');
    }
    out.bytes
        .append(
            "\x01"
            "auth=Bearer ")
        .append(token)
        .append("\x01\x01");
    return out;
  }
  ClientReply challenge(std::string_view bytes) override {
    if (refused_) return broken("Server didn't finish authentication");
    refused_ = true;
    ClientReply out;
    out.kind = Kind::refused;
    out.reason = oauth_failure(bytes);
    if (form_ == Form::oauthbearer) out.bytes.append('\x01');
    return out;
  }

 private:
  /// RFC 5801: `,` and `=` inside a name are escaped.
  void append_sasl_name(WipingBuffer& out) const {
    for (const char c : who_.authid) {
      if (c == ',') {
        out.append("=2C");
      } else if (c == '=') {
        out.append("=3D");
      } else {
        out.append(c);
      }
    }
  }

  const ClientCredentials& who_;
  Form form_;
  bool refused_ = false;
};

using Make = std::unique_ptr<ClientMechanism> (*)(const ClientCredentials&);
struct Row {
  std::string_view name;
  Make make;
};

constexpr std::array<Row, 5> kMechanisms{{
    {"EXTERNAL",
     [](const ClientCredentials& who) -> std::unique_ptr<ClientMechanism> {
       return std::make_unique<External>(who);
     }},
    {"LOGIN",
     [](const ClientCredentials& who) -> std::unique_ptr<ClientMechanism> {
       return std::make_unique<Login>(who);
     }},
    {"OAUTHBEARER",
     [](const ClientCredentials& who) -> std::unique_ptr<ClientMechanism> {
       return std::make_unique<Bearer>(who, Bearer::Form::oauthbearer);
     }},
    {"PLAIN",
     [](const ClientCredentials& who) -> std::unique_ptr<ClientMechanism> {
       return std::make_unique<Plain>(who);
     }},
    {"XOAUTH2",
     [](const ClientCredentials& who) -> std::unique_ptr<ClientMechanism> {
       return std::make_unique<Bearer>(who, Bearer::Form::xoauth2);
     }},
}};

const Row* find(std::string_view name) noexcept {
  const auto* const row =
      std::find_if(kMechanisms.begin(), kMechanisms.end(),
                   [name](const Row& candidate) { return same_text(candidate.name, name); });
  return row == kMechanisms.end() ? nullptr : row;
}

}  // namespace

bool is_client_mechanism(std::string_view name) noexcept {
  return find(name) != nullptr;
}

std::unique_ptr<ClientMechanism> make_client_mechanism(std::string_view name,
                                                       const ClientCredentials& who) {
  POSTERN_CHECK(who.secret != nullptr);
  const Row* row = find(name);
  return row == nullptr ? nullptr : row->make(who);
}

}  // namespace postern::sasl
