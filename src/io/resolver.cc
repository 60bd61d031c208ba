#include "io/resolver.h"

#include <event2/dns.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <unordered_map>

#include "io/loop-impl.h"
#include "io/resolver-files.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/text.h"

namespace postern::io {
namespace {

constexpr std::size_t kMaxName = 253;      // bytes, RFC 1035
constexpr std::size_t kMaxAddresses = 64;  // of one answer

struct FreeDns {
  // 0: nobody is told any more; they have been forgotten before.
  void operator()(evdns_base* base) const noexcept { evdns_base_free(base, 0); }
};

/// A host name as DNS carries it: letters, digits, hyphens, underscores (they exist), dots.
bool is_host_name(std::string_view name) noexcept {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyz0123456789-_.ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return !name.empty() && name.size() <= kMaxName &&
         name.find_first_not_of(kLetters) == std::string_view::npos && !name.starts_with('.') &&
         name.find("..") == std::string_view::npos;
}

void add_addresses(IpAddress::Family family, int count, const void* addresses,
                   std::vector<IpAddress>& out) {
  const std::size_t size = family == IpAddress::Family::v4 ? 4 : 16;
  const auto* bytes = static_cast<const char*>(addresses);
  for (std::size_t i = 0; i < static_cast<std::size_t>(std::max(count, 0)); i++) {
    const IpAddress ip = IpAddress::from_bytes(family, bytes + i * size);
    if (out.size() < kMaxAddresses && std::find(out.begin(), out.end(), ip) == out.end()) {
      out.push_back(ip);
    }
  }
}

}  // namespace

struct Resolver::Impl {
  struct Query;

  /// One who asked.
  struct Request {
    Impl* resolver = nullptr;
    std::uint64_t id = 0;
    std::string name;
    Answer answer;
    Query* query = nullptr;  // none once the answer is there
    Timer timeout;
    Deferred deliver;
    std::optional<Result<std::vector<IpAddress>>> result;

    void on_timeout() noexcept { settle(Error{ETIMEDOUT, "DNS lookup of " + name + " timed out"}); }
    void on_deliver() noexcept { resolver->deliver(*this); }
    /// The answer is there; it is told at the end of the turn.
    void settle(Result<std::vector<IpAddress>> found) noexcept {
      timeout.cancel();
      query = nullptr;
      result.emplace(std::move(found));
      deliver.trigger();
    }
  };

  /// The two questions about one name on their way to the servers. evdns calls back once for each;
  /// with the second answer it is deleted.
  struct Query {
    Impl* resolver = nullptr;  // none: nobody waits for it any more
    std::string name;
    std::vector<IpAddress> v4;
    std::vector<IpAddress> v6;
    unsigned waiting = 2;
    int error = DNS_ERR_NONE;  // the worse of the two
  };

  Impl(Loop& loop_in, const ResolverFiles& files)
      : loop(loop_in),
        conf(parse_resolv_conf(read_small_file(files.resolv_conf))),
        hosts(parse_hosts(read_small_file(files.hosts))) {
    if (conf.servers.empty()) conf.servers.emplace_back("127.0.0.1");
  }
  ~Impl() {
    // evdns may have answers ready that it tells with the loop's next turn, or drop them. The
    // process is about to end in either case.
    static std::vector<std::unique_ptr<Query>> orphans;
    for (auto& [name, query] : queries) {
      query->resolver = nullptr;
      orphans.emplace_back(query);
    }
  }

  void open_dns();
  void ask(Request& request);
  void on_answer(Query& query) noexcept;
  void deliver(Request& request) noexcept;
  static void on_v4(int error, char type, int count, int ttl, void* found, void* arg) noexcept;
  static void on_v6(int error, char type, int count, int ttl, void* found, void* arg) noexcept;
  static void on_part(Query* query, int error) noexcept;
  static Result<std::vector<IpAddress>> result_of(const std::string& name, const Query& query);

  Loop& loop;
  ResolvConf conf;
  Hosts hosts;
  std::unique_ptr<evdns_base, FreeDns> dns;
  std::map<std::uint64_t, std::unique_ptr<Request>> requests;
  std::unordered_map<std::string, Query*> queries;  // by name
  std::uint64_t last_id = 0;
};

void Resolver::Impl::open_dns() {
  if (dns) return;
  // The loop has other work to stay alive for.
  dns.reset(evdns_base_new(loop.impl().base(), EVDNS_BASE_DISABLE_WHEN_INACTIVE));
  POSTERN_CHECK(dns != nullptr);
  for (const std::string& server : conf.servers) {
    if (evdns_base_nameserver_ip_add(dns.get(), server.c_str()) != 0) {
      log::error("cannot use name server {}", server);
    }
  }
  evdns_base_set_option(dns.get(), "timeout", "3");
  evdns_base_set_option(dns.get(), "attempts", "2");
  evdns_base_set_option(dns.get(), "max-inflight", "512");
  for (const auto& [name, value] : conf.options) {
    evdns_base_set_option(dns.get(), name.c_str(), value.c_str());
  }
}

Result<std::vector<IpAddress>> Resolver::Impl::result_of(const std::string& name,
                                                         const Query& query) {
  std::vector<IpAddress> found = query.v4;
  found.insert(found.end(), query.v6.begin(), query.v6.end());
  if (!found.empty()) return found;
  const std::string what = "DNS lookup of " + name + " failed: ";
  if (query.error == DNS_ERR_NONE || query.error == DNS_ERR_NODATA ||
      query.error == DNS_ERR_NOTEXIST) {
    return Error{ENOENT, what + "No such host"};
  }
  return Error{EAGAIN, what + evdns_err_to_string(query.error)};
}

void Resolver::Impl::on_answer(Query& query) noexcept {
  queries.erase(query.name);
  for (auto& [id, request] : requests) {
    if (request->query == &query) request->settle(result_of(request->name, query));
  }
}

void Resolver::Impl::on_v4(int error, char, int count, int, void* found, void* arg) noexcept {
  auto* query = static_cast<Query*>(arg);
  if (error == DNS_ERR_NONE) add_addresses(IpAddress::Family::v4, count, found, query->v4);
  on_part(query, error);
}

void Resolver::Impl::on_v6(int error, char, int count, int, void* found, void* arg) noexcept {
  auto* query = static_cast<Query*>(arg);
  if (error == DNS_ERR_NONE) add_addresses(IpAddress::Family::v6, count, found, query->v6);
  on_part(query, error);
}

void Resolver::Impl::on_part(Query* query, int error) noexcept {
  // That one kind does not exist says nothing of the other.
  const bool harmless = error == DNS_ERR_NODATA || error == DNS_ERR_NOTEXIST;
  if (query->error == DNS_ERR_NONE || !harmless) query->error = error;
  if (--query->waiting > 0 || query->resolver == nullptr) return;
  const std::unique_ptr<Query> own(query);
  query->resolver->on_answer(*query);
}

void Resolver::Impl::ask(Request& request) {
  const std::string key = to_lower(request.name);
  if (const auto found = queries.find(key); found != queries.end()) {
    request.query = found->second;
    return;
  }
  open_dns();
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory)
  auto* query = new Query{this, key, {}, {}};  // on_part() owns it
  request.query = query;
  queries.emplace(key, query);
  const bool asked = evdns_base_resolve_ipv4(dns.get(), key.c_str(), DNS_QUERY_NO_SEARCH,
                                             &Impl::on_v4, query) != nullptr;
  const bool asked6 = evdns_base_resolve_ipv6(dns.get(), key.c_str(), DNS_QUERY_NO_SEARCH,
                                              &Impl::on_v6, query) != nullptr;
  // A question that cannot even be put is not called back about.
  if (!asked6) on_part(query, DNS_ERR_UNKNOWN);
  if (!asked) on_part(query, DNS_ERR_UNKNOWN);
}

void Resolver::Impl::deliver(Request& request) noexcept {
  const auto found = requests.find(request.id);
  const std::unique_ptr<Request> own = std::move(found->second);
  requests.erase(found);
  own->answer(std::move(*own->result));
}

Resolver::Resolver(Loop& loop, const ResolverFiles& files)
    : impl_(std::make_unique<Impl>(loop, files)) {}
Resolver::~Resolver() = default;

std::uint64_t Resolver::resolve(const std::string& name, Milliseconds timeout, Answer answer) {
  auto owned = std::make_unique<Impl::Request>();
  Impl::Request& request = *owned;
  request.resolver = impl_.get();
  request.id = ++impl_->last_id;
  request.name = name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
  request.answer = std::move(answer);
  request.deliver.start(impl_->loop, Callback<>::to<&Impl::Request::on_deliver>(request));
  impl_->requests.emplace(request.id, std::move(owned));
  if (const auto ip = IpAddress::parse(name)) {
    request.settle(std::vector<IpAddress>{*ip});
  } else if (!is_host_name(request.name)) {
    request.settle(Error{EINVAL, "not a host name"});
  } else if (const auto host = impl_->hosts.find(to_lower(request.name));
             host != impl_->hosts.end()) {
    request.settle(host->second);
  } else {
    request.timeout.start(impl_->loop, Callback<>::to<&Impl::Request::on_timeout>(request));
    request.timeout.set(timeout);
    impl_->ask(request);
  }
  return request.id;
}

void Resolver::cancel(std::uint64_t id) noexcept {
  // A question nobody waits for any more is left to evdns: its answer comes or its time is up.
  impl_->requests.erase(id);
}

}  // namespace postern::io
