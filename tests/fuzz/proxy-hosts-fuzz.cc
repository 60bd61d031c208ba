// What a passdb says of hosts, what auth says of them to a login process, and what the master says
// of backends.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "wire/backend-news.h"
#include "wire/proxy-hosts.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace wire = postern::wire;
  const void* start = data;
  const std::string_view text(static_cast<const char*>(start), size);
  if (const auto list = wire::parse_host_list(text); list.ok()) {
    POSTERN_CHECK(!list.value().empty() && list.value().size() <= wire::kMaxProxyHosts);
    for (const wire::HostSpec& host : list.value()) {
      POSTERN_CHECK(!host.name.empty() && host.name.find_first_of(" ,;*\r\n") == std::string::npos);
      POSTERN_CHECK(host.weight >= 1 && host.weight <= wire::kMaxHostWeight);
    }
  }
  if (const auto hosts = wire::parse_proxy_hosts(text); hosts.ok()) {
    // What is read can be said again, and means the same.
    const auto again = wire::parse_proxy_hosts(wire::proxy_hosts_text(hosts.value()));
    POSTERN_CHECK(again.ok() && again.value() == hosts.value());
  }
  if (const auto news = wire::parse_backend_news(text)) {
    POSTERN_CHECK(wire::parse_backend_news(wire::backend_news_text(*news)) == news);
  }
  return 0;
}
