// Reads postern.conf and what it includes into sections, then has them resolved and checked.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "config/files.h"
#include "config/ini-reader.h"
#include "config/sections.h"
#include "config/service-defaults.h"
#include "config/suggest.h"
#include "lib/check.h"
#include "lib/text.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxIncludeDepth = 64;
constexpr std::size_t kMaxFiles = 10000;

constexpr std::array<Section::Kind, 6> kKinds{
    Section::Kind::block,         Section::Kind::service, Section::Kind::inet_listener,
    Section::Kind::unix_listener, Section::Kind::passdb,  Section::Kind::userdb};

const SettingRow* find_row(Section::Kind kind, std::string_view key) {
  for (const Group group : groups_of(kind)) {
    if (const SettingRow* row = find_setting(group, key)) return row;
  }
  return nullptr;
}

std::string_view place_of(Section::Kind kind) {
  switch (kind) {
    case Section::Kind::block:
      return "before the first section";
    case Section::Kind::service:
      return "in [service NAME]";
    case Section::Kind::inet_listener:
      return "in [inet_listener SERVICE NAME]";
    case Section::Kind::unix_listener:
      return "in [unix_listener SERVICE PATH]";
    case Section::Kind::passdb:
      return "in [passdb NAME]";
    case Section::Kind::userdb:
      return "in [userdb NAME]";
  }
  return {};
}

const UnsupportedSetting* find_unsupported(std::string_view key) {
  for (const UnsupportedSetting& setting : unsupported_settings()) {
    if (setting.name == key) return &setting;
  }
  return nullptr;
}

/// True for every way to write the harmless value: "no" is also 0, n and nothing at all.
bool is_harmless(const UnsupportedSetting& setting, std::string_view value) {
  if (value.empty() || same_text(value, setting.harmless)) return true;
  const Result<bool> flag = kinds::boolean::parse(Value(value), {});
  return setting.harmless == "no" && flag.ok() && !flag.value();
}

/// Why a key cannot stand in a section, and where it could.
std::string unknown_key(Section::Kind kind, std::string_view key) {
  const std::string shown = log_safe_line(key, 80);
  for (const Section::Kind other : kKinds) {
    if (other != kind && find_row(other, key) != nullptr) {
      return fmt::format("Unknown setting here: {} (it stands {})", shown, place_of(other));
    }
  }
  std::vector<std::string_view> candidates;
  if (kind == Section::Kind::block) candidates.emplace_back("include");
  for (const Group group : groups_of(kind)) {
    for (const SettingRow& row : setting_rows(group)) candidates.push_back(row.name);
  }
  const std::string_view near = closest(key, candidates);
  if (near.empty()) return "Unknown setting: " + shown;
  return fmt::format("Unknown setting: {} (did you mean {}?)", shown, near);
}

}  // namespace

class Loader {
 public:
  explicit Loader(bool may_read_files) noexcept : may_read_files_(may_read_files) {
    impl_->sections.emplace_back();  // the global settings
    for (const DefaultService& service : default_services()) add_builtin(service);
    for (std::size_t i = 0; i < impl_->sections.size(); i++) {
      const Section& s = impl_->sections[i];
      index_.emplace(identity(s.kind, s.service, s.name, s.filter), i);
    }
  }

  void read_path(const std::string& path) {
    begin(path);
    read_included(path, Where{path, 0});
  }

  void read_text(std::string_view text, const std::string& name) {
    begin(name);
    files_.push_back(name);
    stack_.push_back(name);
    read(text, name);
    stack_.pop_back();
  }

  Loaded finish(bool check_host) {
    check_unknown_services();
    resolve(*impl_, problems_);
    check_databases(*impl_, problems_);
    check_tls(*impl_, problems_);
    check_submission(*impl_, problems_);
    if (check_host) check_descriptors(*impl_, problems_);
    Loaded out;
    const bool good = !problems_.has_errors();
    out.problems = problems_.take(files_);
    if (good) out.configuration = Configuration(std::move(impl_));
    return out;
  }

 private:
  /// What has no place of its own is told of the file as a whole.
  void begin(const std::string& path) {
    impl_->path = path;
    for (Section& s : impl_->sections) s.where.file = path;
  }

  // -- sections that are there without being mentioned --

  void add_builtin(const DefaultService& service) {
    if (service.name != kMasterService) {
      Section& s = impl_->sections.emplace_back();
      s.kind = Section::Kind::service;
      s.service = service.name;
      add_defaults(s, service.keys);
    }
    for (const DefaultListener& listener : service.listeners) {
      Section& s = impl_->sections.emplace_back();
      s.kind = listener.kind == "inet_listener" ? Section::Kind::inet_listener
                                                : Section::Kind::unix_listener;
      s.service = service.name;
      s.name = listener.name;
      add_defaults(s, listener.keys);
    }
  }

  static void add_defaults(Section& s, std::span<const DefaultKey> keys) {
    s.builtin = true;
    for (const DefaultKey& key : keys) {
      const SettingRow* const row = find_row(s.kind, key.key);
      POSTERN_CHECK(row != nullptr);
      s.defaults.push_back({row, Value(key.value), {}});
    }
  }

  // -- files --

  void read_included(const std::string& path, const Where& from) {
    const std::string real = real_path(path);
    if (std::find(stack_.begin(), stack_.end(), real) != stack_.end()) {
      problems_.error(
          from, fmt::format("include loop: {} is being read already", log_safe_line(path, 200)));
      return;
    }
    if (stack_.size() >= kMaxIncludeDepth) {
      problems_.error(from, fmt::format("includes are nested more than {} deep", kMaxIncludeDepth));
      return;
    }
    if (files_.size() >= kMaxFiles) {
      problems_.error(from, fmt::format("more than {} files are included", kMaxFiles));
      return;
    }
    const Result<WipingBuffer> text = read_file(path);
    if (!text.ok()) {
      problems_.error(from, text.error().text);
      return;
    }
    files_.push_back(path);
    stack_.push_back(real);
    read(text.value().view(), path);
    stack_.pop_back();
  }

  /// Every file begins before its own first section.
  void read(std::string_view text, const std::string& file) {
    const IniText ini = read_ini(text);
    for (const IniProblem& p : ini.problems) {
      const Where where{file, p.line};
      p.warning ? problems_.warning(where, p.what) : problems_.error(where, p.what);
    }
    std::optional<std::size_t> section = 0;  // nothing: its keys are passed over
    for (const IniLine& line : ini.lines) {
      const Where where{file, line.line};
      if (line.is_section) {
        section = line.text.empty() ? std::nullopt : open_section(line.text, where);
      } else if (line.text == "include") {
        include(line, where);
      } else if (section) {
        add_entry(*section, line, where);
      }
    }
  }

  void include(const IniLine& line, const Where& where) {
    if (!may_read_files_) {
      problems_.error(where, "include: no files may be read here");
      return;
    }
    const std::string_view pattern = line.value.reveal();
    if (pattern.empty()) {
      problems_.error(where, "include: names no file (as conf.d/*.conf)");
      return;
    }
    const auto found = matching_files(relative_to(where.file, pattern));
    if (!found.ok()) {
      problems_.error(where, "include: " + found.error().text);
      return;
    }
    for (const std::string& path : found.value()) read_included(path, where);
  }

  // -- sections --

  std::optional<std::size_t> open_section(std::string_view text, const Where& where) {
    const Result<Head> parsed = parse_head(text);
    if (!parsed.ok()) {
      problems_.error(where, parsed.error().text);
      return std::nullopt;
    }
    const Head& head = parsed.value();
    if (!head.note.empty()) problems_.warning(where, head.note);
    if (head.ignored) return std::nullopt;
    const auto [known, is_new] = index_.emplace(
        identity(head.kind, head.service, head.name, head.filter), impl_->sections.size());
    if (!is_new) {
      Section& s = impl_->sections[known->second];
      const bool database = s.kind == Section::Kind::passdb || s.kind == Section::Kind::userdb;
      if (database) {
        problems_.error(where,
                        fmt::format("the {} {} stands in {}:{} already; give this one another name",
                                    s.kind == Section::Kind::passdb ? "passdb" : "userdb",
                                    log_safe_line(s.name, 80), s.where.file, s.where.line));
        return std::nullopt;
      }
      if (s.where.line == 0) s.where = where;
      return known->second;
    }
    Section& s = impl_->sections.emplace_back();
    s.kind = head.kind;
    s.filter = head.filter;
    s.service = head.service;
    s.name = head.name;
    s.protocol = head.protocol;
    s.where = where;
    return known->second;
  }

  /// What makes two heads the same section. (A name holds no line end.)
  static std::string identity(Section::Kind kind, const std::string& service,
                              const std::string& name, const Filter& filter) {
    return fmt::format("{}\n{}\n{}\n{}", static_cast<unsigned>(kind), service, name, filter.text());
  }

  void check_unknown_services() {
    for (const Section& s : impl_->sections) {
      if (s.builtin || s.service.empty()) continue;
      const Section* const service = impl_->find(Section::Kind::service, s.service, {});
      const bool known = s.service == kMasterService ||
                         (service != nullptr &&
                          (service->builtin || service->find_given("executable") != nullptr));
      if (known) continue;
      std::vector<std::string_view> names;
      for (const DefaultService& d : default_services()) names.push_back(d.name);
      const std::string_view near = closest(s.service, names);
      std::string what = "Unknown service: " + log_safe_line(s.service, 80);
      what += near.empty() ? " (a service of your own needs [service NAME] with an executable)"
                           : fmt::format(" (did you mean {}?)", near);
      problems_.error(s.where, std::move(what));
    }
  }

  // -- keys --

  void add_entry(std::size_t index, const IniLine& line, const Where& where) {
    Section& s = impl_->sections[index];
    const SettingRow* const row = find_row(s.kind, line.text);
    if (row == nullptr) {
      const UnsupportedSetting* const known =
          s.kind == Section::Kind::block ? find_unsupported(line.text) : nullptr;
      if (known != nullptr && known->refused && !is_harmless(*known, line.value.reveal())) {
        problems_.error(where, fmt::format("{} is not supported yet, and without it Postern would "
                                           "let through what it is to keep out; take it out if "
                                           "that is wanted",
                                           line.text));
      } else if (known != nullptr) {
        problems_.warning(where,
                          fmt::format("{} is not supported yet; it has no effect", line.text));
      } else {
        problems_.error(where, unknown_key(s.kind, line.text));
      }
      return;
    }
    if (const Entry* before = s.find_given(line.text)) {
      problems_.error(where, fmt::format("{} is set twice, first in {}:{}", line.text,
                                         before->where.file, before->where.line));
      return;
    }
    if (!allowed_in_filter(s, *row, where)) return;
    auto value = value_of(*row, line, where);
    if (!value) {
      s.refused.push_back(row->name);
      return;
    }
    const Result<std::string> checked = row->canonical(*value);
    if (!checked.ok()) {
      // A password may hold what looks like a %variable; the error must not quote it.
      const std::string why = row->secret ? "it holds an unknown or broken %variable (a percent "
                                            "sign is written %%)"
                                          : checked.error().text;
      problems_.error(where, fmt::format("{}: {}", line.text, why));
      s.refused.push_back(row->name);
      return;
    }
    s.given.push_back({row, std::move(*value), where});
  }

  bool allowed_in_filter(const Section& s, const SettingRow& row, const Where& where) {
    if (s.kind != Section::Kind::block || s.filter.terms() == 0) return true;
    if (!may_stand_in_filter(row.group)) {
      problems_.error(where, fmt::format("{} holds for everything; it stands before the first "
                                         "section",
                                         row.name));
      return false;
    }
    // Read once, before anybody has connected.
    constexpr std::array<std::string_view, 4> kOnce{"auth_mechanisms", "auth_worker_max_count",
                                                    "auth_socket_path", "login_access_sockets"};
    if (std::find(kOnce.begin(), kOnce.end(), row.name) != kOnce.end()) {
      problems_.error(where, fmt::format("{} holds for everything; it stands before the first "
                                         "section",
                                         row.name));
      return false;
    }
    const bool by_protocol_alone = s.filter.terms() == 1 && !s.filter.protocol.empty();
    if ((row.group == Group::auth || row.group == Group::login_auth) && !by_protocol_alone) {
      problems_.error(where, fmt::format("{} can only differ by [protocol NAME]: auth knows "
                                         "nothing else when it is asked",
                                         row.name));
      return false;
    }
    return true;
  }

  /// The value behind '=', with the content of the file it may name.
  std::optional<Value> value_of(const SettingRow& row, const IniLine& line, const Where& where) {
    std::string_view text = line.value.reveal();
    const bool names_file = !line.quoted && text.starts_with('<');
    const bool names_ca = row.content == Content::ca_file || row.content == Content::ca_dir;
    if (!names_file && (!names_ca || text.empty())) return Value(text);
    if (names_file) text = trim(text.substr(1));
    if (names_file && text == "hidden>") {
      problems_.error(where, fmt::format("{}: <hidden> is what postern -n shows instead of a "
                                         "secret; put the secret here",
                                         row.name));
      return std::nullopt;
    }
    if (text.empty()) {
      problems_.error(where, fmt::format("{}: no file is named behind '<'", row.name));
      return std::nullopt;
    }
    const std::string path = relative_to(where.file, text);
    if (!may_read_files_) {
      problems_.error(where, fmt::format("{}: no files may be read here", row.name));
      return std::nullopt;
    }
    Result<Value> value = read_value(row, path);
    if (value.ok()) return std::move(value).value();
    problems_.error(where, fmt::format("{}: {}", row.name, value.error().text));
    return std::nullopt;
  }

  bool may_read_files_;
  std::unique_ptr<ConfigurationImpl> impl_ = std::make_unique<ConfigurationImpl>();
  Problems problems_;
  std::unordered_map<std::string, std::size_t> index_;  // of sections, by identity()
  std::vector<std::string> files_;                      // in the order they were opened
  std::vector<std::string> stack_;                      // being read, without links
};

Loaded load(const std::string& path) {
  Loader loader(true);
  loader.read_path(absolute_path(path));
  return loader.finish(true);
}

Loaded load_text(std::string_view text, const std::string& name, bool may_read_files) {
  Loader loader(may_read_files);
  loader.read_text(text, name);
  return loader.finish(false);
}

}  // namespace postern::config
