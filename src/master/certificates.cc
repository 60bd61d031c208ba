#include "master/certificates.h"

#include <sys/stat.h>

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
constexpr std::string_view kStays = "; what was read before stays in use";

std::int64_t nanoseconds(const timespec& time) noexcept {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

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

/// Links are followed: certbot and others change where one points.
CertificateWatch::Print CertificateWatch::print_of(const std::string& path) noexcept {
  struct stat status {};
  Print out;
  if (::stat(path.c_str(), &status) != 0) return out;
  out.device = status.st_dev;
  out.inode = status.st_ino;
  out.size = static_cast<std::uint64_t>(status.st_size);
  out.changed_ns = nanoseconds(status.st_ctim);
  out.modified_ns = nanoseconds(status.st_mtim);
  return out;
}

void CertificateWatch::begin() noexcept {
  files_.clear();
  for (std::string& path : host_.configuration().tls_files()) {
    const Print now = print_of(path);
    files_.push_back({std::move(path), now, now});
  }
  const auto interval = host_.configuration().master().ssl_cert_check_interval;
  look_.cancel();
  if (interval.count() > 0 && !files_.empty()) look_.set(interval);
  warn();
}

void CertificateWatch::stop() noexcept {
  look_.cancel();
  warn_.cancel();
}

/// Uses what has changed and has been the same for a whole interval: whoever writes files is done
/// with them then, and with the key that belongs to a certificate.
void CertificateWatch::look() noexcept {
  std::vector<std::string> changed;
  bool moving = false;
  for (File& file : files_) {
    const Print now = print_of(file.path);
    if (now != file.seen) {
      file.seen = now;
      moving = true;
    } else if (now != file.used) {
      changed.push_back(file.path);
    }
  }
  if (!moving && !changed.empty()) {
    for (File& file : files_) file.used = file.seen;
    for (const std::string& error : use(std::move(changed))) log::error("{}", error);
  }
  look_.set(host_.configuration().master().ssl_cert_check_interval);
}

std::vector<std::string> CertificateWatch::read_again() noexcept {
  std::vector<std::string> paths;
  for (File& file : files_) {
    file.used = file.seen = print_of(file.path);
    paths.push_back(file.path);
  }
  return use(std::move(paths));
}

/// @return what could not be used, one line each
std::vector<std::string> CertificateWatch::use(std::vector<std::string> paths) noexcept {
  std::vector<std::string> errors;
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
    std::vector<std::string> told;  // already
    fresh = paths.size() == known ? std::nullopt : before.with_present_files(paths, told);
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
  for (const CertificateRow& row : certificates_of(host_.configuration())) {
    const std::string what = fmt::format("ssl_cert {}: the certificate for {}",
                                         log_safe_line(row.file, 200), shown_names(row.names));
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
