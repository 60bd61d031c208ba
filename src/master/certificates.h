#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "io/loop.h"
#include "lib/handle.h"
#include "master/certificate-directory.h"
#include "master/file-job.h"
#include "master/file-print.h"
#include "master/packed.h"

/// Certificates while Postern runs: files that change are read again and served without a reload,
/// and the log hears in time of those that expire. Whatever waits for a disk is done by another
/// process.
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
    /// Certificates of ssl_cert_dir, all there are now.
    /// @param store  sealed memory in the form of wire/certificate-store.h; of no size: there are
    ///               none
    virtual void use_store(UniqueFd store) noexcept = 0;
    /// begun() has become true.
    virtual void on_certificates_begun() noexcept = 0;
  };
  /// Gets one line for each file that cannot be used; what belongs together stays as it was.
  using Told = std::function<void(const std::vector<std::string>& errors)>;

  /// A process that reads files is given up after so long.
  static constexpr io::Milliseconds kPatience{120'000};
  /// New login processes wait so long for the first certificates of ssl_cert_dir.
  static constexpr io::Milliseconds kFirstPatience{5000};

  CertificateWatch(io::Loop& loop, Host& host);
  CertificateWatch(const CertificateWatch&) = delete;
  CertificateWatch& operator=(const CertificateWatch&) = delete;

  /// The host's configuration is another one (or the first): begins to read ssl_cert_dir, watches
  /// all files, and warns. Before processes are started. No file is touched before it returns.
  void begin() noexcept;
  /// ssl_cert_dir has been read since it is named as it is, or takes too long.
  bool begun() const noexcept { return begun_; }
  void stop() noexcept;
  /// Reads all files now, changed or not.
  /// @param told  called once when that is done; maybe before this returns, if it cannot be begun
  /// @return a number for forget()
  std::uint64_t read_again(Told told);
  /// Nobody wants to be told any more.
  void forget(std::uint64_t number) noexcept { asked_.erase(number); }
  /// Of a process that reads files, and not known by another name.
  bool made(pid_t pid) noexcept { return job_.made(pid); }
  /// Every certificate in use.
  std::vector<CertificateRow> rows() const;

 private:
  struct File {
    std::string path;
    FilePrint used;        // when it was read, or could not be used
    FilePrint seen;        // when it was last looked at
    bool refused = false;  // it could not be used, and waits for what belongs to it
  };
  /// What is to be read.
  struct Order {
    std::vector<std::string> files;  // of the configuration
    bool directory = false;
    bool again = true;  // the log is told
  };

  // In a process of their own: they wait for files, and change nothing that lasts.
  FileJob::Output look_at_files() const;
  FileJob::Output read_files(const Order& order) const;

  void look() noexcept;
  void on_looked(PackReader& in);
  void read(const Order& order) noexcept;
  void on_read(const Order& order, FileJob::Input input);
  bool use_files(PackReader& in);
  bool use_directory(const Order& order, PackReader& in, UniqueFd store);
  void failed(const Error& error) noexcept;
  void next() noexcept;
  void on_first_deadline() noexcept;
  void set_begun() noexcept;
  void tell(const std::vector<std::string>& errors);
  void warn() noexcept;

  io::Loop& loop_;
  Host& host_;
  std::vector<File> files_;      // of the configuration
  std::vector<File> directory_;  // ssl_cert_dir, and what is in it
  unsigned waits_ = 0;           // looks at which something was just being written
  CertificateDirectory certificates_;
  std::string directory_path_;  // of what is served
  bool begun_ = false;
  bool reading_ = false;  // job_ is no mere look
  bool again_ = false;    // everything is to be read once more when it is done
  std::string failure_;   // the last that was logged; empty since something was read
  std::map<std::uint64_t, Told> asked_;
  std::uint64_t last_asked_ = 0;
  io::Timer look_, warn_, first_;
  FileJob job_;
};

}  // namespace postern::master
