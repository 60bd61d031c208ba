#include "wire/proxy-header.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "lib/text.h"

namespace postern::wire {
namespace {

using Status = ProxyHeaderParse::Status;

constexpr std::string_view kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::string_view kWord = "PROXY ";
constexpr std::size_t kFixedSize = 16;  // of version 2: signature, command, family, length
constexpr std::size_t kMaxName = 255;   // bytes of an authority or ALPN name
constexpr std::size_t kMaxUniqueId = 128;

// Version 2.
constexpr unsigned kVersion2 = 2;
constexpr unsigned kCommandLocal = 0;
constexpr unsigned kCommandProxy = 1;
constexpr unsigned kStream = 1;
constexpr unsigned kFamilyUnspecified = 0;
constexpr unsigned kFamilyInet = 1;
constexpr unsigned kFamilyInet6 = 2;
constexpr unsigned kFamilyUnix = 3;
constexpr std::size_t kUnixAddresses = 216;  // bytes of the two paths
constexpr unsigned kTlvAlpn = 0x01;
constexpr unsigned kTlvAuthority = 0x02;
constexpr unsigned kTlvUniqueId = 0x05;
constexpr unsigned kTlvSsl = 0x20;
constexpr unsigned kTlvSslCommonName = 0x22;
constexpr unsigned kSslClientTls = 0x01;
constexpr unsigned kSslClientCertificate = 0x02 | 0x04;  // of this connection, of its session

unsigned byte_at(std::string_view bytes, std::size_t at) noexcept {
  return static_cast<unsigned char>(bytes[at]);
}

unsigned word_at(std::string_view bytes, std::size_t at) noexcept {
  return byte_at(bytes, at) << 8U | byte_at(bytes, at + 1);
}

ProxyHeaderParse bad(std::string error) {
  ProxyHeaderParse out;
  out.status = Status::bad;
  out.error = std::move(error);
  return out;
}

// --- version 1 ---

ProxyHeaderParse bad_v1(std::string_view what, std::string_view detail = {}) {
  return bad(fmt::format("haproxy(v1): Client disconnected: {} ({}", what, detail));
}

/// The next of the line's fields, which single blanks separate; nothing behind the last.
class Fields {
 public:
  explicit Fields(std::string_view line) : rest_(line) {}
  std::optional<std::string_view> next() {
    if (!rest_) return std::nullopt;
    const std::size_t end = rest_->find(' ');
    const std::string_view field = rest_->substr(0, end);
    if (end == std::string_view::npos) {
      rest_.reset();
    } else {
      rest_->remove_prefix(end + 1);
    }
    return field;
  }

 private:
  std::optional<std::string_view> rest_;
};

std::string quoted(std::string_view name, std::string_view value) {
  return fmt::format("{}=`{}', ", name, log_safe(value, kMaxProxyHeaderV1));
}

/// @return why the field is not an address of that family, as a log line; empty if it is
std::string take_address(std::optional<std::string_view> field, std::string_view which,
                         IpAddress::Family family, IpAddress& out) {
  if (!field) return bad_v1(fmt::format("Field for proxied {} address is missing", which)).error;
  const auto ip = IpAddress::parse(*field);
  // An IPv4-mapped address is an IPv4 one to us; TCP6 may carry it.
  if (!ip || (family == IpAddress::Family::v4 && field->find(':') != std::string_view::npos) ||
      (family == IpAddress::Family::v6 && field->find(':') == std::string_view::npos)) {
    return bad_v1(fmt::format("Proxied {} address is invalid", which), quoted("address", *field))
        .error;
  }
  out = *ip;
  return {};
}

std::string take_port(std::optional<std::string_view> field, std::string_view which,
                      std::uint16_t& out) {
  // Dovecot calls the remote one local here, too.
  if (!field) return bad_v1("Field for proxied local port is missing").error;
  const auto port = decimal(*field, 1, 65535);
  if (!port) {
    return bad_v1(fmt::format("Proxied {} port is invalid", which), quoted("port", *field)).error;
  }
  out = static_cast<std::uint16_t>(*port);
  return {};
}

ProxyHeaderParse parse_line(std::string_view line) {
  ProxyHeaderParse out;
  out.status = Status::done;
  Fields fields(line);
  const auto protocol = fields.next();
  if (!protocol || protocol->empty()) return bad_v1("Field for proxied protocol is missing");
  if (*protocol == "UNKNOWN") return out;  // whatever follows is to be ignored
  if (*protocol != "TCP4" && *protocol != "TCP6") {
    return bad_v1("Unknown proxied protocol", quoted("protocol", *protocol));
  }
  const auto family = *protocol == "TCP4" ? IpAddress::Family::v4 : IpAddress::Family::v6;
  ProxyHeader& h = out.header;
  std::string error = take_address(fields.next(), "remote", family, h.source.ip);
  if (error.empty()) error = take_address(fields.next(), "local", family, h.destination.ip);
  if (error.empty()) error = take_port(fields.next(), "remote", h.source.port);
  if (error.empty()) error = take_port(fields.next(), "local", h.destination.port);
  if (!error.empty()) return bad(std::move(error));
  if (const auto extra = fields.next()) {
    // The spelling is Dovecot's.
    return bad_v1("Header line has spurius extra field", quoted("field", *extra));
  }
  h.has_addresses = true;
  return out;
}

ProxyHeaderParse parse_v1(std::string_view bytes) {
  const std::size_t end = bytes.substr(0, kMaxProxyHeaderV1).find("\r\n");
  if (end == std::string_view::npos) {
    if (bytes.size() >= kMaxProxyHeaderV1) {
      return bad("haproxy: Client disconnected: Too long header (");
    }
    return {};
  }
  ProxyHeaderParse out = parse_line(bytes.substr(kWord.size(), end - kWord.size()));
  if (out.status == Status::done) out.consumed = end + 2;
  return out;
}

// --- version 2 ---

ProxyHeaderParse bad_v2(std::string_view what, std::string_view name = {}, unsigned value = 0) {
  return bad(fmt::format("haproxy(v2): Client disconnected: {} ({}", what,
                         name.empty() ? "" : fmt::format("{}={:02x}, ", name, value)));
}

/// One type-length-value after another.
class Tlvs {
 public:
  explicit Tlvs(std::string_view bytes) : bytes_(bytes) {}
  bool at_end() const noexcept { return at_ == bytes_.size(); }
  std::size_t position() const noexcept { return at_; }
  /// False if it is truncated.
  bool next(unsigned& type, std::string_view& value) noexcept {
    constexpr std::size_t kHead = 3;
    if (bytes_.size() - at_ < kHead) return false;
    const std::size_t size = word_at(bytes_, at_ + 1);
    if (bytes_.size() - at_ - kHead < size) return false;
    type = byte_at(bytes_, at_);
    value = bytes_.substr(at_ + kHead, size);
    at_ += kHead + size;
    return true;
  }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

/// @return what is wrong; empty if nothing is
std::string take_ssl(std::string_view value, ProxyHeader& header) {
  constexpr std::size_t kHead = 5;  // what the client has, and how the certificate was found
  if (value.size() < kHead) return "get_ssl_tlv(0) failed: Truncated data";
  const unsigned client = byte_at(value, 0);
  const bool verified = value.substr(1, kHead - 1) == std::string_view("\0\0\0\0", 4);
  header.tls = (client & kSslClientTls) != 0;
  // Without a certificate "verified" means that none was asked for.
  header.valid_certificate = header.tls && verified && (client & kSslClientCertificate) != 0;
  header.common_name.clear();
  Tlvs tlvs(value.substr(kHead));
  while (!tlvs.at_end()) {
    unsigned type = 0;
    std::string_view text;
    const std::size_t at = tlvs.position();
    if (!tlvs.next(type, text)) return fmt::format("get_ssl_tlv({}) failed: Truncated data", at);
    if (type == kTlvSslCommonName && header.valid_certificate) header.common_name = text;
  }
  return {};
}

std::string take_tlvs(std::string_view bytes, ProxyHeader& header) {
  Tlvs tlvs(bytes);
  while (!tlvs.at_end()) {
    unsigned type = 0;
    std::string_view value;
    const std::size_t at = tlvs.position();
    if (!tlvs.next(type, value)) return fmt::format("get_tlv({}) failed: Truncated data", at);
    if (type == kTlvAlpn) header.alpn = value.substr(0, kMaxName);
    if (type == kTlvAuthority) header.authority = value.substr(0, kMaxName);
    if (type != kTlvSsl) continue;
    if (std::string error = take_ssl(value, header); !error.empty()) return error;
  }
  return {};
}

/// Both addresses, then both ports, in network order.
void take_addresses(std::string_view payload, IpAddress::Family family, std::size_t size,
                    ProxyHeader& header) {
  header.source = {IpAddress::from_bytes(family, payload.data()),
                   static_cast<std::uint16_t>(word_at(payload, 2 * size))};
  header.destination = {IpAddress::from_bytes(family, payload.data() + size),
                        static_cast<std::uint16_t>(word_at(payload, 2 * size + 2))};
  header.has_addresses = true;
}

/// What stands behind the fixed part of a header with the command PROXY.
ProxyHeaderParse parse_proxied(unsigned family_and_type, std::string_view payload) {
  ProxyHeaderParse out;
  out.status = Status::done;
  const unsigned type = family_and_type & 0x0FU;
  const unsigned family = family_and_type >> 4U;
  if (type != kStream) return bad_v2("Not using TCP", "type", type);
  std::size_t addresses = 0;  // bytes
  if (family == kFamilyInet || family == kFamilyInet6) {
    const bool v4 = family == kFamilyInet;
    const std::size_t one = v4 ? 4 : 16;
    addresses = 2 * one + 4;
    if (payload.size() < addresses) {
      return bad_v2(v4 ? "IPv4 data is incomplete" : "IPv6 data is incomplete");
    }
    take_addresses(payload, v4 ? IpAddress::Family::v4 : IpAddress::Family::v6, one, out.header);
  } else if (family == kFamilyUnspecified || family == kFamilyUnix) {
    out.header.remark =
        fmt::format("haproxy(v2): Unsupported address family (family={:02x}, ", family);
    if (family == kFamilyUnix) addresses = std::min(kUnixAddresses, payload.size());
  } else {
    return bad_v2("Unknown address family", "family", family);
  }
  if (const std::string error = take_tlvs(payload.substr(addresses), out.header); !error.empty()) {
    return bad_v2("Invalid TLV: " + error, "cmd", kCommandProxy);
  }
  return out;
}

ProxyHeaderParse parse_v2(std::string_view bytes) {
  if (bytes.size() < kFixedSize) return {};
  const unsigned version = byte_at(bytes, 12) >> 4U;
  const unsigned command = byte_at(bytes, 12) & 0x0FU;
  if (version != kVersion2) {
    return bad(fmt::format(
        "haproxy: Client disconnected: Unsupported protocol version (version={:02x}, ", version));
  }
  if (command != kCommandLocal && command != kCommandProxy) {
    return bad_v2("Invalid command", "cmd", command);
  }
  const std::size_t size = kFixedSize + word_at(bytes, 14);
  if (size > kMaxProxyHeaderV2) return bad("haproxy: Client disconnected: Too long header (");
  if (bytes.size() < size) return {};
  ProxyHeaderParse out;
  if (command == kCommandLocal) {
    out.status = Status::done;
    out.header.local = true;
  } else {
    out = parse_proxied(byte_at(bytes, 13), bytes.substr(kFixedSize, size - kFixedSize));
  }
  if (out.status == Status::done) out.consumed = size;
  return out;
}

// --- writing ---

void append_word(std::string& out, std::size_t word) {
  out += static_cast<char>(word >> 8U & 0xFFU);
  out += static_cast<char>(word & 0xFFU);
}

void append_tlv(std::string& out, unsigned type, std::string_view value) {
  out += static_cast<char>(type);
  append_word(out, value.size());
  out += value;
}

/// 16 bytes, IPv4 addresses as IPv4-mapped ones (RFC 4291 section 2.5.5.2).
std::string as_v6(const IpAddress& ip) {
  std::string out;
  if (ip.is_v4()) out.append(10, '\0').append(2, '\xff');
  out += ip.bytes();
  return out;
}

std::string write_v1(const ProxyHeader& header, bool v4) {
  const auto text = [v4](const IpAddress& ip) {
    return !v4 && ip.is_v4() ? "::ffff:" + ip.text() : ip.text();
  };
  return fmt::format("{}{} {} {} {} {}\r\n", kWord, v4 ? "TCP4" : "TCP6", text(header.source.ip),
                     text(header.destination.ip), header.source.port, header.destination.port);
}

std::string write_v2(const ProxyHeader& header, bool v4, std::string_view unique_id) {
  std::string payload;
  for (const IpAddress& ip : {header.source.ip, header.destination.ip}) {
    payload += v4 ? std::string(ip.bytes()) : as_v6(ip);
  }
  append_word(payload, header.source.port);
  append_word(payload, header.destination.port);
  if (!header.authority.empty()) {
    append_tlv(payload, kTlvAuthority, std::string_view(header.authority).substr(0, kMaxName));
  }
  if (!unique_id.empty()) append_tlv(payload, kTlvUniqueId, unique_id.substr(0, kMaxUniqueId));
  if (header.tls) {
    // No certificate that was found good: a verify that is not 0.
    append_tlv(payload, kTlvSsl, std::string_view("\x01\0\0\0\x01", 5));
  }
  std::string out(kSignature);
  out += static_cast<char>(kVersion2 << 4U | kCommandProxy);
  out += static_cast<char>((v4 ? kFamilyInet : kFamilyInet6) << 4U | kStream);
  append_word(out, payload.size());
  return out + payload;
}

/// True if one begins with the other.
bool begins_like(std::string_view bytes, std::string_view word) noexcept {
  const std::size_t size = std::min(bytes.size(), word.size());
  return bytes.substr(0, size) == word.substr(0, size);
}

}  // namespace

ProxyHeaderParse parse_proxy_header(std::string_view bytes) {
  const bool v1 = begins_like(bytes, kWord);
  const bool v2 = begins_like(bytes, kSignature);
  if (v1 && bytes.size() >= kWord.size()) return parse_v1(bytes);
  if (v2 && bytes.size() >= kSignature.size()) return parse_v2(bytes);
  if (v1 || v2) return {};
  return bad("haproxy: Client disconnected: Failed to read valid HAproxy data (");
}

std::string write_proxy_header(unsigned version, const ProxyHeader& header,
                               std::string_view unique_id) {
  if (!header.source.ip || !header.destination.ip) {
    if (version == 1) return std::string(kWord) + "UNKNOWN\r\n";
    std::string local(kSignature);
    local += static_cast<char>(kVersion2 << 4U | kCommandLocal);
    return local.append(3, '\0');
  }
  const bool v4 = header.source.ip.is_v4() && header.destination.ip.is_v4();
  return version == 1 ? write_v1(header, v4) : write_v2(header, v4, unique_id);
}

}  // namespace postern::wire
