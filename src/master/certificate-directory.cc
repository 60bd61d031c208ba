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

using Pair = CertificateDirectory::Pair;
using Pairs = CertificateDirectory::Pairs;
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

Result<std::vector<Found>> look(const std::string& path, std::size_t most, Places& places) {
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
    if (out.size() > most) {
      return Error{
          E2BIG, fmt::format("{} holds more than {} certificates", log_safe_line(path, 200), most)};
    }
  }
  return out;
}

Result<Pair> load(const Found& found, std::size_t most, std::string_view key_password) {
  Pair out;
  out.cert_file = found.cert_file;
  out.key_file = found.key_file;
  out.cert_print = FilePrint::of(found.cert_file);
  out.key_print = FilePrint::of(found.key_file);
  auto chain = config::read_file(found.cert_file, most);
  if (!chain.ok()) return chain.error();
  auto key = config::read_file(found.key_file, most);
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

Result<WipingBuffer> store_of(const Pairs& pairs) {
  if (pairs.empty()) return WipingBuffer();
  std::vector<const Pair*> order;
  for (const auto& pair : pairs) order.push_back(pair.get());
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

void pack_pair(const Pair& pair, PackWriter& out) {
  out.text(pair.cert_file);
  out.text(pair.key_file);
  pair.cert_print.pack(out);
  pair.key_print.pack(out);
  out.number(pair.facts.names.size());
  for (const std::string& name : pair.facts.names) out.text(name);
  out.text(pair.facts.key);
  out.text(pair.facts.issuer);
  for (const auto time : {pair.facts.not_before, pair.facts.not_after}) {
    out.number(static_cast<std::uint64_t>(time.time_since_epoch().count()));
  }
  out.text(pair.chain.reveal());
  out.text(pair.key.reveal());
}

std::shared_ptr<const Pair> unpack_pair(PackReader& in) {
  using Time = std::chrono::system_clock::time_point;
  auto out = std::make_shared<Pair>();
  out->cert_file = in.text();
  out->key_file = in.text();
  out->cert_print = FilePrint::unpack(in);
  out->key_print = FilePrint::unpack(in);
  for (std::size_t names = in.count(); names > 0 && in.good(); names--) {
    out->facts.names.emplace_back(in.text());
  }
  out->facts.key = in.text();
  out->facts.issuer = in.text();
  for (Time* const time : {&out->facts.not_before, &out->facts.not_after}) {
    *time = Time(Time::duration(static_cast<Time::rep>(in.number())));
  }
  out->chain = Secret(in.text());
  out->key = Secret(in.text());
  return out;
}

}  // namespace

void CertificateDirectory::clear() noexcept {
  places_.clear();
  pairs_.clear();
}

CertificateDirectory::Reading CertificateDirectory::read(const std::string& path,
                                                         std::string_view key_password) {
  Reading out;
  places_.clear();
  const auto refuse = [this, &out](const std::string& text) {
    out.problems.push_back("ssl_cert_dir: " + text +
                           (pairs_.empty() ? "" : "; what was read before stays in use"));
    return std::move(out);
  };
  auto found = look(path, limits_.pairs, places_);
  if (!found.ok()) return refuse(found.error().text);
  std::map<std::string, std::shared_ptr<const Pair>> old;
  for (const auto& pair : pairs_) old.emplace(pair->cert_file, pair);
  for (const Found& one : found.value()) {
    places_.push_back({one.cert_file, FilePrint::of(one.cert_file)});
    if (one.key_file != one.cert_file) {
      places_.push_back({one.key_file, FilePrint::of(one.key_file)});
    }
  }
  Pairs fresh;
  std::size_t total = 0;
  for (const Found& one : found.value()) {
    const auto known = old.find(one.cert_file);
    std::shared_ptr<const Pair> pair = known == old.end() ? nullptr : known->second;
    const bool same = pair && pair->key_file == one.key_file &&
                      pair->cert_print == FilePrint::of(one.cert_file) &&
                      pair->key_print == FilePrint::of(one.key_file);
    if (!same) {
      auto loaded = load(one, limits_.file, key_password);
      if (loaded.ok()) {
        pair = std::make_shared<const Pair>(std::move(loaded).value());
      } else {
        out.problems.push_back(fmt::format(
            "ssl_cert_dir: {}: {}; {}", log_safe_line(one.cert_file, 200), loaded.error().text,
            pair ? "what was read before stays in use" : "it is not served"));
      }
    }
    if (!pair) continue;
    total += pair->chain.size() + pair->key.size();
    fresh.push_back(std::move(pair));
    if (total > limits_.total) {
      return refuse(fmt::format("{}: its certificates and keys are more than {} bytes",
                                log_safe_line(path, 200), limits_.total));
    }
  }
  auto store = store_of(fresh);
  if (!store.ok()) return refuse(log_safe_line(path, 200) + ": " + store.error().text);
  pairs_ = std::move(fresh);
  out.store = std::move(store).value();
  out.whole = true;
  return out;
}

void CertificateDirectory::pack(const CertificateDirectory& before, PackWriter& out) const {
  out.number(places_.size());
  for (const Place& place : places_) {
    out.text(place.path);
    place.print.pack(out);
  }
  std::map<const Pair*, std::size_t> known;
  for (std::size_t i = 0; i < before.pairs_.size(); i++) known[before.pairs_[i].get()] = i + 1;
  out.number(pairs_.size());
  for (const auto& pair : pairs_) {
    const auto found = known.find(pair.get());
    out.number(found == known.end() ? 0 : found->second);
    if (found == known.end()) pack_pair(*pair, out);
  }
}

bool CertificateDirectory::unpack(PackReader& in) {
  std::vector<Place> places;
  for (std::size_t left = in.count(); left > 0 && in.good(); left--) {
    std::string path(in.text());
    places.push_back({std::move(path), FilePrint::unpack(in)});
  }
  Pairs pairs;
  for (std::size_t left = in.count(); left > 0 && in.good(); left--) {
    const std::uint64_t known = in.number();
    if (known > pairs_.size()) return false;
    pairs.push_back(known == 0 ? unpack_pair(in) : pairs_[known - 1]);
  }
  if (!in.good()) return false;
  places_ = std::move(places);
  pairs_ = std::move(pairs);
  return true;
}

}  // namespace postern::master
