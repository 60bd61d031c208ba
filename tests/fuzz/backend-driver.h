#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "login-common/backend-dialogue.h"

/// Drives a backend dialogue with invented lines, as the connector would. All protocols share it.
namespace postern::fuzz {

/// What differs between protocols.
struct FuzzedBackend {
  std::unique_ptr<login::BackendDialogue> (*make)(const login::BackendTarget&) = nullptr;
  /// Changes the target by the bits 6 and 7 of `flags`; the driver uses the others. May be null.
  void (*configure)(std::uint8_t flags, login::BackendTarget& target) = nullptr;
  /// True if this is a command that logs in. It is given all that is sent for one line.
  bool (*logs_in)(std::string_view sent) = nullptr;
  /// True if what is sent may be sent before TLS is up, which was asked for.
  bool (*precedes_tls)(std::string_view sent) = nullptr;
  /// True if this is what the client is told of a success.
  bool (*reports_success)(std::string_view said) = nullptr;
  bool (*is_state)(std::string_view state) = nullptr;
};

/// The first two bytes of `data` choose the target; the rest are the backend's lines. Aborts where
/// an invariant does not hold.
void drive_backend(const FuzzedBackend& protocol, const std::uint8_t* data, std::size_t size);

}  // namespace postern::fuzz
