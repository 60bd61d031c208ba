#include "auth/anvil-client.h"

#include "lib/text.h"
#include "wire/tab-line.h"

namespace postern::auth {
namespace {

constexpr std::chrono::seconds kAnswerLimit{2};
constexpr io::Milliseconds kReconnect{10'000};
constexpr std::size_t kMaxAnvilLine = 1024;

/// IPv6 addresses count by their /48.
IpAddress penalty_key(const IpAddress& ip) {
  if (!ip.is_v6()) return ip;
  std::string bytes(ip.bytes());
  for (std::size_t i = 6; i < bytes.size(); i++) bytes[i] = '\0';
  return IpAddress::from_bytes(IpAddress::Family::v6, bytes.data());
}

}  // namespace

AnvilClient::~AnvilClient() {
  if (stream_) stream_->close();
}

void AnvilClient::arm(io::Milliseconds wait) {
  if (!timer_started_)
    timer_.start(service_.loop(), io::Callback<>::to<&AnvilClient::on_tick>(*this));
  timer_started_ = true;
  timer_.set(wait);
}

void AnvilClient::start() {
  service_.connect("anvil", [this](Result<UniqueFd> answer) {
    if (!answer.ok()) {
      if (!warned_)
        log::warning("anvil cannot be reached ({}); there are no penalties for failed logins",
                     answer.error().text);
      warned_ = true;
      return arm(kReconnect);
    }
    version_known_ = false;
    io::LineStream::Owner& owner = *this;
    stream_ = std::make_unique<io::LineStream>(service_.loop(), std::move(answer.value()),
                                               kMaxAnvilLine, owner);
    stream_->send("VERSION\tanvil\t1\t1\n");
    arm(kAnswerLimit);
  });
}

void AnvilClient::on_tick() noexcept {
  if (!stream_) return start();
  if (!version_known_) return lost();
  if (questions_.empty()) return;
  if (service_.loop().now() - questions_.front().asked >= kAnswerLimit) return lost();
  arm(kAnswerLimit);
}

std::uint64_t AnvilClient::penalty(const IpAddress& ip, std::uint32_t user,
                                   std::function<void(PenaltyLevels)> call) {
  const std::uint64_t id = ++next_;
  const IpAddress key = penalty_key(ip);
  questions_.push_back({id, std::move(call), service_.loop().now(), key});
  WipingBuffer line;
  wire::TabLine(line, "PENALTY-LEVEL").add(key.text()).add(user).end();
  stream_->send(line.view());
  if (!timer_.armed()) arm(kAnswerLimit);
  return id;
}

bool AnvilClient::known_clean(const IpAddress& ip) const {
  return clean_.contains(penalty_key(ip), service_.loop().now());
}

void AnvilClient::raise(const IpAddress& ip, std::uint32_t checksum, std::uint32_t user) {
  const IpAddress key = penalty_key(ip);
  clean_.remove(key);
  for (Question& question : questions_) {
    if (question.key == key) question.raised = true;
  }
  if (!stream_) return;
  WipingBuffer line;
  wire::TabLine(line, "PENALTY-FAIL").add(key.text()).add(checksum).add(user).end();
  stream_->send(line.view());
}

void AnvilClient::forgive(const IpAddress& ip, std::uint32_t user) {
  if (!stream_) return;
  WipingBuffer line;
  wire::TabLine(line, "PENALTY-PASS").add(penalty_key(ip).text()).add(user).end();
  stream_->send(line.view());
}

void AnvilClient::cancel(std::uint64_t id) noexcept {
  for (Question& question : questions_) {
    if (question.id == id) question.call = nullptr;
  }
}

void AnvilClient::on_line(io::LineStream& /*stream*/, std::string_view line) {
  if (!version_known_) {
    // From 1.0 on there were commands only; levels came with 1.1.
    const std::vector<std::string_view> version = words(line, "\t");
    version_known_ = version.size() >= 4 && version[0] == "VERSION" && version[1] == "anvil" &&
                     version[2] == "1" && decimal(version[3], 1, UINT32_MAX);
    if (!version_known_) return lost();
    warned_ = false;
    return;
  }
  if (questions_.empty()) return lost();
  const Question question = std::move(questions_.front());
  questions_.pop_front();
  const std::vector<std::string_view> parts = words(line);
  const auto level = decimal(parts.empty() ? "" : parts[0], 0, 1000);
  const auto of_address = decimal(parts.size() < 2 ? "" : parts[1], 0, 1000);
  if (of_address == 0U && !question.raised) clean_.add(question.key, service_.loop().now());
  if (!question.call) return;
  question.call(
      {static_cast<unsigned>(level.value_or(0)), static_cast<unsigned>(of_address.value_or(0))});
}

void AnvilClient::on_closed(io::LineStream& /*stream*/) {
  lost();
}

void AnvilClient::lost() {
  if (!stream_) return;
  if (!warned_ && version_known_)
    log::warning("The connection to anvil was lost; there are no penalties for failed logins");
  // It stays over a reload, and one from before does not say its version.
  if (!warned_ && !version_known_)
    log::error(
        "anvil is older than this auth process, or does not answer; there are no penalties for "
        "failed logins: restart Postern, a reload does not replace anvil");
  warned_ = true;
  stream_->close();
  service_.loop().retire(std::move(stream_));
  std::deque<Question> unanswered;
  unanswered.swap(questions_);
  arm(kReconnect);
  for (const Question& question : unanswered) {
    if (question.call) question.call({});
  }
}

}  // namespace postern::auth
