// What an operator, or a program that writes postern.conf, may put into it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/config.h"
#include "lib/check.h"

namespace {

using postern::config::Configuration;
using postern::config::Snapshot;

/// Every child must be able to read what it is told.
void check_snapshots(const Configuration& configuration) {
  for (const auto& service : configuration.services()) {
    const auto bytes = configuration.snapshot(service.name, configuration.sockets(service.name));
    const auto parsed = Snapshot::parse(bytes.view());
    POSTERN_CHECK(parsed.ok());
    POSTERN_CHECK(parsed.value().service.name == service.name);
  }
}

/// `postern -n` reads back as itself, unless it hides a secret.
void check_round_trip(const Configuration& configuration) {
  const std::string printed = configuration.print_changed();
  if (printed.find("<hidden>") != std::string::npos) return;
  const auto again = postern::config::load_text(printed, configuration.path(), false);
  POSTERN_CHECK(again.configuration.has_value());
  POSTERN_CHECK(again.configuration->print_changed() == printed);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const void* bytes = data;
  const auto loaded = postern::config::load_text(
      std::string_view(static_cast<const char*>(bytes), size), "/etc/postern.conf", false);
  bool error = false;
  for (const auto& problem : loaded.problems) {
    error = error || !problem.warning;
    POSTERN_CHECK(!problem.what.empty());
    POSTERN_CHECK(problem.file == "/etc/postern.conf");
    POSTERN_CHECK(problem.text().find('\n') == std::string::npos);
  }
  POSTERN_CHECK(error != loaded.configuration.has_value());
  if (loaded.configuration) {
    check_snapshots(*loaded.configuration);
    check_round_trip(*loaded.configuration);
    POSTERN_CHECK(!loaded.configuration->tls().empty());
    POSTERN_CHECK(!loaded.configuration->print_all().empty());
  }
  return 0;
}
