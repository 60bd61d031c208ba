#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "auth/environment.h"
#include "auth/password-scheme.h"
#include "lib/secret.h"

/// What auth and its workers say to each other: tab-escaped lines, one request in flight on a
/// connection. Private; both ends are of one build and the first line proves it.
///
///     auth                                        worker
///     VERSION postern-auth-worker 1 BUILD
///                                                 VERSION postern-auth-worker 1 BUILD
///     7 VERIFY SCHEME STORED PASSWORD
///                                                 7 MATCH | MISMATCH | BROKEN TEXT | FAILED TEXT
///
/// STORED is the raw data of a hash, its encoding removed.
namespace postern::auth {

inline constexpr std::size_t kMaxWorkerLine = std::size_t{64} * 1024;  // bytes

/// The first line of either end, with its LF.
std::string worker_greeting();

void write_worker_request(WipingBuffer& out, std::uint64_t id, const HashJob& job);
void write_worker_reply(WipingBuffer& out, std::uint64_t id, const VerifyResult& result);

struct WorkerRequest {
  std::uint64_t id = 0;
  HashJob job;
};
/// @param line  without LF; may hold any byte. Nothing: not a request.
std::optional<WorkerRequest> parse_worker_request(std::string_view line);

struct WorkerReply {
  std::uint64_t id = 0;
  VerifyResult result;
};
std::optional<WorkerReply> parse_worker_reply(std::string_view line);

}  // namespace postern::auth
