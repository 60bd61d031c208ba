#include "login-common/address-counts.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "lib/log.h"
#include "wire/tab-line.h"

namespace postern::login {
namespace {

constexpr std::size_t kMaxLine = 1024;  // of anvil's

}  // namespace

IpAddress holder_of(const IpAddress& address) noexcept {
  if (!address.is_v6()) return address;
  std::array<unsigned char, 16> network{};
  std::copy_n(address.bytes().begin(), network.size() / 2, network.begin());
  return IpAddress::from_bytes(IpAddress::Family::v6, network.data());
}

AddressCounts::AddressCounts(io::Loop& loop, Connect connect, std::string service)
    : loop_(loop), connect_(std::move(connect)), service_(std::move(service)) {
  timer_.start(loop_, io::Callback<>::to<&AddressCounts::on_time>(*this));
  granted_.start(loop_, io::Callback<>::to<&AddressCounts::grant_all>(*this));
}

AddressCounts::~AddressCounts() {
  if (stream_) stream_->close();
}

std::uint64_t AddressCounts::reserve(const IpAddress& address, unsigned limit,
                                     std::function<void(bool)> answer) {
  const std::uint64_t id = ++last_;
  Entry& entry = entries_[id];
  entry.ident = service_ + '/' + holder_of(address).text();
  entry.limit = limit;
  entry.answer = std::move(answer);
  if (state_ == State::connected) {
    ask(id, entry);
  } else if (state_ == State::idle && loop_.now() >= retry_) {
    connect();
  } else if (state_ == State::idle) {
    granted_.trigger();
  }
  return id;
}

void AddressCounts::release(std::uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  const Entry entry = std::move(found->second);
  entries_.erase(found);
  // What it was asked about and has not answered is taken back when it does.
  if (state_ == State::connected && !entry.answer) tell("DISCONNECT", id, entry.ident);
}

void AddressCounts::stop() noexcept {
  if (stream_) {
    stream_->close();
    loop_.retire(std::move(stream_));
  }
  state_ = State::idle;
  timer_.cancel();
  entries_.clear();
  asked_.clear();
}

void AddressCounts::connect() {
  state_ = State::connecting;
  timer_.set(kAnswerLimit);
  connect_([this](Result<UniqueFd> answer) { connected(std::move(answer)); });
}

void AddressCounts::connected(Result<UniqueFd> answer) {
  if (state_ != State::connecting) return;  // it took too long
  if (!answer.ok()) return lost(answer.error().text);
  io::LineStream::Owner& owner = *this;
  stream_ = std::make_unique<io::LineStream>(loop_, std::move(answer).value(), kMaxLine, owner);
  state_ = State::connected;
  warned_ = false;
  timer_.cancel();
  stream_->send("VERSION\tanvil\t1\t0\n");
  for (const auto& [id, entry] : entries_) {
    if (entry.answer) {
      ask(id, entry);
    } else {
      tell("CONNECT", id, entry.ident);  // an anvil before this one knew
    }
  }
}

void AddressCounts::ask(std::uint64_t id, const Entry& entry) {
  WipingBuffer line;
  wire::TabLine(line, "RESERVE").add(id).add(entry.ident).add(std::uint64_t{entry.limit}).end();
  stream_->send(line.view());
  asked_.push_back({id, entry.ident});
  if (!timer_.armed()) timer_.set(kAnswerLimit);
}

void AddressCounts::tell(std::string_view verb, std::uint64_t id, const std::string& ident) {
  WipingBuffer line;
  wire::TabLine(line, verb).add(id).add(ident).end();
  stream_->send(line.view());
}

/// "1 COUNT" or "0 COUNT" for each question.
void AddressCounts::on_line(io::LineStream& /*stream*/, std::string_view line) {
  if (line.starts_with("VERSION\t")) return;
  const bool granted = line.starts_with("1 ");
  if (asked_.empty() || (!granted && !line.starts_with("0 "))) {
    return lost("it said what it was not asked");
  }
  const Question question = std::move(asked_.front());
  asked_.pop_front();
  if (asked_.empty()) {
    timer_.cancel();
  } else {
    timer_.set(kAnswerLimit);
  }
  const auto found = entries_.find(question.id);
  if (found == entries_.end()) {  // released meanwhile
    if (granted) tell("DISCONNECT", question.id, question.ident);
    return;
  }
  const std::function<void(bool)> answer = std::exchange(found->second.answer, nullptr);
  if (granted) {
    tell("CONNECT", question.id, question.ident);
  } else {
    entries_.erase(found);
  }
  answer(granted);
}

void AddressCounts::on_closed(io::LineStream& /*stream*/) {
  lost("the connection ended");
}

void AddressCounts::on_time() noexcept {
  lost("it does not answer");
}

void AddressCounts::lost(std::string_view why) {
  if (!std::exchange(warned_, true)) {
    log::warning("anvil: {}; login_max_connections_per_ip does not hold until it is back", why);
  }
  if (stream_) {
    stream_->close();
    loop_.retire(std::move(stream_));
  }
  state_ = State::idle;
  retry_ = loop_.now() + kReconnect;
  timer_.cancel();
  asked_.clear();
  granted_.trigger();
}

void AddressCounts::grant_all() {
  if (state_ != State::idle) return;
  std::vector<std::uint64_t> waiting;
  for (const auto& [id, entry] : entries_) {
    if (entry.answer) waiting.push_back(id);
  }
  for (const std::uint64_t id : waiting) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || !found->second.answer) continue;
    const std::function<void(bool)> answer = std::exchange(found->second.answer, nullptr);
    answer(true);
  }
}

}  // namespace postern::login
