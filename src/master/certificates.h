#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "io/loop.h"
#include "lib/secret.h"
#include "master/certificate-directory.h"
#include "master/file-print.h"

/// Certificates while Postern runs: files that change are read again and served without a reload,
/// and the log hears in time of those that expire.
namespace postern::master {

/// One certificate in use.
struct CertificateRow {
  std::string file;   // empty: it stands in postern.conf itself
  std::string where;  // the first filter it serves, "local_name mail.example.com"; empty: all
  std::vector<std::string> names;
  std::string key;
  std::string issuer;
  std::chrono::system_clock::time_point not_before, not_after;
};

/// "2026-11-25 14:03:00 UTC".
std::string utc_text(std::chrono::system_clock::time_point time);
/// Every server certificate of a configuration, each once.
std::vector<CertificateRow> certificates_of(const config::Configuration& configuration);

class CertificateWatch {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    virtual const config::Configuration& configuration() const noexcept = 0;
    /// The configuration with new content of files, all of it good: to be used from now on.
    virtual void use_new_files(std::shared_ptr<const config::Configuration> fresh) noexcept = 0;
    /// Certificates of ssl_cert_dir, in the form of wire/certificate-store.h: all there are now.
    virtual void use_store(WipingBuffer store) noexcept = 0;
  };

  CertificateWatch(io::Loop& loop, Host& host);
  CertificateWatch(const CertificateWatch&) = delete;
  CertificateWatch& operator=(const CertificateWatch&) = delete;

  /// The host's configuration is another one (or the first): reads ssl_cert_dir, watches all files,
  /// and warns. Before processes are started.
  void begin() noexcept;
  void stop() noexcept;
  /// Reads all files now, changed or not.
  /// @return one line for each that cannot be used; what belongs together stays as it was
  std::vector<std::string> read_again() noexcept;
  /// Every certificate in use.
  std::vector<CertificateRow> rows() const;

 private:
  struct File {
    std::string path;
    FilePrint used;        // when it was read, or could not be used
    FilePrint seen;        // when it was last looked at
    bool refused = false;  // it could not be used, and waits for what belongs to it
  };

  void look() noexcept;
  void warn() noexcept;
  std::vector<std::string> use(const std::vector<File*>& files) noexcept;
  std::vector<std::string> read_directory() noexcept;

  io::Loop& loop_;
  Host& host_;
  std::vector<File> files_;      // of the configuration
  std::vector<File> directory_;  // ssl_cert_dir, and what is in it
  unsigned waits_ = 0;           // looks at which something was just being written
  CertificateDirectory certificates_;
  io::Timer look_, warn_;
};

}  // namespace postern::master
