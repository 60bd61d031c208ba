#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "lib/text.h"
#include "sasl/server.h"

namespace postern::sasl {
namespace {

constexpr std::size_t kDigestSize = 16;  // bytes of an MD5

/// MD5 of the challenge followed by the password.
class ApopProof final : public PasswordProof {
 public:
  ApopProof(std::string_view challenge, std::string_view digest)
      : challenge_(challenge), digest_(digest) {}

  bool matches(std::string_view password) const override {
    WipingBuffer text(challenge_);
    text += password;
    const std::string_view whole = text.view();
    std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
    unsigned size = 0;
    // An OpenSSL without MD5 lets nobody in.
    if (EVP_Digest(whole.data(), whole.size(), out.data(), &size, EVP_md5(), nullptr) != 1)
      return false;
    return equal_in_constant_time(std::string(out.begin(), out.begin() + size), digest_);
  }

 private:
  std::string challenge_;
  std::string digest_;
};

/// A hexadecimal number that a dot ends; both are taken off `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t out = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out, 16);
  if (error != std::errc{} || stop == end || *stop != '.') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  return out;
}

/// challenge NUL name NUL digest, all in the initial response: the POP3 process made the challenge
/// from what the handshake told it, and showed it in its greeting. Only a challenge of this very
/// connection since this process began is taken, or a proof that somebody overheard could be sent
/// again. Source: RFC 1939 section 7; the shape of the challenge is Dovecot's.
class ApopServer final : public ServerMech {
 public:
  explicit ApopServer(const ServerBinding& binding) : binding_(binding) {}

  ServerStep step(std::optional<std::string_view> response, Credentials& out,
                  WipingBuffer& /*challenge*/) override {
    if (!response) return ServerStep::invalid;
    const std::size_t first = response->find('\0');
    if (first == std::string_view::npos) return ServerStep::invalid;
    const std::size_t second = response->find('\0', first + 1);
    if (second == std::string_view::npos || response->size() - second - 1 != kDigestSize)
      return ServerStep::invalid;
    const std::string_view challenge = response->substr(0, first);
    if (!is_ours(challenge)) return ServerStep::invalid;
    out.authcid = std::string(response->substr(first + 1, second - first - 1));
    out.proof = std::make_unique<ApopProof>(challenge, response->substr(second + 1));
    return ServerStep::verify;
  }

 private:
  /// "<server.connection.time.anything": the rest is the random part and the host's name.
  bool is_ours(std::string_view challenge) const {
    if (!challenge.starts_with('<')) return false;
    challenge.remove_prefix(1);
    const auto server = take_number(challenge);
    const auto connection = server ? take_number(challenge) : std::nullopt;
    const auto time = connection ? take_number(challenge) : std::nullopt;
    return time && *server == binding_.server && *connection == binding_.connection &&
           *time >= static_cast<std::uint64_t>(std::max<std::int64_t>(binding_.started, 0));
  }

  ServerBinding binding_;
};

}  // namespace

std::unique_ptr<ServerMech> make_apop_server(const ServerBinding& binding) {
  return std::make_unique<ApopServer>(binding);
}

}  // namespace postern::sasl
