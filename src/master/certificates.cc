#include "master/certificates.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

#include "io/certificate.h"
#include "lib/log.h"
#include "lib/text.h"
#include "master/setup.h"

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

CertificateWatch::CertificateWatch(io::Loop& loop, Host& host) : loop_(loop), host_(host) {
  look_.start(loop_, io::Callback<>::to<&CertificateWatch::look>(*this));
  warn_.start(loop_, io::Callback<>::to<&CertificateWatch::warn>(*this));
}

void CertificateWatch::begin() noexcept {
  files_.clear();
  for (std::string& path : host_.configuration().tls_files()) {
    // What the configuration has of it was read before this: to be compared at the first look.
    const FilePrint now = FilePrint::of(path);
    files_.push_back({std::move(path), FilePrint(), now});
  }
  for (const std::string& error : read_directory()) log::error("{}", error);
  const auto interval = host_.configuration().master().ssl_cert_check_interval;
  look_.cancel();
  if (interval.count() > 0 && files_.size() + directory_.size() > 0) look_.set(interval);
  warn();
}

void CertificateWatch::stop() noexcept {
  look_.cancel();
  warn_.cancel();
}

/// ssl_cert_dir, as it is now, to the login processes.
std::vector<std::string> CertificateWatch::read_directory() noexcept {
  const config::Configuration& configuration = host_.configuration();
  const auto tls = configuration.tls();
  const std::string_view password =
      tls.empty() ? std::string_view() : tls.front().settings->ssl_key_password.reveal();
  std::vector<std::string> problems =
      certificates_.read(configuration.master().ssl_cert_dir, password);
  directory_.clear();
  for (const CertificateDirectory::Place& place : certificates_.places()) {
    directory_.push_back({place.path, place.print, place.print});
  }
  host_.use_store(certificates_.pairs().empty() ? WipingBuffer() : certificates_.store());
  return problems;
}

/// Uses what has changed and has been the same for a whole interval: whoever writes files is done
/// with them then, and with the key that belongs to a certificate. If it comes later all the same,
/// what was refused without it is tried again.
void CertificateWatch::look() noexcept {
  bool moving = false;
  for (std::vector<File>* const files : {&files_, &directory_}) {
    for (File& file : *files) {
      const FilePrint now = FilePrint::of(file.path);
      moving = moving || now != file.seen;
      file.seen = now;
    }
  }
  look_.set(host_.configuration().master().ssl_cert_check_interval);
  // Where something is always being written the rest does not wait for ever.
  if (moving && ++waits_ < kMostWaits) return;
  waits_ = 0;
  const auto changed = [](const File& file) { return file.seen != file.used; };
  if (std::any_of(files_.begin(), files_.end(), changed)) {
    std::vector<File*> files;
    for (File& file : files_) {
      if (changed(file) || file.refused) files.push_back(&file);
      file.used = file.seen;
    }
    for (const std::string& error : use(files)) log::error("{}", error);
  }
  if (std::any_of(directory_.begin(), directory_.end(), changed)) {
    for (const std::string& error : read_directory()) log::error("{}", error);
    log::info("TLS: {} was read again, {} certificates",
              log_safe_line(host_.configuration().master().ssl_cert_dir, 200),
              certificates_.pairs().size());
    warn();
  }
}

std::vector<std::string> CertificateWatch::read_again() noexcept {
  std::vector<File*> all;
  for (File& file : files_) {
    file.used = file.seen = FilePrint::of(file.path);
    all.push_back(&file);
  }
  std::vector<std::string> errors = use(all);
  for (std::string& error : read_directory()) errors.push_back(std::move(error));
  return errors;
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

/// @return what could not be used, one line each
std::vector<std::string> CertificateWatch::use(const std::vector<File*>& files) noexcept {
  std::vector<std::string> errors;
  std::vector<std::string> paths;
  for (const File* file : files) paths.push_back(file->path);
  const config::Configuration& before = host_.configuration();
  std::optional<config::Configuration> fresh = before.with_present_files(paths, errors);
  for (std::string& error : errors) error += kStays;
  while (fresh) {
    // A key without its certificate is as bad as half a file: what belongs together goes together.
    const std::vector<BadFiles> bad = check_changed_files(before, *fresh);
    if (bad.empty()) break;
    const std::size_t known = paths.size();
    for (const BadFiles& one : bad) {
      errors.push_back(one.text + std::string(kStays));
      std::erase_if(paths, [&one](const std::string& path) {
        return std::find(one.paths.begin(), one.paths.end(), path) != one.paths.end();
      });
    }
    std::vector<std::string> told;             // already
    if (paths.size() == known) paths.clear();  // whatever it is: nothing of it is used
    fresh = paths.empty() ? std::nullopt : before.with_present_files(paths, told);
  }
  for (File* file : files) {
    file->refused = std::find(paths.begin(), paths.end(), file->path) == paths.end();
  }
  if (!fresh) return errors;
  for (const std::string& path : paths)
    log::info("TLS: {} was read again", log_safe_line(path, 200));
  host_.use_new_files(std::make_shared<const config::Configuration>(std::move(*fresh)));
  warn();
  return errors;
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
