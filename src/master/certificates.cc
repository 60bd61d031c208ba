#include "master/certificates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <set>
#include <utility>

#include "io/certificate.h"
#include "lib/log.h"
#include "lib/text.h"
#include "master/setup.h"
#include "master/spawn.h"

namespace postern::master {
namespace {

using std::chrono::system_clock;

constexpr std::chrono::hours kWarnEvery{24};
constexpr unsigned kMostWaits = 6;  // in a row, for files that are still being written
constexpr std::string_view kStays = "; what was read before stays in use";

void add_row(const config::FileText& pem, const std::string& where,
             std::vector<CertificateRow>& out) {
  if (pem.empty()) return;
  const auto facts = io::certificate_facts(pem.reveal());
  if (!facts.ok()) return;  // one that cannot be read has been refused
  CertificateRow row;
  row.file = pem.path;
  row.where = where;
  row.names = facts.value().names;
  row.key = facts.value().key;
  row.issuer = facts.value().issuer;
  row.not_before = facts.value().not_before;
  row.not_after = facts.value().not_after;
  const bool known = std::any_of(out.begin(), out.end(), [&row](const CertificateRow& other) {
    return other.file == row.file && other.names == row.names && other.not_after == row.not_after;
  });
  if (!known) out.push_back(std::move(row));
}

/// "(mail.example.com, *.example.org and 3 more)"
std::string shown_names(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kMost; i++) {
    out.append(out.empty() ? "" : ", ").append(log_safe_line(names[i], 100));
  }
  if (names.size() > kMost) out += fmt::format(" and {} more", names.size() - kMost);
  return out.empty() ? "no names" : out;
}

}  // namespace

std::string utc_text(system_clock::time_point time) {
  const std::time_t seconds = system_clock::to_time_t(time);
  std::tm parts{};
  char text[40] = "";
  if (::gmtime_r(&seconds, &parts) != nullptr) {
    static_cast<void>(std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts));
  }
  return text;
}

std::vector<CertificateRow> certificates_of(const config::Configuration& configuration) {
  std::vector<CertificateRow> out;
  for (const auto& entry : configuration.tls()) {
    if (entry.settings->ssl == config::Ssl::no) continue;
    add_row(entry.settings->ssl_cert, entry.where, out);
    add_row(entry.settings->ssl_alt_cert, entry.where, out);
  }
  return out;
}

CertificateWatch::CertificateWatch(io::Loop& loop, Host& host)
    : loop_(loop), host_(host), job_(loop) {
  look_.start(loop_, io::Callback<>::to<&CertificateWatch::look>(*this));
  warn_.start(loop_, io::Callback<>::to<&CertificateWatch::warn>(*this));
  first_.start(loop_, io::Callback<>::to<&CertificateWatch::on_first_deadline>(*this));
}

void CertificateWatch::begin() noexcept {
  job_.cancel();
  look_.cancel();
  first_.cancel();
  reading_ = again_ = false;
  // What the configuration has of them was read before this: to be compared when they are looked
  // at.
  files_.clear();
  for (std::string& path : host_.configuration().tls_files()) {
    files_.push_back({std::move(path), FilePrint::none(), FilePrint::none()});
  }
  directory_.clear();
  const std::string& path = host_.configuration().master().ssl_cert_dir;
  if (path.empty() && !directory_path_.empty()) {
    certificates_.clear();
    if (auto none = sealed_memory("postern-certificates", ""); none.ok()) {
      host_.use_store(std::move(none).value());
    }
  }
  begun_ = path.empty() || (begun_ && path == directory_path_);
  directory_path_ = path;
  if (!begun_) first_.set(kFirstPatience);
  warn();
  if (path.empty()) {
    tell({});
    return next();
  }
  read({{}, true, false});
}

void CertificateWatch::stop() noexcept {
  job_.cancel();
  look_.cancel();
  warn_.cancel();
  first_.cancel();
}

void CertificateWatch::on_first_deadline() noexcept {
  log::warning("ssl_cert_dir: {} is still being read; clients are served without it until then",
               log_safe_line(directory_path_, 200));
  set_begun();
}

void CertificateWatch::set_begun() noexcept {
  first_.cancel();
  if (!std::exchange(begun_, true)) host_.on_certificates_begun();
}

/// Whoever has asked is told.
void CertificateWatch::tell(const std::vector<std::string>& errors) {
  // Who asked meanwhile is told of what is read then.
  if (again_) return;
  for (const auto& [number, told] : std::exchange(asked_, {})) told(errors);
}

/// When a process is done: the next thing to read, or to look at.
void CertificateWatch::next() noexcept {
  if (std::exchange(again_, false)) {
    Order all;
    for (const File& file : files_) all.files.push_back(file.path);
    all.directory = !directory_path_.empty();
    return read(all);
  }
  const auto interval = host_.configuration().master().ssl_cert_check_interval;
  const bool any = !files_.empty() || !directory_path_.empty();
  if (interval.count() > 0 && any) look_.set(interval);
}

void CertificateWatch::failed(const Error& error) noexcept {
  reading_ = false;
  const std::string text = fmt::format("TLS: certificate files: {}{}", error.text, kStays);
  // A disk that hangs would say so at every look.
  if (text != failure_) log::error("{}", text);
  failure_ = text;
  tell({text});
  set_begun();
  next();
}

// --- Looking ---

FileJob::Output CertificateWatch::look_at_files() const {
  PackWriter out;
  for (const std::vector<File>* const files : {&files_, &directory_}) {
    for (const File& file : *files) FilePrint::of(file.path).pack(out);
  }
  out.number(1);
  return {out.take(), {}};
}

void CertificateWatch::look() noexcept {
  const Status started = job_.start([this] { return look_at_files(); }, kPatience,
                                    [this](Result<FileJob::Input> result) {
                                      if (!result.ok()) return failed(result.error());
                                      PackReader in(result.value().report.view());
                                      on_looked(in);
                                    });
  if (!started.ok()) failed(started.error());
}

/// Uses what has changed and has been the same for a whole interval: whoever writes files is done
/// with them then, and with the key that belongs to a certificate. If it comes later all the same,
/// what was refused without it is tried again.
void CertificateWatch::on_looked(PackReader& in) {
  bool moving = false;
  for (std::vector<File>* const files : {&files_, &directory_}) {
    for (File& file : *files) {
      const FilePrint now = FilePrint::unpack(in);
      moving = moving || now != file.seen;
      file.seen = now;
    }
  }
  if (in.number() != 1 || !in.at_end()) return failed({EPROTO, "a report that is damaged"});
  failure_.clear();
  // Where something is always being written the rest does not wait for ever.
  if (moving && ++waits_ < kMostWaits) return next();
  waits_ = 0;
  const auto changed = [](const File& file) { return file.seen != file.used; };
  Order order;
  if (std::any_of(files_.begin(), files_.end(), changed)) {
    for (const File& file : files_) {
      if (changed(file) || file.refused) order.files.push_back(file.path);
    }
  }
  order.directory = std::any_of(directory_.begin(), directory_.end(), changed);
  if (order.files.empty() && !order.directory) return next();
  read(order);
}

// --- Reading ---

std::uint64_t CertificateWatch::read_again(Told told) {
  asked_.emplace(++last_asked_, std::move(told));
  again_ = true;
  // A mere look can be had later.
  if (!reading_) {
    job_.cancel();
    look_.cancel();
    next();
  }
  return last_asked_;
}

/// What is good of the files of an order: those that are not leave their old content in use, and
/// what belongs to them. Nothing is packed before all is known.
FileJob::Output CertificateWatch::read_files(const Order& order) const {
  const config::Configuration& before = host_.configuration();
  std::vector<std::string> errors;
  PackWriter out;
  out.number(order.files.size());
  for (const std::string& path : order.files) {
    out.text(path);
    FilePrint::of(path).pack(out);
  }
  std::vector<config::PresentFile> present = before.present_files(order.files, errors);
  for (std::string& error : errors) error += kStays;
  while (const auto fresh = before.with_files(present)) {
    // A key without its certificate is as bad as half a file: what belongs together goes together.
    const std::vector<BadFiles> bad = check_changed_files(before, *fresh);
    if (bad.empty()) break;
    const std::size_t known = present.size();
    for (const BadFiles& one : bad) {
      errors.push_back(one.text + std::string(kStays));
      std::erase_if(present, [&one](const config::PresentFile& file) {
        return std::find(one.paths.begin(), one.paths.end(), file.path) != one.paths.end();
      });
    }
    if (present.size() == known) present.clear();  // whatever it is: nothing of it is used
  }
  out.number(present.size());
  for (const config::PresentFile& file : present) {
    out.text(file.path);
    out.number(static_cast<std::uint64_t>(file.content));
    out.text(file.bytes.view());
  }
  CertificateDirectory::Reading reading;
  if (order.directory) {
    const auto tls = before.tls();
    const std::string_view password =
        tls.empty() ? std::string_view() : tls.front().settings->ssl_key_password.reveal();
    CertificateDirectory certificates = certificates_;
    reading = certificates.read(directory_path_, password);
    errors.insert(errors.end(), reading.problems.begin(), reading.problems.end());
    out.number(reading.whole ? 1 : 0);
    certificates.pack(certificates_, out);
  }
  out.number(errors.size());
  for (const std::string& error : errors) out.text(error);
  return {out.take(), std::move(reading.store)};
}

void CertificateWatch::read(const Order& order) noexcept {
  reading_ = true;
  const FileJob::Work work = [this, order] { return read_files(order); };
  const Status started = job_.start(work, kPatience, [this, order](Result<FileJob::Input> result) {
    if (!result.ok()) return failed(result.error());
    on_read(order, std::move(result).value());
  });
  if (!started.ok()) failed(started.error());
}

void CertificateWatch::on_read(const Order& order, FileJob::Input input) {
  reading_ = false;
  PackReader in(input.report.view());
  const bool good =
      use_files(in) && (!order.directory || use_directory(order, in, std::move(input.store)));
  std::vector<std::string> errors;
  for (std::size_t left = in.count(); left > 0 && in.good(); left--) {
    errors.emplace_back(in.text());
  }
  if (!good || !in.at_end()) return failed({EPROTO, "a report that is damaged"});
  failure_.clear();
  for (const std::string& error : errors) log::error("{}", error);
  tell(errors);
  set_begun();
  next();
}

/// @return false if the report is damaged
bool CertificateWatch::use_files(PackReader& in) {
  std::map<std::string, FilePrint, std::less<>> prints;
  for (std::size_t left = in.count(); left > 0 && in.good(); left--) {
    std::string path(in.text());
    prints[std::move(path)] = FilePrint::unpack(in);
  }
  std::vector<config::PresentFile> present;
  std::set<std::string> paths;
  for (std::size_t left = in.count(); left > 0 && in.good(); left--) {
    config::PresentFile& file = present.emplace_back();
    file.path = in.text();
    file.content = static_cast<config::Content>(in.number());
    file.bytes = WipingBuffer(in.text());
    paths.insert(file.path);
  }
  if (!in.good()) return false;
  for (File& file : files_) {
    const auto found = prints.find(file.path);
    if (found == prints.end()) continue;
    file.used = file.seen = found->second;
    file.refused = paths.count(file.path) == 0;
  }
  auto fresh = host_.configuration().with_files(present);
  if (!fresh) return true;
  for (const std::string& path : paths)
    log::info("TLS: {} was read again", log_safe_line(path, 200));
  host_.use_new_files(std::make_shared<const config::Configuration>(std::move(*fresh)));
  warn();
  return true;
}

/// @return false if the report is damaged
bool CertificateWatch::use_directory(const Order& order, PackReader& in, UniqueFd store) {
  const bool whole = in.number() != 0;
  const CertificateDirectory::Pairs before = certificates_.pairs();
  if (!certificates_.unpack(in)) return false;
  directory_.clear();
  for (const CertificateDirectory::Place& place : certificates_.places()) {
    directory_.push_back({place.path, place.print, place.print});
  }
  if (!whole) return true;
  if (certificates_.pairs() != before) host_.use_store(std::move(store));
  if (order.again) {
    log::info("TLS: {} was read again, {} certificates", log_safe_line(directory_path_, 200),
              certificates_.pairs().size());
  }
  warn();
  return true;
}

std::vector<CertificateRow> CertificateWatch::rows() const {
  std::vector<CertificateRow> out = certificates_of(host_.configuration());
  for (const auto& pair : certificates_.pairs()) {
    CertificateRow row;
    row.file = pair->cert_file;
    row.where = "ssl_cert_dir";
    row.names = pair->facts.names;
    row.key = pair->facts.key;
    row.issuer = pair->facts.issuer;
    row.not_before = pair->facts.not_before;
    row.not_after = pair->facts.not_after;
    out.push_back(std::move(row));
  }
  return out;
}

/// Once a day, and when there are other certificates.
void CertificateWatch::warn() noexcept {
  warn_.set(kWarnEvery);
  const auto now = system_clock::now();
  const auto ahead = host_.configuration().master().ssl_expiry_warning;
  for (const CertificateRow& row : rows()) {
    const std::string file = row.file.empty() ? "ssl_cert" : log_safe_line(row.file, 200);
    const std::string what = file + ": the certificate for " + shown_names(row.names);
    if (row.not_before > now) {
      log::warning("{} is not valid before {}", what, utc_text(row.not_before));
    } else if (row.not_after <= now) {
      log::warning("{} expired on {}", what, utc_text(row.not_after));
    } else if (ahead.count() > 0 && row.not_after - now < ahead) {
      const auto days =
          std::chrono::duration_cast<std::chrono::hours>(row.not_after - now).count() / 24;
      log::warning("{} expires in {} days, on {}", what, days, utc_text(row.not_after));
    }
  }
}

}  // namespace postern::master
