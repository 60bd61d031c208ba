#include "config/snapshot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "lib/text.h"

// The form: a magic line, then records. A record is a letter, a byte that counts its fields, and
// each field as four bytes of length (most significant first) and its bytes. Values travel as the
// operator's text and are parsed again by the child, with the code that parsed them in the master.
namespace postern::config {
namespace {

constexpr std::string_view kMagic = "postern-settings 1\n";
constexpr std::size_t kMaxBytes = 1024UL * 1024 * 1024;  // of a snapshot

enum class Tag : char {
  service = 'S',   // key value path
  listener = 'L',  // see write_listener()
  block = 'B',     // protocol protocol_not local local_names remote
  setting = 'V',   // key value path, of the block before
  passdb = 'P',    // name protocol
  userdb = 'U',    // name protocol
  key = 'K',       // key value, of the database before
};

Error damaged(std::string_view what) {
  return Error{EBADMSG, fmt::format("the settings passed by the master are damaged ({})", what)};
}

class Writer {
 public:
  Writer() { out_ += kMagic; }

  template <class... Fields>
  void record(Tag tag, const Fields&... fields) {
    out_ += static_cast<char>(tag);
    out_ += static_cast<char>(sizeof...(fields));
    (field(fields), ...);
  }
  WipingBuffer take() { return std::move(out_); }

 private:
  void field(std::string_view bytes) {
    const auto n = static_cast<std::uint32_t>(bytes.size());
    for (const unsigned shift : {24U, 16U, 8U, 0U}) out_ += static_cast<char>(n >> shift & 255U);
    out_ += bytes;
  }
  WipingBuffer out_;
};

/// One record; the views borrow the bytes read.
struct Record {
  Tag tag = Tag::service;
  std::vector<std::string_view> fields;
  std::string_view field(std::size_t i) const noexcept {
    return i < fields.size() ? fields[i] : std::string_view{};
  }
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) noexcept : rest_(bytes) {}
  bool done() const noexcept { return rest_.empty(); }

  std::optional<Record> next() {
    Record record;
    if (rest_.size() < 2) return std::nullopt;
    record.tag = static_cast<Tag>(rest_[0]);
    const auto count = static_cast<unsigned char>(rest_[1]);
    rest_.remove_prefix(2);
    for (unsigned i = 0; i < count; i++) {
      if (rest_.size() < 4) return std::nullopt;
      std::size_t n = 0;
      for (std::size_t k = 0; k < 4; k++) n = n << 8U | static_cast<unsigned char>(rest_[k]);
      rest_.remove_prefix(4);
      if (n > rest_.size()) return std::nullopt;
      record.fields.push_back(rest_.substr(0, n));
      rest_.remove_prefix(n);
    }
    return record;
  }

 private:
  std::string_view rest_;
};

std::string_view flag(bool on) noexcept {
  return on ? "1" : "0";
}

std::string join(const std::vector<Network>& networks) {
  return kinds::networks::print(networks, {});
}

std::vector<Network> networks_of(std::string_view text) {
  std::vector<Network> out;
  for (const std::string_view word : words(text)) {
    if (const auto network = Network::parse(word)) out.push_back(*network);
  }
  return out;
}

void write_service(const ServiceSettings& service, Writer& out) {
  out.record(Tag::service, std::string_view("name"), service.name);
#define SETTING(kind, name, default_text, choices, help) \
  out.record(Tag::service, std::string_view(#name), kinds::kind::print(service.name, choices));
#include "config/settings-service.def"
#undef SETTING
}

void write_listener(const SocketInfo& s, Writer& out) {
  out.record(Tag::listener, flag(s.kind == ListenerSettings::Kind::inet), s.name, flag(s.ssl),
             flag(s.haproxy), flag(s.reuse_port), s.endpoint.ip.text(),
             std::to_string(s.endpoint.port), flag(s.any_address), s.path, std::to_string(s.mode),
             s.user, s.group);
}

SocketInfo read_listener(const Record& record) {
  SocketInfo s;
  const auto inet = ListenerSettings::Kind::inet;
  s.kind = record.field(0) == "1" ? inet : ListenerSettings::Kind::unix_socket;
  s.name = record.field(1);
  s.ssl = record.field(2) == "1";
  s.haproxy = record.field(3) == "1";
  s.reuse_port = record.field(4) == "1";
  s.endpoint.ip = IpAddress::parse(record.field(5)).value_or(IpAddress{});
  s.endpoint.port = static_cast<std::uint16_t>(decimal(record.field(6), 0, 65535).value_or(0));
  s.any_address = record.field(7) == "1";
  s.path = record.field(8);
  s.mode = static_cast<unsigned>(decimal(record.field(9), 0, 0777).value_or(0));
  s.user = record.field(10);
  s.group = record.field(11);
  return s;
}

Filter read_filter(const Record& record) {
  Filter filter;
  filter.protocol = record.field(0);
  filter.protocol_not = record.field(1) == "1";
  filter.local = networks_of(record.field(2));
  for (const std::string_view name : words(record.field(3))) filter.local_names.emplace_back(name);
  filter.remote = networks_of(record.field(4));
  return filter;
}

template <class Database>
void write_database(Tag tag, const Database& database, Writer& out) {
  out.record(tag, database.name, database.protocol);
  for (const KeyValue& pair : database.raw) out.record(Tag::key, pair.key, pair.value.reveal());
}

template <class Database>
Status add_key(Database& database, std::string_view key, std::string_view value) {
  const Result<bool> assigned = assign(database, key, Value(value));
  if (!assigned.ok()) return damaged(assigned.error().text);
  if (!assigned.value()) return damaged(key);
  database.raw.push_back({std::string(key), Secret(value)});
  return Done{};
}

/// Puts records together into a Snapshot.
class Assembler {
 public:
  Status take(const Record& record) {
    switch (record.tag) {
      case Tag::service:
        return service(record);
      case Tag::listener:
        out.listeners.push_back(read_listener(record));
        return Done{};
      case Tag::block:
        out.blocks.push_back({read_filter(record), {}});
        return Done{};
      case Tag::setting:
        if (out.blocks.empty()) return damaged("a setting without a block");
        out.blocks.back().settings.push_back(
            {std::string(record.field(0)), Value(record.field(1), std::string(record.field(2)))});
        return Done{};
      case Tag::passdb:
        out.passdbs.emplace_back();
        out.passdbs.back().name = record.field(0);
        out.passdbs.back().protocol = record.field(1);
        in_userdb_ = false;
        return Done{};
      case Tag::userdb:
        out.userdbs.emplace_back();
        out.userdbs.back().name = record.field(0);
        out.userdbs.back().protocol = record.field(1);
        in_userdb_ = true;
        return Done{};
      case Tag::key:
        return key(record);
    }
    return damaged("an unknown record");
  }

  Snapshot out;

 private:
  Status service(const Record& record) {
    if (record.field(0) == "name") {
      out.service.name = record.field(1);
      return Done{};
    }
    const Result<bool> assigned = assign(out.service, record.field(0), Value(record.field(1)));
    if (!assigned.ok()) return damaged(assigned.error().text);
    if (!assigned.value()) return damaged(record.field(0));
    return Done{};
  }

  Status key(const Record& record) {
    if (in_userdb_ && !out.userdbs.empty()) {
      return add_key(out.userdbs.back(), record.field(0), record.field(1));
    }
    if (!in_userdb_ && !out.passdbs.empty()) {
      return add_key(out.passdbs.back(), record.field(0), record.field(1));
    }
    return damaged("a key without a database");
  }

  bool in_userdb_ = false;
};

/// Applies what of `block` is a member of `S`; the values were checked when they were loaded.
template <class S>
void apply(const SettingsBlock& block, S& settings) {
  for (const Assignment& a : block.settings) {
    static_cast<void>(assign(settings, a.key, a.value).ok());
  }
}

template <class S>
S global_settings(const std::vector<SettingsBlock>& blocks) {
  S settings;
  if (!blocks.empty() && blocks.front().filter.terms() == 0) apply(blocks.front(), settings);
  return settings;
}

/// Which blocks match, one byte each.
void mark_matching(const std::vector<SettingsBlock>& blocks, std::string_view protocol,
                   const IpAddress& local_ip, const IpAddress& remote_ip,
                   std::string_view local_name, std::string& out) {
  out.clear();
  for (const SettingsBlock& block : blocks) {
    out += block.filter.matches(protocol, local_ip, remote_ip, local_name) ? '1' : '0';
  }
}

/// The settings the marked blocks give together.
template <class S>
std::shared_ptr<const S> build_from(const std::vector<SettingsBlock>& blocks,
                                    const std::string& matching) {
  auto settings = std::make_shared<S>();
  for (std::size_t i = 0; i < blocks.size() && i < matching.size(); i++) {
    if (matching[i] == '1') apply(blocks[i], *settings);
  }
  return settings;
}

// Which combinations occur is up to the clients; a full cache starts again. Beside the blocks
// themselves, which with_certificates() leaves here.
constexpr std::size_t kMaxCached = 4096;

/// RFC 6125: a leading "*." stands for exactly one label.
bool name_matches(std::string_view pattern, std::string_view name) noexcept {
  if (!pattern.starts_with("*.")) return same_text(pattern, name);
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 &&
         same_text(name.substr(dot + 1), pattern.substr(2));
}

}  // namespace

std::string SocketInfo::text() const {
  if (kind == ListenerSettings::Kind::unix_socket) return path;
  return endpoint.text();
}

bool Filter::matches(std::string_view protocol_in, const IpAddress& local_ip,
                     const IpAddress& remote_ip, std::string_view local_name) const noexcept {
  if (!protocol.empty() && same_text(protocol, protocol_in) == protocol_not) return false;
  if (!local.empty() && !any_contains(local, local_ip)) return false;
  if (!remote.empty() && !any_contains(remote, remote_ip)) return false;
  if (local_names.empty()) return true;
  return std::any_of(local_names.begin(), local_names.end(),
                     [&](const std::string& pattern) { return name_matches(pattern, local_name); });
}

unsigned Filter::terms() const noexcept {
  return (protocol.empty() ? 0U : 1U) + (local.empty() ? 0U : 1U) +
         (local_names.empty() ? 0U : 1U) + (remote.empty() ? 0U : 1U);
}

std::string Filter::text() const {
  std::string out;
  const auto add = [&out](std::string_view word, const std::string& argument) {
    if (argument.empty()) return;
    if (!out.empty()) out += ' ';
    out.append(word).append(" ").append(argument);
  };
  add("protocol", protocol.empty() ? "" : (protocol_not ? "!" : "") + protocol);
  add("local", join(local));
  add("local_name", fmt::format("{}", fmt::join(local_names, " ")));
  add("remote", join(remote));
  return out;
}

WipingBuffer Snapshot::serialize() const {
  Writer out;
  write_service(service, out);
  for (const SocketInfo& s : listeners) write_listener(s, out);
  for (const SettingsBlock& block : blocks) {
    const Filter& f = block.filter;
    out.record(Tag::block, f.protocol, flag(f.protocol_not), join(f.local),
               fmt::format("{}", fmt::join(f.local_names, " ")), join(f.remote));
    for (const Assignment& a : block.settings) {
      out.record(Tag::setting, a.key, a.value.view(), a.value.path);
    }
  }
  for (const PassdbSettings& db : passdbs) write_database(Tag::passdb, db, out);
  for (const UserdbSettings& db : userdbs) write_database(Tag::userdb, db, out);
  return out.take();
}

Result<Snapshot> Snapshot::parse(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return damaged("no magic line");
  bytes.remove_prefix(kMagic.size());
  Reader reader(bytes);
  Assembler assembler;
  while (!reader.done()) {
    const auto record = reader.next();
    if (!record) return damaged("cut short");
    const Status status = assembler.take(*record);
    if (!status.ok()) return status.error();
  }
  return std::move(assembler.out);
}

Result<Snapshot> Snapshot::load(int fd) {
  WipingBuffer bytes;
  while (bytes.size() <= kMaxBytes) {
    constexpr std::size_t kStep = 64UL * 1024;
    char* room = bytes.reserve(kStep);
    const ssize_t n = pread(fd, room, kStep, static_cast<off_t>(bytes.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read the settings passed by the master", errno);
    if (n == 0) return parse(bytes.view());
    bytes.commit(static_cast<std::size_t>(n));
  }
  return damaged("too long");
}

CommonSettings Snapshot::common() const {
  return global_settings<CommonSettings>(blocks);
}
LogSettings Snapshot::log() const {
  return global_settings<LogSettings>(blocks);
}
AnvilSettings Snapshot::anvil() const {
  return global_settings<AnvilSettings>(blocks);
}

LoginConfig::LoginConfig(Snapshot&& snapshot) : snapshot_(std::move(snapshot)) {
  for (const SettingsBlock& block : snapshot_.blocks) {
    by_local_name_ = by_local_name_ || !block.filter.local_names.empty();
  }
}

std::shared_ptr<const LoginSettings> LoginConfig::build(const std::string& matching) {
  const auto found = cache_.find(matching);
  if (found != cache_.end()) return found->second;
  if (cache_.size() >= kMaxCached + snapshot_.blocks.size()) cache_.clear();
  auto settings = build_from<LoginSettings>(snapshot_.blocks, matching);
  cache_.emplace(matching, settings);
  return settings;
}

std::shared_ptr<const LoginSettings> LoginConfig::select(std::string_view protocol,
                                                         const IpAddress& local_ip,
                                                         const IpAddress& remote_ip,
                                                         std::string_view local_name) {
  mark_matching(snapshot_.blocks, protocol, local_ip, remote_ip, local_name, scratch_);
  return build(scratch_);
}

std::shared_ptr<const LoginSettings> LoginConfig::global(std::string_view protocol) {
  return select(protocol, {}, {}, {});
}

std::vector<std::shared_ptr<const LoginSettings>> LoginConfig::with_certificates(
    std::string_view protocol) {
  std::vector<std::shared_ptr<const LoginSettings>> out{global(protocol)};
  std::string base;
  mark_matching(snapshot_.blocks, protocol, {}, {}, {}, base);
  for (std::size_t i = 0; i < snapshot_.blocks.size(); i++) {
    const SettingsBlock& block = snapshot_.blocks[i];
    const bool for_protocol =
        block.filter.protocol.empty() ||
        same_text(block.filter.protocol, protocol) != block.filter.protocol_not;
    const bool has_certificate =
        std::any_of(block.settings.begin(), block.settings.end(),
                    [](const Assignment& a) { return a.key == "ssl_cert"; });
    if (base[i] == '1' || !for_protocol || !has_certificate) continue;
    std::string matching = base;
    matching[i] = '1';
    out.push_back(build(matching));
  }
  return out;
}

AuthConfig::AuthConfig(Snapshot&& snapshot) : snapshot_(std::move(snapshot)) {}

std::shared_ptr<const AuthSettings> AuthConfig::select(std::string_view protocol) {
  mark_matching(snapshot_.blocks, protocol, {}, {}, {}, scratch_);
  const auto found = cache_.find(scratch_);
  if (found != cache_.end()) return found->second;
  auto settings = build_from<AuthSettings>(snapshot_.blocks, scratch_);
  cache_.emplace(scratch_, settings);
  return settings;
}

}  // namespace postern::config
