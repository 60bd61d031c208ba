#include "master/certificate-directory.h"

#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "config/files.h"
#include "lib/handle.h"
#include "lib/text.h"
#include "wire/certificate-store.h"

namespace postern::master {
namespace {

constexpr std::size_t kMaxPairs = 100'000;

using Places = std::vector<CertificateDirectory::Place>;

struct Found {
  std::string cert_file, key_file;
};

bool is_there(const std::string& path) noexcept {
  return FilePrint::of(path) != FilePrint();
}

/// Names in a directory, sorted, without hidden ones (Kubernetes keeps versions in those).
Result<std::vector<std::string>> names_in(const std::string& path) {
  const Handle<DIR, closedir> directory(opendir(path.c_str()));
  if (!directory) return system_error(log_safe_line(path, 200), errno);
  std::vector<std::string> out;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<Found> pair_of(const std::string& path) {
  if (!path.ends_with(".pem") && !path.ends_with(".crt")) return std::nullopt;
  const std::string key = path.substr(0, path.size() - 3) + "key";
  return Found{path, is_there(key) ? key : path};
}

void look_below(const std::string& path, Places& places, std::vector<Found>& out) {
  const std::string chain = path + "/fullchain.pem";
  const std::string key = path + "/privkey.pem";
  const FilePrint print = FilePrint::of(path);
  if (is_there(chain)) {
    out.push_back({chain, key});
    places.push_back({path, print});
    return;
  }
  const auto names = names_in(path);
  if (!names.ok()) return;  // a file
  places.push_back({path, print});
  for (const std::string& name : names.value()) {
    if (auto found = pair_of(fmt::format("{}/{}", path, name))) out.push_back(std::move(*found));
  }
}

Result<std::vector<Found>> look(const std::string& path, Places& places) {
  places.push_back({path, FilePrint::of(path)});
  const auto names = names_in(path);
  if (!names.ok()) return names.error();
  std::vector<Found> out;
  for (const std::string& name : names.value()) {
    const std::string whole = fmt::format("{}/{}", path, name);
    if (auto found = pair_of(whole)) {
      out.push_back(std::move(*found));
    } else {
      look_below(whole, places, out);
    }
    if (out.size() > kMaxPairs) {
      return Error{E2BIG, fmt::format("{} holds more than {} certificates",
                                      log_safe_line(path, 200), kMaxPairs)};
    }
  }
  return out;
}

Result<CertificateDirectory::Pair> load(const Found& found, std::string_view key_password) {
  CertificateDirectory::Pair out;
  out.cert_file = found.cert_file;
  out.key_file = found.key_file;
  out.cert_print = FilePrint::of(found.cert_file);
  out.key_print = FilePrint::of(found.key_file);
  auto chain = config::read_file(found.cert_file);
  if (!chain.ok()) return chain.error();
  auto key = config::read_file(found.key_file);
  if (!key.ok()) return key.error();
  out.chain = Secret(chain.value().view());
  out.key = Secret(key.value().view());
  auto facts = io::certificate_facts(out.chain.reveal());
  if (!facts.ok()) return facts.error();
  out.facts = std::move(facts).value();
  if (out.facts.names.empty()) return Error{EINVAL, "the certificate is for no host name"};
  const io::CertificatePem pem{out.chain.reveal(), out.key.reveal(), key_password};
  if (const Status fits = io::check_pair(pem); !fits.ok()) return fits.error();
  return out;
}

}  // namespace

std::vector<std::string> CertificateDirectory::read(const std::string& path,
                                                    std::string_view key_password) {
  std::vector<std::string> problems;
  places_.clear();
  if (path.empty()) {
    pairs_.clear();
    return problems;
  }
  auto found = look(path, places_);
  if (!found.ok()) {
    problems.push_back("ssl_cert_dir: " + found.error().text);
    return problems;
  }
  std::map<std::string, std::unique_ptr<Pair>> old;
  for (auto& pair : pairs_) old.emplace(pair->cert_file, std::move(pair));
  pairs_.clear();
  for (const Found& one : found.value()) {
    const FilePrint cert_print = FilePrint::of(one.cert_file);
    const FilePrint key_print = FilePrint::of(one.key_file);
    places_.push_back({one.cert_file, cert_print});
    if (one.key_file != one.cert_file) places_.push_back({one.key_file, key_print});
    const auto known = old.find(one.cert_file);
    if (known != old.end() && known->second->key_file == one.key_file &&
        known->second->cert_print == cert_print && known->second->key_print == key_print) {
      pairs_.push_back(std::move(known->second));
      continue;
    }
    auto loaded = load(one, key_password);
    if (loaded.ok()) {
      pairs_.push_back(std::make_unique<Pair>(std::move(loaded).value()));
      continue;
    }
    const bool stays = known != old.end();
    problems.push_back(fmt::format(
        "ssl_cert_dir: {}: {}; {}", log_safe_line(one.cert_file, 200), loaded.error().text,
        stays ? "what was read before stays in use" : "it is not served"));
    if (stays) pairs_.push_back(std::move(known->second));
  }
  return problems;
}

WipingBuffer CertificateDirectory::store() const {
  std::vector<const Pair*> order;
  for (const auto& pair : pairs_) order.push_back(pair.get());
  std::stable_sort(order.begin(), order.end(), [](const Pair* a, const Pair* b) {
    return a->facts.not_after > b->facts.not_after;
  });
  wire::CertificateStoreWriter out;
  std::map<std::string, std::vector<std::string>, std::less<>> kinds;  // of keys, by name
  for (const Pair* pair : order) {
    const std::string kind = pair->facts.key.substr(0, pair->facts.key.find(' '));
    std::vector<std::string> names;
    for (const std::string& name : pair->facts.names) {
      std::vector<std::string>& known = kinds[name];
      if (known.size() >= wire::CertificateStore::kMaxPairs) continue;
      if (std::find(known.begin(), known.end(), kind) != known.end()) continue;
      known.push_back(kind);
      names.push_back(name);
    }
    if (!names.empty()) out.add(names, pair->chain.reveal(), pair->key.reveal());
  }
  return out.finish();
}

}  // namespace postern::master
