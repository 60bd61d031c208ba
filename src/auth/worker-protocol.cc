#include "auth/worker-protocol.h"

#include <array>

#include "lib/text.h"
#include "postern-build.h"
#include "wire/tab-line.h"

namespace postern::auth {
namespace {

struct VerdictWord {
  Verdict verdict;
  std::string_view word;
};
constexpr std::array<VerdictWord, 4> kWords{{
    {Verdict::match, "MATCH"},
    {Verdict::mismatch, "MISMATCH"},
    {Verdict::broken, "BROKEN"},
    {Verdict::failed, "FAILED"},
}};

/// As wire::tab_unescape(), into memory that is wiped.
WipingBuffer unescape(std::string_view value) {
  WipingBuffer out;
  for (std::size_t i = 0; i < value.size(); i++) {
    char c = value[i];
    if (c == '\001') {
      if (++i == value.size()) break;
      switch (value[i]) {
        case '0':
          c = '\0';
          break;
        case '1':
          c = '\001';
          break;
        case 't':
          c = '\t';
          break;
        case 'r':
          c = '\r';
          break;
        case 'n':
          c = '\n';
          break;
        default:
          c = value[i];
      }
    }
    out += c;
  }
  return out;
}

}  // namespace

std::string worker_greeting() {
  return std::string("VERSION\tpostern-auth-worker\t1\t") + POSTERN_VERSION + "\n";
}

void write_worker_request(WipingBuffer& out, std::uint64_t id, const HashJob& job) {
  wire::TabLine(out, std::to_string(id))
      .flag("VERIFY")
      .add(job.scheme->name)
      .add(job.stored.reveal())
      .add(job.password.reveal())
      .end();
}

void write_worker_reply(WipingBuffer& out, std::uint64_t id, const VerifyResult& result) {
  wire::TabLine line(out, std::to_string(id));
  for (const VerdictWord& row : kWords) {
    if (row.verdict == result.verdict) line.flag(row.word);
  }
  if (!result.text.empty()) line.add(result.text);
  line.end();
}

std::optional<WorkerRequest> parse_worker_request(std::string_view line) {
  wire::TabFields fields(line);
  const auto id = decimal(fields.next().value_or(""), 1, UINT64_MAX);
  const auto verb = fields.next();
  const auto scheme = fields.next();
  const auto stored = fields.next();
  const auto password = fields.next();
  if (!id || verb != "VERIFY" || !password || fields.next()) return std::nullopt;
  WorkerRequest out;
  out.id = *id;
  out.job.scheme = find_scheme(*scheme);
  if (out.job.scheme == nullptr) return std::nullopt;
  out.job.stored = Secret(unescape(*stored));
  out.job.password = Secret(unescape(*password));
  return out;
}

std::optional<WorkerReply> parse_worker_reply(std::string_view line) {
  wire::TabFields fields(line);
  const auto id = decimal(fields.next().value_or(""), 1, UINT64_MAX);
  const auto word = fields.next();
  const auto text = fields.next();
  if (!id || !word || fields.next()) return std::nullopt;
  for (const VerdictWord& row : kWords) {
    if (row.word != *word) continue;
    return WorkerReply{
        *id, {row.verdict, text ? log_safe_line(wire::tab_unescape(*text)) : std::string()}};
  }
  return std::nullopt;
}

}  // namespace postern::auth
