// What a login process maps of the master's: a damaged one is refused, and never leads outside.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/check.h"
#include "wire/certificate-store.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const void* start = data;
  const std::string_view bytes(static_cast<const char*>(start), size);
  const auto store = postern::wire::CertificateStore::parse(bytes);
  if (!store.ok()) return 0;
  for (const std::string_view name : {"mail.example.org", "a", "", "x.example.net"}) {
    for (const auto& one : store.value().find(name)) {
      POSTERN_CHECK(one.chain.data() >= bytes.data());
      POSTERN_CHECK(one.chain.data() + one.chain.size() <= bytes.data() + bytes.size());
      POSTERN_CHECK(one.key.data() >= bytes.data());
      POSTERN_CHECK(one.key.data() + one.key.size() <= bytes.data() + bytes.size());
    }
  }
  return 0;
}
