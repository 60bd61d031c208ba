#include "io/resolver.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>

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

std::vector<IpAddress> addresses_of(const evutil_addrinfo* list) {
  std::vector<IpAddress> v4;
  std::vector<IpAddress> v6;
  for (; list != nullptr; list = list->ai_next) {
    sockaddr_storage address{};
    if (list->ai_addrlen > sizeof address) continue;
    std::copy_n(reinterpret_cast<const char*>(list->ai_addr), list->ai_addrlen,
                reinterpret_cast<char*>(&address));
    const IpAddress ip = Endpoint::from_sockaddr(address).ip;
    auto& out = ip.is_v4() ? v4 : v6;
    if (ip && out.size() < kMaxAddresses && std::find(out.begin(), out.end(), ip) == out.end()) {
      out.push_back(ip);
    }
  }
  v4.insert(v4.end(), v6.begin(), v6.end());
  return v4;
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

  /// One question on its way to the servers. evdns calls back exactly once, also when it is
  /// cancelled, and only then is it deleted.
  struct Query {
    Impl* resolver = nullptr;  // none: nobody waits for it any more
    std::string name;
  };

  Impl(Loop& loop_in, const ResolverFiles& files)
      : loop(loop_in),
        conf(parse_resolv_conf(read_small_file(files.resolv_conf))),
        hosts(parse_hosts(read_small_file(files.hosts))) {
    if (conf.servers.empty()) conf.servers.emplace_back("127.0.0.1");
  }
  ~Impl() {
    for (auto& [name, query] : queries) query->resolver = nullptr;
    // evdns fails what is open by an event of the loop, which has to run for the queries to be
    // freed; so they are cancelled by hand first.
    for (auto& [query, handle] : handles) evdns_getaddrinfo_cancel(handle);
  }

  void open_dns();
  void ask(Request& request);
  void on_answer(Query* query, int error, evutil_addrinfo* list) noexcept;
  void deliver(Request& request) noexcept;
  static void on_dns(int error, evutil_addrinfo* list, void* arg) noexcept;
  static Result<std::vector<IpAddress>> result_of(const std::string& name, int error,
                                                  const evutil_addrinfo* list);

  Loop& loop;
  ResolvConf conf;
  Hosts hosts;
  std::unique_ptr<evdns_base, FreeDns> dns;
  std::map<std::uint64_t, std::unique_ptr<Request>> requests;
  std::unordered_map<std::string, Query*> queries;  // by name
  std::unordered_map<Query*, evdns_getaddrinfo_request*> handles;
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

Result<std::vector<IpAddress>> Resolver::Impl::result_of(const std::string& name, int error,
                                                         const evutil_addrinfo* list) {
  if (error == 0) {
    std::vector<IpAddress> found = addresses_of(list);
    if (!found.empty()) return found;
    error = EVUTIL_EAI_NODATA;
  }
  if (error == EVUTIL_EAI_NONAME || error == EVUTIL_EAI_NODATA) {
    return Error{ENOENT, "DNS lookup of " + name + " failed: No such host"};
  }
  return Error{EAGAIN, "DNS lookup of " + name + " failed: " + evutil_gai_strerror(error)};
}

void Resolver::Impl::on_answer(Query* query, int error, evutil_addrinfo* list) noexcept {
  queries.erase(query->name);
  handles.erase(query);
  for (auto& [id, request] : requests) {
    if (request->query == query) request->settle(result_of(request->name, error, list));
  }
}

void Resolver::Impl::on_dns(int error, evutil_addrinfo* list, void* arg) noexcept {
  const std::unique_ptr<Query> query(static_cast<Query*>(arg));
  if (query->resolver != nullptr) query->resolver->on_answer(query.get(), error, list);
  if (list != nullptr) evutil_freeaddrinfo(list);
}

void Resolver::Impl::ask(Request& request) {
  const std::string key = to_lower(request.name);
  if (const auto found = queries.find(key); found != queries.end()) {
    request.query = found->second;
    return;
  }
  open_dns();
  auto* query = new Query{this, key};  // on_dns() owns it
  request.query = query;
  queries.emplace(key, query);
  evutil_addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  evdns_getaddrinfo_request* handle =
      evdns_getaddrinfo(dns.get(), key.c_str(), nullptr, &hints, &Impl::on_dns, query);
  // Without a handle it has been answered already, and the query is gone.
  if (handle != nullptr) handles.emplace(query, handle);
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
